//! What travels on a hobnob's one UDP port, told apart by its first byte as RFC 9443 does.
//!
//! | first byte | what |
//! | --- | --- |
//! | 0x40..=0xFF | QUIC |
//! | 0x00..=0x03, with the magic cookie | STUN (RFC 8489 section 5) |
//! | 0x10 | channel frame: [`ChannelId`], then one QUIC datagram of the two ends |
//! | 0x11 | knock: opens a NAT, and proves that it is open; a [`Knock`] |

use std::fmt;

use crate::identity::PeerId;

/// First byte of a channel frame.
pub const CHANNEL: u8 = 0x10;

/// First byte of a knock.
pub const KNOCK: u8 = 0x11;

/// Bytes before the inner datagram of a channel frame: [`CHANNEL`] and a channel id.
pub const CHANNEL_HEADER: usize = 9;

/// The magic cookie in every STUN message (RFC 8489 section 5), at bytes 4 to 8.
pub const STUN_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// What a datagram is, as far as its first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// QUIC: for quinn.
    Quic,
    /// A STUN message.
    Stun,
    /// A frame of a channel: at least a whole header.
    Channel,
    /// A knock: of the right length.
    Knock,
    /// Of no known kind, or too short for its kind.
    Unknown,
}

impl Class {
    /// Tells a datagram's class.
    pub fn of(datagram: &[u8]) -> Class {
        match datagram.first() {
            Some(0x40..=0xff) => Class::Quic,
            Some(0x00..=0x03) if datagram.get(4..8) == Some(&STUN_COOKIE) => Class::Stun,
            Some(&CHANNEL) if datagram.len() > CHANNEL_HEADER => Class::Channel,
            Some(&KNOCK) if datagram.len() == Knock::LEN => Class::Knock,
            Some(_) | None => Class::Unknown,
        }
    }
}

/// One end's name of a channel through a relay: 8 random bytes. The two ends of a channel have
/// different ones.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct ChannelId(pub [u8; 8]);

impl ChannelId {
    /// The channel of a frame of class [`Class::Channel`].
    pub fn of(frame: &[u8]) -> Option<ChannelId> {
        frame.get(1..CHANNEL_HEADER)?.try_into().ok().map(ChannelId)
    }

    /// What stands before an inner datagram of this channel.
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

/// A knock: whoever sends it knows the secret of a session with the receiver, and is where it comes
/// from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Knock {
    /// Whether this answers a knock: then the way is open in both directions.
    pub answer: bool,
    /// Derived from the session's secret, another in each direction; means nothing to others.
    pub token: [u8; 16],
}

impl Knock {
    /// Length of a knock on the wire.
    pub const LEN: usize = 18;

    /// What the knocks of `sender` say in the session whose exported secret this is.
    pub fn token(exporter: &[u8; 32], sender: PeerId) -> [u8; 16] {
        let secret = blake3::derive_key(
            "hobnob 1 knock",
            &[&exporter[..], sender.as_bytes()].concat(),
        );
        std::array::from_fn(|i| secret[i])
    }

    /// The datagram.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        (bytes[0], bytes[1]) = (KNOCK, u8::from(self.answer));
        bytes[2..].copy_from_slice(&self.token);
        bytes
    }

    /// A knock from a datagram of class [`Class::Knock`].
    pub fn decode(datagram: &[u8]) -> Option<Knock> {
        let (&[KNOCK, answer @ (0 | 1)], token) = datagram.split_at_checked(2)? else {
            return None;
        };
        Some(Knock {
            answer: answer == 1,
            token: token.try_into().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_by_first_byte() {
        let stun = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 9, 9];
        let cases: [(&[u8], Class); 10] = [
            (&[0x40], Class::Quic),
            (&[0xff, 1], Class::Quic),
            (&stun, Class::Stun),
            (&[0, 1, 0, 0, 0, 0, 0, 0], Class::Unknown),
            (&[CHANNEL; 10], Class::Channel),
            (&[CHANNEL; 9], Class::Unknown),
            (&[KNOCK; 18], Class::Knock),
            (&[KNOCK; 17], Class::Unknown),
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
        let knock = Knock {
            answer: true,
            token: [7; 16],
        };
        assert_eq!(knock.encode(), [&[0x11, 1][..], &[7; 16]].concat()[..]);
        assert_eq!(Knock::decode(&knock.encode()), Some(knock));
        assert_eq!(Knock::decode(&[0x11; 18]), None);
        let [one, other] = [1, 2].map(|n| Knock::token(&[3; 32], PeerId::from_bytes([n; 32])));
        assert_ne!(one, other, "a knock that is sent back is not an answer");
    }
}
