//! The file with what the user has read, so that messages which arrive while no chat runs count as
//! unread at the next start.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use hobnob::{ConversationRef, MessageId};
use hobnob_control::Home;

/// The last message that the user has read in each conversation.
pub(super) type ReadMarkers = BTreeMap<ConversationRef, MessageId>;

const FILE: &str = "seen.json";

/// Reads the file. None before the first chat of this home, and also if the file is damaged: what
/// was read is not worth an error.
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

/// Writes the file. After a failure, the file before is unchanged. A locked home has no such file: it
/// would show with whom the user talks.
pub(super) fn save(home: &Home, read: &ReadMarkers) -> io::Result<()> {
    if hobnob::is_locked(home.data_dir()) {
        return Ok(());
    }
    let entries: BTreeMap<String, String> = read
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
    fn markers_survive_a_restart_and_a_damaged_file_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        assert_eq!(load(&home), None);
        let read: ReadMarkers = [(
            "#lobby".parse().unwrap(),
            MessageId {
                log: LogId(7),
                seq: 9,
            },
        )]
        .into();
        save(&home, &read).unwrap();
        assert_eq!(load(&home), Some(read));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(folder.path().join(FILE), "{\"#lobby\":\"x\",").unwrap();
        assert_eq!(load(&home), None);
    }
}
