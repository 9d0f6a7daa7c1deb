//! The frames between a node and a holder of mailboxes, on a stream of their own.
//!
//! The framing is the same as between nodes. The node sends [`ToHolder`], the holder answers with
//! [`FromHolder`].

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::envelope::ENVELOPE_BYTES_MAX;
use super::token::{DepositToken, TokenHash};
use crate::codec::{self, FRAME_MAX};
use crate::frame::{FrameError, or_unknown};
use crate::identity::DeviceId;
use crate::record::{MAILBOX_BYTES_MAX, SignedRecord};

/// Maximum senders that a recipient names. The list fits a frame.
pub const SENDERS_MAX: usize = 1_900;

/// Maximum envelopes that one frame deletes.
pub const NUMBERS_MAX: usize = 256;

/// Memory that decoding one frame may claim.
const MEMORY_MAX: usize = 4 * FRAME_MAX;

/// An envelope on its way to a holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deposit {
    /// The sender's number for it, which the answer repeats.
    pub number: u64,
    /// Whom it is for.
    pub recipient: DeviceId,
    /// The permission to deposit.
    pub token: DepositToken,
    /// The encoded envelope, at most [`ENVELOPE_BYTES_MAX`].
    pub envelope: Vec<u8>,
}

/// An envelope that waits at a holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The holder's number for it. The numbers of one recipient ascend.
    pub number: u64,
    /// Who deposited it. The holder has checked that by TLS.
    pub sender: DeviceId,
    /// When it arrived, by the holder's clock, in milliseconds since the Unix epoch.
    pub arrived_at_ms: u64,
    /// The encoded envelope, at most [`ENVELOPE_BYTES_MAX`].
    pub envelope: Vec<u8>,
}

/// A frame from a node to a holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToHolder {
    /// Hold mail for me: my mailbox key, and the senders that may deposit, at most [`SENDERS_MAX`].
    /// The list replaces the earlier one, so a sender that is missing in it is revoked. Answered by
    /// [`FromHolder::Holding`].
    Hold {
        /// The recipient's mailbox record.
        record: SignedRecord,
        /// The hashed tokens.
        senders: Vec<TokenHash>,
    },
    /// Keep this envelope. Answered by [`FromHolder::Answer`], when it is on disk.
    Deposit(Deposit),
    /// Send envelopes for me after this number, oldest first. Answered by [`FromHolder::Waiting`],
    /// as many as the holder sends at once, and [`FromHolder::PageEnd`].
    Fetch(u64),
    /// These envelopes have arrived, at most [`NUMBERS_MAX`].
    Delete(Vec<u64>),
    /// A kind that this version does not know.
    Unknown(u8),
}

/// The answer to a [`Deposit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DepositAnswer {
    /// The envelope is on the holder's disk.
    Stored,
    /// A quota is used up: the sender's, the recipient's or the holder's.
    Full,
    /// The holder does not hold for this recipient, or the token is not one of this sender.
    NotAccepted,
    /// The envelope is not sealed to the recipient's newest key. This record names it.
    SealAgain(SignedRecord),
    /// The holder can't store anything at the moment.
    Failed,
    /// An answer that this version does not know. The envelope is not stored.
    Unknown(u8),
}

/// A frame from a holder to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromHolder {
    /// The holder holds mail for this node.
    Holding {
        /// How many envelopes wait.
        envelopes: u64,
        /// Their bytes.
        bytes: u64,
        /// When the holder began, in milliseconds since the Unix epoch.
        since_ms: u64,
    },
    /// The holder does not accept this node as a recipient, or its list of senders.
    NotHolding,
    /// The answer to the deposit with this number.
    Answer(u64, DepositAnswer),
    /// An envelope for this node.
    Waiting(Waiting),
    /// No more envelopes follow for this request. There are more if this is true.
    PageEnd(bool),
    /// An envelope for this node has just arrived.
    News,
    /// A kind that this version does not know.
    Unknown(u8),
}

mod kind {
    pub(super) const HOLD: u8 = 1;
    pub(super) const DEPOSIT: u8 = 2;
    pub(super) const FETCH: u8 = 3;
    pub(super) const DELETE: u8 = 4;
    pub(super) const HOLDING: u8 = 65;
    pub(super) const NOT_HOLDING: u8 = 66;
    pub(super) const ANSWER: u8 = 67;
    pub(super) const WAITING: u8 = 68;
    pub(super) const PAGE_END: u8 = 69;
    pub(super) const NEWS: u8 = 70;
}

mod answer {
    pub(super) const STORED: u8 = 0;
    pub(super) const FULL: u8 = 1;
    pub(super) const NOT_ACCEPTED: u8 = 2;
    pub(super) const SEAL_AGAIN: u8 = 3;
    pub(super) const FAILED: u8 = 4;
}

fn frame(kind: u8, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(1 + body.len());
    frame.put_u8(kind);
    frame.extend_from_slice(body);
    debug_assert!(
        frame.len() <= FRAME_MAX,
        "a frame of kind {kind} is too long"
    );
    frame.freeze()
}

fn body<'a, T: Deserialize<'a>>(kind: u8, bytes: &'a [u8]) -> Result<T, FrameError> {
    codec::decode_extended::<T, MEMORY_MAX>(bytes).map_err(|cause| FrameError::Body { kind, cause })
}

impl ToHolder {
    /// Encodes kind and body, without the length.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Hold { record, senders } => frame(kind::HOLD, &codec::encode(&(record, senders))),
            Self::Deposit(deposit) => frame(kind::DEPOSIT, &codec::encode(deposit)),
            Self::Fetch(after) => frame(kind::FETCH, &codec::encode(after)),
            Self::Delete(numbers) => frame(kind::DELETE, &codec::encode(numbers)),
            Self::Unknown(kind) => frame(*kind, &[]),
        }
    }

    /// Decodes kind and body of an untrusted frame.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        or_unknown(Self::decode_known(bytes), Self::Unknown)
    }

    fn decode_known(bytes: &[u8]) -> Result<Self, FrameError> {
        let (&kind, rest) = bytes.split_first().ok_or(FrameError::Empty)?;
        let frame = match kind {
            kind::HOLD => {
                let (record, senders) = body(kind, rest)?;
                Self::Hold { record, senders }
            }
            kind::DEPOSIT => Self::Deposit(body(kind, rest)?),
            kind::FETCH => Self::Fetch(body(kind, rest)?),
            kind::DELETE => Self::Delete(body(kind, rest)?),
            unknown => Self::Unknown(unknown),
        };
        let fits = match &frame {
            Self::Hold { record, senders } => {
                record.as_bytes().len() <= MAILBOX_BYTES_MAX && senders.len() <= SENDERS_MAX
            }
            Self::Deposit(deposit) => deposit.envelope.len() <= ENVELOPE_BYTES_MAX,
            Self::Delete(numbers) => numbers.len() <= NUMBERS_MAX,
            Self::Fetch(_) | Self::Unknown(_) => true,
        };
        if fits {
            Ok(frame)
        } else {
            Err(FrameError::TooMany(kind))
        }
    }
}

impl DepositAnswer {
    fn to_wire(&self) -> (u8, Option<&SignedRecord>) {
        match self {
            Self::Stored => (answer::STORED, None),
            Self::Full => (answer::FULL, None),
            Self::NotAccepted => (answer::NOT_ACCEPTED, None),
            Self::SealAgain(record) => (answer::SEAL_AGAIN, Some(record)),
            Self::Failed => (answer::FAILED, None),
            Self::Unknown(code) => (*code, None),
        }
    }

    fn from_wire(code: u8, record: Option<SignedRecord>) -> Self {
        match (code, record) {
            (answer::STORED, _) => Self::Stored,
            (answer::FULL, _) => Self::Full,
            (answer::NOT_ACCEPTED, _) => Self::NotAccepted,
            (answer::SEAL_AGAIN, Some(record)) => Self::SealAgain(record),
            (answer::FAILED, _) => Self::Failed,
            (code, _) => Self::Unknown(code),
        }
    }
}

impl FromHolder {
    /// Encodes kind and body, without the length.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Holding {
                envelopes,
                bytes,
                since_ms,
            } => frame(kind::HOLDING, &codec::encode(&(envelopes, bytes, since_ms))),
            Self::NotHolding => frame(kind::NOT_HOLDING, &[]),
            Self::Answer(number, answer) => {
                frame(kind::ANSWER, &codec::encode(&(number, answer.to_wire())))
            }
            Self::Waiting(waiting) => frame(kind::WAITING, &codec::encode(waiting)),
            Self::PageEnd(more) => frame(kind::PAGE_END, &codec::encode(more)),
            Self::News => frame(kind::NEWS, &[]),
            Self::Unknown(kind) => frame(*kind, &[]),
        }
    }

    /// Decodes kind and body of an untrusted frame.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        or_unknown(Self::decode_known(bytes), Self::Unknown)
    }

    fn decode_known(bytes: &[u8]) -> Result<Self, FrameError> {
        let (&kind, rest) = bytes.split_first().ok_or(FrameError::Empty)?;
        let frame = match kind {
            kind::HOLDING => {
                let (envelopes, bytes, since_ms) = body(kind, rest)?;
                Self::Holding {
                    envelopes,
                    bytes,
                    since_ms,
                }
            }
            kind::NOT_HOLDING => {
                body::<()>(kind, rest)?;
                Self::NotHolding
            }
            kind::ANSWER => {
                let (number, (code, record)) =
                    body::<(u64, (u8, Option<SignedRecord>))>(kind, rest)?;
                Self::Answer(number, DepositAnswer::from_wire(code, record))
            }
            kind::WAITING => Self::Waiting(body(kind, rest)?),
            kind::PAGE_END => Self::PageEnd(body(kind, rest)?),
            kind::NEWS => {
                body::<()>(kind, rest)?;
                Self::News
            }
            unknown => Self::Unknown(unknown),
        };
        let fits = match &frame {
            Self::Answer(_, DepositAnswer::SealAgain(record)) => {
                record.as_bytes().len() <= MAILBOX_BYTES_MAX
            }
            Self::Waiting(waiting) => waiting.envelope.len() <= ENVELOPE_BYTES_MAX,
            Self::Holding { .. }
            | Self::NotHolding
            | Self::Answer(..)
            | Self::PageEnd(_)
            | Self::News
            | Self::Unknown(_) => true,
        };
        if fits {
            Ok(frame)
        } else {
            Err(FrameError::TooMany(kind))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer() -> DeviceId {
        DeviceId::from_bytes([2; 32])
    }

    fn token() -> DepositToken {
        DepositToken::new(&[7; 32], peer(), peer(), 1)
    }

    fn deposit(bytes: usize) -> ToHolder {
        ToHolder::Deposit(Deposit {
            number: 300,
            recipient: peer(),
            token: token(),
            envelope: vec![4; bytes],
        })
    }

    fn waiting(bytes: usize) -> FromHolder {
        FromHolder::Waiting(Waiting {
            number: 9,
            sender: peer(),
            arrived_at_ms: 300,
            envelope: vec![4; bytes],
        })
    }

    fn record(bytes: usize) -> SignedRecord {
        SignedRecord::from_bytes(vec![6; bytes])
    }

    fn hold(bytes: usize, senders: usize) -> ToHolder {
        ToHolder::Hold {
            record: record(bytes),
            senders: vec![TokenHash::from_bytes([5; 32]); senders],
        }
    }

    #[test]
    fn golden_bytes() {
        assert_eq!(
            hold(2, 1).encode()[..],
            [&[1, 2, 6, 6, 1][..], &[5; 32]].concat()
        );
        assert_eq!(
            deposit(1).encode()[..],
            [
                &[2, 251, 0x2c, 1][..],
                &[2; 32],
                &codec::encode(&token()),
                &[1, 4]
            ]
            .concat()
        );
        assert_eq!(ToHolder::Fetch(300).encode()[..], [3, 251, 0x2c, 1]);
        assert_eq!(ToHolder::Delete(vec![1, 9]).encode()[..], [4, 2, 1, 9]);
        let holding = FromHolder::Holding {
            envelopes: 1,
            bytes: 300,
            since_ms: 2,
        };
        assert_eq!(holding.encode()[..], [65, 1, 251, 0x2c, 1, 2]);
        assert_eq!(FromHolder::NotHolding.encode()[..], [66]);
        for (answer, bytes) in [
            (DepositAnswer::Stored, &[67, 5, 0, 0][..]),
            (DepositAnswer::Full, &[67, 5, 1, 0]),
            (DepositAnswer::NotAccepted, &[67, 5, 2, 0]),
            (DepositAnswer::SealAgain(record(1)), &[67, 5, 3, 1, 1, 6]),
            (DepositAnswer::Failed, &[67, 5, 4, 0]),
        ] {
            let frame = FromHolder::Answer(5, answer);
            assert_eq!(frame.encode()[..], *bytes);
            assert_eq!(FromHolder::decode(bytes), Ok(frame));
        }
        assert_eq!(
            waiting(1).encode()[..],
            [&[68, 9][..], &[2; 32], &[251, 0x2c, 1, 1, 4]].concat()
        );
        assert_eq!(FromHolder::PageEnd(true).encode()[..], [69, 1]);
        assert_eq!(FromHolder::News.encode()[..], [70]);
    }

    #[test]
    fn the_longest_frames_fit() {
        for frame in [
            hold(MAILBOX_BYTES_MAX, SENDERS_MAX),
            deposit(ENVELOPE_BYTES_MAX),
            ToHolder::Fetch(u64::MAX),
            ToHolder::Delete(vec![u64::MAX; NUMBERS_MAX]),
        ] {
            assert!(frame.encode().len() <= FRAME_MAX);
            assert_eq!(ToHolder::decode(&frame.encode()), Ok(frame));
        }
        let frame = waiting(ENVELOPE_BYTES_MAX);
        assert!(frame.encode().len() <= FRAME_MAX);
        assert_eq!(FromHolder::decode(&frame.encode()), Ok(frame));
    }

    #[test]
    fn what_is_too_long_is_refused() {
        for (kind, frame) in [
            (1, hold(MAILBOX_BYTES_MAX + 1, 1)),
            (1, hold(1, SENDERS_MAX + 1)),
            (2, deposit(ENVELOPE_BYTES_MAX + 1)),
            (4, ToHolder::Delete(vec![1; NUMBERS_MAX + 1])),
        ] {
            let refused = Err(FrameError::TooMany(kind));
            assert_eq!(ToHolder::decode(&frame.encode()), refused);
        }
        let long = waiting(ENVELOPE_BYTES_MAX + 1).encode();
        assert_eq!(FromHolder::decode(&long), Err(FrameError::TooMany(68)));
        let record = DepositAnswer::SealAgain(record(MAILBOX_BYTES_MAX + 1));
        let long = FromHolder::Answer(1, record).encode();
        assert_eq!(FromHolder::decode(&long), Err(FrameError::TooMany(67)));
    }

    #[test]
    fn frames_from_the_future_are_understood_as_far_as_possible() {
        assert_eq!(ToHolder::decode(&[200, 1]), Ok(ToHolder::Unknown(200)));
        assert_eq!(FromHolder::decode(&[200, 1]), Ok(FromHolder::Unknown(200)));
        let extended = [&ToHolder::Fetch(5).encode()[..], &[1, 7, 2, 0, 0]].concat();
        assert_eq!(ToHolder::decode(&extended), Ok(ToHolder::Fetch(5)));
        let needed = [&ToHolder::Fetch(5).encode()[..], &[1, 8, 0]].concat();
        assert_eq!(ToHolder::decode(&needed), Ok(ToHolder::Unknown(3)));
        assert!(ToHolder::decode(&[3, 5, 9]).is_err(), "no extensions");
        let answer = FromHolder::decode(&[67, 5, 99, 0]);
        let unknown = FromHolder::Answer(5, DepositAnswer::Unknown(99));
        assert_eq!(answer, Ok(unknown));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let _ = ToHolder::decode(&bytes);
            let _ = FromHolder::decode(&bytes);
        }
    }
}
