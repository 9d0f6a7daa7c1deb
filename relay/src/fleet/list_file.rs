//! The file with the signed list of a fleet: the fleet's id and the list, as one line of text.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use data_encoding::BASE64;
use hobnob_protocol::fleet::FleetList;
use hobnob_protocol::record::{Checked, Record, RecordError, SignedRecord};
use hobnob_protocol::{DeviceId, SecretKey};

/// The first word of the file.
const FIRST_WORD: &str = "hobnob-fleet-list-1";

/// The list of a fleet, checked, with the fleet's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListFile {
    fleet: DeviceId,
    list: Checked<FleetList>,
}

/// Why a file has no list.
#[derive(Debug, thiserror::Error)]
pub enum ListFileError {
    /// It can't be read.
    #[error("can't read {0:?}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// It is something else.
    #[error("{0:?} is no list of a fleet: it does not have the form `{FIRST_WORD} ID LIST`")]
    Form(PathBuf),
    /// The list is invalid.
    #[error("{0:?} has {1}")]
    List(PathBuf, RecordError),
}

/// A text is no list.
#[derive(Debug, thiserror::Error)]
pub enum ListTextError {
    /// It is something else.
    #[error("no list of a fleet")]
    Form,
    /// The list is invalid.
    #[error(transparent)]
    List(#[from] RecordError),
}

impl ListFile {
    /// Signs a list with the fleet's key.
    pub fn sign(list: FleetList, key: &SecretKey) -> Self {
        Self {
            fleet: key.id(),
            list: Checked::sign(list, key),
        }
    }

    /// Reads a file and checks the signature in it.
    pub fn read(path: &Path) -> Result<Self, ListFileError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ListFileError::Unreadable(path.to_owned(), error))?;
        text.parse().map_err(|error| match error {
            ListTextError::Form => ListFileError::Form(path.to_owned()),
            ListTextError::List(error) => ListFileError::List(path.to_owned(), error),
        })
    }

    /// The fleet's id.
    pub fn fleet(&self) -> DeviceId {
        self.fleet
    }

    /// The list.
    pub fn list(&self) -> &FleetList {
        self.list.record()
    }

    /// The number of the list. Higher numbers replace lower ones.
    pub fn number(&self) -> u64 {
        self.list().number()
    }

    /// The list as it travels.
    pub fn signed(&self) -> &SignedRecord {
        self.list.signed()
    }
}

/// The text of the file.
impl fmt::Display for ListFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = BASE64.encode(self.signed().as_bytes());
        write!(f, "{FIRST_WORD} {} {list}", self.fleet)
    }
}

impl FromStr for ListFile {
    type Err = ListTextError;

    fn from_str(text: &str) -> Result<Self, ListTextError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [FIRST_WORD, fleet, list] = words[..] else {
            return Err(ListTextError::Form);
        };
        let fleet: DeviceId = fleet.parse().map_err(|_| ListTextError::Form)?;
        let list = BASE64
            .decode(list.as_bytes())
            .map_err(|_| ListTextError::Form)?;
        let list = SignedRecord::from_bytes(list).check(fleet)?;
        Ok(Self { fleet, list })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use hobnob_protocol::RelayAddr;

    pub(in crate::fleet) fn relay(n: u8) -> DeviceId {
        SecretKey::from_seed([n; 32]).id()
    }

    /// A list of the fleet with this key, which names these relays.
    pub(in crate::fleet) fn list(fleet: u8, number: u64, relays: &[u8]) -> ListFile {
        let relay = |n: &u8| RelayAddr {
            id: Some(relay(*n)),
            at: format!("relay{n}.example:4627").parse().unwrap(),
        };
        let relays = relays.iter().map(relay).collect();
        let list = FleetList::new(number, relays).unwrap();
        ListFile::sign(list, &SecretKey::from_seed([fleet; 32]))
    }

    #[test]
    fn a_list_is_a_line_of_text_that_reads_back() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let list = list(1, 7, &[2, 3]);
        std::fs::write(file.path(), format!("{list}\n")).unwrap();
        assert_eq!(ListFile::read(file.path()).unwrap(), list);
    }

    #[test]
    fn a_list_that_another_key_has_signed_is_refused() {
        let (ours, theirs) = (list(1, 7, &[2]), list(2, 8, &[9]));
        let forged = theirs
            .to_string()
            .replace(&theirs.fleet().to_string(), &ours.fleet().to_string());
        assert!(matches!(
            forged.parse::<ListFile>(),
            Err(ListTextError::List(RecordError::Signature))
        ));
        for text in ["", "hobnob-fleet-list-1", "hobnob-fleet-list-2 x y"] {
            assert!(matches!(text.parse::<ListFile>(), Err(ListTextError::Form)));
        }
    }
}
