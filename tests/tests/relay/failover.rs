//! Two relays, of which one fails in mid-conversation.

use std::time::Duration;

use hobnob_tests::lab::{Internet, Lab, Nat, Node, Relay, Site, Stopwatch, pause};

/// Two nodes that use two relays.
struct Scene {
    relays: [Relay; 2],
    _sites: [Site; 2],
    nodes: [Node; 2],
    _internet: Internet,
    _lab: Lab,
}

impl Scene {
    fn new() -> Self {
        let lab = Lab::open();
        let internet = lab.internet();
        let relays = ["first", "second"].map(|name| internet.machine(name).relay(&[]));
        let names = [relays[0].name(), relays[1].name()];
        let both = ["--relay", &names[0], "--relay", &names[1]];
        let sites = [(); 2].map(|()| internet.site(Nat::Symmetric));
        let nodes = [
            sites[0].machine("ann").up("ann", &both),
            sites[1].machine("bob").up("bob", &both),
        ];
        let scene = Self {
            relays,
            _sites: sites,
            nodes,
            _internet: internet,
            _lab: lab,
        };
        for node in &scene.nodes {
            for relay in &scene.relays {
                let of_relay = |event: &serde_json::Value| {
                    event["code"] == "relay-up" && event["id"] == relay.id()
                };
                node.wait_for("register", of_relay, Duration::from_secs(20));
            }
        }
        scene
    }

    /// The relay through which the nodes talk: the one that forwards their message.
    fn in_use(&self) -> &Relay {
        let forwarded = |relay: &Relay| {
            let row = relay.row(self.nodes[0].id()).expect("ann is registered");
            row["channels"].as_u64().unwrap_or_default()
        };
        let [first, second] = &self.relays;
        if forwarded(first) >= forwarded(second) {
            first
        } else {
            second
        }
    }

    /// Both nodes talk while the relay in use fails. Prints and checks how long the next message
    /// takes, in each direction.
    fn survives(&self, fail: impl FnOnce(&Relay)) {
        let [ann, bob] = &self.nodes;
        ann.sees(bob);
        ann.tells(bob, "before");
        bob.tells(ann, "before, too");
        // A failure in the first seconds of a session is another case.
        pause(Duration::from_secs(6));
        fail(self.in_use());
        let failed = Stopwatch::start();
        ann.tells(bob, "after");
        println!("delivered after {:?}", failed.elapsed());
        assert!(failed.elapsed() < LIMIT, "{:?}", failed.elapsed());
        bob.tells(ann, "and back");
        for n in 0..20 {
            ann.queues(bob, &format!("number {n}"));
        }
        bob.shows_once("after");
        ann.shows_once("and back");
        for n in 0..20 {
            bob.shows_once(&format!("number {n}"));
        }
        assert!(!ann.has_connected_over("direct", bob));
    }
}

#[test]
fn of_two_relays_the_nearer_one_is_used() {
    let lab = Lab::open();
    let internet = lab.internet();
    let [near, far] = ["near", "far"].map(|name| internet.machine(name).relay(&[]));
    let long_way = internet.machine("long");
    let at_far = long_way.long_way(far.address(), Duration::from_millis(200));
    // The far one is named first.
    let names = [format!("{}@{at_far}", far.id()), near.name()];
    let both = ["--relay", &names[0], "--relay", &names[1]];
    let sites = [(); 2].map(|()| internet.site(Nat::Symmetric));
    let up = |site: &Site, nick: &str| {
        let node = site.machine(nick).up(nick, &both);
        for relay in [&near, &far] {
            let is_up = |event: &serde_json::Value| {
                event["code"] == "relay-up" && event["id"] == relay.id()
            };
            node.wait_for("register", is_up, Duration::from_secs(20));
        }
        node
    };
    let ann = up(&sites[0], "ann");
    let bob = up(&sites[1], "bob");
    ann.sees(&bob);
    ann.tells(&bob, "by the near one");
    bob.shows_once("by the near one");
    let channels =
        |relay: &Relay| relay.row(ann.id()).expect("ann is registered")["channels"].clone();
    assert_eq!((channels(&near), channels(&far)), (1.into(), 0.into()));
    let row = ann.peers().into_iter().find(|row| row["peer"] == bob.id());
    let rtt = row.expect("bob is there")["rtt_ms"]
        .as_f64()
        .expect("measured");
    assert!(rtt < 200.0, "{rtt} ms");
}

#[test]
fn a_relay_that_hangs_is_replaced_by_another() {
    let scene = Scene::new();
    scene.survives(Relay::freeze);
    scene.relays.iter().for_each(Relay::thaw);
}

#[test]
fn a_relay_that_is_killed_is_replaced_by_another() {
    Scene::new().survives(Relay::kill9);
}

#[test]
fn a_relay_whose_packets_are_lost_is_replaced_by_another() {
    Scene::new().survives(|relay| relay.machine().unplug());
}

/// Amendment E.3: another relay within 2 s, and a margin for the start of the command and a busy
/// machine.
const LIMIT: Duration = Duration::from_millis(3_500);
