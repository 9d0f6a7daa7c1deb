//! Texts and files that are compressed on the way between two nodes, on a slow path.

use std::fs;
use std::time::Duration;

use hobnob_protocol::compression::COMPRESSED_BATCH;
use hobnob_protocol::frame::features;
use hobnob_protocol::{ConversationId, Frame};
use hobnob_tests::delayed_path::DelayedPath;
use hobnob_tests::hostile::{Host, Mallory};
use hobnob_tests::lab::until;
use serde_json::Value;
use tempfile::TempDir;

/// A round trip of 60 ms. Without a delay the path is so fast that nothing is compressed.
const EACH_WAY: Duration = Duration::from_millis(30);

/// Time limit for a transfer, on a machine that is busy with other tests.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Two node processes, and the path that connects them.
struct Pair {
    ann: Host,
    bob: Host,
    path: DelayedPath,
    dir: TempDir,
}

impl Pair {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder can be created");
        let [ann, bob] = ["ann", "bob"].map(|nick| Host::up(dir.path(), nick));
        let path = DelayedPath::new(bob.addr(), EACH_WAY).expect("the path opens");
        ann.tells(&path.addr().to_string(), "hello");
        bob.tells("ann", "hello yourself");
        Self {
            ann,
            bob,
            path,
            dir,
        }
    }

    /// The bytes on the path in the direction of each node while something happens: bob, ann.
    fn carries(&self, happens: impl FnOnce()) -> [u64; 2] {
        let before = self.path.carried();
        happens();
        let after = self.path.carried();
        [after[0] - before[0], after[1] - before[1]]
    }

    /// Sends a file and waits until it has arrived. Checks that it is the same.
    fn sends_file(&self, from: &Host, to: &Host, nick: &str, name: &str, content: &[u8]) {
        let file = self.dir.path().join(name);
        fs::write(&file, content).expect("there is disk space");
        let file = file.to_string_lossy();
        let sent = from.run(&["--json", "send", nick, "--wait", "queued", "--file", &file]);
        let lines = sent.expect(0).json();
        let id = lines.iter().find_map(|line| line["id"].as_str());
        let id = id.expect("the offer has an id").to_owned();
        to.prints(&[&id]);
        let accepted = to.run(&["accept", &id, "--timeout", "1ms"]);
        assert!(matches!(accepted.code, Some(0 | 4 | 5)), "{accepted}");
        let saved = until("the file has arrived", TIMEOUT, || {
            let output = to.output();
            let events = output
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut done = events.filter(|line| line["id"] == *id && line["state"] == "done");
            let done = done.find_map(|line| line["saved"].as_str().map(str::to_owned));
            done.ok_or_else(|| "it is not done".to_owned())
        });
        assert_eq!(fs::read(saved).expect("it was saved"), content);
    }
}

/// The project's documentation, several times as long as wanted.
fn docs() -> String {
    let texts = [
        include_str!("../../docs/GUIDE.md"),
        include_str!("../../docs/PROTOCOL.md"),
        include_str!("../../docs/WIRE.md"),
        include_str!("../../docs/LIMITS.md"),
    ];
    texts.concat()
}

/// Messages of 1,500 words each, from the documentation.
fn long_texts(count: usize) -> Vec<String> {
    let docs = docs();
    let words: Vec<_> = docs.split_whitespace().collect();
    let chunks = words.chunks(1_500).take(count).enumerate();
    let texts = chunks.map(|(number, words)| format!("text {number}: {}", words.join(" ")));
    let texts: Vec<_> = texts.collect();
    assert_eq!(texts.len(), count);
    texts
}

#[tokio::test(flavor = "multi_thread")]
async fn long_texts_take_fewer_bytes_in_both_directions_and_arrive_as_they_were() {
    let pair = Pair::new();
    let texts = long_texts(10);
    let len: usize = texts.iter().map(String::len).sum();
    let [to_bob, _] = pair.carries(|| texts.iter().for_each(|text| pair.ann.tells("bob", text)));
    let [_, to_ann] = pair.carries(|| texts.iter().for_each(|text| pair.bob.tells("ann", text)));
    for (who, carried) in [("bob", to_bob), ("ann", to_ann)] {
        let most = len as u64 * 7 / 10;
        assert!(carried < most, "{carried} bytes to {who} for {len}");
    }
    for (who, whom) in [(&pair.ann, "bob"), (&pair.bob, "ann")] {
        let there = who.texts(&[whom, "--limit", "100"]);
        for text in &texts {
            let times = there.iter().filter(|other| *other == text).count();
            assert_eq!(times, 2, "once from each");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_text_takes_fewer_bytes_and_a_random_one_no_more() {
    let pair = Pair::new();
    let text: Vec<u8> = docs().bytes().cycle().take(2_000_000).collect();
    let mut random = vec![0; 1_000_000];
    blake3::Hasher::new().finalize_xof().fill(&mut random);
    let (ann, bob) = (&pair.ann, &pair.bob);

    let [to_bob, _] = pair.carries(|| pair.sends_file(ann, bob, "bob", "docs.txt", &text));
    assert!(to_bob < 1_300_000, "{to_bob} bytes");
    let [_, to_ann] = pair.carries(|| pair.sends_file(bob, ann, "ann", "docs.txt", &text));
    assert!(to_ann < 1_300_000, "{to_ann} bytes");

    let [to_bob, _] = pair.carries(|| pair.sends_file(ann, bob, "bob", "random.bin", &random));
    assert!((1_000_000..1_200_000).contains(&to_bob), "{to_bob} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_node_gets_batches_as_they_are() {
    let pair = Pair::new();
    let [text] = &long_texts(1)[..] else {
        unreachable!("it is one")
    };
    for (features, is_compressed) in [(features::CONTENT, false), (features::COMPRESSION, true)] {
        let path = DelayedPath::new(pair.ann.addr(), EACH_WAY).expect("the path opens");
        let mallory = Mallory::new();
        let id = mallory.id().to_string();
        pair.ann.run(&["contacts", "accept", &id]).expect(0);
        let mut stream = mallory.in_session_with(path.addr(), features).await;
        pair.ann
            .run(&["send", "--wait", "queued", &id, text])
            .expect(0);
        let direct = ConversationId::direct(pair.ann.id(), mallory.id());
        stream.sends_empty_digest(direct).await;
        let batch = stream.receives_batch_bytes().await;
        assert_eq!(batch[0] == COMPRESSED_BATCH, is_compressed);
        assert_eq!(batch.len() < text.len(), is_compressed);
        let is_plain = matches!(Frame::decode(&batch), Ok(Frame::Batch(_)));
        assert_eq!(is_plain, !is_compressed);
    }
}
