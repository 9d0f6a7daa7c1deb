//! What has been read, kept in a file of the home: so that what came while no screen was open is
//! unread at the next.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use hobnob::{ConversationRef, MessageId};
use hobnob_control::Home;

/// The last message of each conversation that somebody looked at.
pub(super) type ReadMarkers = BTreeMap<ConversationRef, MessageId>;

const FILE: &str = "seen.json";

/// None before the first screen of this home. A file that can't be read is as none: it holds
/// nothing that is worth an error.
pub(super) fn load(home: &Home) -> Option<ReadMarkers> {
    let text = fs::read(home.data_dir().join(FILE)).ok()?;
    let entries: BTreeMap<String, String> = serde_json::from_slice(&text).ok()?;
    Some(
        entries
            .iter()
            .filter_map(|(of, id)| Some((of.parse().ok()?, id.parse().ok()?)))
            .collect(),
    )
}

/// Replaces the file as a whole, or leaves it as it was.
pub(super) fn save(home: &Home, seen: &ReadMarkers) -> io::Result<()> {
    let entries: BTreeMap<String, String> = seen
        .iter()
        .map(|(of, id)| (of.to_string(), id.to_string()))
        .collect();
    let (path, new) = (
        home.data_dir().join(FILE),
        home.data_dir()
            .join(format!("{FILE}.{}", std::process::id())),
    );
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(serde_json::to_string(&entries)?.as_bytes())?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob::protocol::LogId;

    #[test]
    fn what_was_read_is_read_at_the_next_start_and_damage_is_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        assert_eq!(load(&home), None);
        let seen: ReadMarkers = [(
            "#lobby".parse().unwrap(),
            MessageId {
                log: LogId(7),
                seq: 9,
            },
        )]
        .into();
        save(&home, &seen).unwrap();
        assert_eq!(load(&home), Some(seen));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(folder.path().join(FILE), "{\"#lobby\":\"x\",").unwrap();
        assert_eq!(load(&home), None);
    }
}
