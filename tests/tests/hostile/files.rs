//! Offers with dangerous paths, content that differs from its offer, and requests for content of
//! others.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hobnob::net::compression::Compressor;
use hobnob_protocol::content::{Answer, PieceRequest, Shape, Tree};
use hobnob_protocol::offer::{Folder, Offer};
use hobnob_protocol::{Body, Entry, Frame, OfferId, manifest};
use hobnob_tests::hostile::{Forger, Host, Mallory, RawStream, TestNet, encoded};
use hobnob_tests::lab::until;
use quinn::{RecvStream, SendStream};
use serde_json::Value;

#[test]
fn offered_names_cannot_escape_the_downloads_folder() {
    let net = net();
    let names = [
        "../../escaped",
        "/tmp/escaped",
        ".profile",
        "a\u{1b}[2J\u{202e}b",
        "..",
        "con/../../x",
    ];
    with_source(&net, async |source| {
        let mut stream = None;
        for name in names {
            let content = name.as_bytes();
            let id = source.send_accepted_offer(&file(name, content)).await;
            if stream.is_none() {
                stream = Some(source.accept_stream().await);
            }
            let (answers, asks) = stream.as_mut().expect("the first offer opened it");
            serve(answers, asks, content).await;
            wait_for_state(&net.ann, &id, "done");
        }
    });
    let downloads = downloads(&net);
    let saved: Vec<_> = names_in(&downloads);
    assert_eq!(saved.len(), names.len(), "{saved:?}");
    assert!(
        saved
            .iter()
            .all(|name| !name.starts_with('.') && name.chars().all(|c| !c.is_control())),
        "{saved:?}"
    );
    assert!(!Path::new("/tmp/escaped").exists() && !net.dir().join("escaped").exists());
    net.survives(&[]);
}

#[test]
fn offered_folder_paths_cannot_escape_the_downloads_folder() {
    let net = net();
    with_source(&net, async |source| {
        let entry = |path: &str| manifest::ManifestEntry {
            attributes: hobnob_protocol::offer::Attributes::default(),
            path: path.into(),
            size: 1,
        };
        let paths = [
            "../../escaped",
            "a/../../b",
            ".ssh/authorized_keys",
            "same",
            "same",
            "c",
        ];
        let mut content = manifest::encode(&paths.map(entry));
        let folder = Folder {
            manifest_bytes: content.len() as u64,
            files: paths.len() as u64,
        };
        content.extend_from_slice(b"123456");
        let id = source
            .send_accepted_offer(&Offer {
                folder: Some(folder),
                ..file("folder", &content)
            })
            .await;
        let (mut answers, mut asks) = source.accept_stream().await;
        serve(&mut answers, &mut asks, &content).await;
        wait_for_state(&net.ann, &id, "done");
        // Ann refuses a list of files whose sum differs from the offer.
        let wrong = Folder { files: 7, ..folder };
        let id = source
            .send_accepted_offer(&Offer {
                folder: Some(wrong),
                ..file("wrong", &content)
            })
            .await;
        serve(&mut answers, &mut asks, &content).await;
        assert!(
            wait_for_state(&net.ann, &id, "failed")["why"]
                .as_str()
                .is_some_and(|why| why.contains("list of files"))
        );
    });
    let folder = downloads(&net).join("folder");
    assert_eq!(
        names_in(&folder),
        ["_", "_ssh", "a", "c", "same", "same (2)"]
    );
    assert!(!net.dir().join("escaped").exists());
    net.survives(&[]);
}

#[test]
fn content_that_differs_from_its_offer_is_never_saved() {
    let net = net();
    with_source(&net, async |source| {
        let content = vec![7; 300_000];
        let offer = file("fair.bin", &content);
        // Other bytes with their own leaves and proof, then the right leaves with wrong bytes.
        let other = vec![8; content.len()];
        let wrong = [
            answer_to_all(&other),
            [proof_of(&content), other.clone()].concat(),
        ];
        for answer in wrong {
            let id = source.send_accepted_offer(&offer).await;
            let (mut answers, mut asks) = source.accept_stream().await;
            next_ask(&mut asks).await.expect("ann requests pieces");
            let _ = answers.write_all(&answer).await;
            assert!(
                wait_for_state(&net.ann, &id, "failed")["why"]
                    .as_str()
                    .is_some_and(|why| why.contains("does not match the offer"))
            );
        }
    });
    assert_eq!(
        names_in(&downloads(&net))
            .iter()
            .filter(|name| !name.starts_with('.'))
            .count(),
        0
    );
    net.survives(&["does not match the offer"]);
}

#[test]
fn compressed_pieces_that_lie_or_are_damaged_are_never_saved() {
    let net = net();
    with_source(&net, async |source| {
        let content = text_of(150_000);
        let offer = file("fair.txt", &content);
        let good = compressed_answer(&content);
        // The length of the first piece stands behind the proof.
        let at = proof_of(&content).len();
        let with_len = |len: u32| {
            let mut answer = good.clone();
            answer[at..at + 4].copy_from_slice(&len.to_be_bytes());
            answer
        };
        let mut flipped = good.clone();
        flipped[at + 1_000] ^= 1;
        // The compressed bytes of another text of the same length.
        let mut swapped = content.clone();
        swapped.rotate_left(5_000);
        let other = compressed_answer(&swapped);
        let swapped = [&good[..at], &other[at..]].concat();
        for answer in [
            with_len(0),
            with_len(65_537),
            with_len(u32::MAX),
            with_len(65_535),
            with_len(200),
            flipped,
            swapped,
        ] {
            let id = source.send_accepted_offer(&offer).await;
            let (mut answers, mut asks) = source.accept_stream().await;
            next_ask(&mut asks).await.expect("ann requests pieces");
            let _ = answers.write_all(&answer).await;
            let flood = async { while answers.write_all(&[0; 65_536]).await.is_ok() {} };
            let _ = tokio::time::timeout(Duration::from_secs(2), flood).await;
            wait_for_state(&net.ann, &id, "failed");
        }
        assert!(!downloads(&net).join("fair.txt").exists());
        // The honest answer is saved.
        let id = source.send_accepted_offer(&offer).await;
        let (mut answers, mut asks) = source.accept_stream().await;
        next_ask(&mut asks).await.expect("ann requests pieces");
        answers.write_all(&good).await.expect("ann reads it");
        wait_for_state(&net.ann, &id, "done");
        assert_eq!(
            std::fs::read(downloads(&net).join("fair.txt")).expect("ann saved the file"),
            content
        );
    });
    net.survives(&["does not match the offer"]);
}

/// Text that becomes shorter when it is compressed.
fn text_of(bytes: usize) -> Vec<u8> {
    let numbers = (0u64..).map(|n| format!("{} is the square of {n}. ", n * n).into_bytes());
    numbers.flatten().take(bytes).collect()
}

/// The answer to a request for all pieces, each compressed.
fn compressed_answer(content: &[u8]) -> Vec<u8> {
    let mut answer = proof_of(content);
    answer[0] = Answer::HereCompressed.code();
    for piece in content.chunks(PIECE) {
        let compressed = Compressor::default().compress(piece);
        let bytes = compressed.expect("text becomes shorter");
        let len = u32::try_from(bytes.len()).expect("at most a piece");
        answer.extend_from_slice(&len.to_be_bytes());
        answer.extend_from_slice(&bytes);
    }
    answer
}

#[test]
fn answers_that_stop_or_never_end_only_cost_their_stream() {
    let net = net();
    with_source(&net, async |source| {
        let content = vec![7; 300_000];
        let id = source
            .send_accepted_offer(&file("slow.bin", &content))
            .await;
        // The stream ends after a part of the answer. Ann sends another request later.
        let (mut answers, mut asks) = source.accept_stream().await;
        next_ask(&mut asks).await.expect("ann requests pieces");
        answers
            .write_all(&answer_to_all(&content)[..70_000])
            .await
            .expect("ann reads the stream");
        answers.finish().expect("the stream was open");
        // The whole answer, followed by endless bytes. They have no effect.
        let (mut answers, mut asks) = source.accept_stream().await;
        let ask = next_ask(&mut asks).await.expect("ann requests pieces");
        assert!(
            ask.first > 0 || ask.count <= 5,
            "complete pieces are not requested again: {ask:?}"
        );
        answers
            .write_all(&answer(&content, ask))
            .await
            .expect("ann reads the stream");
        let flood = async { while answers.write_all(&[0; 65_536]).await.is_ok() {} };
        let _ = tokio::time::timeout(Duration::from_secs(2), flood).await;
        wait_for_state(&net.ann, &id, "done");
        source.stream.is_alive().await;
    });
    net.survives(&[]);
}

#[test]
fn a_killed_receiver_does_not_request_written_pieces_again() {
    const PIECES: u8 = 40;
    let net = net();
    let mallory = net.attack(async |_| Mallory::new());
    let content: Vec<u8> = (0..=u8::MAX)
        .cycle()
        .take(usize::from(PIECES) * PIECE)
        .collect();
    let id = net.attack(async |net: &TestNet| {
        let mut source = HostileSource::connect(net, &mallory).await;
        let id = source
            .send_accepted_offer(&file("film.mp4", &content))
            .await;
        let (mut answers, mut asks) = source.accept_stream().await;
        let ask = next_ask(&mut asks).await.expect("ann requests pieces");
        assert_eq!((ask.first, ask.count), (0, PIECES));
        // Seven pieces and a part of the eighth.
        let some = answer_to_all(&content).len() - content.len() + 7 * PIECE + 100;
        answers
            .write_all(&answer_to_all(&content)[..some])
            .await
            .expect("ann reads the stream");
        wait_for_event(&net.ann, &id, "seven pieces have arrived", |line| {
            line["bytes"] == 7 * PIECE
        });
        id
    });
    let net = net.with_ann_killed();
    net.attack(async |net: &TestNet| {
        let source = HostileSource::connect(net, &mallory).await;
        let (mut answers, mut asks) = source.accept_stream().await;
        let ask = next_ask(&mut asks).await.expect("ann requests pieces");
        assert_eq!(
            (ask.first, ask.count),
            (7, PIECES - 7),
            "ann kept the written pieces"
        );
        answers
            .write_all(&answer(&content, ask))
            .await
            .expect("ann reads the stream");
        wait_for_state(&net.ann, &id, "done");
    });
    assert_eq!(
        std::fs::read(downloads(&net).join("film.mp4")).expect("ann saved the file"),
        content
    );
    net.survives(&[]);
}

#[test]
fn a_peer_without_access_to_an_offer_gets_no_content() {
    let net = net();
    let secret = net.dir().join("secret.txt");
    std::fs::write(&secret, "for bob alone").expect("the test's folder is writable");
    let sent = net.ann.run(&[
        "--json",
        "send",
        "bob",
        "--wait",
        "queued",
        "--file",
        &secret.to_string_lossy(),
    ]);
    let id = sent.stdout.lines().find_map(|line| {
        serde_json::from_str::<Value>(line).ok()?["id"]
            .as_str()
            .map(str::to_owned)
    });
    let (log, seq) = id
        .as_deref()
        .and_then(|id| id.split_once('-'))
        .expect("an offer");
    let theirs = hobnob_protocol::ConversationId::direct(net.ann.id(), net.bob.id());
    let log = hobnob_protocol::LogId(u64::from_str_radix(log, 16).expect("hex"));
    let name = hobnob_protocol::LogName {
        conversation: theirs,
        author: net.ann.id(),
        device: net.ann.id().only_device(),
        log,
    };
    let offer = OfferId {
        name,
        seq: seq.parse().expect("a number"),
    };
    net.attack(async |net: &TestNet| {
        let mallory = Mallory::new();
        let mut stream = mallory.in_session(&net.ann).await;
        let (mut asks, mut answers) = stream.connection.open_bi().await.expect("a stream");
        let guesses = [
            offer,
            OfferId {
                seq: offer.seq + 1,
                ..offer
            },
            OfferId {
                name: hobnob_protocol::LogName {
                    conversation: net.direct(&mallory),
                    ..name
                },
                ..offer
            },
        ];
        for offer in guesses {
            asks.write_all(
                &PieceRequest {
                    offer,
                    span: 0,
                    first: 0,
                    count: 1,
                }
                .encode(),
            )
            .await
            .expect("ann reads the stream");
            let mut code = [9];
            answers.read_exact(&mut code).await.expect("an answer");
            assert_eq!(Answer::of_code(code[0]), Answer::Refused);
        }
        // Malformed requests end their stream, and nothing else.
        for malformed in [
            vec![0xff; 70],
            vec![0, 0],
            vec![0, 1, 0xff],
            PieceRequest {
                offer,
                span: u64::MAX,
                first: 255,
                count: 255,
            }
            .encode(),
        ] {
            let (mut asks, mut answers) = stream.connection.open_bi().await.expect("a stream");
            asks.write_all(&malformed)
                .await
                .expect("the request fits the window");
            let _ = asks.finish();
            let rest = answers.read_to_end(1000).await.unwrap_or_default();
            assert!(rest.len() <= 1, "{rest:?}");
        }
        // A frame about an offer that mallory cannot know has no effect.
        stream
            .sends(&Frame::Offer(offer, hobnob_protocol::OfferWord::Whole))
            .await;
        stream.is_alive().await;
    });
    let files = net.ann.run(&["--json", "files"]).stdout;
    assert!(files.contains("\"state\":\"offered\""), "{files}");
    net.survives(&[]);
}

#[test]
fn the_list_of_offers_shows_the_newest_thousand() {
    let net = net();
    with_source(&net, async |source| {
        for n in 0..1_200 {
            source
                .send_offer(&Offer {
                    size: 1 << 50,
                    ..file(&format!("file {n}"), b"x")
                })
                .await;
        }
        source.stream.is_alive().await;
        until("ann lists all offers", TIMEOUT, || {
            let last = net.ann.run(&["--json", "files"]).stdout;
            if last.contains("file 1199") {
                Ok(())
            } else {
                Err(format!("{} lines", last.lines().count()))
            }
        });
    });
    assert_eq!(
        net.ann.run(&["--json", "files"]).stdout.lines().count(),
        1_000,
        "the newest thousand"
    );
    let refused = net.ann.run(&["accept", "file 1199"]);
    assert!(refused.stderr.contains("too little space"), "{refused}");
    net.survives(&[]);
}

fn net() -> TestNet {
    TestNet::verbose()
}

fn file(name: &str, content: &[u8]) -> Offer {
    let shape = Shape::of(content.len() as u64);
    let hash = Tree::new(vec![shape.fold(&leaves(content))]).hash();
    Offer {
        attributes: hobnob_protocol::offer::Attributes::default(),
        caption: String::new(),
        name: name.into(),
        media: String::new(),
        size: content.len() as u64,
        hash,
        folder: None,
    }
}

/// Mallory in a session with ann, as the source of content that mallory offers to her.
struct HostileSource<'a> {
    net: &'a TestNet,
    stream: RawStream,
    log: Forger<'a>,
}

/// Runs an attack of a hostile source.
fn with_source(net: &TestNet, attack: impl AsyncFnOnce(&mut HostileSource<'_>)) {
    net.attack(async |net: &TestNet| {
        let mallory = Mallory::new();
        attack(&mut HostileSource::connect(net, &mallory).await).await;
    });
}

impl<'a> HostileSource<'a> {
    async fn connect(net: &'a TestNet, mallory: &'a Mallory) -> Self {
        // A stranger could make twenty offers only.
        net.accept(mallory);
        let stream = mallory.in_session(&net.ann).await;
        Self {
            net,
            stream,
            log: Forger::new(mallory.key(), net.direct(mallory)),
        }
    }

    /// Sends an offer as an entry, and returns the entry's id.
    async fn send_offer(&mut self, offer: &Offer) -> String {
        let id = format!("{:016x}-{}", self.log.name.log.0, self.log.next);
        let entry = encoded(&Entry::new(self.log.lamport, 1, Body::Offer(offer.clone())));
        self.log.lamport += 1;
        self.stream.sends_batch(&self.log.entries(&[entry])).await;
        id
    }

    /// Sends an offer and makes ann accept it.
    async fn send_accepted_offer(&mut self, offer: &Offer) -> String {
        let id = self.send_offer(offer).await;
        wait_for_state(&self.net.ann, &id, "offered");
        let accepted = self.net.ann.run(&["accept", &id, "--timeout", "1ms"]);
        assert!(matches!(accepted.code, Some(0 | 4 | 5)), "{accepted}");
        id
    }

    /// Accepts the stream on which ann requests content: where answers are written and requests are
    /// read.
    async fn accept_stream(&self) -> (SendStream, RecvStream) {
        self.stream
            .connection
            .accept_bi()
            .await
            .expect("ann opens a stream")
    }
}

/// Waits until ann reports that an offer is in this state.
fn wait_for_state(ann: &Host, id: &str, state: &str) -> Value {
    wait_for_event(ann, id, &format!("it is {state}"), |line| {
        line["state"] == state
    })
}

/// Waits for an event of ann about an offer that fits.
fn wait_for_event(ann: &Host, id: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    until(&format!("{id}: {what}"), TIMEOUT, || {
        let output = ann.output();
        let lines = output
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut of_file = lines.filter(|line| line["event"] == "file" && line["id"] == *id);
        of_file
            .find(|line| fits(line))
            .ok_or_else(|| "no such event".to_owned())
    })
}

fn downloads(net: &TestNet) -> PathBuf {
    net.dir().join("ann/downloads")
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Answers requests honestly until every piece was requested.
async fn serve(answers: &mut SendStream, asks: &mut RecvStream, content: &[u8]) {
    let mut left = Shape::of(content.len() as u64).pieces();
    while left > 0 {
        let ask = next_ask(asks).await.expect("ann requests pieces");
        left -= u64::from(ask.count);
        answers
            .write_all(&answer(content, ask))
            .await
            .expect("ann reads the stream");
    }
}

async fn next_ask(asks: &mut RecvStream) -> Option<PieceRequest> {
    let mut len = [0; 2];
    asks.read_exact(&mut len).await.ok()?;
    let mut body = vec![0; usize::from(u16::from_be_bytes(len))];
    asks.read_exact(&mut body).await.ok()?;
    PieceRequest::decode(&body).ok()
}

/// Returns the honest answer to a request for content of one span.
fn answer(content: &[u8], ask: PieceRequest) -> Vec<u8> {
    let pieces = content
        .chunks(PIECE)
        .skip(usize::from(ask.first))
        .take(usize::from(ask.count));
    [proof_of(content), pieces.collect::<Vec<_>>().concat()].concat()
}

fn answer_to_all(content: &[u8]) -> Vec<u8> {
    [proof_of(content), content.to_vec()].concat()
}

/// The start of an answer. The proof is empty for content of one span.
fn proof_of(content: &[u8]) -> Vec<u8> {
    [vec![Answer::Here.code()], leaves(content).into_flattened()].concat()
}

fn leaves(content: &[u8]) -> Vec<[u8; 32]> {
    let shape = Shape::of(content.len() as u64);
    content
        .chunks(PIECE)
        .zip(0..)
        .map(|(bytes, piece)| shape.leaf(piece, bytes))
        .collect()
}

const PIECE: usize = hobnob_protocol::content::PIECE_BYTES;

const TIMEOUT: Duration = Duration::from_secs(30);
