//! The kinds of datagrams on the one UDP port of a node or relay. As in RFC 9443, the first byte
//! distinguishes them.
//!
//! | first byte | kind |
//! | --- | --- |
//! | 0x40..=0xFF | QUIC |
//! | 0x00..=0x03, with the magic cookie | STUN (RFC 8489 section 5) |
//! | 0x10 | channel frame: a [`ChannelId`], then one QUIC datagram between the two ends |
//! | 0x11 | probe: opens a NAT and shows that it is open, see [`Probe`] |
//! | 0x12 | between a relay and a sleeping node, see [`crate::heartbeat`] |
//! | 0x13 | address check: asks which node answers at an address, see [`AddressCheck`] |

use std::fmt;
use std::net::SocketAddr;

use crate::heartbeat::{self, HEARTBEAT};
use crate::identity::DeviceId;

/// First byte of a channel frame.
pub const CHANNEL: u8 = 0x10;

/// First byte of a probe.
pub const PROBE: u8 = 0x11;

/// First byte of an address check.
pub const ADDRESS_CHECK: u8 = 0x13;

/// Bytes before the inner datagram of a channel frame: [`CHANNEL`] and a channel id.
pub const CHANNEL_HEADER: usize = 9;

/// The magic cookie in every STUN message (RFC 8489 section 5), at bytes 4 to 7, counted from 0.
pub const STUN_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// The kind of a datagram, judged by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// QUIC.
    Quic,
    /// A STUN message.
    Stun,
    /// A channel frame with a whole header and at least one byte after it.
    Channel,
    /// A probe of the right length.
    Probe,
    /// A heartbeat or an answer to one, of a possible length.
    Heartbeat,
    /// An address check of the right length.
    AddressCheck,
    /// No known kind, or too short for its kind.
    Unknown,
}

impl Class {
    /// The class of a datagram.
    pub fn of(datagram: &[u8]) -> Class {
        match datagram.first() {
            Some(0x40..=0xff) => Class::Quic,
            Some(0x00..=0x03) if datagram.get(4..8) == Some(&STUN_COOKIE) => Class::Stun,
            Some(&CHANNEL) if datagram.len() > CHANNEL_HEADER => Class::Channel,
            Some(&PROBE) if datagram.len() == Probe::LEN => Class::Probe,
            Some(&HEARTBEAT) if heartbeat::Datagram::of(datagram).is_some() => Class::Heartbeat,
            Some(&ADDRESS_CHECK) if datagram.len() == AddressCheck::LEN => Class::AddressCheck,
            Some(_) | None => Class::Unknown,
        }
    }
}

/// The name that one end uses for a channel through a relay: 8 random bytes. The two ends of a
/// channel use different names.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct ChannelId(pub [u8; 8]);

impl ChannelId {
    /// The channel of a frame of class [`Class::Channel`].
    pub fn of(frame: &[u8]) -> Option<ChannelId> {
        frame.get(1..CHANNEL_HEADER)?.try_into().ok().map(ChannelId)
    }

    /// The bytes before an inner datagram of this channel.
    pub fn header(self) -> [u8; CHANNEL_HEADER] {
        let mut header = [CHANNEL; CHANNEL_HEADER];
        header[1..].copy_from_slice(&self.0);
        header
    }
}

impl fmt::Debug for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// A hole-punching probe. Its sender knows the secret of a session with the receiver, and its
/// source address is the sender's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Whether this answers a probe. If so, the path is open in both directions.
    pub answer: bool,
    /// Derived from the session's secret, different in each direction. It reveals nothing to
    /// others.
    pub token: [u8; 16],
}

impl Probe {
    /// Length of a probe on the wire.
    pub const LEN: usize = 18;

    /// The token of the probes from `sender` in the session with this exported secret.
    pub fn token(exporter: &[u8; 32], sender: DeviceId) -> [u8; 16] {
        let secret = blake3::derive_key(
            "hobnob 1 probe",
            &[&exporter[..], sender.as_bytes()].concat(),
        );
        std::array::from_fn(|i| secret[i])
    }

    /// The datagram.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        (bytes[0], bytes[1]) = (PROBE, u8::from(self.answer));
        bytes[2..].copy_from_slice(&self.token);
        bytes
    }

    /// Decodes a datagram of class [`Class::Probe`].
    pub fn decode(datagram: &[u8]) -> Option<Probe> {
        let (&[PROBE, answer @ (0 | 1)], token) = datagram.split_at_checked(2)? else {
            return None;
        };
        Some(Probe {
            answer: answer == 1,
            token: token.try_into().ok()?,
        })
    }
}

/// Asks which node answers at an address, before the address is dialed. A dial sends several
/// kilobytes, so an address that only a stranger named is checked first.
///
/// The answer is as long as the question, so nodes cannot be used to amplify traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressCheck {
    /// A question. The asking node recognizes its own token.
    Question(CheckToken),
    /// An answer: the token of the question, and a hash that only the answering node's id fits.
    Answer(CheckToken, [u8; AddressCheck::TAG_LEN]),
}

/// Ties the answer to an address check to the question, and both to one address.
pub type CheckToken = [u8; 16];

impl AddressCheck {
    /// Length of an address check on the wire.
    pub const LEN: usize = 26;

    /// Length of the hash in an answer. A question has as many zeros in its place.
    pub const TAG_LEN: usize = 8;

    /// The token for questions to an address. Only a machine that received the question knows it,
    /// so nobody can answer for another address.
    pub fn token(secret: &[u8; 32], to: SocketAddr) -> CheckToken {
        let hash = blake3::keyed_hash(secret, to.to_string().as_bytes());
        std::array::from_fn(|i| hash.as_bytes()[i])
    }

    /// The answer of a node to a question with this token.
    pub fn answer(token: CheckToken, id: DeviceId) -> Self {
        let hash = blake3::derive_key(
            "hobnob 1 address check",
            &[&token[..], id.as_bytes()].concat(),
        );
        AddressCheck::Answer(token, std::array::from_fn(|i| hash[i]))
    }

    /// The datagram.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let (kind, token, tag) = match self {
            AddressCheck::Question(token) => (0, token, &[0; Self::TAG_LEN]),
            AddressCheck::Answer(token, tag) => (1, token, tag),
        };
        let mut bytes = [0; Self::LEN];
        (bytes[0], bytes[1]) = (ADDRESS_CHECK, kind);
        bytes[2..18].copy_from_slice(token);
        bytes[18..].copy_from_slice(tag);
        bytes
    }

    /// Decodes a datagram of class [`Class::AddressCheck`].
    pub fn decode(datagram: &[u8]) -> Option<AddressCheck> {
        let (&[ADDRESS_CHECK, kind], rest) = datagram.split_at_checked(2)? else {
            return None;
        };
        let (token, tag) = rest.split_at_checked(16)?;
        let (token, tag) = (token.try_into().ok()?, tag.try_into().ok()?);
        match kind {
            0 => Some(AddressCheck::Question(token)),
            1 => Some(AddressCheck::Answer(token, tag)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_check_decodes_and_its_answer_fits_one_node() {
        let to = SocketAddr::from(([192, 0, 2, 1], 4626));
        let token = AddressCheck::token(&[7; 32], to);
        let [ann, bob] = [1, 2].map(|n| DeviceId::from_bytes([n; 32]));
        let answer = AddressCheck::answer(token, ann);
        assert_ne!(answer, AddressCheck::answer(token, bob));
        for check in [AddressCheck::Question(token), answer] {
            let bytes = check.encode();
            assert_eq!(Class::of(&bytes), Class::AddressCheck);
            assert_eq!(AddressCheck::decode(&bytes), Some(check));
            assert_eq!(Class::of(&bytes[1..]), Class::Unknown);
        }
        let mut other_kind = answer.encode();
        other_kind[1] = 2;
        assert_eq!(AddressCheck::decode(&other_kind), None);
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 4627));
        assert_ne!(AddressCheck::token(&[7; 32], elsewhere), token);
    }

    #[test]
    fn classes_by_first_byte() {
        let stun = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 9, 9];
        let cases: [(&[u8], Class); 14] = [
            (&[0x40], Class::Quic),
            (&[0xff, 1], Class::Quic),
            (&stun, Class::Stun),
            (&[0, 1, 0, 0, 0, 0, 0, 0], Class::Unknown),
            (&[CHANNEL; 10], Class::Channel),
            (&[CHANNEL; 9], Class::Unknown),
            (&[PROBE; 18], Class::Probe),
            (&[PROBE; 17], Class::Unknown),
            (&[HEARTBEAT; 25], Class::Heartbeat),
            (&[HEARTBEAT; 33], Class::Heartbeat),
            (&[HEARTBEAT; 32], Class::Unknown),
            (&[HEARTBEAT; 67], Class::Unknown),
            (&[0x20, 1], Class::Unknown),
            (&[], Class::Unknown),
        ];
        for (datagram, class) in cases {
            assert_eq!(Class::of(datagram), class, "{datagram:x?}");
        }
    }

    #[test]
    fn golden_bytes() {
        let id = ChannelId([1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(id.header(), [0x10, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(
            ChannelId::of(&[0x10, 1, 2, 3, 4, 5, 6, 7, 8, 0x40]),
            Some(id)
        );
        let probe = Probe {
            answer: true,
            token: [7; 16],
        };
        assert_eq!(probe.encode(), [&[0x11, 1][..], &[7; 16]].concat()[..]);
        assert_eq!(Probe::decode(&probe.encode()), Some(probe));
        assert_eq!(Probe::decode(&[0x11; 18]), None);
        let [one, other] = [1, 2].map(|n| Probe::token(&[3; 32], DeviceId::from_bytes([n; 32])));
        assert_ne!(one, other, "a reflected probe is not an answer");
    }
}
