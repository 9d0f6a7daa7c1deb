//! Frames of a room with a key, sealed and opened.

use bytes::{BufMut, Bytes};

use super::envelope::{CONTENT_BYTES_MAX, content_size, split};
use super::room::{OVERHEAD, RoomMail};
use crate::frame::Frame;
use crate::identity::DeviceId;
use crate::room_key::RoomKey;

/// Maximum bytes of frames, with their lengths, in one [`RoomMail`].
pub const ROOM_CONTENT_BYTES_MAX: usize = CONTENT_BYTES_MAX - content_size(OVERHEAD);

impl RoomMail {
    /// Seals frames of a room, each encoded, with the room's key. `sender` and `recipient` are those
    /// of the envelope.
    pub fn seal(frames: &[Bytes], key: &RoomKey, sender: DeviceId, recipient: DeviceId) -> Self {
        let mut content = Vec::new();
        for frame in frames {
            content.put_u32(u32::try_from(frame.len()).expect("at most 56 KiB"));
            content.put_slice(frame);
        }
        Self::seal_bytes(content, key, sender, recipient)
    }

    /// Opens the frames. `None`: the key is another one, sender or recipient differ, or a frame is
    /// malformed. Kinds that this version does not know are left out.
    pub fn open(&self, key: &RoomKey, sender: DeviceId, recipient: DeviceId) -> Option<Vec<Frame>> {
        let opened = self.open_bytes(key, sender, recipient)?;
        split(opened.into()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    #[test]
    fn a_member_reads_what_was_sealed_for_the_room() {
        let key = RoomKey::random([7; 32]);
        let frames = [Frame::Ping(1), Frame::Unknown(200), Frame::Pong(2)];
        let mail = RoomMail::seal(&frames.map(|it| it.encode()), &key, peer(1), peer(2));
        let opened = mail.open(&key, peer(1), peer(2));
        assert_eq!(opened, Some(vec![Frame::Ping(1), Frame::Pong(2)]));
    }

    #[test]
    fn the_longest_content_fits_an_envelope() {
        let key = RoomKey::random([7; 32]);
        let frame = Bytes::from(vec![200; ROOM_CONTENT_BYTES_MAX - 4]);
        let mail = RoomMail::seal(&[frame], &key, peer(1), peer(2));
        let encoded = Frame::Room(mail).encode();
        assert!(content_size(encoded.len()) <= CONTENT_BYTES_MAX);
        assert!(matches!(Frame::decode(&encoded), Ok(Frame::Room(_))));
        let longer = Bytes::from(vec![200; CONTENT_BYTES_MAX + 100]);
        let longer = RoomMail::seal(&[longer], &key, peer(1), peer(2));
        assert!(Frame::decode(&Frame::Room(longer).encode()).is_err());
    }
}
