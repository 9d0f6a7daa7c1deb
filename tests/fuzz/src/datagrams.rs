//! Datagrams that are not QUIC: channel frames, probes, heartbeats and address checks.

use hobnob_protocol::datagram::{AddressCheck, CHANNEL_HEADER, ChannelId, Class, Probe};
use hobnob_protocol::heartbeat::{Datagram, Handle, Message, Reset, SleepSecret, Wanted};

/// The secret of the sealed samples.
const SECRET: [u8; 32] = [3; 32];

/// Each datagram has one class. Only its reader accepts it, and its value gives the same bytes.
pub(crate) fn run(data: &[u8]) {
    let class = Class::of(data);
    let channel = ChannelId::of(data);
    if class == Class::Channel {
        let channel = channel.expect("a channel frame names its channel");
        assert_eq!(channel.header(), data[..CHANNEL_HEADER]);
    }
    if let Some(probe) = Probe::decode(data) {
        assert_eq!(class, Class::Probe);
        assert_eq!(probe.encode(), data);
    }
    if let Some(sealed) = Datagram::of(data) {
        assert_eq!(sealed.as_slice(), data);
    }
    if let Some((counter, message)) = SleepSecret::new(SECRET).open(data) {
        assert_eq!(class, Class::Heartbeat);
        let handle = Handle::of(data).expect("a sealed datagram names its handle");
        let sealed = SleepSecret::new(SECRET).seal(handle, counter, &message);
        assert_eq!(sealed.as_slice(), data);
    }
    if let Some(check) = AddressCheck::decode(data) {
        assert_eq!(class, Class::AddressCheck);
        // A question has any bytes in the place of the hash.
        assert_eq!(check.encode().len(), data.len());
        assert_eq!(AddressCheck::decode(&check.encode()), Some(check));
    }
}

pub(crate) fn samples() -> Vec<Vec<u8>> {
    let token = [1; 16];
    let probe = Probe {
        answer: false,
        token,
    };
    let id = hobnob_protocol::PersonId::from_bytes([2; 32]);
    let frame = [&ChannelId([1; 8]).header()[..], &[0x40; 30]].concat();
    let handle = Handle([5; 8]);
    let wake = Message::Wake(id.only_device(), Wanted::Channel);
    let sealed = |message| SleepSecret::new(SECRET).seal(handle, 7, message);
    vec![
        sealed(&Message::Beat).as_slice().to_vec(),
        sealed(&wake).as_slice().to_vec(),
        Reset::encode(handle, &token).to_vec(),
        probe.encode().to_vec(),
        AddressCheck::Question(token).encode().to_vec(),
        AddressCheck::answer(token, id.only_device())
            .encode()
            .to_vec(),
        frame,
        vec![0xc0; 30],
    ]
}
