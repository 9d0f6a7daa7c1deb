//! Activity: what a node tells others about its user at the moment. Nobody stores it.

use crate::codec::{self, CodecError};
use crate::conversation::ConversationId;
use crate::log::{LogId, Seq};

/// Longest status text, in bytes.
pub const STATUS_BYTES_MAX: usize = 256;

/// Memory that decoding may claim.
const MEMORY_MAX: usize = 1024;

/// What a user does at the moment. Its number comes first on the wire, so that a node skips kinds that
/// only a newer version knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Activity {
    /// The user types in this conversation, or has stopped.
    Typing(ConversationId, bool),
    /// The user has read this entry of the receiver's log, and those before it.
    Read(ConversationId, LogId, Seq),
    /// Whether the user is away, and a text of at most [`STATUS_BYTES_MAX`] bytes about it.
    Status(bool, String),
    /// A kind that only a newer version knows.
    Unknown(u16),
}

impl Activity {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Activity::Typing(conversation, on) => codec::encode(&(1u16, conversation, on)),
            Activity::Read(conversation, log, seq) => {
                codec::encode(&(2u16, conversation, log, seq))
            }
            Activity::Status(away, text) => codec::encode(&(3u16, away, text)),
            Activity::Unknown(kind) => codec::encode(kind),
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let (kind, rest) = codec::decode_prefix::<u16, MEMORY_MAX>(bytes)?;
        Ok(match kind {
            1 => {
                let (conversation, on) = codec::decode_extended::<_, MEMORY_MAX>(rest)?;
                Activity::Typing(conversation, on)
            }
            2 => {
                let (conversation, log, seq) = codec::decode_extended::<_, MEMORY_MAX>(rest)?;
                Activity::Read(conversation, log, seq)
            }
            3 => {
                let (away, text) = codec::decode_extended::<_, MEMORY_MAX>(rest)?;
                Activity::Status(away, text)
            }
            unknown => Activity::Unknown(unknown),
        })
    }

    /// Whether its text is short enough.
    pub(crate) fn is_within_limits(&self) -> bool {
        !matches!(self, Activity::Status(_, text) if text.len() > STATUS_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let conversation = ConversationId::from_bytes([7; 32]);
        let id = vec![7; 32];
        for (activity, bytes) in [
            (
                Activity::Typing(conversation, true),
                [vec![1], id.clone(), vec![1]].concat(),
            ),
            (
                Activity::Read(conversation, LogId(9), 4),
                [vec![2], id, vec![9, 4]].concat(),
            ),
            (
                Activity::Status(true, "hi".to_owned()),
                vec![3, 1, 2, b'h', b'i'],
            ),
        ] {
            assert_eq!(activity.encode(), bytes);
            assert_eq!(Activity::decode(&bytes), Ok(activity));
        }
    }

    #[test]
    fn a_kind_from_the_future_is_skipped() {
        assert_eq!(Activity::decode(&[9, 1, 2]), Ok(Activity::Unknown(9)));
        let longer = [&[3, 1, 2, b'h', b'i'][..], &[1, 7, 0]].concat();
        let status = Activity::Status(true, "hi".to_owned());
        assert_eq!(Activity::decode(&longer), Ok(status));
        assert!(Activity::decode(&[]).is_err());
        assert!(Activity::decode(&[3, 1, 200]).is_err());
        let long = Activity::Status(false, "x".repeat(STATUS_BYTES_MAX + 1));
        assert!(!long.is_within_limits());
    }
}
