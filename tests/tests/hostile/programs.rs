//! Datagrams and streams of programs, from contacts that break the rules and from strangers.

use std::time::Duration;

use hobnob_protocol::AppName;
use hobnob_protocol::app::{
    APP_DATAGRAM_MAX, APP_WINDOW, PIECE_BYTES_MAX, Piece, encode_datagram, encode_opening, reset,
};
use hobnob_tests::hostile::{Mallory, RawStream, TestNet};
use hobnob_tests::json_lines::JsonLines;
use quinn::{ReadError, ReadExactError, RecvStream, SendStream};
use serde_json::json;

/// Streams of one session, see docs/LIMITS.md.
const STREAMS_MAX: usize = 8;

fn pong() -> AppName {
    "pong".parse().expect("a name")
}

/// A program at ann, which accepts all streams and reads none.
fn program(net: &TestNet) -> JsonLines {
    let mut program = JsonLines::connect(&net.dir().join("ann"));
    let registered = program.asks(json!({"cmd": "app", "app": "pong"}));
    assert_eq!(registered, Ok(json!({})));
    program
}

/// Opens a stream for this program.
async fn opens(stream: &RawStream, app: &AppName) -> (SendStream, RecvStream) {
    let (mut send, receive) = stream.connection.open_bi().await.expect("it is open");
    // The victim may refuse at once.
    let _ = send.write_all(&encode_opening(app.tag())).await;
    (send, receive)
}

/// Reads the first grant, or the code by which the victim resets the stream.
async fn accepted(receive: &mut RecvStream) -> Result<(), u64> {
    let mut first = [0; 6];
    match receive.read_exact(&mut first).await {
        Ok(()) => {
            assert_eq!(first[..], Piece::Grant(APP_WINDOW).encode());
            Ok(())
        }
        Err(error) => Err(code(&error)),
    }
}

fn code(error: &ReadExactError) -> u64 {
    let ReadExactError::ReadError(ReadError::Reset(code)) = error else {
        panic!("the victim did not reset the stream: {error}")
    };
    code.into_inner()
}

/// Waits until the victim resets the stream. Returns the code.
async fn ends(receive: &mut RecvStream) -> u64 {
    let mut byte = [0];
    loop {
        if let Err(error) = receive.read_exact(&mut byte).await {
            return code(&error);
        }
    }
}

#[test]
fn a_stranger_is_answered_as_if_no_program_ran() {
    let net = TestNet::new();
    net.attack(async |net: &TestNet| {
        let _program = program(net);
        let mut stream = Mallory::new().in_session(&net.ann).await;
        for name in ["pong", "draw"] {
            let name = name.parse().expect("a name");
            let (_send, mut receive) = opens(&stream, &name).await;
            let refused = accepted(&mut receive).await;
            assert_eq!(refused, Err(u64::from(reset::NOT_HERE)));
        }
        stream.is_alive().await;
    });
    net.survives(&[]);
}

#[test]
fn a_thousand_streams_of_a_contact_leave_room_for_messages() {
    let net = TestNet::alone();
    net.attack(async |net: &TestNet| {
        let _program = program(net);
        let mallory = Mallory::new();
        net.accept(&mallory);
        let mut stream = mallory.in_session(&net.ann).await;
        let (mut open, mut refused) = (Vec::new(), 0);
        for _ in 0..1000 {
            let (send, mut receive) = opens(&stream, &pong()).await;
            match accepted(&mut receive).await {
                Ok(()) => open.push((send, receive)),
                Err(code) => {
                    assert_eq!(code, u64::from(reset::BUSY));
                    refused += 1;
                }
            }
        }
        assert_eq!((open.len(), refused), (STREAMS_MAX, 1000 - STREAMS_MAX));
        stream.is_alive().await;
        net.talks("meanwhile");
    });
    net.survives(&[]);
}

#[test]
fn a_stream_with_more_bytes_than_granted_ends() {
    let net = TestNet::new();
    net.attack(async |net: &TestNet| {
        let _program = program(net);
        let mallory = Mallory::new();
        net.accept(&mallory);
        let mut stream = mallory.in_session(&net.ann).await;
        let window = usize::try_from(APP_WINDOW).expect("it is small");
        let piece = Piece::Bytes(&[7; PIECE_BYTES_MAX]).encode();
        let too_much = [
            piece.repeat(window / PIECE_BYTES_MAX),
            Piece::Bytes(b"x").encode(),
        ]
        .concat();
        let after_the_end = [Piece::End.encode(), Piece::Bytes(b"x").encode()].concat();
        let granted = Piece::Grant(u32::MAX).encode();
        for wrong in [&too_much[..], &after_the_end, &granted, &[0xfe, 0xfe]] {
            let (mut send, mut receive) = opens(&stream, &pong()).await;
            assert_eq!(accepted(&mut receive).await, Ok(()));
            // The victim may end the stream before it has read all.
            let _ = send.write_all(wrong).await;
            assert_eq!(ends(&mut receive).await, u64::from(reset::PROTOCOL));
        }
        stream.is_alive().await;
        net.talks("meanwhile");
    });
    net.survives(&[]);
}

#[test]
fn datagrams_of_any_form_reach_a_program_only_if_they_are_for_it() {
    let net = TestNet::new();
    net.attack(async |net: &TestNet| {
        let mut program = program(net);
        let mallory = Mallory::new();
        net.accept(&mallory);
        let mut stream = mallory.in_session(&net.ann).await;
        let draw: AppName = "draw".parse().expect("a name");
        let valid = encode_datagram(pong().tag(), b"ball");
        let mut other_kind = valid.clone();
        other_kind[0] = 7;
        let too_long = [
            encode_datagram(pong().tag(), &[7; APP_DATAGRAM_MAX]),
            vec![7],
        ]
        .concat();
        let sent = [
            Vec::new(),
            vec![1],
            valid[..5].to_vec(),
            other_kind,
            encode_datagram(draw.tag(), b"for another"),
            too_long,
            valid,
        ];
        // A datagram may be lost, so all are sent until one has arrived.
        let connection = stream.connection.clone();
        let sending = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            loop {
                ticks.tick().await;
                for datagram in sent.clone() {
                    connection
                        .send_datagram(datagram.into())
                        .expect("a packet has room for it");
                }
            }
        });
        stream.is_alive().await;
        let arrived = program.event("datagram");
        sending.abort();
        assert_eq!(arrived["bytes"], "YmFsbA==");
        assert_eq!(arrived["peer"], mallory.id().to_string());
    });
    net.survives(&[]);
}
