//! STUN messages, at the relay and at the node.

use std::net::SocketAddr;

use hobnob_transport::stun::{client, server};

/// The client reads each successful answer of the server, and finds the sender's address in it. A
/// node reads only answers, so two nodes or relays never answer each other for ever.
pub(crate) fn run(data: &[u8]) {
    let senders: [SocketAddr; 2] = [
        ([192, 0, 2, 1], 4626).into(),
        ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 4626).into(),
    ];
    for sender in senders {
        let Some(answer) = server::answer(data, sender) else {
            continue;
        };
        let answer = answer.as_slice();
        assert!(answer.len() <= server::ANSWER_MAX);
        // An error, for example about unknown attributes, has no address.
        if let Some(seen) = client::answer(answer) {
            assert_eq!(seen.at, sender);
        }
        assert!(server::answer(answer, sender).is_none());
        assert!(client::answer(data).is_none());
    }
}

pub(crate) fn samples() -> Vec<Vec<u8>> {
    let request = client::request([1; 12]);
    let mut with_unknown = request.to_vec();
    // One attribute that must be understood and is not, of length 0.
    with_unknown.extend_from_slice(&[0x00, 0x99, 0, 0]);
    with_unknown[3] += 4;
    let answer = |sender| server::answer(&request, sender).expect("a request is answered");
    let v4 = answer(([192, 0, 2, 1], 4626).into());
    let v6 = answer(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 4626).into());
    vec![
        request.to_vec(),
        with_unknown,
        v4.as_slice().to_vec(),
        v6.as_slice().to_vec(),
    ]
}
