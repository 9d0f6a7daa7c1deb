//! The file with what the user has read, so that messages which arrive while no chat runs count as
//! unread at the next start.

use std::collections::BTreeMap;
use std::io;

use hobnob::{ConversationRef, MessageId};
use hobnob_control::Home;

use super::home_files;

/// The last message that the user has read in each conversation.
pub(super) type ReadMarkers = BTreeMap<ConversationRef, MessageId>;

const FILE: &str = "seen.json";

/// Reads the file. None before the first chat of this home, and also if the file is damaged: what
/// was read is not worth an error.
pub(super) fn load(home: &Home) -> Option<ReadMarkers> {
    let text = home_files::read(home, FILE)?;
    let entries: BTreeMap<String, String> = serde_json::from_slice(&text).ok()?;
    Some(
        entries
            .iter()
            .filter_map(|(of, id)| Some((of.parse().ok()?, id.parse().ok()?)))
            .collect(),
    )
}

/// Writes the file.
pub(super) fn save(home: &Home, read: &ReadMarkers) -> io::Result<()> {
    let entries: BTreeMap<String, String> = read
        .iter()
        .map(|(of, id)| (of.to_string(), id.to_string()))
        .collect();
    home_files::replace(home, FILE, &serde_json::to_vec(&entries)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        fs::write(folder.path().join(FILE), "{\"#lobby\":\"x\",").unwrap();
        assert_eq!(load(&home), None);
    }
}
