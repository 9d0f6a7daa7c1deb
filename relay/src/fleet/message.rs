//! The messages between the relays of a fleet.
//!
//! Each is signed by the relay that sends it. A receiver ignores it unless the list of the fleet names
//! that relay. The report of NATS that nobody has a peer is not signed: whoever may publish to a relay's
//! inbox and sees its questions can forge it.

use hobnob_protocol::codec;
use hobnob_protocol::{DeviceId, SecretKey, Signature};
use serde::{Deserialize, Serialize};

use super::ListFile;

/// The number of a search. Nobody else can guess it.
pub(super) type Nonce = [u8; 16];

/// Maximum size of a message, in bytes.
pub(super) const BYTES_MAX: usize = 256;

const SIGNATURE_LEN: usize = 64;

/// The context under which messages about peers are signed.
const LABEL: &str = "hobnob 1 fleet message";

/// A message about a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    /// Asks the relay with which the peer is registered to answer.
    Query { peer: DeviceId, nonce: Nonce },
    /// The peer is registered with the sender.
    Answer { peer: DeviceId, nonce: Nonce },
    /// The peer has registered with the sender at this time, in milliseconds since the Unix epoch.
    Here { peer: DeviceId, since_ms: u64 },
}

/// A message as it travels. Each kind has the same fields.
#[derive(Serialize, Deserialize)]
struct Wire {
    kind: u8,
    relay: DeviceId,
    peer: DeviceId,
    nonce: Nonce,
    since_ms: u64,
}

/// Why a message is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ignored {
    /// It cannot be decoded.
    Malformed,
    /// The list does not name its sender.
    NotMember,
    /// Its signature is wrong.
    Signature,
}

impl Message {
    /// Signs and encodes the message for the fleet with this id.
    pub(super) fn encode(self, fleet: DeviceId, key: &SecretKey) -> Vec<u8> {
        let wire = |kind, peer, nonce, since_ms| Wire {
            kind,
            relay: key.id(),
            peer,
            nonce,
            since_ms,
        };
        let body = codec::encode(&match self {
            Self::Query { peer, nonce } => wire(0, peer, nonce, 0),
            Self::Answer { peer, nonce } => wire(1, peer, nonce, 0),
            Self::Here { peer, since_ms } => wire(2, peer, [0; 16], since_ms),
        });
        sign(LABEL, fleet, key, &body)
    }

    /// Decodes a message whose sender is on the list. Its signature is not checked yet.
    pub(super) fn decode(bytes: &[u8], list: &ListFile) -> Result<Unverified<Self>, Ignored> {
        let (signature, body) = split(bytes, BYTES_MAX)?;
        let wire: Wire = codec::decode::<Wire, BYTES_MAX>(body).map_err(|_| Ignored::Malformed)?;
        let (peer, nonce) = (wire.peer, wire.nonce);
        let message = match wire.kind {
            0 => Self::Query { peer, nonce },
            1 => Self::Answer { peer, nonce },
            2 => Self::Here {
                peer,
                since_ms: wire.since_ms,
            },
            _ => return Err(Ignored::Malformed),
        };
        Unverified::new(LABEL, list, wire.relay, message, (signature, body))
    }
}

/// Signs a body for the fleet with this id. Returns the signature and the body.
pub(super) fn sign(label: &'static str, fleet: DeviceId, key: &SecretKey, body: &[u8]) -> Vec<u8> {
    let signature = key.sign(&to_sign(label, fleet, body));
    [&signature.as_bytes()[..], body].concat()
}

/// The signature and the body of a message of at most `bytes_max` bytes.
pub(super) fn split(bytes: &[u8], bytes_max: usize) -> Result<SignatureAndBody<'_>, Ignored> {
    bytes
        .split_first_chunk::<SIGNATURE_LEN>()
        .filter(|_| bytes.len() <= bytes_max)
        .ok_or(Ignored::Malformed)
}

/// The parts of a message.
type SignatureAndBody<'a> = (&'a [u8; SIGNATURE_LEN], &'a [u8]);

/// A message whose signature is not checked yet: that costs most.
#[derive(Debug)]
pub(super) struct Unverified<M> {
    /// The relay that is said to have sent it.
    pub(super) relay: DeviceId,
    /// What is said.
    pub(super) message: M,
    signed: [u8; 32],
    signature: Signature,
}

impl<M> Unverified<M> {
    /// A decoded message of a relay, if the list names that relay.
    pub(super) fn new(
        label: &'static str,
        list: &ListFile,
        relay: DeviceId,
        message: M,
        (signature, body): SignatureAndBody<'_>,
    ) -> Result<Self, Ignored> {
        if list.list().member(relay).is_none() {
            return Err(Ignored::NotMember);
        }
        Ok(Self {
            relay,
            message,
            signed: to_sign(label, list.fleet(), body),
            signature: Signature::from_bytes(*signature),
        })
    }

    /// Checks the signature. Returns the relay that sent the message, too.
    pub(super) fn verify(self) -> Result<(DeviceId, M), Ignored> {
        let is_right = self.relay.verifies(&self.signed, &self.signature);
        is_right
            .then_some((self.relay, self.message))
            .ok_or(Ignored::Signature)
    }
}

fn to_sign(label: &'static str, fleet: DeviceId, body: &[u8]) -> [u8; 32] {
    let mut hash = blake3::Hasher::new_derive_key(label);
    hash.update(fleet.as_bytes()).update(body);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::super::list_file::tests::{list, relay};
    use super::*;

    fn key(n: u8) -> SecretKey {
        SecretKey::from_seed([n; 32])
    }

    fn read(bytes: &[u8], list: &ListFile) -> Result<(DeviceId, Message), Ignored> {
        Message::decode(bytes, list)?.verify()
    }

    fn all() -> [Message; 3] {
        let (peer, nonce) = (relay(7), [8; 16]);
        let since_ms = 1_700_000_000_000;
        [
            Message::Query { peer, nonce },
            Message::Answer { peer, nonce },
            Message::Here { peer, since_ms },
        ]
    }

    #[test]
    fn every_message_of_a_member_is_read_back() {
        let list = list(1, 1, &[2, 3]);
        for message in all() {
            let bytes = message.encode(list.fleet(), &key(2));
            assert!(bytes.len() <= BYTES_MAX);
            assert_eq!(read(&bytes, &list), Ok((relay(2), message)));
        }
    }

    #[test]
    fn messages_of_strangers_and_of_other_fleets_are_ignored() {
        let list = list(1, 1, &[2, 3]);
        for message in all() {
            let stranger = message.encode(list.fleet(), &key(4));
            assert_eq!(read(&stranger, &list), Err(Ignored::NotMember));
            let other_fleet = message.encode(relay(9), &key(2));
            assert_eq!(read(&other_fleet, &list), Err(Ignored::Signature));
        }
    }

    #[test]
    fn a_changed_or_cut_message_is_ignored() {
        let list = list(1, 1, &[2, 3]);
        for message in all() {
            let bytes = message.encode(list.fleet(), &key(2));
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                assert!(read(&changed, &list).is_err(), "{at}");
                assert!(read(&bytes[..at], &list).is_err(), "{at}");
            }
            let long = [&bytes[..], &[0; BYTES_MAX]].concat();
            assert_eq!(read(&long, &list), Err(Ignored::Malformed));
        }
    }
}
