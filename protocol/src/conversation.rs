//! Conversations: their ids on the wire, and the names of rooms. The keys of rooms are in
//! `room_key`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::identity::PersonId;
use crate::short_hex::short_hex;

/// Longest name of a room, in bytes.
pub const ROOM_NAME_MAX: usize = 32;

/// The room that every node is in until its user leaves it.
pub const LOBBY: &str = "lobby";

/// The id of a conversation on the wire. It is derived from the two peers of a direct conversation,
/// or from the first key of a room, so no authority assigns it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConversationId([u8; 32]);

impl ConversationId {
    /// The conversation of two peers, in either order.
    pub fn direct(a: PersonId, b: PersonId) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("hobnob 1 direct conversation");
        hash.update(a.min(b).as_bytes()).update(a.max(b).as_bytes());
        Self(*hash.finalize().as_bytes())
    }

    /// An id from its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        short_hex(&self.0, f)
    }
}

/// The name of a room: 1 to 32 characters of `a-z 0-9 - _ .`. It is shown with a `#` before it.
///
/// ```
/// use hobnob_protocol::RoomName;
///
/// let ops: RoomName = "#Ops".parse()?;
/// assert_eq!((ops.as_str(), ops.to_string()), ("ops", "#ops".to_owned()));
/// assert_eq!(RoomName::lobby().as_str(), "lobby");
/// # Ok::<(), hobnob_protocol::conversation::NotARoomName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RoomName(String);

/// The text is not the name of a room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a room's name has 1 to {ROOM_NAME_MAX} characters of a-z, 0-9, - _ and .")]
pub struct NotARoomName;

impl RoomName {
    /// The default room.
    pub fn lobby() -> Self {
        Self(LOBBY.to_owned())
    }

    /// The name without its `#`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoomName {
    type Err = NotARoomName;

    /// Accepts a name with or without `#` and converts capitals to small letters.
    fn from_str(word: &str) -> Result<Self, NotARoomName> {
        let name = word.strip_prefix('#').unwrap_or(word).to_ascii_lowercase();
        let fits = (1..=ROOM_NAME_MAX).contains(&name.len());
        let clean = name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b));
        if fits && clean {
            Ok(Self(name))
        } else {
            Err(NotARoomName)
        }
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl From<RoomName> for String {
    fn from(room: RoomName) -> String {
        room.to_string()
    }
}

impl TryFrom<String> for RoomName {
    type Error = NotARoomName;

    fn try_from(word: String) -> Result<Self, NotARoomName> {
        word.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SecretKey;

    #[test]
    fn a_direct_conversation_has_the_same_id_at_both_ends() {
        let [a, b, c] = [1, 2, 3].map(|n| SecretKey::from_seed([n; 32]).id());
        assert_eq!(
            ConversationId::direct(a.person(), b.person()),
            ConversationId::direct(b.person(), a.person())
        );
        assert_ne!(
            ConversationId::direct(a.person(), b.person()),
            ConversationId::direct(a.person(), c.person())
        );
    }

    #[test]
    fn room_names_consist_of_a_few_safe_characters() {
        assert_eq!("#Lobby".parse(), Ok(RoomName::lobby()));
        for wrong in ["", "#", "a b", "ä", "x\x1b", &"x".repeat(33)] {
            assert_eq!(wrong.parse::<RoomName>(), Err(NotARoomName), "{wrong:?}");
        }
    }
}
