//! Frames from another node.

use bytes::Bytes;
use hobnob_protocol::frame::{AuthorHeads, Digest, Profile};
use hobnob_protocol::invitation::{CodeNumber, InviteFrame, SharedRelay};
use hobnob_protocol::mailbox::RoomMail;
use hobnob_protocol::{
    Activity, ContentHash, ConversationId, Frame, Hello, Holding, LogId, LogName, OfferId,
    OfferWord, PersonId, Ranges, RoomKey, RoomProof, SignedRecord, VERSION,
};

/// A frame that is encoded again is not longer, and has the same meaning. What this version does not
/// know is skipped, and never sent.
pub(crate) fn run(data: &[u8]) {
    let Ok(frame) = Frame::decode(&Bytes::copy_from_slice(data)) else {
        return;
    };
    if matches!(frame, Frame::Unknown(_)) {
        return;
    }
    let encoded = frame.encode();
    assert!(encoded.len() <= data.len(), "{frame:?} has grown");
    assert_eq!(Frame::decode(&encoded).as_ref(), Ok(&frame));
}

/// One frame of each kind. Batches have a target of their own.
pub(crate) fn samples() -> Vec<Vec<u8>> {
    let conversation = ConversationId::from_bytes([1; 32]);
    let author = PersonId::from_bytes([2; 32]);
    let name = LogName {
        conversation,
        author,
        device: author.only_device(),
        log: LogId(3),
    };
    let mut settled = Ranges::span(1, 9);
    settled.insert(20, 300);
    let held = Holding {
        settled,
        erased: Ranges::span(3, 4),
    };
    let profile = Profile {
        record: SignedRecord::from_bytes(vec![9; 80]),
        addrs: vec![
            ([192, 0, 2, 1], 4626).into(),
            ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 4626).into(),
        ],
        direct: true,
        proofs: vec![RoomProof {
            epoch: 0,
            hash: [7; 32],
        }],
    };
    let frames = [
        Frame::Hello(Hello {
            version: VERSION,
            features: 7,
            instance: 8,
            started_at_ms: 1_000,
            clock_ms: 70_000,
            profile: profile.clone(),
        }),
        Frame::Ping(7),
        Frame::Pong(300),
        Frame::Profile(profile),
        Frame::Candidates(vec![([192, 0, 2, 1], 4626).into()]),
        Frame::Records {
            answer: true,
            records: vec![(author, SignedRecord::from_bytes(vec![9; 80]))],
        },
        Frame::WantRecords(vec![(author, 300)]),
        Frame::ContactRecord(SignedRecord::from_bytes(vec![9; 80])),
        Frame::Mailbox {
            record: SignedRecord::from_bytes(vec![9; 80]),
            tokens: Vec::new(),
        },
        Frame::HoldsMail(true),
        Frame::WantPicture(ContentHash([7; 32])),
        Frame::Picture(
            ContentHash([7; 32]),
            Bytes::from_static(b"\x89PNG\r\n\x1a\n"),
        ),
        Frame::Content {
            id: OfferId { name, seq: 1 },
            part: 1,
            bytes: bytes::Bytes::from_static(&[7; 40]),
        },
        Frame::Room(RoomMail::seal(
            &[Frame::Ping(1).encode()],
            &RoomKey::random([3; 32]),
            author.only_device(),
            author.only_device(),
        )),
        Frame::DialBack([1; 16]),
        Frame::DialedBack([1; 16]),
        Frame::Digest(
            conversation,
            Digest {
                hash: [4; 32],
                clock: 9,
            },
        ),
        Frame::Heads {
            conversation,
            more: true,
            authors: vec![AuthorHeads {
                author,
                device: author.only_device(),
                logs: vec![
                    (LogId(3), held.clone()),
                    (LogId(4), Ranges::span(1, 2).into()),
                ],
            }],
        },
        Frame::Have(name, held),
        Frame::Want {
            name,
            from: 1,
            to: Some(9),
        },
        Frame::Prune(conversation, author),
        Frame::Conflict(name),
        Frame::Waiting(conversation),
        Frame::Activity(Activity::Typing(conversation, true)),
        Frame::Activity(Activity::Status(true, "lunch".to_owned())),
        Frame::Offer(OfferId { name, seq: 1 }, OfferWord::Whole),
        Frame::Invite(InviteFrame::Ask(CodeNumber::random(7), [2; 32])),
        Frame::Invite(InviteFrame::Relay(
            CodeNumber::random(7),
            SharedRelay {
                relay: "relay.example:4627".to_owned(),
                token: vec![3; 24],
            },
        )),
        Frame::Unknown(200),
    ];
    frames.iter().map(|frame| frame.encode().to_vec()).collect()
}
