//! A relay that lies: no message is lost, leaked or shown twice, and the node reports what the
//! relay does wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_protocol::{DeviceId, RoomKey, RoomName, RoomTag};
use hobnob_tests::hostile::Host;
use hobnob_tests::lab::until;
use hobnob_tests::lying_relay::{FalseDialBack, Lies, LyingRelay};
use tempfile::TempDir;

/// A lying relay, and nodes that can reach each other only through it.
struct LyingNet {
    dir: TempDir,
    relay: LyingRelay,
}

impl LyingNet {
    fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("hob")
            .tempdir()
            .expect("the temporary folder is writable");
        Self {
            dir,
            relay: LyingRelay::start(),
        }
    }

    fn up(&self, nick: &str) -> Host {
        let name = self.relay.name();
        Host::start(
            self.dir.path(),
            nick,
            &["-v", "--json", "--listen", "127.0.0.1:0", "--relay", &name],
        )
    }

    /// Starts and stops a node once, to learn its id before the test begins.
    fn id(&self, nick: &str) -> DeviceId {
        let host = Host::up(self.dir.path(), nick);
        let id = host.id();
        host.terminate();
        id.only_device()
    }

    fn three_online(&self) -> [Host; 3] {
        let hosts = ["ann", "bob", "cat"].map(|nick| self.up(nick));
        for one in &hosts {
            for other in hosts.iter().filter(|other| other.id() != one.id()) {
                one.prints(&[
                    "\"event\":\"peer\"",
                    "\"path\":\"relay\"",
                    &other.id().to_string(),
                    "\"online\"",
                ]);
            }
        }
        hosts
    }
}

/// A relay cannot compare the tags of its peers with those that another relay sees, and a tag is not
/// the id of the room's conversation.
#[test]
fn a_relay_sees_tags_that_are_made_for_it_alone() {
    const SECRET: &str = "four unrelated words";
    let net = LyingNet::new();
    let ann = net.up("ann");
    ann.run_with_input(&["join", "cellar", "--secret-file", "-"], SECRET)
        .expect(0);
    let cellar: RoomName = "cellar".parse().expect("a room's name");
    let key = RoomKey::from_passphrase(&cellar, SECRET.as_bytes()).expect("it is not weak");
    until("ann registers her rooms", Duration::from_secs(10), || {
        let tags = net.relay.tags(ann.id().only_device());
        if tags.contains(&key.relay_tag(net.relay.id())) {
            Ok(())
        } else {
            Err(format!("{tags:?}"))
        }
    });
    let tags = net.relay.tags(ann.id().only_device());
    assert_eq!(tags.len(), 2, "the lobby and the cellar");
    let other = DeviceId::from_bytes([7; 32]);
    let id = RoomTag::from_bytes(*key.conversation().as_bytes());
    assert!(!tags.contains(&key.relay_tag(other)) && !tags.contains(&id));
}

/// Both send this many messages to the other, then wait until both have all of them once and in
/// order.
fn converse(ann: &Host, bob: &Host, about: &str, messages: usize) {
    let text = |from: &str, n: usize| format!("{about}, {n}, from {from}");
    for n in 0..messages {
        for (from, to, nick) in [(ann, bob, "ann"), (bob, ann, "bob")] {
            from.run(&[
                "send",
                "--wait",
                "queued",
                &to.id().to_string(),
                &text(nick, n),
            ])
            .expect(0);
        }
    }
    for (host, other) in [(ann, bob), (bob, ann)] {
        until(&format!("both sides of {about:?}"), TIMEOUT, || {
            let texts = host.texts(&[&other.id().to_string()]);
            for nick in ["ann", "bob"] {
                let ending = format!(", from {nick}");
                let theirs: Vec<_> = texts
                    .iter()
                    .filter(|t| t.starts_with(about) && t.ends_with(&ending))
                    .cloned()
                    .collect();
                let expected: Vec<_> = (0..messages).map(|n| text(nick, n)).collect();
                if theirs != expected {
                    return Err(format!(
                        "{} of {messages} from {nick}: {:?} …",
                        theirs.len(),
                        theirs.last()
                    ));
                }
            }
            Ok(())
        });
        host.printed_nothing_twice();
    }
}

#[test]
fn a_relay_that_drops_repeats_reorders_and_garbles_loses_no_message() {
    let net = LyingNet::new();
    let [ann, bob, _cat] = net.three_online();
    net.relay.lies(Lies {
        drop: 10,
        repeat: 15,
        hold: 15,
        garble: 5,
        replay: 20,
        ..Lies::default()
    });
    let before = net.relay.forwarded();
    converse(&ann, &bob, "in bad weather", 60);
    assert!(
        net.relay.forwarded() > before + 60,
        "the messages bypassed the relay"
    );
    net.relay.lies(Lies::default());
    converse(&ann, &bob, "in good weather", 5);
}

#[test]
fn a_relay_that_connects_the_wrong_peer_is_reported_and_leaks_no_message() {
    let net = LyingNet::new();
    let [bob_id, cat_id] = [net.id("bob"), net.id("cat")];
    net.relay.lies(Lies {
        instead_of: BTreeMap::from([(bob_id, cat_id)]),
        ..Lies::default()
    });
    let (ann, cat) = (net.up("ann"), net.up("cat"));
    ann.prints(&["relay-up"]);
    cat.prints(&["relay-up"]);
    let at_relay = format!("{bob_id}@{}", net.relay.addr());
    ann.run(&["send", "--timeout", "2s", &at_relay, "for bob alone"])
        .expect(4);
    ann.prints(&["relay-lies", &cat_id.to_string()]);
    assert!(
        !cat.texts(&[]).iter().any(|text| text == "for bob alone"),
        "cat received bob's message"
    );
    net.relay.lies(Lies::default());
    let bob = net.up("bob");
    bob.has("for bob alone");
    bob.printed_nothing_twice();
    assert!(
        !cat.texts(&[]).iter().any(|text| text == "for bob alone"),
        "cat received bob's message"
    );
}

#[test]
fn frames_that_arrive_before_their_channel_is_announced_are_answered() {
    let net = LyingNet::new();
    net.relay.lies(Lies {
        hides: true,
        late: true,
        ..Lies::default()
    });
    let [ann, bob] = ["ann", "bob"].map(|nick| net.up(nick));
    for host in [&ann, &bob] {
        host.prints(&["relay-up"]);
    }
    ann.run(&[
        "send",
        &format!("{}@{}", bob.id(), net.relay.addr()),
        "who is this?",
    ])
    .expect(0);
    bob.has("who is this?");
}

#[test]
fn frames_copied_into_another_channel_do_no_harm() {
    let net = LyingNet::new();
    let [ann, bob, cat] = net.three_online();
    net.relay.lies(Lies {
        copy_to: Some((bob.id().only_device(), cat.id().only_device())),
        ..Lies::default()
    });
    converse(&ann, &bob, "overheard", 20);
    converse(&ann, &cat, "meanwhile", 5);
    let overheard = cat
        .texts(&[])
        .into_iter()
        .find(|text| text.starts_with("overheard"));
    assert_eq!(overheard, None);
    cat.is_up();
}

#[test]
fn invented_peers_in_a_roster_never_come_online() {
    let net = LyingNet::new();
    net.relay.lies(Lies {
        ghosts: 190,
        ..Lies::default()
    });
    let [ann, bob, cat] = net.three_online();
    converse(&ann, &bob, "among ghosts", 10);
    let real = [bob.id().to_string(), cat.id().to_string()];
    for line in ann.run(&["--json", "peers"]).expect(0).json() {
        let known = real.iter().any(|id| line["peer"] == id.as_str());
        assert!(
            known || line["state"] != "online",
            "an invented peer is online: {line}"
        );
    }
}

#[test]
fn a_relay_that_reaches_no_peer_is_reported() {
    let net = LyingNet::new();
    net.relay.lies(Lies {
        ghosts: 30,
        ..Lies::default()
    });
    let ann = net.up("ann");
    ann.prints(&["relay-doubtful"]);
}

#[test]
fn a_new_identity_at_a_relays_address_is_refused_with_advice() {
    let net = LyingNet::new();
    let at = net.relay.addr();
    let start = || {
        Host::start(
            net.dir.path(),
            "ann",
            &[
                "-v",
                "--json",
                "--listen",
                "127.0.0.1:0",
                "--relay",
                &at.to_string(),
            ],
        )
    };
    let ann = start();
    ann.prints(&["relay-up"]);
    ann.terminate();
    drop(ann);
    let LyingNet { dir, relay } = net;
    drop(relay);
    let impostor = LyingRelay::start_at(at);
    let start = |relay: &str| {
        Host::start(
            dir.path(),
            "ann",
            &["-v", "--json", "--listen", "127.0.0.1:0", "--relay", relay],
        )
    };
    let ann = start(&at.to_string());
    ann.prints(&["relay-changed", "expected", "found"]);
    assert!(
        !ann.output().contains("relay-up"),
        "it registered with the impostor"
    );
    ann.terminate();
    drop(ann);
    let ann = start(&impostor.name());
    ann.prints(&["relay-up"]);
}

#[test]
fn a_faked_dial_back_leaves_reachability_unknown() {
    let net = LyingNet::new();
    let ann = net.up("ann");
    ann.prints(&["relay-up"]);
    for dial_back in [
        None,
        Some(FalseDialBack::Silent),
        Some(FalseDialBack::FromItsPort),
    ] {
        net.relay.lies(Lies {
            dial_back,
            ..Lies::default()
        });
        let checks = ann.run(&["--json", "doctor"]).expect_one_of(&[0, 1]).json();
        let reachability = checks
            .iter()
            .find(|line| line["check"] == "dial-back")
            .expect("doctor checks reachability");
        assert_eq!(
            reachability["verdict"], "unknown",
            "{dial_back:?}: {reachability}"
        );
    }
}

/// A tenth of all frames are lost, so retransmissions take long.
const TIMEOUT: Duration = Duration::from_secs(60);
