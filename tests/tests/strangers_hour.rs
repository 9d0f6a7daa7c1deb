//! For an hour, one stranger does to a node and to a relay everything that a stranger may do, while two
//! contacts talk. `scripts/soak strangers-hour` runs the hour, and `HOBNOB_SOAK` is another number of
//! seconds. The short form has all acts several times, but fills no list.

#![expect(
    clippy::disallowed_methods,
    reason = "an attacker acts at random, and waits a little between its acts"
)]

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hobnob_protocol::content::PieceRequest;
use hobnob_protocol::frame::{AuthorHeads, Digest, Profile};
use hobnob_protocol::invitation::{CodeNumber, InviteFrame};
use hobnob_protocol::relay::{PORT_RELAY, ToRelay};
use hobnob_protocol::{
    Activity, ConversationId, DeviceId, Frame, LogId, LogName, OfferId, OfferWord, PersonId,
    Ranges, RoomKey, RoomName, RoomTag,
};
use hobnob_tests::hostile::{
    Forger, MIB, Mallory, RawStream, RelayClient, TestCert, public_record, random_key,
};
use hobnob_tests::lab::{Lab, Machine, Node, Relay, SetOnDrop, Usage, pause, until};
use quinn::TransportConfig;
use serde_json::Value;

/// The short form, in seconds.
const SECONDS: u64 = 20;

/// From this length on, a run has filled all that a stranger can fill in its first half.
const LONG_SECONDS: u64 = 15 * 60;

/// How often a contact writes, in the short form and in the long one. The disk that it takes is counted
/// with the stranger's.
const WRITES_EVERY: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// The stranger pauses between two acts. Without a pause, ann's machine would be what is tested.
const ACTS_EVERY: Duration = Duration::from_millis(100);

/// The stranger goes on if a node stops to read.
const ACT_WITHIN: Duration = Duration::from_secs(5);

/// After the attack, the last messages are there within this time.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// Memory for all sessions that strangers may have, for the peers that a node knows, and for the
/// database's cache.
const MEMORY_MAX: u64 = 64 * MIB;

/// Memory that the allocator may return later or earlier.
const MEMORY_VARIES: u64 = 16 * MIB;

/// Connections with programs, and files of the database.
const DESCRIPTORS_VARY: usize = 32;

/// All files of the home: what strangers write and its index, the peers that came, the write-ahead log,
/// and what the contacts write.
const DISK_MAX: u64 = 64 * MIB;

/// The write-ahead log grows and shrinks, and the contacts write.
const DISK_VARIES: u64 = 16 * MIB;

#[test]
fn a_stranger_that_does_everything_takes_nothing_from_two_contacts() {
    let seconds = std::env::var("HOBNOB_SOAK").map_or(SECONDS, |n| n.parse().expect("seconds"));
    let lab = Lab::open();
    let internet = lab.internet();
    let relay = internet.machine("relay").relay(&[]);
    let [ann, bob] = ["ann", "bob"].map(|nick| {
        let arguments = ["--no-mdns", "--relay", &relay.name()];
        internet.machine(nick).up(nick, &arguments)
    });
    ann.sees(&bob);
    bob.sees(&ann);
    ann.are_contacts(&bob);
    for node in [&ann, &bob] {
        node.keep_only(is_of_contacts);
    }
    relay.keep_only(|_| false);
    let stranger = internet.machine("stranger");
    let victim = Victim::of(&ann, &relay);

    let over = &AtomicBool::new(false);
    let (ann, bob) = (&ann, &bob);
    let (of_ann, of_bob, acts, watched) = std::thread::scope(|scope| {
        let every = WRITES_EVERY[usize::from(seconds >= LONG_SECONDS)];
        let of_ann = scope.spawn(move || talk(ann, bob, every, over));
        let of_bob = scope.spawn(move || talk(bob, ann, every, over));
        let at_node = scope.spawn(|| within(&stranger, attack_node(&victim, over)));
        let at_relay = scope.spawn(|| within(&stranger, attack_relay(&victim, over)));
        let end = SetOnDrop(over);
        let watched = watch(ann, &relay, seconds);
        drop(end);
        let acts = at_node.join().expect("the stranger at the node")
            + at_relay.join().expect("the stranger at the relay");
        (
            of_ann.join().expect("ann's user"),
            of_bob.join().expect("bob's user"),
            acts,
            watched,
        )
    });
    eprintln!(
        "{acts} acts, {} and {} messages",
        of_ann.len(),
        of_bob.len()
    );
    shows_each_once_in_order(bob, ann, &of_ann);
    shows_each_once_in_order(ann, bob, &of_bob);
    watched.check(seconds);
    // The stranger has not made them lose the relay.
    for node in [ann, bob] {
        until("a contact is at the relay", SETTLED_WITHIN, || {
            let row = relay.row(node.id()).unwrap_or_default();
            let is_alive = row["state"] == "alive";
            is_alive.then_some(()).ok_or_else(|| row.to_string())
        });
    }
    ann.tells(bob, "afterwards");
    // The search index waits until the node is idle, or searched. It counts as well.
    ann.run(&["search", "nobody-has-written-this"]).expect(0);
    let disk = ann.usage().disk.saturating_sub(watched.node[0].disk);
    eprintln!("with the search index, ann's home has {disk} bytes more");
    assert!(disk <= DISK_MAX, "{disk} bytes with the search index");
}

/// The messages of the two contacts to each other begin with a nickname.
fn is_of_contacts(event: &Value) -> bool {
    let text = event["text"].as_str().unwrap_or_default();
    let is_theirs = ["ann ", "bob "].iter().any(|nick| text.starts_with(nick));
    event["event"] == "message" && is_theirs
}

/// Writes numbered messages to a contact until the test is over. Returns them.
fn talk(from: &Node, to: &Node, every: Duration, over: &AtomicBool) -> Vec<String> {
    let (mut client, peer) = (from.client(), to.id().parse().expect("a peer id"));
    let mut said = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let text = format!("{} {}", from.nick(), said.len());
        assert!(client.is_open(), "a running node accepts commands");
        assert!(client.submit(peer, &text).is_some(), "{text} is not stored");
        said.push(text);
        pause(every);
    }
    said
}

/// Checks that a node showed exactly these messages of another one.
fn shows_each_once_in_order(node: &Node, from: &Node, texts: &[String]) {
    assert!(!texts.is_empty(), "{} wrote nothing", from.nick());
    let what = format!("{} shows all messages of {}", node.nick(), from.nick());
    until(&what, SETTLED_WITHIN, || {
        let events = node.events();
        let of_peer = events.iter().filter(|event| event["from"] == from.id());
        let shown: Vec<_> = of_peer.filter_map(|event| event["text"].as_str()).collect();
        if shown == texts {
            return Ok(());
        }
        let at = shown
            .iter()
            .zip(texts)
            .position(|(shown, text)| shown != text);
        let at = at.unwrap_or(shown.len().min(texts.len()));
        let (got, said) = (shown.get(at), texts.get(at));
        Err(format!("message {at} is {got:?} instead of {said:?}"))
    });
}

/// What a node and a relay used at some moments, in equal distances.
struct Watched {
    node: Vec<Usage>,
    relay: Vec<Usage>,
}

/// Looks now and then for this long, at least every minute.
fn watch(ann: &Node, relay: &Relay, seconds: u64) -> Watched {
    let every = (seconds / 12).clamp(1, 60);
    let mut watched = Watched {
        node: vec![ann.usage()],
        relay: vec![relay.usage()],
    };
    for at in 1..=seconds.div_ceil(every) {
        pause(Duration::from_secs(every));
        let (node, of_relay) = (ann.usage(), relay.usage());
        eprintln!("{} s: ann {node:?}, relay {of_relay:?}", at * every);
        watched.node.push(node);
        watched.relay.push(of_relay);
    }
    watched
}

impl Watched {
    fn check(&self, seconds: u64) {
        for (name, used) in [("ann", &self.node), ("the relay", &self.relay)] {
            let (first, last) = (used[0], used[used.len() - 1]);
            let grown = |now: u64, before: u64| now.saturating_sub(before);
            let memory = grown(last.memory, first.memory);
            assert!(
                memory <= MEMORY_MAX,
                "{name} uses {memory} bytes more memory"
            );
            let disk = grown(last.disk, first.disk);
            assert!(disk <= DISK_MAX, "{name} uses {disk} bytes more disk");
            let most = first.descriptors + DESCRIPTORS_VARY;
            let descriptors = last.descriptors;
            assert!(descriptors <= most, "{name} has {descriptors} descriptors");
            if seconds >= LONG_SECONDS {
                let half = used[used.len() / 2];
                let memory = grown(last.memory, half.memory);
                assert!(
                    memory <= MEMORY_VARIES,
                    "{name}: {memory} more in the second half"
                );
                let disk = grown(last.disk, half.disk);
                assert!(
                    disk <= DISK_VARIES,
                    "{name}: {disk} more in the second half"
                );
            }
        }
    }
}

/// Runs an attack on a machine until it ends.
fn within<T: Send>(machine: &Machine, attack: impl Future<Output = T> + Send) -> T {
    machine.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime starts");
        runtime.block_on(attack)
    })
}

/// What the stranger attacks, and what it knows of it.
struct Victim {
    node: SocketAddr,
    id: PersonId,
    relay: SocketAddr,
}

impl Victim {
    fn of(ann: &Node, relay: &Relay) -> Self {
        let node = format!("{}:{NODE_PORT}", ann.machine().ipv4());
        Self {
            node: node.parse().expect("an address"),
            id: ann.id().parse().expect("a peer id"),
            relay: relay.address().into(),
        }
    }
}

const NODE_PORT: u16 = 4626;

/// What a stranger does in one session with a node.
#[derive(Debug, Clone, Copy)]
enum Act {
    Knock,
    FloodLogs,
    FillRoom,
    ChangeProfile,
    GuessInvitations,
    ReportAddresses,
    Lie,
    Garble,
    NameOthers,
    Records,
    Offers,
    Idle,
}

const ACTS: [Act; 12] = [
    Act::Knock,
    Act::FloodLogs,
    Act::FillRoom,
    Act::ChangeProfile,
    Act::GuessInvitations,
    Act::ReportAddresses,
    Act::Lie,
    Act::Garble,
    Act::NameOthers,
    Act::Records,
    Act::Offers,
    Act::Idle,
];

/// Does one act after another, each as a new identity. Returns how many.
async fn attack_node(victim: &Victim, over: &AtomicBool) -> usize {
    let mut acts = 0;
    while !over.load(Ordering::Relaxed) {
        let mallory = Mallory::at(SocketAddr::from(([0; 4], 0)), TransportConfig::default());
        let act = act(ACTS[acts % ACTS.len()], &mallory, victim);
        // A node that reads nothing makes the stranger wait.
        let _ = tokio::time::timeout(ACT_WITHIN, act).await;
        acts += 1;
        tokio::time::sleep(ACTS_EVERY).await;
    }
    acts
}

async fn act(act: Act, mallory: &Mallory, victim: &Victim) {
    let Some(mut stream) = mallory.try_lobby_at(victim.node, "mallory").await else {
        return;
    };
    let (key, lobby) = (mallory.key(), lobby().conversation());
    match act {
        Act::Knock => {
            let direct = ConversationId::direct(victim.id, mallory.id());
            let mut log = Forger::new(key, direct);
            for _ in 0..30 {
                stream
                    .sends_batch(&log.texts(&["let me in ".repeat(200).as_str()]))
                    .await;
            }
        }
        Act::FloodLogs => {
            for _ in 0..100 {
                let key = random_key();
                stream
                    .sends_batch(&Forger::new(&key, lobby).texts(&["x"]))
                    .await;
            }
        }
        Act::FillRoom => {
            let mut log = Forger::new(key, lobby);
            for _ in 0..50 {
                stream
                    .sends_batch(&log.texts(&[costly_text().as_str()]))
                    .await;
            }
        }
        Act::ChangeProfile => {
            for n in 0..30 {
                let profile = Profile {
                    addrs: addresses(),
                    ..mallory.profile(&format!("mallory{n}"))
                };
                stream.sends(&Frame::Profile(profile)).await;
            }
        }
        Act::GuessInvitations => {
            for _ in 0..20 {
                let ask = InviteFrame::Ask(CodeNumber::random(rand::random()), rand::random());
                stream.sends(&Frame::Invite(ask)).await;
            }
        }
        Act::ReportAddresses => {
            for _ in 0..20 {
                stream.sends(&Frame::Candidates(addresses())).await;
                stream.sends(&Frame::DialBack(rand::random())).await;
            }
        }
        Act::Lie => {
            for _ in 0..20 {
                lie(&mut stream, victim, lobby).await;
            }
        }
        Act::Garble => {
            let kind: u8 = rand::random();
            let body: [u8; 32] = rand::random();
            let frame = [&33u32.to_be_bytes()[..], &[kind], &body].concat();
            stream.sends_bytes(&frame).await;
            stream.sends_batch_bytes(&u32::MAX.to_be_bytes()).await;
        }
        Act::NameOthers => {
            let mut forged = Forger::impersonating(victim.id, key, lobby);
            stream.sends_batch(&forged.texts(&["I am you"])).await;
            let mut own = Forger::new(key, lobby);
            let bad = Forger::with_bad_signature(own.texts(&["not signed"]));
            stream.sends_batch(&bad).await;
            let mut of_device = Forger::new(key, lobby);
            of_device.name.device = random_key().id();
            stream
                .sends_batch(&of_device.texts(&["from my phone"]))
                .await;
        }
        Act::Records => {
            let others: Vec<_> = (0..20).map(|_| random_key()).collect();
            let records = others
                .iter()
                .map(|key| (key.id().person(), public_record(key, "nobody")))
                .collect();
            let answer = false;
            stream.sends(&Frame::Records { answer, records }).await;
            let wanted = others.iter().map(|key| (key.id().person(), 0)).collect();
            stream.sends(&Frame::WantRecords(wanted)).await;
            let contact = public_record(key, "a friend");
            stream.sends(&Frame::ContactRecord(contact)).await;
            stream.sends(&Frame::HoldsMail(true)).await;
        }
        Act::Offers => offer(&mut stream, victim, lobby).await,
        Act::Idle => {
            let connection = mallory.dial_at(victim.node, &TestCert::of(key)).await;
            tokio::time::sleep(ACTS_EVERY).await;
            drop(connection);
        }
    }
    // Half of the sessions end without a goodbye.
    if rand::random() {
        stream.connection.close(0u32.into(), b"");
    }
}

/// Says something untrue about a conversation.
async fn lie(stream: &mut RawStream, victim: &Victim, lobby: ConversationId) {
    let author = if rand::random() {
        victim.id
    } else {
        random_key().id().person()
    };
    let name = LogName {
        conversation: lobby,
        author,
        device: author.only_device(),
        log: LogId(rand::random()),
    };
    let ranges = Ranges::span(1, 1 + u64::from(rand::random::<u16>()));
    let digest = Digest {
        hash: rand::random(),
        clock: rand::random(),
    };
    let heads = AuthorHeads {
        author,
        device: name.device,
        logs: vec![(name.log, ranges.clone().into())],
    };
    let want = Frame::Want {
        name,
        from: 1,
        to: None,
    };
    for frame in [
        Frame::Have(name, ranges.into()),
        want,
        Frame::Digest(lobby, digest),
        Frame::Heads {
            conversation: lobby,
            more: false,
            authors: vec![heads],
        },
        Frame::Prune(lobby, author),
        Frame::Conflict(name),
        Frame::Waiting(ConversationId::direct(victim.id, stream.me())),
        Frame::Activity(Activity::Typing(lobby, true)),
        Frame::Activity(Activity::Status(true, "gone fishing".to_owned())),
    ] {
        stream.sends(&frame).await;
    }
}

/// Names offers that nobody has made, and asks for their content.
async fn offer(stream: &mut RawStream, victim: &Victim, lobby: ConversationId) {
    let name = LogName {
        conversation: lobby,
        author: victim.id,
        device: victim.id.only_device(),
        log: LogId(rand::random()),
    };
    let offer = OfferId { name, seq: 1 };
    for word in [OfferWord::Whole, OfferWord::Withdrawn] {
        stream.sends(&Frame::Offer(offer, word)).await;
    }
    if let Ok((mut asks, _answers)) = stream.connection.open_bi().await {
        let request = PieceRequest {
            offer,
            span: 0,
            first: 0,
            count: 64,
        };
        let _ = asks.write_all(&request.encode()).await;
        let _ = asks.finish();
    }
}

/// Registers again and again, and uses all requests of a relay. Returns how often.
async fn attack_relay(victim: &Victim, over: &AtomicBool) -> usize {
    let mut acts = 0;
    while !over.load(Ordering::Relaxed) {
        let _ = tokio::time::timeout(ACT_WITHIN, at_relay(victim)).await;
        acts += 1;
        tokio::time::sleep(ACTS_EVERY).await;
    }
    acts
}

async fn at_relay(victim: &Victim) {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a port is free");
    let datagrams = socket.try_clone().expect("a socket can be cloned");
    let client = RelayClient::new(socket, victim.relay);
    // Channels that do not exist, probes, and nothing that has a meaning.
    for first in [0x05, 0x10, 0x11, 0x40] {
        let datagram: Vec<u8> = (0..200u8)
            .map(|at| if at == 0 { first } else { at })
            .collect();
        // The socket does not block, so a full buffer drops it.
        let _ = datagrams.send_to(&datagram, victim.relay);
    }
    let Ok(mut registration) = client.try_register(&[lobby()]).await else {
        return;
    };
    for n in 0..20 {
        let nobody = DeviceId::from_bytes(rand::random());
        for frame in [
            ToRelay::Heartbeat(rand::random()),
            ToRelay::Open(nobody),
            ToRelay::Open(victim.id.only_device()),
            ToRelay::Rooms(vec![RoomTag::from_bytes(rand::random())]),
            ToRelay::DialBack(rand::random()),
            ToRelay::FindInvitation(CodeNumber::random(rand::random())),
            ToRelay::Invitations(vec![CodeNumber::random(rand::random())]),
        ] {
            if !registration.sends(&frame).await {
                return;
            }
        }
        if n == 19 {
            let garbled: [u8; 64] = rand::random();
            registration.sends_bytes(&garbled).await;
        }
    }
}

/// A text that takes much room in a search index: nearly no three letters in a row occur twice.
fn costly_text() -> String {
    let letters = std::iter::repeat_with(|| char::from_u32(0x100 + rand::random::<u32>() % 0x500));
    let letters = letters.flatten().filter(|letter| letter.is_alphabetic());
    letters.take(6_000).collect()
}

fn lobby() -> RoomKey {
    RoomKey::open(&RoomName::lobby())
}

/// Addresses at which nobody is, some of them on ann's own machine.
fn addresses() -> Vec<SocketAddr> {
    let other = |n: u8| SocketAddr::from(([203, 0, 113, n], PORT_RELAY));
    let own = SocketAddr::from(([127, 0, 0, 1], NODE_PORT));
    (0..7).map(|_| other(rand::random())).chain([own]).collect()
}
