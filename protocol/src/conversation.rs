//! Conversations: their ids on the wire, the names and keys of rooms, and proofs of membership.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::identity::PeerId;

/// Longest name of a room, in bytes.
pub const ROOM_NAME_MAX: usize = 32;

/// Longest secret of a room, in bytes.
pub const ROOM_SECRET_MAX: usize = 1024;

/// The room that every node is in until its user leaves it.
pub const LOBBY: &str = "lobby";

/// The id of a conversation on the wire. It is derived from the two peers of a direct conversation,
/// or from the key of a room, so no authority assigns it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConversationId([u8; 32]);

impl ConversationId {
    /// The conversation of two peers, in either order.
    pub fn direct(a: PeerId, b: PeerId) -> Self {
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
        write!(
            f,
            "{:02x}{:02x}{:02x}{:02x}",
            self.0[0], self.0[1], self.0[2], self.0[3]
        )
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

/// The key that the members of a room share, derived from its name and secret. `Debug` does not
/// show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RoomKey([u8; 32]);

impl RoomKey {
    /// The key of the room with this name and secret. The secret of an open room is empty.
    pub fn derive(name: &RoomName, secret: &[u8]) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("hobnob 1 room key");
        // The length in front keeps ("ab", "c") and ("a", "bc") apart.
        hash.update(&(name.0.len() as u64).to_le_bytes())
            .update(name.0.as_bytes())
            .update(secret);
        Self(*hash.finalize().as_bytes())
    }

    /// A key from its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The room's tag, which is the id of its conversation. A relay may see it: the tag does not
    /// reveal the key.
    pub fn tag(&self) -> ConversationId {
        ConversationId(blake3::derive_key("hobnob 1 room tag", &self.0))
    }

    /// The proof that `prover` has the key. It is bound to one session by the TLS exporter (RFC
    /// 8446 section 7.5) and to the prover, so it is useless in other sessions and to other peers.
    pub fn proof(&self, exporter: &[u8; 32], prover: PeerId) -> [u8; 32] {
        let mut hash = blake3::Hasher::new_keyed(&self.0);
        hash.update(b"hobnob 1 membership")
            .update(exporter)
            .update(prover.as_bytes());
        *hash.finalize().as_bytes()
    }
}

impl fmt::Debug for RoomKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoomKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SecretKey;

    #[test]
    fn a_direct_conversation_has_the_same_id_at_both_ends() {
        let [a, b, c] = [1, 2, 3].map(|n| SecretKey::from_seed([n; 32]).id());
        assert_eq!(ConversationId::direct(a, b), ConversationId::direct(b, a));
        assert_ne!(ConversationId::direct(a, b), ConversationId::direct(a, c));
    }

    #[test]
    fn room_names_consist_of_a_few_safe_characters() {
        assert_eq!("#Lobby".parse(), Ok(RoomName::lobby()));
        for wrong in ["", "#", "a b", "ä", "x\x1b", &"x".repeat(33)] {
            assert_eq!(wrong.parse::<RoomName>(), Err(NotARoomName), "{wrong:?}");
        }
    }

    #[test]
    fn a_proof_is_valid_for_one_room_one_session_and_one_prover() {
        let [a, b] = [1, 2].map(|n| SecretKey::from_seed([n; 32]).id());
        let room =
            |name: &str, secret: &[u8]| RoomKey::derive(&name.parse().expect("a name"), secret);
        let key = room("ops", b"s3cret");
        assert_ne!(key.tag(), room("ops", b"").tag());
        assert_ne!(room("ab", b"c").tag(), room("a", b"bc").tag());
        let proof = key.proof(&[1; 32], a);
        assert_ne!(proof, key.proof(&[2; 32], a));
        assert_ne!(proof, key.proof(&[1; 32], b));
        assert_ne!(proof, room("ops", b"other").proof(&[1; 32], a));
        assert_ne!(proof, *key.tag().as_bytes());
    }
}
