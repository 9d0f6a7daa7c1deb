//! Programs that exchange datagrams and streams: over JSON lines, and the drawing example.

use std::time::Duration;

use hobnob_tests::hostile::TestNet;
use hobnob_tests::json_lines::JsonLines;
use hobnob_tests::lab::{Lab, Machine, Screen, draw_binary, until};
use serde_json::{Value, json};

/// Nothing here takes this long unless it hangs.
const LIMIT: Duration = Duration::from_secs(30);

fn base64(bytes: &[u8]) -> String {
    data_encoding::BASE64.encode(bytes)
}

/// The bytes of a stream until its end.
fn read_all(program: &mut JsonLines, stream: &Value) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let read = program.asks(json!({"cmd": "read-stream", "stream": stream}));
        let read = read.expect("the stream is open");
        let Some(bytes) = read["bytes"].as_str() else {
            return all;
        };
        let bytes = data_encoding::BASE64.decode(bytes.as_bytes());
        all.extend(bytes.expect("a node writes base64"));
    }
}

/// A program that has registered a name at a node.
fn registered(net: &TestNet, nick: &str) -> JsonLines {
    let mut program = JsonLines::connect(&net.dir().join(nick));
    let answer = program.asks(json!({"cmd": "app", "app": "pong"}));
    assert_eq!(answer, Ok(json!({})));
    program
}

#[test]
fn programs_exchange_datagrams_and_streams_over_json_lines() {
    let net = TestNet::new();
    let (mut ann, mut bob) = (registered(&net, "ann"), registered(&net, "bob"));
    let mut third = JsonLines::connect(&net.dir().join("ann"));
    let taken = third.asks(json!({"cmd": "app", "app": "pong"}));
    assert_eq!(taken.expect_err("ann's program has it")["code"], "busy");

    // Both nodes have the session, and on loopback nothing is lost.
    let id = net.bob.id().to_string();
    let datagram =
        json!({"cmd": "datagram", "app": "pong", "target": id, "bytes": base64(b"ball")});
    assert_eq!(ann.asks(datagram), Ok(json!({})));
    let arrived = bob.event("datagram");
    assert_eq!(arrived["app"], "pong");
    assert_eq!(arrived["peer"], net.ann.id().to_string());
    assert_eq!(arrived["bytes"], base64(b"ball"));
    let too_long =
        json!({"cmd": "datagram", "app": "pong", "target": "bob", "bytes": base64(&[0; 1101])});
    assert_eq!(ann.asks(too_long).expect_err("too long")["code"], "usage");
    let unknown = json!({"cmd": "datagram", "app": "draw", "target": "bob", "bytes": ""});
    assert_eq!(ann.asks(unknown).expect_err("not hers")["code"], "usage");

    // Writes that are under way together keep their order, far beyond a window.
    let opening = ann.begins(json!({"cmd": "open-stream", "app": "pong", "target": "bob"}));
    let accepted = bob.event("stream");
    let opened = ann.answer(opening).expect("bob has it")["stream"].take();
    let part = |n: u8| vec![n; 100_000];
    let writes: Vec<_> = (0..12)
        .map(|n| {
            let bytes = base64(&part(n));
            ann.begins(json!({"cmd": "write-stream", "stream": opened, "bytes": bytes}))
        })
        .collect();
    let ending = ann.begins(json!({"cmd": "end-stream", "stream": opened}));
    let all = read_all(&mut bob, &accepted["stream"]);
    let sent: Vec<u8> = (0..12).flat_map(part).collect();
    assert!(all == sent, "{} bytes of {}", all.len(), sent.len());
    for number in writes.into_iter().chain([ending]) {
        assert_eq!(ann.answer(number), Ok(json!({})));
    }

    // A program that waits for bytes is answered when it closes the stream.
    let reading = ann.begins(json!({"cmd": "read-stream", "stream": opened}));
    let closed = ann.asks(json!({"cmd": "close-stream", "stream": opened}));
    assert_eq!(closed, Ok(json!({})));
    assert_eq!(ann.answer(reading).expect_err("closed")["code"], "usage");
    let gone = ann.asks(json!({"cmd": "read-stream", "stream": opened}));
    assert_eq!(gone.expect_err("closed")["code"], "usage");

    // The end of a program frees its name and ends its streams.
    let opening = ann.begins(json!({"cmd": "open-stream", "app": "pong", "target": "bob"}));
    let accepted = bob.event("stream")["stream"].take();
    ann.answer(opening).expect("bob has it");
    drop(ann);
    assert_eq!(read_all(&mut bob, &accepted), b"");
    until("the name is free", LIMIT, || {
        let again = third.asks(json!({"cmd": "app", "app": "pong"}));
        again.map_err(|error| error.to_string())
    });
    net.survives(&[]);
}

/// A user of the drawing example.
fn draws(machine: &Machine, nick: &str, with: &str) -> Screen {
    let home = machine.home(nick);
    let home = home.path().to_str().expect("the lab's paths are ASCII");
    machine.screen(draw_binary(), &[with, "--home", home, "--nick", nick])
}

#[test]
fn two_draw_at_once_and_one_that_comes_back_gets_the_picture() {
    let lab = Lab::open();
    let lan = lab.switch();
    let (kitchen, desk) = (lan.machine("ann"), lan.machine("bob"));
    let mut ann = draws(&kitchen, "ann", "bob");
    let mut bob = draws(&desk, "bob", "ann");
    ann.shows("Drawing with bob");
    bob.shows("Drawing with ann");
    ann.types("0 0 A");
    bob.shows("|A ");
    bob.types("1 0 B");
    ann.shows("|AB ");
    ann.types("99 0 x");
    ann.shows("the picture has 40 columns");

    drop(bob);
    ann.types("2 0 C");
    ann.shows("|ABC ");
    let mut bob = draws(&desk, "bob", "ann");
    bob.shows("|ABC ");
    bob.types("0 0 D");
    ann.shows("|DBC ");
}
