//! Frames between a node and a holder of mailboxes, and the outside of envelopes.

use bytes::Bytes;
use hobnob_protocol::mailbox::{
    Deposit, DepositAnswer, DepositToken, Envelope, FromHolder, MailboxKey, NUMBERS_MAX, ToHolder,
    Waiting,
};
use hobnob_protocol::{Frame, PersonId, SecretKey, SignedRecord};

/// A frame that is encoded again is not longer, and has the same meaning. Its lists have limits.
pub(crate) fn run(data: &[u8]) {
    if let Ok(frame) = ToHolder::decode(data)
        && !matches!(frame, ToHolder::Unknown(_))
    {
        let encoded = frame.encode();
        assert!(encoded.len() <= data.len(), "{frame:?} has grown");
        assert_eq!(ToHolder::decode(&encoded).as_ref(), Ok(&frame));
        if let ToHolder::Delete(numbers) = &frame {
            assert!(numbers.len() <= NUMBERS_MAX);
        }
    }
    if let Ok(frame) = FromHolder::decode(data)
        && !matches!(frame, FromHolder::Unknown(_))
    {
        let encoded = frame.encode();
        assert!(encoded.len() <= data.len(), "{frame:?} has grown");
        assert_eq!(FromHolder::decode(&encoded).as_ref(), Ok(&frame));
    }
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(envelope) = Envelope::from_bytes(bytes.clone()) {
        assert_eq!(envelope.as_bytes(), &bytes, "it is passed on as it is");
    }
}

/// One frame of each kind, and an envelope.
pub(crate) fn samples() -> Vec<Vec<u8>> {
    let (ann, peer) = (SecretKey::from_seed([1; 32]), PersonId::from_bytes([2; 32]));
    let token = DepositToken::new(&[7; 32], ann.id(), peer.only_device(), 1);
    let record = SignedRecord::from_bytes(vec![6; 90]);
    let to = [
        ToHolder::Hold {
            record: record.clone(),
            senders: vec![token.hash(ann.id())],
        },
        ToHolder::Deposit(Deposit {
            number: 300,
            recipient: peer.only_device(),
            token,
            envelope: vec![4; 40],
        }),
        ToHolder::Fetch(7),
        ToHolder::Delete(vec![1, 2, 300]),
    ];
    let from = [
        FromHolder::Holding {
            envelopes: 1,
            bytes: 2,
            since_ms: 300,
        },
        FromHolder::NotHolding,
        FromHolder::Answer(5, DepositAnswer::Stored),
        FromHolder::Answer(6, DepositAnswer::SealAgain(record)),
        FromHolder::Waiting(Waiting {
            number: 9,
            sender: peer.only_device(),
            arrived_at_ms: 300,
            envelope: vec![4; 40],
        }),
        FromHolder::PageEnd(true),
        FromHolder::News,
    ];
    let key = MailboxKey::generate();
    let frames = [Frame::Ping(5).encode()];
    let envelope = Envelope::seal(&frames, &ann, peer.only_device(), 7, &key.public());
    let envelope = envelope.expect("one short frame fits");
    let encoded = to.iter().map(ToHolder::encode);
    let encoded = encoded.chain(from.iter().map(FromHolder::encode));
    let encoded = encoded.chain([envelope.as_bytes().clone()]);
    encoded.map(|bytes| bytes.to_vec()).collect()
}
