//! Room tickets: the name and key of a room as one word that can be mailed to a future member.

use std::fmt;
use std::str::FromStr;

use crate::conversation::{NotARoomName, RoomName};
use crate::identity::base32;
use crate::room_key::{RoomKey, RoomKind};
use crate::target::TICKET_PREFIX;

/// The start of every room ticket.
pub const ROOM_TICKET_PREFIX: &str = "hobnob-room:";

/// Longest room ticket, in bytes.
pub const ROOM_TICKET_MAX: usize = 128;

/// Bytes of the checksum. It finds mistakes in copying, not forgeries.
const CHECK_LEN: usize = 2;

/// All data to enter a room, written as `hobnob-room:<name>:<key>`. Anybody who has it is a member.
///
/// ```
/// use hobnob_protocol::{RoomKey, RoomTicket};
///
/// let ticket = RoomTicket::new("ops".parse()?, RoomKey::random([7; 32])).expect("not open");
/// assert!(ticket.to_string().starts_with("hobnob-room:ops:"));
/// assert_eq!(ticket.to_string().parse(), Ok(ticket));
/// # Ok::<(), hobnob_protocol::conversation::NotARoomName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomTicket {
    name: RoomName,
    key: RoomKey,
}

/// Why a word is no room ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RoomTicketError {
    /// It begins with other characters.
    #[error("a room ticket begins with {ROOM_TICKET_PREFIX}")]
    Prefix,
    /// Something is missing or was changed.
    #[error("this room ticket is damaged: ask for it again, and copy the whole of it")]
    Damaged,
    /// The key is of a kind that this version does not know.
    #[error("this room ticket needs a newer hobnob")]
    Newer,
}

impl RoomTicket {
    /// The ticket of this room. Open rooms have none, because everybody can enter by the name.
    pub fn new(name: RoomName, key: RoomKey) -> Option<Self> {
        (!key.is_open()).then_some(Self { name, key })
    }

    /// The room's name.
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// The room's key.
    pub fn key(&self) -> &RoomKey {
        &self.key
    }
}

impl fmt::Display for RoomTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_str();
        let mut payload = vec![self.key.kind().code()];
        payload.extend_from_slice(self.key.as_bytes());
        payload.extend_from_slice(&check(name, &payload));
        write!(
            f,
            "{ROOM_TICKET_PREFIX}{name}:{}",
            base32().encode(&payload)
        )
    }
}

impl FromStr for RoomTicket {
    type Err = RoomTicketError;

    fn from_str(word: &str) -> Result<Self, RoomTicketError> {
        let rest = word.trim().strip_prefix(ROOM_TICKET_PREFIX);
        let (name, payload) = rest
            .ok_or(RoomTicketError::Prefix)?
            .rsplit_once(':')
            .ok_or(RoomTicketError::Damaged)?;
        if word.len() > ROOM_TICKET_MAX {
            return Err(RoomTicketError::Damaged);
        }
        let name: RoomName = name.parse().map_err(|_| RoomTicketError::Damaged)?;
        let payload = base32().decode(payload.as_bytes());
        let payload = payload.map_err(|_| RoomTicketError::Damaged)?;
        let (payload, sum) = payload
            .split_last_chunk::<CHECK_LEN>()
            .ok_or(RoomTicketError::Damaged)?;
        if *sum != check(name.as_str(), payload) {
            return Err(RoomTicketError::Damaged);
        }
        let (code, key) = payload.split_first().ok_or(RoomTicketError::Damaged)?;
        let kind = RoomKind::of_code(*code).ok_or(RoomTicketError::Newer)?;
        let key = key.try_into().map_err(|_| RoomTicketError::Damaged)?;
        Self::new(name, RoomKey::from_bytes(kind, key)).ok_or(RoomTicketError::Damaged)
    }
}

/// A room as a user names it for joining: its name, or a ticket.
///
/// ```
/// use hobnob_protocol::RoomTarget;
///
/// assert_eq!("#Ops".parse(), Ok(RoomTarget::Name("ops".parse()?)));
/// assert!("hobnob-room:ops:damaged".parse::<RoomTarget>().is_err());
/// # Ok::<(), hobnob_protocol::conversation::NotARoomName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomTarget {
    /// An open room, or one with a passphrase.
    Name(RoomName),
    /// A room with a key.
    Ticket(RoomTicket),
}

/// Why a word names no room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoomTargetError {
    /// The word is no name.
    #[error(transparent)]
    Name(#[from] NotARoomName),
    /// The word begins like a ticket.
    #[error(transparent)]
    Ticket(#[from] RoomTicketError),
    /// The word begins like the ticket of a person: see [`Ticket`](crate::Ticket).
    #[error("that is the ticket of a person, not of a room")]
    Person,
}

impl RoomTarget {
    /// The room's name.
    pub fn name(&self) -> &RoomName {
        match self {
            Self::Name(name) => name,
            Self::Ticket(ticket) => ticket.name(),
        }
    }
}

impl FromStr for RoomTarget {
    type Err = RoomTargetError;

    fn from_str(word: &str) -> Result<Self, RoomTargetError> {
        if word.trim().starts_with(ROOM_TICKET_PREFIX) {
            Ok(Self::Ticket(word.parse()?))
        } else if word.trim().starts_with(TICKET_PREFIX) {
            Err(RoomTargetError::Person)
        } else {
            Ok(Self::Name(word.parse()?))
        }
    }
}

impl fmt::Display for RoomTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Ticket(ticket) => ticket.fmt(f),
        }
    }
}

fn check(name: &str, payload: &[u8]) -> [u8; CHECK_LEN] {
    let mut hash = blake3::Hasher::new_derive_key("hobnob 1 room ticket: check");
    hash.update(payload).update(name.as_bytes());
    let hash = hash.finalize();
    std::array::from_fn(|byte| hash.as_bytes()[byte])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ticket(kind: RoomKind) -> RoomTicket {
        let name = "ops".parse().expect("a room");
        RoomTicket::new(name, RoomKey::from_bytes(kind, [7; 32])).expect("not open")
    }

    #[test]
    fn a_ticket_reads_back() {
        for kind in [RoomKind::Passphrase, RoomKind::Random] {
            let text = ticket(kind).to_string();
            assert_eq!(text.parse(), Ok(ticket(kind)), "{text}");
            assert_eq!(format!(" {text}\n").parse(), Ok(ticket(kind)));
            assert!(text.len() <= ROOM_TICKET_MAX);
        }
    }

    #[test]
    fn the_ticket_of_a_person_names_no_room() {
        let id = crate::PersonId::from_bytes([7; 32]);
        for word in [
            format!("hobnob:{id}?a=10.0.0.5:4626"),
            format!(" hobnob:{id}"),
        ] {
            assert_eq!(word.parse::<RoomTarget>(), Err(RoomTargetError::Person));
        }
    }

    #[test]
    fn the_longest_ticket_fits() {
        let name = "x".repeat(crate::conversation::ROOM_NAME_MAX);
        let ticket = RoomTicket::new(name.parse().expect("a room"), RoomKey::random([7; 32]));
        assert!(ticket.expect("not open").to_string().len() <= ROOM_TICKET_MAX);
    }

    #[test]
    fn mistakes_in_copying_are_found() {
        let text = ticket(RoomKind::Random).to_string();
        for wrong in [
            &text[..text.len() - 1],
            &format!("{text}a"),
            &text.replace(":ops:", ":dev:"),
            &text.replace(":ops:", "::"),
            &text.to_uppercase().replace("HOBNOB-ROOM", "hobnob-room"),
            "hobnob-room:",
            "hobnob-room:ops:",
        ] {
            let error = wrong.parse::<RoomTicket>();
            assert_eq!(error, Err(RoomTicketError::Damaged), "{wrong}");
        }
        assert_eq!("#ops".parse::<RoomTicket>(), Err(RoomTicketError::Prefix));
    }

    #[test]
    fn a_key_of_a_later_version_is_recognized() {
        let mut payload = vec![3];
        payload.extend([7; 32]);
        payload.extend(check("ops", &payload));
        let text = format!("{ROOM_TICKET_PREFIX}ops:{}", base32().encode(&payload));
        assert_eq!(text.parse::<RoomTicket>(), Err(RoomTicketError::Newer));
    }

    proptest! {
        #[test]
        fn no_word_panics(word in "(hobnob-room:)?.{0,80}") {
            let _ = word.parse::<RoomTicket>();
        }
    }
}
