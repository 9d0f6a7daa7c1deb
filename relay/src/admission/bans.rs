//! The bans: identities and ranges of addresses that the relay refuses. They are stored in a file in
//! the relay's home, which the operator may also edit.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hobnob_protocol::DeviceId;
use hobnob_transport::private_file;

use super::ip_range::{IpRange, IpRanges, NotARange};
use super::{FileError, LineProblem};

/// The file of bans in the relay's home.
const BANNED_FILE: &str = "banned";

/// Maximum bans. Each occupies less than 100 bytes.
pub const BANS_MAX: usize = 100_000;

/// The object of a ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BanTarget {
    /// One identity, wherever it connects from.
    Peer(DeviceId),
    /// All peers that connect from these addresses.
    Range(IpRange),
}

impl fmt::Display for BanTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(peer) => peer.fmt(f),
            Self::Range(range) => range.fmt(f),
        }
    }
}

impl FromStr for BanTarget {
    type Err = NotARange;

    /// Parses the id of a peer, or a range of addresses.
    fn from_str(text: &str) -> Result<Self, NotARange> {
        let peer = text.parse().map(Self::Peer);
        peer.or_else(|_| text.parse().map(Self::Range))
    }
}

/// The bans of a relay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bans {
    pub(crate) peers: BTreeSet<DeviceId>,
    pub(crate) ranges: IpRanges,
}

impl Bans {
    /// Reads the bans in a relay's home. Without a file there are none.
    pub(crate) fn load(home: &Path) -> Result<Self, FileError> {
        let path = banned_file(home);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(FileError::unreadable(&path, error)),
        };
        let mut bans = Self::default();
        for (line, text) in (1..).zip(text.lines()) {
            let wrong = |problem| FileError::Line {
                path: path.clone(),
                line,
                problem,
            };
            let content = text.split('#').next().unwrap_or_default().trim();
            if content.is_empty() {
                continue;
            }
            if bans.len() == BANS_MAX {
                return Err(wrong(LineProblem::TooManyBans));
            }
            let target = content
                .parse()
                .map_err(|_| wrong(LineProblem::NotABan(content.len())))?;
            bans.set(target, true);
        }
        Ok(bans)
    }

    /// Writes the bans to the relay's home. Returns when they are on disk.
    pub(crate) fn write(&self, home: &Path) -> Result<(), FileError> {
        let mut text = String::from(
            "# Banned identities and addresses. Written by `hobnob relay ban` and `unban`. Read at the start and on SIGHUP.\n",
        );
        for target in self.targets() {
            text.push_str(&format!("{target}\n"));
        }
        let path = banned_file(home);
        private_file::replace(&path, &text).map_err(|error| FileError::Unwritable { path, error })
    }

    /// Adds a ban or removes it. Returns whether that is a change.
    pub(crate) fn set(&mut self, target: BanTarget, banned: bool) -> bool {
        match (target, banned) {
            (BanTarget::Peer(peer), true) => self.peers.insert(peer),
            (BanTarget::Peer(peer), false) => self.peers.remove(&peer),
            (BanTarget::Range(range), true) => self.ranges.0.insert(range),
            (BanTarget::Range(range), false) => self.ranges.0.remove(&range),
        }
    }

    /// The number of bans.
    pub fn len(&self) -> usize {
        self.peers.len() + self.ranges.0.len()
    }

    /// Whether nobody is banned.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All bans.
    pub fn targets(&self) -> impl Iterator<Item = BanTarget> {
        let peers = self.peers.iter().copied().map(BanTarget::Peer);
        peers.chain(self.ranges.0.iter().copied().map(BanTarget::Range))
    }

    /// Whether the identity is banned.
    pub fn has_peer(&self, peer: DeviceId) -> bool {
        self.peers.contains(&peer)
    }

    /// Whether the address is in a banned range.
    pub fn has_addr(&self, addr: IpAddr) -> bool {
        self.ranges.contains(addr)
    }
}

fn banned_file(home: &Path) -> PathBuf {
    home.join(BANNED_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets() -> [BanTarget; 3] {
        [
            BanTarget::Peer(DeviceId::from_bytes([1; 32])),
            BanTarget::Range("192.0.2.0/24".parse().unwrap()),
            BanTarget::Range("2001:db8::/32".parse().unwrap()),
        ]
    }

    #[test]
    fn bans_of_both_kinds_are_stored_and_removed() {
        let home = tempfile::tempdir().unwrap();
        assert!(Bans::load(home.path()).unwrap().is_empty());
        let mut bans = Bans::default();
        for target in targets() {
            assert!(bans.set(target, true) && !bans.set(target, true));
        }
        bans.write(home.path()).unwrap();
        let mut again = Bans::load(home.path()).unwrap();
        assert_eq!(again, bans);
        assert!(again.has_addr("192.0.2.7".parse().unwrap()));
        assert!(again.has_peer(DeviceId::from_bytes([1; 32])));
        for target in targets() {
            assert!(again.set(target, false) && !again.set(target, false));
        }
        again.write(home.path()).unwrap();
        assert!(Bans::load(home.path()).unwrap().is_empty());
    }

    #[test]
    fn a_line_that_is_neither_an_id_nor_a_range_is_reported_with_its_number() {
        let home = tempfile::tempdir().unwrap();
        fs::write(
            home.path().join(BANNED_FILE),
            "# x\n192.0.2.0/24 # spam\n192.0.2\n",
        )
        .unwrap();
        let error = Bans::load(home.path()).unwrap_err().to_string();
        assert!(error.contains("banned line 3: "), "{error}");
    }
}
