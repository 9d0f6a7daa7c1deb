//! Two nodes that talk without pause while both are killed, again and again, at random moments; and
//! the reckoning afterwards.
//!
//! The promise that is checked: what was acknowledged to its author is in both histories exactly
//! once, nothing is twice, each author's order holds, and what was called delivered is with the
//! other side.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::lab::{Node, Stopwatch, pause, until};

/// How much chaos.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Replays the same victims and the same pauses; the moments themselves are the machine's.
    pub seed: u64,
    /// Over both nodes together.
    pub kills: usize,
}

/// What there was in the end.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// Messages that their author was told are on disk.
    pub acknowledged: usize,
    /// Messages whose author was told nothing, because something died first. They may exist, once,
    /// or not.
    pub unanswered: usize,
}

/// What one node's driver knows of the messages it gave to it.
#[derive(Debug, Default)]
struct Submitted {
    /// Message id to text.
    acknowledged: BTreeMap<String, String>,
    unanswered: usize,
}

impl Plan {
    /// As `CHAOS_KILLS` and `SEED` say, or else this many kills and any seed. Prints what it is to
    /// be.
    pub fn from_environment(kills: usize) -> Self {
        let number = |name: &str| {
            std::env::var(name).ok().map(|value| {
                value
                    .parse()
                    .unwrap_or_else(|_| panic!("{name} is a number"))
            })
        };
        let kills = number("CHAOS_KILLS")
            .and_then(|n: u64| usize::try_from(n).ok())
            .unwrap_or(kills);
        let plan = Self {
            seed: number("SEED").unwrap_or_else(any_seed),
            kills,
        };
        eprintln!("chaos: {kills} kills; SEED={} replays them", plan.seed);
        plan
    }

    /// Lets it happen to two nodes that are up and see each other, and checks the promise. Both are
    /// up again afterwards.
    pub fn run(self, ann: &Node, bob: &Node) -> Report {
        let begun = Stopwatch::start();
        let over = AtomicBool::new(false);
        let (of_ann, of_bob) = std::thread::scope(|scope| {
            let ann_talks = scope.spawn(|| talk(ann, bob, &over));
            let bob_talks = scope.spawn(|| talk(bob, ann, &over));
            // Also when a kill or a start panics, the talkers must come to their end.
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
        reckon([(ann, &of_ann), (bob, &of_bob)]);
        report
    }

    fn kill_and_start(self, nodes: [&Node; 2]) {
        let mut random = StdRng::seed_from_u64(self.seed);
        for _ in 0..self.kills {
            let victim = nodes[random.random_range(0..nodes.len())];
            pause(Duration::from_millis(random.random_range(0..LIFE_MS_MAX)));
            victim.kill9();
            if random.random_ratio(1, 4) {
                // Also while it is starting.
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

/// Gives the node one numbered message after the other, until it is over.
fn talk(from: &Node, to: &Node, over: &AtomicBool) -> Submitted {
    let mut submitted = Submitted::default();
    let (mut line, to) = (from.client(), to.id().parse().expect("a peer id"));
    for number in 1.. {
        until("the node is up, or all is over", STARTING, || {
            let ready = over.load(Ordering::Relaxed) || line.is_open();
            if ready {
                Ok(())
            } else {
                Err("it is down".to_owned())
            }
        });
        if over.load(Ordering::Relaxed) {
            break;
        }
        let text = format!("{} {number}", from.nick());
        match line.submit(to, &text) {
            Some(id) => assert_eq!(
                submitted.acknowledged.insert(id, text),
                None,
                "two messages of one id"
            ),
            None => submitted.unanswered += 1,
        }
    }
    submitted
}

/// Starts a node whose home a short-lived one may still be using: a `send` that found none running.
fn start(node: &Node) {
    until(&format!("{} starts", node.nick()), STARTING, || {
        node.try_start()
    });
}

/// Checks the promise, once both nodes have had the time to tell each other everything.
fn reckon(nodes: [(&Node, &Submitted); 2]) {
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
            assert!(by_id.contains_key(id.as_str()), "{id} was called delivered");
        }
    }
}

fn appear_once(conversation: &[Value]) {
    let mut seen = BTreeSet::new();
    for message in conversation {
        assert!(
            seen.insert(field(message, "id")),
            "twice in a history: {message}"
        );
        assert!(
            seen.insert(field(message, "text")),
            "under two ids in a history: {message}"
        );
    }
}

/// The ids of all messages that this node said, in any of its runs, were delivered.
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

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A node lives at most this long before the next kill.
const LIFE_MS_MAX: u64 = 400;

/// A node that is killed while it starts dies within this time.
const STARTING_MS_MAX: u64 = 60;

const STARTING: Duration = Duration::from_secs(60);

/// For everything that piled up to pass, and for dialing to back off no longer.
const SETTLING: Duration = Duration::from_secs(120);
