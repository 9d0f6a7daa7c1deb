//! A relay that lies: nothing is believed, lost or shown twice, and the node says what is wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_protocol::PeerId;
use hobnob_tests::hostile::Host;
use hobnob_tests::lab::until;
use hobnob_tests::lying_relay::{FalseDialBack, Lies, LyingRelay};
use tempfile::TempDir;

/// People who know one another's ids, and nothing but this relay.
struct Town {
    dir: TempDir,
    relay: LyingRelay,
}

impl Town {
    fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("hob")
            .tempdir()
            .expect("the temporary folder can be written to");
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

    /// The id that somebody will have.
    fn id(&self, nick: &str) -> PeerId {
        let host = Host::up(self.dir.path(), nick);
        let id = host.id();
        host.terminate();
        id
    }

    fn three(&self) -> [Host; 3] {
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

/// Each tells the other so many things, which both come to have once and in order.
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
        until(&format!("both sides of {about:?}"), PATIENCE, || {
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
fn dropping_repeating_reordering_and_garbling_cost_time_and_no_message() {
    let town = Town::new();
    let [ann, bob, _cat] = town.three();
    town.relay.lies(Lies {
        drop: 10,
        repeat: 15,
        hold: 15,
        garble: 5,
        replay: 20,
        ..Lies::default()
    });
    let before = town.relay.forwarded();
    converse(&ann, &bob, "in bad weather", 60);
    assert!(town.relay.forwarded() > before + 60, "it went another way");
    town.relay.lies(Lies::default());
    converse(&ann, &bob, "in good weather", 5);
}

#[test]
fn who_answers_in_another_ones_place_is_told_nothing_and_told_of() {
    let town = Town::new();
    let [bob_id, cat_id] = [town.id("bob"), town.id("cat")];
    town.relay.lies(Lies {
        instead_of: BTreeMap::from([(bob_id, cat_id)]),
        ..Lies::default()
    });
    let (ann, cat) = (town.up("ann"), town.up("cat"));
    ann.prints(&["relay-up"]);
    cat.prints(&["relay-up"]);
    let at_relay = format!("{bob_id}@{}", town.relay.addr());
    ann.run(&["send", "--timeout", "2s", &at_relay, "for bob alone"])
        .expect(4);
    ann.prints(&["relay-lies", "instead of"]);
    assert!(
        !cat.texts(&[]).iter().any(|text| text == "for bob alone"),
        "cat was told"
    );
    town.relay.lies(Lies::default());
    let bob = town.up("bob");
    bob.has("for bob alone");
    bob.printed_nothing_twice();
    assert!(
        !cat.texts(&[]).iter().any(|text| text == "for bob alone"),
        "cat was told"
    );
}

#[test]
fn who_hears_of_a_channel_after_its_first_frames_answers_them_all_the_same() {
    let town = Town::new();
    town.relay.lies(Lies {
        hides: true,
        late: true,
        ..Lies::default()
    });
    let [ann, bob] = ["ann", "bob"].map(|nick| town.up(nick));
    for host in [&ann, &bob] {
        host.prints(&["relay-up"]);
    }
    ann.run(&[
        "send",
        &format!("{}@{}", bob.id(), town.relay.addr()),
        "who is this?",
    ])
    .expect(0);
    bob.has("who is this?");
}

#[test]
fn frames_in_somebody_elses_name_disturb_nobody() {
    let town = Town::new();
    let [ann, bob, cat] = town.three();
    town.relay.lies(Lies {
        copy_to: Some((bob.id(), cat.id())),
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
fn a_roster_of_people_who_do_not_exist_makes_nobody_up() {
    let town = Town::new();
    town.relay.lies(Lies {
        ghosts: 190,
        ..Lies::default()
    });
    let [ann, bob, cat] = town.three();
    converse(&ann, &bob, "among ghosts", 10);
    let real = [bob.id().to_string(), cat.id().to_string()];
    for line in ann.run(&["--json", "peers"]).expect(0).json() {
        let known = real.iter().any(|id| line["peer"] == id.as_str());
        assert!(
            known || line["state"] != "online",
            "a ghost is there: {line}"
        );
    }
}

#[test]
fn a_relay_through_which_nobody_is_reached_is_told_of() {
    let town = Town::new();
    town.relay.lies(Lies {
        ghosts: 30,
        ..Lies::default()
    });
    let ann = town.up("ann");
    ann.prints(&["relay-doubtful", "none of them is reached"]);
}

#[test]
fn another_identity_at_a_relays_address_is_refused_and_the_user_told_what_to_do() {
    let town = Town::new();
    let at = town.relay.addr();
    let start = || {
        Host::start(
            town.dir.path(),
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
    let Town { dir, relay } = town;
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
    ann.prints(&["relay-changed", "--relay"]);
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
fn a_call_that_no_firewall_would_keep_out_or_that_never_was_proves_nothing() {
    let town = Town::new();
    let ann = town.up("ann");
    ann.prints(&["relay-up"]);
    for calls in [
        None,
        Some(FalseDialBack::Silent),
        Some(FalseDialBack::FromItsPort),
    ] {
        town.relay.lies(Lies {
            dial_back: calls,
            ..Lies::default()
        });
        let checks = ann.run(&["--json", "doctor"]).expect_one_of(&[0, 1]).json();
        let of_calls = checks
            .iter()
            .find(|line| line["check"] == "calls")
            .expect("calls are looked at");
        assert_eq!(of_calls["verdict"], "unknown", "{calls:?}: {of_calls}");
    }
}

/// With a tenth of all frames lost, retransmissions take their time.
const PATIENCE: Duration = Duration::from_secs(60);
