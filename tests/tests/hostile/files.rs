//! Offers that lead astray, content that is not what was offered, and askers of what is not theirs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hobnob_protocol::content::{Answer, PieceRequest, Shape, Tree};
use hobnob_protocol::offer::{Folder, Offer};
use hobnob_protocol::{Body, Entry, Frame, OfferId, manifest};
use hobnob_tests::hostile::{Forger, Host, Mallory, RawStream, TestNet};
use hobnob_tests::lab::until;
use quinn::{RecvStream, SendStream};
use serde_json::Value;

#[test]
fn names_that_lead_elsewhere_stay_in_the_folder() {
    let net = net();
    let names = [
        "../../escaped",
        "/tmp/escaped",
        ".profile",
        "a\u{1b}[2J\u{202e}b",
        "..",
        "con/../../x",
    ];
    by_seller(&net, async |seller| {
        let mut stream = None;
        for name in names {
            let content = name.as_bytes();
            let id = seller.sells(&file(name, content)).await;
            if stream.is_none() {
                stream = Some(seller.is_asked().await);
            }
            let (answers, asks) = stream.as_mut().expect("since the first");
            serve(answers, asks, content).await;
            is_told(&net.ann, &id, "done");
        }
    });
    let downloads = downloads(&net);
    let landed: Vec<_> = names_in(&downloads);
    assert_eq!(landed.len(), names.len(), "{landed:?}");
    assert!(
        landed
            .iter()
            .all(|name| !name.starts_with('.') && name.chars().all(|c| !c.is_control())),
        "{landed:?}"
    );
    assert!(!Path::new("/tmp/escaped").exists() && !net.dir().join("escaped").exists());
    net.survives(&[]);
}

#[test]
fn a_folder_of_paths_that_lead_elsewhere_stays_in_the_folder() {
    let net = net();
    by_seller(&net, async |seller| {
        let entry = |path: &str| manifest::ManifestEntry {
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
        let id = seller
            .sells(&Offer {
                folder: Some(folder),
                ..file("folder", &content)
            })
            .await;
        let (mut answers, mut asks) = seller.is_asked().await;
        serve(&mut answers, &mut asks, &content).await;
        is_told(&net.ann, &id, "done");
        // A list that does not add up to what was offered is refused.
        let wrong = Folder { files: 7, ..folder };
        let id = seller
            .sells(&Offer {
                folder: Some(wrong),
                ..file("wrong", &content)
            })
            .await;
        serve(&mut answers, &mut asks, &content).await;
        assert!(
            is_told(&net.ann, &id, "failed")["why"]
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
fn content_that_is_not_what_was_offered_never_lands() {
    let net = net();
    by_seller(&net, async |seller| {
        let content = vec![7; 300_000];
        let offer = file("fair.bin", &content);
        // Other bytes, with leaves and a proof of their own; and right leaves with wrong bytes
        // after them.
        let other = vec![8; content.len()];
        let foul = [
            answer_to_all(&other),
            [proof_of(&content), other.clone()].concat(),
        ];
        for answer in foul {
            let id = seller.sells(&offer).await;
            let (mut answers, mut asks) = seller.is_asked().await;
            next_ask(&mut asks).await.expect("an ask");
            let _ = answers.write_all(&answer).await;
            assert!(
                is_told(&net.ann, &id, "failed")["why"]
                    .as_str()
                    .is_some_and(|why| why.contains("not what had been offered"))
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
    net.survives(&["does not belong to what was offered"]);
}

#[test]
fn answers_that_stop_or_never_end_cost_nothing_but_that_stream() {
    let net = net();
    by_seller(&net, async |seller| {
        let content = vec![7; 300_000];
        let id = seller.sells(&file("slow.bin", &content)).await;
        // A little of the answer, and then the end of the stream: she asks again, later.
        let (mut answers, mut asks) = seller.is_asked().await;
        next_ask(&mut asks).await.expect("an ask");
        answers
            .write_all(&answer_to_all(&content)[..70_000])
            .await
            .expect("she reads");
        answers.finish().expect("it was open");
        // All of the answer, and endless bytes after it: they lead nowhere.
        let (mut answers, mut asks) = seller.is_asked().await;
        let ask = next_ask(&mut asks).await.expect("an ask");
        assert!(
            ask.first > 0 || ask.count <= 5,
            "what came whole is not asked for again: {ask:?}"
        );
        answers
            .write_all(&answer(&content, ask))
            .await
            .expect("she reads");
        let flood = async { while answers.write_all(&[0; 65_536]).await.is_ok() {} };
        let _ = tokio::time::timeout(Duration::from_secs(2), flood).await;
        is_told(&net.ann, &id, "done");
        seller.stream.is_alive().await;
    });
    net.survives(&[]);
}

#[test]
fn a_receiver_that_is_killed_asks_for_nothing_that_it_wrote() {
    const PIECES: u8 = 40;
    let net = net();
    let mallory = net.attack(async |_| Mallory::new());
    let content: Vec<u8> = (0..=u8::MAX)
        .cycle()
        .take(usize::from(PIECES) * PIECE)
        .collect();
    let id = net.attack(async |net: &TestNet| {
        let mut seller = Seller::meets(net, &mallory).await;
        let id = seller.sells(&file("film.mp4", &content)).await;
        let (mut answers, mut asks) = seller.is_asked().await;
        let ask = next_ask(&mut asks).await.expect("an ask");
        assert_eq!((ask.first, ask.count), (0, PIECES));
        // Seven pieces, and a part of the next.
        let some = answer_to_all(&content).len() - content.len() + 7 * PIECE + 100;
        answers
            .write_all(&answer_to_all(&content)[..some])
            .await
            .expect("she reads");
        hears(&net.ann, &id, "seven pieces are here", |line| {
            line["bytes"] == 7 * PIECE
        });
        id
    });
    let net = net.with_ann_killed();
    net.attack(async |net: &TestNet| {
        let seller = Seller::meets(net, &mallory).await;
        let (mut answers, mut asks) = seller.is_asked().await;
        let ask = next_ask(&mut asks).await.expect("an ask");
        assert_eq!(
            (ask.first, ask.count),
            (7, PIECES - 7),
            "what was written is here"
        );
        answers
            .write_all(&answer(&content, ask))
            .await
            .expect("she reads");
        is_told(&net.ann, &id, "done");
    });
    assert_eq!(
        std::fs::read(downloads(&net).join("film.mp4")).expect("it is there"),
        content
    );
    net.survives(&[]);
}

#[test]
fn who_may_not_have_an_offer_gets_none_of_it() {
    let net = net();
    let secret = net.dir().join("secret.txt");
    std::fs::write(&secret, "for bob alone").expect("a file");
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
            .expect("she reads");
            let mut code = [9];
            answers.read_exact(&mut code).await.expect("an answer");
            assert_eq!(Answer::of_code(code[0]), Answer::Refused);
        }
        // Asks that make no sense end the stream, and nothing else.
        for senseless in [
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
            asks.write_all(&senseless)
                .await
                .expect("it fits the window");
            let _ = asks.finish();
            let rest = answers.read_to_end(1000).await.unwrap_or_default();
            assert!(rest.len() <= 1, "{rest:?}");
        }
        // Words about offers that it may not know of mean nothing.
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
fn a_thousand_offers_are_a_list() {
    let net = net();
    by_seller(&net, async |seller| {
        for n in 0..1_200 {
            seller
                .offers(&Offer {
                    size: 1 << 50,
                    ..file(&format!("file {n}"), b"x")
                })
                .await;
        }
        seller.stream.is_alive().await;
        until("all offers are known", PATIENCE, || {
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
        "the newest"
    );
    let refused = net.ann.run(&["accept", "file 1199"]);
    assert!(refused.stderr.contains("no room"), "{refused}");
    net.survives(&[]);
}

fn net() -> TestNet {
    TestNet::verbose()
}

fn file(name: &str, content: &[u8]) -> Offer {
    let shape = Shape::of(content.len() as u64);
    let hash = Tree::new(vec![shape.fold(&leaves(content))]).hash();
    Offer {
        name: name.into(),
        media: String::new(),
        size: content.len() as u64,
        hash,
        folder: None,
    }
}

/// Mallory in a session with the victim, and what it writes in their conversation.
struct Seller<'a> {
    net: &'a TestNet,
    stream: RawStream,
    log: Forger<'a>,
}

/// Carries out an attack of one who has something to offer.
fn by_seller(net: &TestNet, attack: impl AsyncFnOnce(&mut Seller<'_>)) {
    net.attack(async |net: &TestNet| {
        let mallory = Mallory::new();
        attack(&mut Seller::meets(net, &mallory).await).await;
    });
}

impl<'a> Seller<'a> {
    async fn meets(net: &'a TestNet, mallory: &'a Mallory) -> Self {
        let stream = mallory.in_session(&net.ann).await;
        Self {
            net,
            stream,
            log: Forger::new(mallory.key(), net.direct(mallory)),
        }
    }

    /// Offers something as an entry, and returns the id of that.
    async fn offers(&mut self, offer: &Offer) -> String {
        let id = format!("{:016x}-{}", self.log.name.log.0, self.log.next);
        let entry = Entry {
            lamport: self.log.lamport,
            sent_at_ms: 1,
            body: Body::Offer(offer.clone()),
        }
        .encode();
        self.log.lamport += 1;
        self.stream.sends_batch(&self.log.entries(&[entry])).await;
        id
    }

    /// Offers something, which is accepted.
    async fn sells(&mut self, offer: &Offer) -> String {
        let id = self.offers(offer).await;
        is_told(&self.net.ann, &id, "offered");
        let accepted = self.net.ann.run(&["accept", &id, "--timeout", "1ms"]);
        assert!(matches!(accepted.code, Some(0 | 4 | 5)), "{accepted}");
        id
    }

    /// The stream on which she asks: where answers go, and where asks come from.
    async fn is_asked(&self) -> (SendStream, RecvStream) {
        self.stream.connection.accept_bi().await.expect("ann asks")
    }
}

/// Waits until the victim tells her user that an offer is in this state.
fn is_told(ann: &Host, id: &str, state: &str) -> Value {
    hears(ann, id, &format!("it is {state}"), |line| {
        line["state"] == state
    })
}

/// Waits until she tells her user this of an offer.
fn hears(ann: &Host, id: &str, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    until(&format!("{id}: {what}"), PATIENCE, || {
        let output = ann.output();
        let lines = output
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut of_file = lines.filter(|line| line["event"] == "file" && line["id"] == *id);
        of_file
            .find(|line| is_it(line))
            .ok_or_else(|| "not told".to_owned())
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

/// Answers honestly until the asker has no more to ask.
async fn serve(answers: &mut SendStream, asks: &mut RecvStream, content: &[u8]) {
    let mut left = Shape::of(content.len() as u64).pieces();
    while left > 0 {
        let ask = next_ask(asks).await.expect("an ask");
        left -= u64::from(ask.count);
        answers
            .write_all(&answer(content, ask))
            .await
            .expect("it is read");
    }
}

async fn next_ask(asks: &mut RecvStream) -> Option<PieceRequest> {
    let mut len = [0; 2];
    asks.read_exact(&mut len).await.ok()?;
    let mut body = vec![0; usize::from(u16::from_be_bytes(len))];
    asks.read_exact(&mut body).await.ok()?;
    PieceRequest::decode(&body).ok()
}

/// The honest answer to an ask about content of one span.
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

/// The start of an answer: of content of one span the proof is empty.
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

const PATIENCE: Duration = Duration::from_secs(30);
