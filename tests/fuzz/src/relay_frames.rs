//! Frames between a node and a relay, in both directions. Among them are rosters and new channels.

use std::net::SocketAddr;

use hobnob_protocol::datagram::ChannelId;
use hobnob_protocol::frame::ROOMS_MAX;
use hobnob_protocol::heartbeat::Handle;
use hobnob_protocol::invitation::CodeNumber;
use hobnob_protocol::relay::{
    CHANGES_MAX, ChannelEnd, FromRelay, OpenRefusal, Register, Roster, RosterChange, ToRelay,
    VERSION, Welcome,
};
use hobnob_protocol::{PersonId, RoomKey, RoomName, SignedRecord};

/// A frame that is encoded again is not longer, and has the same meaning. Its lists have limits.
pub(crate) fn run(data: &[u8]) {
    if let Ok(frame) = ToRelay::decode(data)
        && !matches!(frame, ToRelay::Unknown(_))
    {
        let encoded = frame.encode();
        assert!(encoded.len() <= data.len(), "{frame:?} has grown");
        assert_eq!(ToRelay::decode(&encoded).as_ref(), Ok(&frame));
        if let ToRelay::Rooms(rooms) = &frame {
            assert!(rooms.len() <= ROOMS_MAX);
        }
    }
    if let Ok(frame) = FromRelay::decode(data)
        && !matches!(frame, FromRelay::Unknown(_))
    {
        let encoded = frame.encode();
        assert!(encoded.len() <= data.len(), "{frame:?} has grown");
        assert_eq!(FromRelay::decode(&encoded).as_ref(), Ok(&frame));
        if let FromRelay::Roster(roster) = &frame {
            assert!(roster.changes.len() <= CHANGES_MAX);
        }
    }
}

/// One frame of each kind.
pub(crate) fn samples() -> Vec<Vec<u8>> {
    let peer = PersonId::from_bytes([2; 32]);
    let relay = PersonId::from_bytes([3; 32]);
    let room = RoomKey::open(&RoomName::lobby()).relay_tag(relay.only_device());
    let channel = ChannelId([1; 8]);
    let to = [
        ToRelay::Register(Register {
            version: VERSION,
            features: 0,
            token_proof: Some([4; 32]),
            rooms: vec![room],
            reached_at: Some(SocketAddr::from(([198, 51, 100, 1], 4627))),
        }),
        ToRelay::Heartbeat(7),
        ToRelay::Rooms(vec![room, room]),
        ToRelay::Open(peer.only_device()),
        ToRelay::Close(channel),
        ToRelay::DialBack([1; 16]),
        ToRelay::Invitations(vec![CodeNumber::random(7)]),
        ToRelay::FindInvitation(CodeNumber::random(7)),
        ToRelay::FleetList(7),
        ToRelay::Sleep,
    ];
    let from = [
        FromRelay::Welcome(Welcome {
            version: VERSION,
            features: 1,
            observed: ([192, 0, 2, 1], 4626).into(),
            heartbeat_ms: 20_000,
            roster: true,
            channels_max: 64,
            rate: 1_000_000,
        }),
        FromRelay::Roster(Roster {
            version: 7,
            anew: true,
            changes: vec![
                RosterChange::Here {
                    peer: peer.only_device(),
                    rooms: vec![room],
                },
                RosterChange::Gone {
                    peer: peer.only_device(),
                },
            ],
        }),
        FromRelay::Opened {
            peer: peer.only_device(),
            channel,
            origin: [9; 4],
        },
        FromRelay::NotOpened {
            peer: peer.only_device(),
            why: OpenRefusal::Limit,
        },
        FromRelay::Ended {
            channel,
            why: ChannelEnd::Idle,
        },
        FromRelay::Observed(([192, 0, 2, 1], 4626).into()),
        FromRelay::DialedBack {
            token: [1; 16],
            from: Some(900),
        },
        FromRelay::FleetList(Some(SignedRecord::from_bytes(vec![7; 80]))),
        FromRelay::Elsewhere {
            peer: peer.only_device(),
            relay: relay.only_device(),
        },
        FromRelay::MaySleep {
            after_ms: 60_000,
            every_ms: 25_000,
        },
        FromRelay::Sleep {
            handle: Handle([5; 8]),
            reset: [6; 16],
        },
    ];
    let to = to.iter().map(|frame| frame.encode().to_vec());
    let from = from.iter().map(|frame| frame.encode().to_vec());
    to.chain(from).collect()
}
