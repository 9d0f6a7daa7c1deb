//! Words that a person types or that settings contain: targets, tickets, addresses, relays and rooms.

use std::fmt::{Debug, Display};
use std::net::SocketAddr;
use std::str::FromStr;

use hobnob::{ConversationRef, MessageId};
use hobnob_protocol::target::TICKET_PARTS_MAX;
use hobnob_protocol::text::visible;
use hobnob_protocol::{
    ContentHash, HostPort, LogId, PersonId, RelayAddr, RoomKey, RoomTarget, RoomTicket, Target,
    Ticket,
};

/// A word that is written again has the same meaning, and cannot control a terminal.
pub(crate) fn run(data: &[u8]) {
    let Ok(word) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(Target::Ticket(ticket)) = same_again::<Target>(word) {
        assert!(ticket.addrs.len() + ticket.relays.len() <= TICKET_PARTS_MAX);
    }
    same_again::<HostPort>(word);
    same_again::<RelayAddr>(word);
    same_again::<RoomTarget>(word);
    same_again::<PersonId>(word);
    same_again::<ContentHash>(word);
    same_again::<MessageId>(word);
    same_again::<ConversationRef>(word);
}

fn same_again<T: FromStr + Display + Debug + PartialEq>(word: &str) -> Option<T> {
    let value: T = word.parse().ok()?;
    let written = value.to_string();
    assert_eq!(visible(&written), written);
    assert_eq!(written.parse().ok().as_ref(), Some(&value), "{written:?}");
    Some(value)
}

fn host_port(ip: [u8; 4], port: u16) -> HostPort {
    SocketAddr::from((ip, port)).into()
}

pub(crate) fn samples() -> Vec<Vec<u8>> {
    let id = PersonId::from_bytes([7; 32]);
    let relay = |word: &str| word.parse::<RelayAddr>().expect("the address of a relay");
    let ticket = Ticket {
        id,
        addrs: vec![host_port([192, 0, 2, 1], 4626), host_port([10, 0, 0, 5], 9)],
        relays: vec![
            RelayAddr {
                id: Some(id.only_device()),
                ..relay("198.51.100.7:4627")
            },
            relay("relay.example:4627"),
            relay("wss://relay.example/hobnob"),
        ],
    };
    let name = "ops".parse().expect("a name of a room");
    let room = RoomTicket::new(name, RoomKey::random([7; 32])).expect("it is not open");
    let message = MessageId {
        log: LogId(5),
        seq: 3,
    };
    let words = [
        "bob".to_owned(),
        "bob~1234".to_owned(),
        "192.0.2.1".to_owned(),
        "[2001:db8::1]:4626".to_owned(),
        "[fe80::1%eth0]:4626".to_owned(),
        id.to_string(),
        format!("{id}@relay.example:4627"),
        format!("{id}@wss://relay.example:8443/hobnob"),
        ticket.to_string(),
        "#ops".to_owned(),
        room.to_string(),
        ContentHash([7; 32]).to_string(),
        message.to_string(),
    ];
    words.map(String::into_bytes).to_vec()
}
