//! The crash test: two nodes exchange messages continuously while both are killed at random
//! moments. A check of both histories follows.
//!
//! The test checks these promises: Both histories contain each acknowledged message exactly once.
//! No message is there twice. The messages of each author are in order. The recipient has each
//! message that was reported as delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::lab::{Node, SetOnDrop, Stopwatch, pause, until};

/// The parameters of a run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Determines the victims and pauses. The exact moments depend on the machine.
    pub seed: u64,
    /// Number of kills, both nodes together.
    pub kills: usize,
}

/// The result of a run.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// Messages that a node reported as stored on disk.
    pub acknowledged: usize,
    /// Messages without an answer, because a process died first. They exist once or not at all.
    pub unanswered: usize,
}

/// The messages that the test gave to one node.
#[derive(Debug, Default)]
struct Submitted {
    /// Message id to text.
    acknowledged: BTreeMap<String, String>,
    unanswered: usize,
}

impl Plan {
    /// Reads `CHAOS_KILLS` and `SEED`. Defaults to `kills` and a random seed. Prints the plan.
    pub fn from_environment(kills: usize) -> Self {
        let number = |name: &str| {
            std::env::var(name).ok().map(|value| {
                value
                    .parse()
                    .unwrap_or_else(|_| panic!("{name} must be a number"))
            })
        };
        let kills = number("CHAOS_KILLS")
            .and_then(|n: u64| usize::try_from(n).ok())
            .unwrap_or(kills);
        let plan = Self {
            seed: number("SEED").unwrap_or_else(any_seed),
            kills,
        };
        eprintln!("chaos: {kills} kills; SEED={} repeats them", plan.seed);
        plan
    }

    /// Kills two connected nodes repeatedly, and checks the promises. Both nodes run afterwards.
    pub fn run(self, ann: &Node, bob: &Node) -> Report {
        let begun = Stopwatch::start();
        let over = AtomicBool::new(false);
        let (of_ann, of_bob) = std::thread::scope(|scope| {
            let ann_talks = scope.spawn(|| talk(ann, bob, &over));
            let bob_talks = scope.spawn(|| talk(bob, ann, &over));
            // The talkers must end even if a kill or a start panics.
            let end = SetOnDrop(&over);
            self.kill_and_start([ann, bob]);
            drop(end);
            (
                ann_talks.join().expect("ann's driver"),
                bob_talks.join().expect("bob's driver"),
            )
        });
        let report = Report {
            acknowledged: of_ann.acknowledged.len() + of_bob.acknowledged.len(),
            unanswered: of_ann.unanswered + of_bob.unanswered,
        };
        eprintln!(
            "chaos: {} kills in {:?}: {report:?}",
            self.kills,
            begun.elapsed()
        );
        check_promises([(ann, &of_ann), (bob, &of_bob)]);
        report
    }

    fn kill_and_start(self, nodes: [&Node; 2]) {
        let mut random = StdRng::seed_from_u64(self.seed);
        for _ in 0..self.kills {
            let victim = nodes[random.random_range(0..nodes.len())];
            pause(Duration::from_millis(random.random_range(0..LIFE_MS_MAX)));
            victim.kill9();
            if random.random_ratio(1, 4) {
                // Kills the node again while it starts.
                victim.launch();
                pause(Duration::from_millis(
                    random.random_range(0..STARTING_MS_MAX),
                ));
                victim.kill9();
            }
            start(victim);
        }
    }
}

/// Gives the node numbered messages, one after another, until `over` is set.
fn talk(from: &Node, to: &Node, over: &AtomicBool) -> Submitted {
    let mut submitted = Submitted::default();
    let (mut client, to) = (from.client(), to.id().parse().expect("a peer id"));
    for number in 1.. {
        until("the node runs, or the test is over", STARTING, || {
            let ready = over.load(Ordering::Relaxed) || client.is_open();
            if ready {
                Ok(())
            } else {
                Err("it does not run".to_owned())
            }
        });
        if over.load(Ordering::Relaxed) {
            break;
        }
        let text = format!("{} {number}", from.nick());
        match client.submit(to, &text) {
            Some(id) => assert_eq!(
                submitted.acknowledged.insert(id, text),
                None,
                "two messages have one id"
            ),
            None => submitted.unanswered += 1,
        }
    }
    submitted
}

/// Starts a node. Retries while a short-lived process uses its home: a `send` that found no running
/// node.
fn start(node: &Node) {
    until(&format!("{} starts", node.nick()), STARTING, || {
        node.try_start()
    });
}

/// Checks the promises after both nodes had time to synchronize.
fn check_promises(nodes: [(&Node, &Submitted); 2]) {
    let [(ann, _), (bob, _)] = nodes;
    let conversation = until("both have the same conversation", SETTLING, || {
        let (one, other) = (ann.history_of(bob), bob.history_of(ann));
        if identities(&one) == identities(&other) {
            Ok(one)
        } else {
            Err(unlike(&one, &other))
        }
    });
    appear_once(&conversation);
    for (author, submitted) in nodes {
        let theirs: Vec<&Value> = conversation
            .iter()
            .filter(|message| message["from"] == author.id())
            .collect();
        let by_id: BTreeMap<&str, &str> = theirs
            .iter()
            .map(|m| (field(m, "id"), field(m, "text")))
            .collect();
        for (id, text) in &submitted.acknowledged {
            assert_eq!(
                by_id.get(id.as_str()),
                Some(&text.as_str()),
                "{id}, {text:?}, was acknowledged"
            );
        }
        let numbers: Vec<u64> = theirs
            .iter()
            .map(|message| number_of(message, author))
            .collect();
        assert!(
            numbers.is_sorted(),
            "{} is out of order: {numbers:?}",
            author.nick()
        );
        for id in delivered(author) {
            assert!(
                by_id.contains_key(id.as_str()),
                "{id} was reported as delivered"
            );
        }
    }
}

fn appear_once(conversation: &[Value]) {
    let mut seen = BTreeSet::new();
    for message in conversation {
        assert!(
            seen.insert(field(message, "id")),
            "a history contains this message twice: {message}"
        );
        assert!(
            seen.insert(field(message, "text")),
            "a history contains this text under two ids: {message}"
        );
    }
}

/// The ids of all messages that this node reported as delivered, in all its runs.
fn delivered(author: &Node) -> Vec<String> {
    let receipts = author
        .events()
        .into_iter()
        .filter(|event| event["event"] == "receipt" && event["state"] == "delivered");
    receipts
        .map(|receipt| field(&receipt, "id").to_owned())
        .collect()
}

fn identities(conversation: &[Value]) -> Vec<&str> {
    conversation
        .iter()
        .map(|message| field(message, "id"))
        .collect()
}

fn unlike(one: &[Value], other: &[Value]) -> String {
    let at = one
        .iter()
        .zip(other)
        .take_while(|(a, b)| a["id"] == b["id"])
        .count();
    let show = |of: &[Value]| of.get(at).map_or("nothing".to_owned(), Value::to_string);
    format!(
        "{} and {} messages; number {at} is {} and {}",
        one.len(),
        other.len(),
        show(one),
        show(other)
    )
}

fn number_of(message: &Value, author: &Node) -> u64 {
    let number = field(message, "text")
        .strip_prefix(author.nick())
        .and_then(|rest| rest.trim().parse().ok());
    number.unwrap_or_else(|| panic!("not a message of this test: {message}"))
}

fn field<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name} in {of}"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a new seed for each run, which is printed"
)]
fn any_seed() -> u64 {
    rand::random()
}

/// Maximum time before the next kill.
const LIFE_MS_MAX: u64 = 400;

/// Maximum time until a starting node is killed.
const STARTING_MS_MAX: u64 = 60;

const STARTING: Duration = Duration::from_secs(60);

/// Time to send everything that is queued, and for the back-off of dialing to end.
const SETTLING: Duration = Duration::from_secs(120);
