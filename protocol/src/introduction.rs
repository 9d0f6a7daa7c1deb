//! Introductions: a node makes two of its contacts contacts of each other, if both accept.
//!
//! The steps are messages for programs in the direct conversations with both, so they arrive as any
//! message does: later, by mail, or carried by hand.

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::entry::Body;
use crate::identity::PersonId;
use crate::record::{CONTACT_BYTES_MAX, PUBLIC_BYTES_MAX, SignedRecord};

/// The kind of the messages.
pub const INTRODUCTION_KIND: &str = "hobnob.introduction";

/// Memory that decoding a step may claim.
const MEMORY_MAX: usize = 8 * 1024;

/// A step of an introduction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Introduction {
    /// The introducer asks whether the receiver wants to know this peer.
    Propose {
        /// Names the introduction, at the introducer.
        number: u64,
        /// The peer.
        other: PersonId,
        /// The peer's public record. Its signature is not checked yet.
        record: SignedRecord,
    },
    /// The receiver of a proposal has accepted the peer.
    Accept {
        /// The introduction.
        number: u64,
    },
    /// Both have accepted, and may reach each other.
    Meet {
        /// The introduction.
        number: u64,
        /// The other peer's contact record, if the introducer has it. Its signature is not checked
        /// yet.
        contact: Option<SignedRecord>,
    },
}

/// The number of steps that this version knows. A step begins with its number.
const STEPS: u32 = 3;

impl Introduction {
    /// The message with this step.
    pub fn body(&self) -> Body {
        Body::App {
            kind: INTRODUCTION_KIND.to_owned(),
            bytes: codec::encode(self),
        }
    }

    /// Reads a step of an untrusted peer. Returns nothing for other messages, and for steps that only
    /// a newer version knows.
    pub fn read(body: &Body) -> Option<Result<Self, CodecError>> {
        let Body::App { kind, bytes } = body else {
            return None;
        };
        let step = codec::decode_prefix::<u32, MEMORY_MAX>(bytes);
        let is_newer = step.is_ok_and(|(step, _)| step >= STEPS);
        (kind == INTRODUCTION_KIND && !is_newer).then(|| {
            let step = codec::decode_extended::<Self, MEMORY_MAX>(bytes)?;
            let fits = match &step {
                Self::Propose { record, .. } => record.as_bytes().len() <= PUBLIC_BYTES_MAX,
                Self::Meet { contact, .. } => {
                    let length = contact.as_ref().map_or(0, |it| it.as_bytes().len());
                    length <= CONTACT_BYTES_MAX
                }
                Self::Accept { .. } => true,
            };
            if fits {
                Ok(step)
            } else {
                Err(CodecError::Malformed("a record is too long".to_owned()))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_round_trip_and_other_messages_are_none() {
        let record = SignedRecord::from_bytes(vec![6; PUBLIC_BYTES_MAX]);
        for step in [
            Introduction::Propose {
                number: 7,
                other: PersonId::from_bytes([2; 32]),
                record,
            },
            Introduction::Accept { number: 7 },
            Introduction::Meet {
                number: 7,
                contact: None,
            },
        ] {
            let body = step.body();
            body.check_own().expect("it can be sent");
            assert_eq!(Introduction::read(&body), Some(Ok(step)));
        }
        assert_eq!(Introduction::read(&"hi".into()), None);
        let of_a_newer_version = Body::App {
            kind: INTRODUCTION_KIND.to_owned(),
            bytes: vec![3, 7],
        };
        assert_eq!(Introduction::read(&of_a_newer_version), None);
    }

    #[test]
    fn long_records_and_garbage_are_refused() {
        let record = SignedRecord::from_bytes(vec![6; PUBLIC_BYTES_MAX + 1]);
        let step = Introduction::Propose {
            number: 7,
            other: PersonId::from_bytes([2; 32]),
            record,
        };
        assert!(matches!(Introduction::read(&step.body()), Some(Err(_))));
        let garbage = Body::App {
            kind: INTRODUCTION_KIND.to_owned(),
            bytes: [vec![1], vec![200; 40]].concat(),
        };
        assert!(matches!(Introduction::read(&garbage), Some(Err(_))));
    }
}
