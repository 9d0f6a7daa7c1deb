//! A fleet of three relays on a cluster of three NATS servers: nodes of different relays talk, and
//! relays and NATS servers fail.

use std::time::Duration;

use hobnob_protocol::{DeviceId, PersonId};
use hobnob_tests::lab::{
    Internet, Lab, Machine, Nat, NatsCluster, Node, Relay, Stopwatch, hobnob_binary, until,
};
use serde_json::Value;

/// Enough on a busy machine. Only a step that hangs needs this long.
const LONG: Duration = Duration::from_secs(60);

struct Fleet {
    id: String,
    relays: Vec<Relay>,
    nats: NatsCluster,
    internet: Internet,
    _lab: Lab,
}

/// The last line of a command's output.
fn line(machine: &Machine, arguments: &[&str]) -> Value {
    let arguments = [&["relay", "--json"], arguments].concat();
    machine
        .run(hobnob_binary(), &arguments)
        .expect(0)
        .one_json()
}

impl Fleet {
    fn new() -> Self {
        let lab = Lab::open();
        let internet = lab.internet();
        let machines = ["one", "two", "three"].map(|name| internet.machine(name));
        // A relay has an identity from its first start on.
        let names = machines.each_ref().map(|machine| {
            let relay = machine.relay(&[]);
            relay.terminate();
            relay.name()
        });
        let path = |name: &str| {
            let path = lab.file(name, "");
            std::fs::remove_file(&path).expect("it was created just now");
            path
        };
        let (key, list) = (path("fleet.key"), path("fleet.list"));
        let new = line(&machines[0], &["fleet", "new", "--key", &key]);
        let id = new["fleet"].as_str().expect("an id").to_owned();
        let sign = ["fleet", "sign", "--key", &key, "--list", &list];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let signed = line(&machines[0], &[&sign[..], &names].concat());
        assert_eq!(
            (signed["number"].as_u64(), &signed["fleet"]),
            (Some(1), &new["fleet"])
        );
        let credentials = ["one.nkey", "two.nkey", "three.nkey"].map(path);
        let users = credentials.each_ref().map(|file| {
            let made = line(&machines[0], &["fleet", "user", "--credentials", file]);
            made["user"].as_str().expect("a public key").to_owned()
        });
        let nats = NatsCluster::start(&lab, &machines, &users);
        let shared = [nats.flags(), vec!["--fleet-list".to_owned(), list]].concat();
        let relays = machines.iter().zip(credentials).map(|(machine, file)| {
            let own = ["--fleet-credentials".to_owned(), file];
            let flags: Vec<&str> = shared.iter().chain(&own).map(String::as_str).collect();
            machine.relay(&flags)
        });
        Self {
            id,
            relays: relays.collect(),
            nats,
            internet,
            _lab: lab,
        }
    }

    /// Starts a node behind a NAT that forces it to use relays. It knows the address of one relay
    /// that runs.
    fn node(&self, nick: &str) -> Node {
        let mut relays = self.relays.iter();
        let running = relays.position(|relay| relay.try_peers().is_some());
        self.node_by(nick, running.expect("a relay runs"))
    }

    /// As [`Fleet::node`]. It knows the address of this relay.
    fn node_by(&self, nick: &str, relay: usize) -> Node {
        let at = format!("{}@{}", self.id, self.relays[relay].address());
        let site = self.internet.site(Nat::Symmetric);
        let node = site.machine(nick).up(nick, &["--relay", &at]);
        self.home(&node);
        node
    }

    /// The number of the relay at which a node is registered, once it is.
    fn home(&self, node: &Node) -> usize {
        until("a relay registers the node", LONG, || {
            let running = self.relays.iter().enumerate();
            let mut homes = running.filter(|(_, relay)| is_registered(relay, node));
            homes
                .next()
                .map(|(n, _)| n)
                .ok_or("no relay has it".to_owned())
        })
    }

    /// A relay's identity.
    fn relay_id(&self, relay: usize) -> DeviceId {
        self.relays[relay].id().parse().expect("a relay's id")
    }

    /// The relay that a node prefers.
    fn preferred(&self, node: &Node) -> usize {
        let person: PersonId = node.id().parse().expect("a node's id");
        let rank = |relay: &usize| {
            let mut rank = blake3::Hasher::new();
            rank.update(person.only_device().as_bytes());
            rank.update(self.relay_id(*relay).as_bytes());
            *rank.finalize().as_bytes()
        };
        let relays = 0..self.relays.len();
        relays.min_by_key(rank).expect("a fleet has relays")
    }

    /// A node whose relay is another one than this.
    fn node_elsewhere(&self, nick: &str, than: usize) -> Node {
        // Each node prefers a relay by its identity, so one of a few is elsewhere.
        for n in 0..12 {
            let node = self.node(&format!("{nick}{n}"));
            if self.home(&node) != than {
                return node;
            }
        }
        panic!("twelve nodes prefer the same relay of three");
    }
}

/// Whether a node is at a relay, registered there or as a visitor.
fn is_alive(relay: &Relay, node: &Node) -> bool {
    has_row(relay, node, |_| true)
}

/// Whether a node is registered at a relay. Visitors have no rooms.
fn is_registered(relay: &Relay, node: &Node) -> bool {
    has_row(relay, node, |row| row["rooms"] != 0)
}

fn has_row(relay: &Relay, node: &Node, fits: impl Fn(&Value) -> bool) -> bool {
    let peers = relay.try_peers();
    peers.is_some_and(|peers| {
        peers
            .iter()
            .any(|row| row["peer"] == node.id() && row["state"] == "alive" && fits(row))
    })
}

/// The two become contacts, by the ticket of one of them.
fn meet(ann: &Node, bob: &Node) {
    let texts = [(ann, bob), (bob, ann)].map(|(from, to)| {
        let (from, to) = (from.nick(), to.nick());
        format!("from {from} to {to}")
    });
    ann.queues(bob.ticket(), &texts[0]);
    bob.shows_once_within(&texts[0], LONG);
    ann.are_contacts(bob);
    bob.queues(ann, &texts[1]);
    ann.shows_once_within(&texts[1], LONG);
}

#[test]
fn nodes_of_different_relays_talk_and_move_when_a_relay_is_killed() {
    let fleet = Fleet::new();
    let ann = fleet.node("ann");
    let anns = fleet.home(&ann);
    let bob = fleet.node_elsewhere("bob", anns);
    let bobs = fleet.home(&bob);
    meet(&ann, &bob);
    // One of the two visits the relay of the other. A restarted node finds the fleet again.
    bob.restart();
    assert_eq!(fleet.home(&bob), bobs, "it prefers the same relay");
    ann.queues(&bob, "after a restart");
    bob.shows_once_within("after a restart", LONG);
    fleet.relays[bobs].kill9();
    let killed = Stopwatch::start();
    ann.queues(&bob, "to the relay that was killed");
    bob.shows_once_within("to the relay that was killed", LONG);
    println!("delivered after {:?}", killed.elapsed());
    bob.queues(&ann, "and back");
    ann.shows_once_within("and back", LONG);
    assert_ne!(fleet.home(&bob), bobs);
    for n in 0..20 {
        ann.queues(&bob, &format!("number {n}"));
    }
    for n in 0..20 {
        bob.shows_once_within(&format!("number {n}"), LONG);
    }
    bob.shows_once("to the relay that was killed");
    ann.shows_once("and back");
    // A relay that returns takes new nodes, and finds the others.
    fleet.relays[bobs].start();
    let carol = fleet.node("carol");
    meet(&carol, &ann);
    // A relay that is stopped in order disconnects its peers, which move at once.
    let anns = fleet.home(&ann);
    fleet.relays[anns].terminate();
    bob.queues(&ann, "to the relay that was stopped");
    ann.shows_once_within("to the relay that was stopped", LONG);
    assert_ne!(fleet.home(&ann), anns);
}

#[test]
fn a_ticket_leads_to_a_peer_while_the_relay_that_the_node_prefers_is_down() {
    let fleet = Fleet::new();
    // A node that registers at several relays at once looks for peers at the one with the lowest
    // id.
    let relays = 0..fleet.relays.len();
    let lowest = relays.min_by_key(|relay| fleet.relay_id(*relay));
    let lowest = lowest.expect("a fleet has relays");
    let other = (lowest + 1) % fleet.relays.len();
    let mut bobs = (0..20).map(|n| fleet.node_by(&format!("bob{n}"), other));
    let bob = bobs.find(|bob| fleet.home(bob) != lowest);
    let bob = bob.expect("of twenty nodes, one prefers another relay");
    // It learns of the fleet by the ticket.
    let mut anns = (0..40).map(|n| {
        let nick = format!("ann{n}");
        let site = fleet.internet.site(Nat::Symmetric);
        site.machine(&nick).up(&nick, &[])
    });
    let ann = anns.find(|ann| fleet.preferred(ann) == lowest);
    let ann = ann.expect("of forty nodes, one prefers the relay");
    fleet.relays[lowest].kill9();
    ann.queues(bob.ticket(), "by another relay");
    bob.shows_once_within("by another relay", LONG);
    ann.queues(&bob, "and once more");
    bob.shows_once_within("and once more", LONG);
}

#[test]
fn nats_servers_that_fail_lose_no_message() {
    let fleet = Fleet::new();
    let ann = fleet.node("ann");
    let bob = fleet.node_elsewhere("bob", fleet.home(&ann));
    meet(&ann, &bob);
    fleet.nats.kill9(0);
    ann.queues(&bob, "one server is gone");
    bob.shows_once_within("one server is gone", LONG);
    let carol = fleet.node_elsewhere("carol", fleet.home(&ann));
    meet(&ann, &carol);
    fleet.nats.kill9(1);
    fleet.nats.kill9(2);
    ann.queues(&bob, "all servers are gone");
    bob.shows_once_within("all servers are gone", LONG);
    // Without NATS nobody finds a node of another relay. The message waits.
    let dave = fleet.node_elsewhere("dave", fleet.home(&ann));
    ann.queues(dave.ticket(), "for later");
    (0..3).for_each(|n| fleet.nats.start_again(n));
    dave.shows_once_within("for later", LONG);
}

#[test]
fn people_at_different_relays_find_each_other_in_the_lobby() {
    let fleet = Fleet::new();
    let ann = fleet.node("ann");
    let bob = fleet.node_elsewhere("bob", fleet.home(&ann));
    ann.sees_within(&bob, LONG);
    ann.says("hello to all relays");
    bob.shows_once_within("hello to all relays", LONG);
    bob.says("hello from another one");
    ann.shows_once_within("hello from another one", LONG);
    // A relay that is killed takes nobody out of the room for long.
    let bobs = fleet.home(&bob);
    fleet.relays[bobs].kill9();
    until("the other node has another relay", LONG, || {
        let homes = fleet.relays.iter().enumerate();
        let mut homes = homes.filter(|(n, relay)| *n != bobs && is_registered(relay, &bob));
        homes.next().map(drop).ok_or("not yet".to_owned())
    });
    let carol = fleet.node_elsewhere("carol", fleet.home(&bob));
    carol.sees_within(&bob, LONG);
    carol.sees_within(&ann, LONG);
    carol.says("is everybody here?");
    ann.shows_once_within("is everybody here?", LONG);
    bob.shows_once_within("is everybody here?", LONG);
}

#[test]
fn whoever_is_banned_at_one_relay_is_out_at_all() {
    let fleet = Fleet::new();
    let ann = fleet.node("ann");
    let bob = fleet.node_elsewhere("bob", fleet.home(&ann));
    ann.sees_within(&bob, LONG);
    let (anns, bobs) = (fleet.home(&ann), fleet.home(&bob));
    fleet.relays[anns].run(&["ban", bob.id()]).expect(0);
    for relay in &fleet.relays {
        until("the relay has the ban", LONG, || {
            let bans = relay.run(&["bans"]).expect(0).stdout;
            let has_it = bans.contains(bob.id()) && !is_alive(relay, &bob);
            has_it.then_some(()).ok_or(bans)
        });
    }
    ann.loses_within(&bob, LONG);
    fleet.relays[bobs].run(&["unban", bob.id()]).expect(0);
    bob.restart();
    ann.sees_within(&bob, LONG);
    bob.says("back again");
    ann.shows_once_within("back again", LONG);
}

#[test]
fn nodes_that_talk_while_a_relay_is_drained_lose_no_message() {
    let fleet = Fleet::new();
    let ann = fleet.node("ann");
    let bob = fleet.node_elsewhere("bob", fleet.home(&ann));
    meet(&ann, &bob);
    let bobs = fleet.home(&bob);
    let drained = &fleet.relays[bobs];
    let texts: Vec<String> = (0..20).map(|n| format!("during the drain {n}")).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let shown = drained.run(&["drain"]).expect(0).one_json();
            assert_eq!(shown["event"], "drained", "{shown}");
            assert!(shown["peers"].as_u64() >= Some(1), "{shown}");
        });
        for text in &texts {
            ann.queues(&bob, text);
            bob.queues(&ann, &format!("{text}, answered"));
        }
    });
    for text in &texts {
        bob.shows_once_within(text, LONG);
        ann.shows_once_within(&format!("{text}, answered"), LONG);
    }
    assert_ne!(fleet.home(&bob), bobs);
    let rows = drained.peers();
    assert!(rows.iter().all(|row| row["state"] != "alive"), "{rows:?}");
    // It refuses all, and they go to the next one.
    for n in 0..4 {
        let node = fleet.node(&format!("carol{n}"));
        assert_ne!(fleet.home(&node), bobs);
    }
    drained.restart();
    let home = |n: usize| fleet.home(&fleet.node(&format!("dave{n}")));
    assert!(
        (0..12).map(home).any(|home| home == bobs),
        "nobody is there"
    );
}

/// The example of docs/RELAY.md, on one machine, with everything that an operator makes.
#[test]
fn the_demonstration_works() {
    let lab = Lab::open();
    let machine = lab.internet().machine("demo");
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/fleet-demo");
    let environment = [(
        "HOBNOB_BIN".to_owned(),
        hobnob_binary().display().to_string(),
    )];
    let script = script.display().to_string();
    let shown = machine.run_within(5 * LONG, "bash", &[&script], &environment.into(), "");
    let shown = shown.expect(0);
    assert!(shown.stdout.ends_with("== done\n"), "{shown}");
}
