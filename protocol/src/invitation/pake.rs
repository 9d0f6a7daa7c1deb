//! The comparison of two codes: SPAKE2 (RFC 9382's group, Ed25519) with a key confirmation of our own.
//!
//! The accepter begins. Neither element tells anything about the words. An end that derives another
//! key learns only that this one guess was wrong. The keys depend on the words, on both roles and on
//! both peer ids, which TLS has proved. The confirmations also cover the number and the TLS exporter,
//! so they are worth nothing on another connection.

use rand_core::{CryptoRng, RngCore};
use spake2::{Ed25519Group, Identity, Password, Spake2};

use super::code::{CodeNumber, Words};
use super::{Confirmation, Element};
use crate::codec;
use crate::identity::DeviceId;

/// The labels of the two ends in the identities of SPAKE2.
const ACCEPTER: &[u8] = b"hobnob 1 invitation accepter";
const INVITER: &[u8] = b"hobnob 1 invitation inviter";

/// The first byte of an element in the library's messages: its side. It does not travel.
const SIDES: [u8; 2] = *b"AB";

/// Whether codes can be compared: only a build with the feature `invitations` can.
pub const IS_BUILT: bool = true;

/// Both ends of an exchange. TLS has proved the identities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The end that created the code.
    pub inviter: DeviceId,
    /// The end whose user typed it.
    pub accepter: DeviceId,
}

/// One end of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Accepter,
    Inviter,
}

/// An exchange that waits for the other end's element.
pub struct Exchange {
    role: Role,
    ends: Ends,
    number: CodeNumber,
    state: Spake2<Ed25519Group>,
    element: Element,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange")
            .field("role", &self.role)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Exchange {
    /// The accepter's end. The seed must be random, secret and used once. Returns nothing in a build
    /// without invitations.
    pub fn accept(number: CodeNumber, words: &Words, ends: Ends, seed: [u8; 32]) -> Option<Self> {
        Some(Self::begin(Role::Accepter, number, words, ends, seed))
    }

    /// The inviter's end, as [`Exchange::accept`].
    pub fn invite(number: CodeNumber, words: &Words, ends: Ends, seed: [u8; 32]) -> Option<Self> {
        Some(Self::begin(Role::Inviter, number, words, ends, seed))
    }

    fn begin(role: Role, number: CodeNumber, words: &Words, ends: Ends, seed: [u8; 32]) -> Self {
        let password = Password::new(words.as_password());
        let identity =
            |label: &[u8], peer: DeviceId| Identity::new(&[label, peer.as_bytes()].concat());
        let accepter = identity(ACCEPTER, ends.accepter);
        let inviter = identity(INVITER, ends.inviter);
        let random = Seeded::new(seed);
        let (state, message) = match role {
            Role::Accepter => Spake2::start_a_with_rng(&password, &accepter, &inviter, random),
            Role::Inviter => Spake2::start_b_with_rng(&password, &accepter, &inviter, random),
        };
        let element = message[1..].try_into().expect("a point has 32 bytes");
        Self {
            role,
            ends,
            number,
            state,
            element,
        }
    }

    /// The element for the other end.
    pub fn element(&self) -> Element {
        self.element
    }

    /// Derives the key from the other end's element. `exporter` is a secret of the TLS session.
    /// Returns nothing if the bytes are no element.
    pub fn finish(self, theirs: &Element, exporter: &[u8; 32]) -> Option<Confirmations> {
        let [accepter, inviter] = SIDES;
        let (side, elements) = match self.role {
            Role::Accepter => (inviter, [self.element, *theirs]),
            Role::Inviter => (accepter, [*theirs, self.element]),
        };
        let key = self.state.finish(&[&[side], &theirs[..]].concat()).ok()?;
        let Ends { inviter, accepter } = self.ends;
        let transcript = codec::encode(&(self.number, inviter, accepter, elements, exporter));
        let mac = |label: &str| {
            let key = blake3::derive_key(label, &key);
            blake3::keyed_hash(&key, &transcript)
        };
        let accepter = mac("hobnob 1 invitation accepter confirms");
        let inviter = mac("hobnob 1 invitation inviter confirms");
        Some(match self.role {
            Role::Accepter => Confirmations::new(accepter, inviter),
            Role::Inviter => Confirmations::new(inviter, accepter),
        })
    }
}

/// The proofs that both ends have derived the same key.
pub struct Confirmations {
    ours: blake3::Hash,
    theirs: blake3::Hash,
}

/// Shows nothing: until it is sent, a confirmation is secret.
impl std::fmt::Debug for Confirmations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Confirmations(..)")
    }
}

impl Confirmations {
    fn new(ours: blake3::Hash, theirs: blake3::Hash) -> Self {
        Self { ours, theirs }
    }

    /// The proof for the other end.
    pub fn ours(&self) -> Confirmation {
        *self.ours.as_bytes()
    }

    /// Whether the other end knows the words. Takes equally long for every wrong proof.
    pub fn verify(&self, theirs: &Confirmation) -> bool {
        self.theirs == blake3::Hash::from_bytes(*theirs)
    }
}

/// Random bytes from a seed, for one exchange.
struct Seeded(blake3::OutputReader);

impl Seeded {
    fn new(seed: [u8; 32]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("hobnob 1 invitation scalar");
        hasher.update(&seed);
        Self(hasher.finalize_xof())
    }
}

impl RngCore for Seeded {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl CryptoRng for Seeded {}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPORTER: [u8; 32] = [9; 32];

    fn ends() -> Ends {
        Ends {
            inviter: DeviceId::from_bytes([1; 32]),
            accepter: DeviceId::from_bytes([2; 32]),
        }
    }

    fn number() -> CodeNumber {
        CodeNumber::random(481_593)
    }

    fn words(n: u8) -> Words {
        Words::random(&[n; 32])
    }

    fn accepter(n: u8) -> Exchange {
        Exchange::accept(number(), &words(n), ends(), [3; 32]).expect("built")
    }

    fn inviter(n: u8) -> Exchange {
        Exchange::invite(number(), &words(n), ends(), [4; 32]).expect("built")
    }

    /// The confirmations of both ends.
    fn exchange(a: Exchange, b: Exchange, at: [[u8; 32]; 2]) -> (Confirmations, Confirmations) {
        let (of_a, of_b) = (a.element(), b.element());
        let a = a.finish(&of_b, &at[0]).expect("an element");
        let b = b.finish(&of_a, &at[1]).expect("an element");
        (a, b)
    }

    #[test]
    fn two_ends_with_the_same_words_confirm_each_other() {
        let (a, b) = exchange(accepter(1), inviter(1), [EXPORTER; 2]);
        assert!(b.verify(&a.ours()) && a.verify(&b.ours()));
        assert!(!a.verify(&a.ours()), "a confirmation cannot be sent back");
    }

    #[test]
    fn other_words_another_connection_or_another_peer_confirm_nothing() {
        let (a, b) = exchange(accepter(1), inviter(2), [EXPORTER; 2]);
        assert!(!b.verify(&a.ours()) && !a.verify(&b.ours()));
        let (a, b) = exchange(accepter(1), inviter(1), [EXPORTER, [8; 32]]);
        assert!(!b.verify(&a.ours()) && !a.verify(&b.ours()));
        let in_between = Ends {
            accepter: DeviceId::from_bytes([7; 32]),
            ..ends()
        };
        let other = Exchange::invite(number(), &words(1), in_between, [4; 32]).expect("built");
        let (a, b) = exchange(accepter(1), other, [EXPORTER; 2]);
        assert!(!b.verify(&a.ours()) && !a.verify(&b.ours()));
    }

    #[test]
    fn elements_do_not_depend_on_the_words_alone() {
        let first = Exchange::accept(number(), &words(1), ends(), [5; 32]).expect("built");
        assert_ne!(first.element(), accepter(1).element());
    }

    #[test]
    fn bytes_that_are_no_point_are_refused() {
        // 2 is no y coordinate of a point on the curve.
        let mut bytes = [0; 32];
        bytes[0] = 2;
        assert!(accepter(1).finish(&bytes, &EXPORTER).is_none());
    }
}
