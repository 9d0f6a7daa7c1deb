//! The file of the quotas: the bytes of today for each peer, so that a restart is no new quota.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use hobnob_protocol::DeviceId;
use hobnob_transport::private_file;

use crate::core::QUOTA_PEERS_MAX;

/// The name of the file in the relay's home.
const USAGE_FILE: &str = "usage";

/// A day, counted from 1970 in UTC, and the bytes of each peer on it.
pub(super) type Usage = (u64, BTreeMap<DeviceId, u64>);

/// Reads the file. A file that is missing or damaged counts as empty: the peers of today then get
/// a second quota.
pub(super) fn read(home: &Path) -> Usage {
    let path = home.join(USAGE_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => parse(&text).unwrap_or_else(|| {
            tracing::warn!(
                ?path,
                "the quotas of today start again: this file is damaged"
            );
            Usage::default()
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Usage::default(),
        Err(error) => {
            tracing::warn!(?path, %error, "the quotas of today start again: can't read this file");
            Usage::default()
        }
    }
}

/// Replaces the file.
pub(super) fn write(home: &Path, (day, used): &Usage) -> io::Result<()> {
    let mut text = format!("{day}\n");
    for (peer, bytes) in used {
        text.push_str(&format!("{peer} {bytes}\n"));
    }
    private_file::replace(&home.join(USAGE_FILE), &text)
}

fn parse(text: &str) -> Option<Usage> {
    let mut lines = text.lines();
    let day = lines.next()?.parse().ok()?;
    let peer = |line: &str| {
        let (peer, bytes) = line.split_once(' ')?;
        Some((peer.parse().ok()?, bytes.parse().ok()?))
    };
    let used = lines
        .take(QUOTA_PEERS_MAX)
        .map(peer)
        .collect::<Option<_>>()?;
    Some((day, used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_as_it_was_written() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(read(home.path()), Usage::default());
        let usage = (
            20_786,
            BTreeMap::from([(DeviceId::from_bytes([1; 32]), 5_000)]),
        );
        write(home.path(), &usage).unwrap();
        assert_eq!(read(home.path()), usage);
    }

    #[test]
    fn a_damaged_file_counts_as_empty() {
        let home = tempfile::tempdir().unwrap();
        for text in ["", "today\n", "20786\nann 5\n", "20786\nann"] {
            fs::write(home.path().join(USAGE_FILE), text).unwrap();
            assert_eq!(read(home.path()), Usage::default(), "{text:?}");
        }
    }
}
