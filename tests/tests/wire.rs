//! The wire protocol as docs/WIRE.md describes it: its test vectors, and an implementation in Python
//! that shares no code with hobnob.

use std::fs;
use std::path::{Path, PathBuf};

use hobnob_protocol::app::{self, AppName};
use hobnob_protocol::batch::CheckedBatch;
use hobnob_protocol::entry::{self, Entry};
use hobnob_protocol::frame::AuthorHeads;
use hobnob_protocol::{
    BodyKey, Checked, ConversationId, LogId, LogName, Nickname, PublicRecord, Ranges, Salts,
    SecretKey, codec,
};
use hobnob_tests::json_lines::JsonLines;
use hobnob_tests::lab::{Lab, Machine, Node, Screen};
use serde_json::{Value, json};

/// The key of the Python peer.
const SEED: [u8; 32] = [42; 32];

fn in_project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Python with the libraries of the peer.
fn python() -> String {
    let python = in_project("target/python/bin/python");
    assert!(python.exists(), "run scripts/setup first");
    python.to_string_lossy().into_owned()
}

/// Starts the Python peer, which dials a node.
fn peer(machine: &Machine, node: &Node) -> Screen {
    let script = in_project("tests/wire/peer.py");
    let (host, seed) = (node.machine().ipv4(), hex(&SEED));
    let script = script.to_string_lossy();
    machine.screen(
        python(),
        &[&script, "talk", &host, "4626", node.id(), &seed],
    )
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[test]
fn an_independent_implementation_exchanges_direct_messages() {
    let lab = Lab::open();
    let office = lab.switch();
    let bob = office.machine("bob").up("bob", &[]);
    let machine = office.machine("python");
    let id = SecretKey::from_seed(SEED).id().to_string();

    let mut python = peer(&machine, &bob);
    python.shows(r#"{"event": "hello", "nick": "bob"}"#);
    python.types("hello from Python");
    python.types("and once more: ünïcödé 🎲");
    bob.shows_once("hello from Python");
    bob.shows_once("and once more: ünïcödé 🎲");
    // A receipt is sent after the commit.
    python.shows(r#""event": "delivered", "seq": 2"#);

    // `send` waits for the receipt.
    bob.home().run(&["send", &id, "hello Python"]).expect(0);
    python.shows(r#""text": "hello Python""#);
    let long = "long ".repeat(3_000);
    bob.home().run(&["send", &id, &long]).expect(0);
    python.shows(&long);

    // The peer sends a text with a long run of one byte compressed.
    let run = format!("a text that ends with a long line {}", "-".repeat(2_000));
    python.types(&run);
    python.shows(r#""event": "compressed""#);
    bob.shows_once(&run);

    // Datagrams of programs go both ways. Bob's user has accepted the peer by writing to it.
    let mut program = JsonLines::connect(bob.home().path());
    let registered = program.asks(json!({"cmd": "app", "app": "wire.test"}));
    assert_eq!(registered, Ok(json!({})));
    python.types("/datagram ball at 3,4");
    let arrived = program.event("datagram");
    assert_eq!(arrived["peer"], id);
    let bytes = arrived["bytes"].clone();
    let back = json!({"cmd": "datagram", "app": "wire.test", "target": id, "bytes": bytes});
    assert_eq!(program.asks(back), Ok(json!({})));
    python.shows(r#"{"event": "datagram", "content": "ball at 3,4"}"#);
    drop(python);

    // A message waits until the peer is back, with a log of another run.
    bob.queues(&id, "while you were away");
    let mut python = peer(&machine, &bob);
    python.shows(r#""text": "while you were away""#);
    python.types("back again");
    bob.shows_once("back again");
    bob.shows_once("hello from Python");
}

#[test]
fn the_test_vectors_are_what_the_code_computes() {
    let path = in_project("docs/wire-vectors.json");
    let computed = format!("{:#}\n", vectors());
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        fs::write(&path, &computed).expect("the file can be written");
    }
    let written = fs::read_to_string(&path).expect("the file is there");
    assert_eq!(
        written, computed,
        "the formats have changed: run this test with UPDATE_VECTORS=1"
    );
}

#[test]
fn an_independent_implementation_computes_the_same_vectors() {
    let lab = Lab::open();
    let script = in_project("tests/wire/peer.py");
    let vectors = in_project("docs/wire-vectors.json");
    let (script, vectors) = (script.to_string_lossy(), vectors.to_string_lossy());
    let checked = lab
        .machine("python")
        .run(python(), &[&script, "vectors", &vectors]);
    let printed = checked.expect(0).stdout;
    assert!(printed.contains("vectors are right"), "{printed}");
}

fn vectors() -> Value {
    let numbers = [
        0,
        250,
        251,
        65_535,
        65_536,
        u64::from(u32::MAX),
        1 << 32,
        u64::MAX,
    ];
    let mut all: Vec<Value> = numbers
        .iter()
        .map(|number| {
            vector(
                "number",
                json!({ "value": number }),
                hex(&codec::encode(number)),
            )
        })
        .collect();
    let (ann_seed, bob_seed) = ([1; 32], [2; 32]);
    let (ann, bob) = (
        SecretKey::from_seed(ann_seed),
        SecretKey::from_seed(bob_seed),
    );
    all.push(vector(
        "id",
        json!({ "seed": hex(&ann_seed) }),
        json!({ "key": hex(ann.id().as_bytes()), "text": ann.id().to_string() }),
    ));
    let conversation = ConversationId::direct(ann.id().person(), bob.id().person());
    all.push(vector(
        "direct conversation",
        json!({ "a": hex(ann.id().as_bytes()), "b": hex(bob.id().as_bytes()) }),
        hex(conversation.as_bytes()),
    ));
    let name = LogName::of_only_device(conversation, ann.id().person(), LogId(1 << 40));
    let named = json!({
        "conversation": hex(conversation.as_bytes()),
        "author": hex(ann.id().as_bytes()),
        "log": name.log.0,
    });
    all.push(vector(
        "genesis",
        named.clone(),
        hex(name.genesis().as_bytes()),
    ));

    let entries =
        ["hello", "lunch at noon? 🥗"].map(|text| Entry::new(7, 1_795_179_789_042, text.into()));
    let mut salts = Salts::new([3; 32]);
    let batch = CheckedBatch::author(&ann, name, 1, name.genesis(), entries.to_vec(), &mut salts);
    let key = BodyKey::of(&name);
    let mut salts = Salts::new([3; 32]);
    let mut prev = name.genesis();
    for (seq, entry) in (1..).zip(&batch.entries) {
        let (salt, body) = (salts.draw(), entry.entry.body.text().expect("a text"));
        let erased = entry::erase(&key, seq, &entry.bytes).expect("a valid entry");
        all.push(vector(
            "entry",
            json!({
                "name": named,
                "seq": seq,
                "prev": hex(prev.as_bytes()),
                "kind": 1,
                "lamport": entry.entry.lamport,
                "sent_at_ms": entry.entry.sent_at_ms,
                "salt": hex(&salt),
                "body": hex(body.as_bytes()),
            }),
            json!({
                "encoded": hex(&entry.bytes),
                "erased": hex(&erased),
                "body_hash": hex(key.hash(seq, &salt, body.as_bytes()).as_bytes()),
                "hash": hex(entry.hash.as_bytes()),
            }),
        ));
        prev = entry.hash;
    }
    let [first, second] = batch.entries.as_slice() else {
        panic!("two entries")
    };
    let second_alone = batch.split(&ann, second.bytes.len()).remove(1);
    all.push(vector(
        "batch",
        json!({
            "seed": hex(&ann_seed),
            "name": named,
            "first": 2,
            "prev": hex(first.hash.as_bytes()),
            "entry": hex(&second.bytes),
            "head": hex(second.hash.as_bytes()),
        }),
        hex(&second_alone.encode()),
    ));
    let mut gaps = Ranges::span(1, 5);
    gaps.insert(300, 70_000);
    let author = ann.id().person();
    let heads = AuthorHeads {
        author,
        device: author.only_device(),
        logs: vec![
            (LogId(1), gaps.into()),
            (LogId(2), Ranges::span(1, 1).into()),
        ],
    };
    all.push(vector(
        "digest",
        json!({ "heads": [
            [hex(author.as_bytes()), 1, [[1, 5], [300, 70_000]]],
            [hex(author.as_bytes()), 2, [[1, 1]]],
        ] }),
        hex(&AuthorHeads::digest(&[heads])),
    ));
    all.push(vector(
        "digest",
        json!({ "heads": [] }),
        hex(&AuthorHeads::digest(&[])),
    ));
    let record = PublicRecord {
        number: 1_795_179_789_042,
        nick: Nickname::cleaned("ann"),
        devices: vec![ann.id()],
        picture: None,
        needs_newer_version: false,
    };
    all.push(vector(
        "public record",
        json!({ "seed": hex(&ann_seed), "number": record.number, "nick": "ann" }),
        hex(Checked::sign(record, &ann).signed().as_bytes()),
    ));
    let app: AppName = "org.example.pong".parse().expect("a name");
    all.push(vector(
        "datagram",
        json!({ "app": app.as_str(), "content": hex(b"ball") }),
        hex(&app::encode_datagram(app.tag(), b"ball")),
    ));
    Value::Array(all)
}

fn vector(what: &str, given: Value, result: impl Into<Value>) -> Value {
    json!({ "what": what, "given": given, "result": result.into() })
}
