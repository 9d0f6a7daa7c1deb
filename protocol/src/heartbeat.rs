//! Sealed datagrams between a relay and a node whose connection with it sleeps.
//!
//! A node that has nothing to say closes its QUIC connection with the relay in agreement, and keeps
//! its registration by heartbeats. A heartbeat has 33 bytes:
//!
//! | bytes | content |
//! | --- | --- |
//! | 1 | [`HEARTBEAT`] |
//! | 8 | the [`Handle`] that the relay chose for this sleep |
//! | 1 | the purpose of the datagram |
//! | 7 | counter, big-endian |
//! | 0, or more | content, encrypted |
//! | 16 | tag |
//!
//! The datagram is sealed with ChaCha20-Poly1305 (RFC 8439). The key is the BLAKE3 hash of the
//! purpose and the handle, keyed with a secret that both ends export from the TLS session that they
//! close ([`SLEEP_EXPORTER_LABEL`]). So each sleep has one key for each purpose, and a purpose has one
//! direction.
//! The nonce is four zero bytes, then the purpose and the counter. The associated data is everything
//! before the content. A sender never repeats a counter, and a receiver accepts each at most once
//! ([`ReplayWindow`]). Handle and keys last for one sleep, at most [`SLEEP_MAX`].
//!
//! A relay that does not know a handle, for example after a restart, answers with a [`Reset`]: 25
//! bytes with a token that only this relay can make. The node knows the token since it fell asleep.

use std::time::Duration;

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroize;

use crate::identity::DeviceId;

/// First byte of a heartbeat, and of everything else between a relay and a sleeping node.
pub const HEARTBEAT: u8 = 0x12;

/// The label under which both ends of a connection export the secret of a sleep (RFC 8446 section
/// 7.5).
pub const SLEEP_EXPORTER_LABEL: &[u8] = b"hobnob 1 sleep";

/// The longest sleep. Then the node connects again, for new keys.
pub const SLEEP_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A relay answers heartbeats whose counter is a multiple of this.
pub const ANSWERED: u64 = 4;

/// How many counters before the highest one a receiver still accepts.
pub const WINDOW: u64 = 64;

const HEADER_LEN: usize = 17;
const TAG_LEN: usize = 16;

/// The largest counter: seven bytes.
const COUNTER_MAX: u64 = (1 << 56) - 1;

/// Length of the longest content: a device id and what it wants.
const CONTENT_MAX: usize = 33;

/// The name of one sleep: 8 random bytes that the relay chose.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Handle(pub [u8; 8]);

impl Handle {
    /// The handle of a datagram of class [`Class::Heartbeat`](crate::datagram::Class::Heartbeat).
    pub fn of(datagram: &[u8]) -> Option<Handle> {
        datagram.get(1..9)?.try_into().ok().map(Handle)
    }
}

/// What a sealed datagram says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// The node is alive, and its address is the source of the datagram.
    Beat,
    /// The node leaves the relay.
    Leave,
    /// The answer to [`Message::Challenge`], with the counter of the challenge.
    Reached,
    /// The node does not want to be woken for this peer.
    Declined(DeviceId),
    /// The relay is there: the answer to a heartbeat, see [`ANSWERED`].
    Answer,
    /// The relay asks whether the node is at the new address that a heartbeat came from.
    Challenge,
    /// A peer wants something from the node, which should connect again.
    Wake(DeviceId, Wanted),
}

/// What a peer wants from a sleeping node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A channel.
    Channel,
    /// Something that this version does not know.
    Unknown(u8),
}

impl Wanted {
    fn number(self) -> u8 {
        match self {
            Self::Channel => 1,
            Self::Unknown(number) => number,
        }
    }
}

impl Message {
    fn purpose(&self) -> u8 {
        match self {
            Self::Beat => 1,
            Self::Leave => 2,
            Self::Reached => 3,
            Self::Declined(_) => 4,
            Self::Answer => 65,
            Self::Challenge => 66,
            Self::Wake(..) => 67,
        }
    }

    /// The message of a purpose with this content.
    fn of(purpose: u8, content: &[u8]) -> Option<Message> {
        let message = match (purpose, content) {
            (1, []) => Self::Beat,
            (2, []) => Self::Leave,
            (3, []) => Self::Reached,
            (4, peer) => Self::Declined(DeviceId::from_bytes(peer.try_into().ok()?)),
            (65, []) => Self::Answer,
            (66, []) => Self::Challenge,
            (67, [peer @ .., wanted]) => {
                let wanted = match wanted {
                    1 => Wanted::Channel,
                    number => Wanted::Unknown(*number),
                };
                Self::Wake(DeviceId::from_bytes(peer.try_into().ok()?), wanted)
            }
            _ => return None,
        };
        Some(message)
    }
}

/// A sealed datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram {
    len: usize,
    bytes: [u8; Datagram::LEN_MAX],
}

impl Datagram {
    /// Length of a datagram without content.
    pub const LEN_MIN: usize = HEADER_LEN + TAG_LEN;

    /// Length of the longest datagram.
    pub const LEN_MAX: usize = HEADER_LEN + CONTENT_MAX + TAG_LEN;

    /// A received datagram. `None` if no datagram of this kind has this length.
    pub fn of(datagram: &[u8]) -> Option<Self> {
        let len = datagram.len();
        let fits = len == Reset::LEN || (Self::LEN_MIN..=Self::LEN_MAX).contains(&len);
        fits.then(|| {
            let mut bytes = [0; Self::LEN_MAX];
            bytes[..len].copy_from_slice(datagram);
            Self { len, bytes }
        })
    }

    /// Its bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The secret of one sleep, from which the keys derive.
#[derive(Clone)]
pub struct SleepSecret([u8; 32]);

impl SleepSecret {
    /// The secret that both ends have exported, see [`SLEEP_EXPORTER_LABEL`].
    pub fn new(exported: [u8; 32]) -> Self {
        Self(exported)
    }

    /// Seals a message. Each counter may be used once for each message of a sleep, except that
    /// [`Message::Reached`] repeats the counter of its challenge.
    ///
    /// # Panics
    ///
    /// If the counter has more than seven bytes.
    pub fn seal(&self, handle: Handle, counter: u64, message: &Message) -> Datagram {
        assert!(counter <= COUNTER_MAX, "a sleep is too short for so many");
        let purpose = message.purpose();
        let mut content = [0; CONTENT_MAX];
        let content_len = match message {
            Message::Beat
            | Message::Leave
            | Message::Reached
            | Message::Answer
            | Message::Challenge => 0,
            Message::Declined(peer) => {
                content[..32].copy_from_slice(peer.as_bytes());
                32
            }
            Message::Wake(peer, wanted) => {
                content[..32].copy_from_slice(peer.as_bytes());
                content[32] = wanted.number();
                33
            }
        };
        let mut bytes = [0; Datagram::LEN_MAX];
        bytes[0] = HEARTBEAT;
        bytes[1..9].copy_from_slice(&handle.0);
        bytes[9..HEADER_LEN].copy_from_slice(&numbered(purpose, counter));
        let (header, rest) = bytes.split_at_mut(HEADER_LEN);
        rest[..content_len].copy_from_slice(&content[..content_len]);
        let tag = self
            .key(handle, purpose)
            .seal_in_place_separate_tag(
                nonce(purpose, counter),
                Aad::from(&*header),
                &mut rest[..content_len],
            )
            .expect("a short content can always be sealed");
        rest[content_len..content_len + TAG_LEN].copy_from_slice(tag.as_ref());
        Datagram {
            len: HEADER_LEN + content_len + TAG_LEN,
            bytes,
        }
    }

    /// Opens a datagram. Returns its counter and its message, or nothing if it is forged, damaged or
    /// of a purpose that this version does not know.
    pub fn open(&self, datagram: &[u8]) -> Option<(u64, Message)> {
        let mut sealed = Datagram::of(datagram)?;
        let (header, rest) = sealed.bytes[..sealed.len].split_at_mut_checked(HEADER_LEN)?;
        let (purpose, counter) = purpose_and_counter(header)?;
        let content = self
            .key(Handle::of(datagram)?, purpose)
            .open_in_place(nonce(purpose, counter), Aad::from(&*header), rest)
            .ok()?;
        Message::of(purpose, content).map(|message| (counter, message))
    }

    /// A connection may agree to several sleeps, one after the other, with counters from 1. Each has a
    /// handle and keys of its own, so no nonce is used twice with one key.
    fn key(&self, handle: Handle, purpose: u8) -> LessSafeKey {
        let mut input = [purpose; 9];
        input[1..].copy_from_slice(&handle.0);
        let mut key = *blake3::keyed_hash(&self.0, &input).as_bytes();
        let unbound = UnboundKey::new(&CHACHA20_POLY1305, &key);
        key.zeroize();
        LessSafeKey::new(unbound.expect("a hash is as long as a key"))
    }
}

impl std::fmt::Debug for SleepSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SleepSecret(..)")
    }
}

impl Drop for SleepSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The counter of a datagram, before anything is verified.
pub fn counter(datagram: &[u8]) -> Option<u64> {
    purpose_and_counter(datagram.get(..HEADER_LEN)?).map(|(_, counter)| counter)
}

fn purpose_and_counter(header: &[u8]) -> Option<(u8, u64)> {
    let numbered = u64::from_be_bytes(header.get(9..HEADER_LEN)?.try_into().ok()?);
    let [purpose, ..] = numbered.to_be_bytes();
    Some((purpose, numbered & COUNTER_MAX))
}

fn numbered(purpose: u8, counter: u64) -> [u8; 8] {
    let mut bytes = counter.to_be_bytes();
    bytes[0] = purpose;
    bytes
}

fn nonce(purpose: u8, counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&numbered(purpose, counter));
    Nonce::assume_unique_for_key(nonce)
}

/// A relay's answer to a heartbeat with a handle that it does not know. It is shorter than the
/// heartbeat.
pub struct Reset;

impl Reset {
    /// Length on the wire.
    pub const LEN: usize = 1 + 8 + 16;

    /// The token for a handle under a key that only the relay knows. Anybody can make the relay send
    /// the token of a handle that it does not know, and it means nothing then.
    pub fn token(key: &[u8; 32], handle: Handle) -> [u8; 16] {
        let hash = blake3::keyed_hash(key, &handle.0);
        std::array::from_fn(|i| hash.as_bytes()[i])
    }

    /// The datagram.
    pub fn encode(handle: Handle, token: &[u8; 16]) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[0] = HEARTBEAT;
        bytes[1..9].copy_from_slice(&handle.0);
        bytes[9..].copy_from_slice(token);
        bytes
    }

    /// Whether a datagram is the reset with this handle and token. Compares in constant time.
    pub fn is(datagram: &[u8], handle: Handle, token: &[u8; 16]) -> bool {
        let expected = Self::encode(handle, token);
        aws_lc_rs::constant_time::verify_slices_are_equal(datagram, &expected).is_ok()
    }
}

/// The counters that a receiver has accepted: each at most once, and none that is older than the
/// highest one by [`WINDOW`] or more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplayWindow {
    /// The highest accepted counter.
    highest: u64,
    /// Bit `n`: the counter `highest - n` was accepted.
    seen: u64,
}

impl ReplayWindow {
    /// Whether this counter would be accepted.
    pub fn is_new(&self, counter: u64) -> bool {
        match self.highest.checked_sub(counter) {
            None => true,
            Some(age) => age < WINDOW && self.seen & (1 << age) == 0,
        }
    }

    /// Accepts a counter of a verified datagram. Returns false if it is not new.
    pub fn accept(&mut self, counter: u64) -> bool {
        if !self.is_new(counter) {
            return false;
        }
        match counter.checked_sub(self.highest) {
            Some(ahead) => {
                let shift = u32::try_from(ahead).unwrap_or(u32::MAX);
                self.seen = self.seen.checked_shl(shift).unwrap_or(0) | 1;
                self.highest = counter;
            }
            None => self.seen |= 1 << (self.highest - counter),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datagram::Class;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const HANDLE: Handle = Handle([1, 2, 3, 4, 5, 6, 7, 8]);

    fn secret() -> SleepSecret {
        SleepSecret::new([7; 32])
    }

    fn messages() -> [Message; 8] {
        let peer = DeviceId::from_bytes([9; 32]);
        [
            Message::Beat,
            Message::Leave,
            Message::Reached,
            Message::Declined(peer),
            Message::Answer,
            Message::Challenge,
            Message::Wake(peer, Wanted::Channel),
            Message::Wake(peer, Wanted::Unknown(9)),
        ]
    }

    fn hex(bytes: &[u8]) -> String {
        data_encoding::HEXLOWER.encode(bytes)
    }

    #[test]
    fn every_message_opens_with_its_counter() {
        for (n, message) in messages().into_iter().enumerate() {
            let counter = u64::try_from(n).expect("few");
            let datagram = secret().seal(HANDLE, counter, &message);
            let bytes = datagram.as_slice();
            assert_eq!(Class::of(bytes), Class::Heartbeat);
            assert_eq!(Handle::of(bytes), Some(HANDLE));
            assert_eq!(super::counter(bytes), Some(counter));
            assert_eq!(secret().open(bytes), Some((counter, message)));
            assert_eq!(SleepSecret::new([8; 32]).open(bytes), None);
            for at in 0..bytes.len() {
                let mut forged = bytes.to_vec();
                forged[at] ^= 1;
                assert_eq!(secret().open(&forged), None, "{message:?}, byte {at}");
            }
        }
    }

    #[test]
    fn a_heartbeat_has_33_bytes_and_a_challenge_is_no_longer() {
        for message in [Message::Beat, Message::Challenge, Message::Answer] {
            assert_eq!(secret().seal(HANDLE, 5, &message).as_slice().len(), 33);
        }
        const { assert!(Reset::LEN < Datagram::LEN_MIN) }
    }

    #[test]
    fn golden_bytes() {
        let peer = DeviceId::from_bytes([9; 32]);
        let sealed = |message| hex(secret().seal(HANDLE, 300, &message).as_slice());
        let golden = [
            (Message::Beat, GOLDEN_BEAT),
            (Message::Answer, GOLDEN_ANSWER),
            (Message::Wake(peer, Wanted::Channel), GOLDEN_WAKE),
        ];
        for (message, expected) in golden {
            assert_eq!(sealed(message), expected, "{message:?}");
        }
        let token = Reset::token(&[3; 32], HANDLE);
        let reset = Reset::encode(HANDLE, &token);
        assert_eq!(hex(&reset), GOLDEN_RESET);
    }

    /// Computed by another implementation of BLAKE3 and ChaCha20-Poly1305.
    const GOLDEN_BEAT: &str = "\
         120102030405060708010000000000012cde4c66b8155a7b511932500fe4a15155";
    const GOLDEN_ANSWER: &str = "\
         120102030405060708410000000000012c0a71b5abb9eb0a20ef2260b4c7777177";
    const GOLDEN_WAKE: &str = "\
         120102030405060708430000000000012ca991d5b4b03e1939e1c580e021bfd456\
         c3b6a1b719c838d2b9eea3e38c07aba5a16a7b85675b0926a18884f5cb33e10f3f";
    const GOLDEN_RESET: &str = "120102030405060708a6c433f699bea6da40acafd6f0c74352";

    #[test]
    fn a_reset_fits_one_handle_and_token() {
        let token = Reset::token(&[3; 32], HANDLE);
        let reset = Reset::encode(HANDLE, &token);
        assert_eq!(Class::of(&reset), Class::Heartbeat);
        assert!(Reset::is(&reset, HANDLE, &token));
        assert!(!Reset::is(&reset, Handle([0; 8]), &token));
        assert!(!Reset::is(&reset, HANDLE, &[0; 16]));
        assert!(!Reset::is(&reset[1..], HANDLE, &token));
        assert_ne!(Reset::token(&[4; 32], HANDLE), token);
        assert_eq!(secret().open(&reset), None);
    }

    #[test]
    fn a_window_accepts_64_counters_behind_the_highest() {
        let mut window = ReplayWindow::default();
        assert!(window.accept(100) && !window.accept(100));
        assert!(window.accept(100 - WINDOW + 1));
        assert!(!window.accept(100 - WINDOW), "it is too old");
        assert!(window.accept(99) && !window.accept(99));
        assert!(window.accept(COUNTER_MAX) && !window.accept(100));
    }

    proptest! {
        #[test]
        fn a_window_accepts_each_counter_once(counters in prop::collection::vec(0_u64..300, 0..200)) {
            let (mut window, mut accepted, mut highest) = (ReplayWindow::default(), BTreeSet::new(), 0);
            for counter in counters {
                let is_recent = counter + WINDOW > highest;
                let expected = is_recent && accepted.insert(counter);
                prop_assert_eq!(window.accept(counter), expected);
                if expected {
                    highest = highest.max(counter);
                }
            }
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(secret().open(&bytes), None);
            let _ = Handle::of(&bytes);
            let _ = super::counter(&bytes);
        }
    }
}
