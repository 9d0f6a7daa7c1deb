//! What a room with a key adds to an envelope: its content is sealed under that key as well.
//!
//! The envelope is for one mailbox. The inner seal is for those who have the room's key: a peer that
//! has left the room, or has another key, finds nothing in it to read. Not here: which frames it
//! contains, see `room_frames`.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};

use super::hpke::TAG_LEN;
use crate::identity::DeviceId;
use crate::room_key::RoomKey;

/// Bytes of the frame around the content: its kind, epoch, salt, tag, length and authentication.
pub(super) const OVERHEAD: usize = 1 + 5 + 32 + 32 + 5 + TAG_LEN;

/// Maximum bytes of the sealed content. An envelope has room for a little less.
const SEALED_BYTES_MAX: usize = 56 * 1024;

/// Frames of one room, sealed with a key of their own: derived from the room's key and a random salt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomMail {
    /// The number of the room's key, 0 for its first one.
    epoch: u32,
    salt: [u8; 32],
    tag: [u8; 32],
    sealed: Vec<u8>,
}

impl RoomMail {
    pub(super) fn seal_bytes(
        mut content: Vec<u8>,
        key: &RoomKey,
        sender: DeviceId,
        recipient: DeviceId,
    ) -> Self {
        let mut salt = [0; 32];
        rand::fill(&mut salt).expect("the system has random numbers");
        let context = context(sender, recipient);
        cipher(key, &salt)
            .seal_in_place_append_tag(nonce(), Aad::from(context), &mut content)
            .expect("a short message");
        Self {
            epoch: key.epoch(),
            salt,
            tag: key.mail_tag(&salt, sender),
            sealed: content,
        }
    }

    /// Whether these frames are about the room with this key.
    pub fn is_of(&self, key: &RoomKey, sender: DeviceId) -> bool {
        self.epoch == key.epoch() && self.tag == key.mail_tag(&self.salt, sender)
    }

    pub(super) fn open_bytes(
        &self,
        key: &RoomKey,
        sender: DeviceId,
        recipient: DeviceId,
    ) -> Option<Vec<u8>> {
        if !self.is_of(key, sender) {
            return None;
        }
        let mut opened = self.sealed.clone();
        let context = context(sender, recipient);
        let plain = cipher(key, &self.salt)
            .open_in_place(nonce(), Aad::from(context), &mut opened)
            .ok()?;
        let length = plain.len();
        opened.truncate(length);
        Some(opened)
    }

    pub(crate) const fn is_within_limits(&self) -> bool {
        self.sealed.len() <= SEALED_BYTES_MAX
    }
}

fn cipher(key: &RoomKey, salt: &[u8; 32]) -> LessSafeKey {
    let key = key.mail_key(salt);
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key[..]).expect("32 bytes"))
}

/// Each key seals one message.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn context(sender: DeviceId, recipient: DeviceId) -> [u8; 64] {
    let mut context = [0; 64];
    context[..32].copy_from_slice(sender.as_bytes());
    context[32..].copy_from_slice(recipient.as_bytes());
    context
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    #[test]
    fn another_key_sender_or_recipient_opens_nothing() {
        let key = RoomKey::random([7; 32]);
        let seal = || RoomMail::seal_bytes(vec![1, 2, 3], &key, peer(1), peer(2));
        let mail = seal();
        assert_eq!(mail.open_bytes(&key, peer(1), peer(2)), Some(vec![1, 2, 3]));
        let other = RoomKey::random([8; 32]);
        assert!(mail.is_of(&key, peer(1)) && !mail.is_of(&other, peer(1)));
        assert_eq!(mail.open_bytes(&other, peer(1), peer(2)), None);
        assert_eq!(mail.open_bytes(&key, peer(3), peer(2)), None);
        assert_eq!(mail.open_bytes(&key, peer(1), peer(3)), None);
        let again = seal();
        assert_ne!((mail.tag, &mail.sealed), (again.tag, &again.sealed));
        let mut damaged = mail.clone();
        damaged.sealed[0] ^= 1;
        assert_eq!(damaged.open_bytes(&key, peer(1), peer(2)), None);
        let later = RoomMail { epoch: 1, ..mail };
        assert_eq!(later.open_bytes(&key, peer(1), peer(2)), None);
    }
}
