//! A `hobnob up` on a machine: what it says, does and shows, in the words of a test.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::daemon::Daemon;
use super::home::Home;
use super::machine::Machine;
use super::message_client::MessageClient;
use super::process::Output;
use super::transcript::Printed;
use super::wait::until;

/// A node that was started, and may have been stopped and started again since.
///
/// When it is dropped it is killed, and it is checked that no message was shown twice, over all its
/// runs.
#[derive(Debug)]
pub struct Node {
    home: Home,
    daemon: Daemon,
}

impl Node {
    pub(super) fn new(home: Home, arguments: &[&str]) -> Self {
        let arguments = [&["up", "--nick", home.nick()], arguments].concat();
        Self {
            daemon: Daemon::new(home.clone(), "peer", &arguments),
            home,
        }
    }

    /// Its peer id.
    pub fn id(&self) -> &str {
        self.daemon.id()
    }

    /// Its nickname.
    pub fn nick(&self) -> &str {
        self.home.nick()
    }

    /// The machine it runs on.
    pub fn machine(&self) -> &Machine {
        self.home.machine()
    }

    /// The home it runs in.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Its ticket.
    pub fn ticket(&self) -> String {
        self.run(&["id"]).expect(0).one_json()["ticket"]
            .as_str()
            .expect("an id line has a ticket")
            .to_owned()
    }

    // What it says.

    /// Says something to everybody in the lobby, and returns the message's id.
    pub fn says(&self, text: &str) -> String {
        self.says_in("lobby", text)
    }

    /// Says something to everybody in a room, and returns the message's id.
    pub fn says_in(&self, room: &str, text: &str) -> String {
        // Not waiting for delivery: nobody may be there to hear it yet, and those who are, say so
        // by showing it.
        let said = self
            .run(&["broadcast", "--wait", "queued", "--room", room, text])
            .expect(0);
        submitted(&said).unwrap_or_else(|| panic!("no `sent` line: {said}"))
    }

    /// Tells a peer something, which must be delivered, and returns the message's id.
    pub fn tells(&self, target: impl AsTarget, text: &str) -> String {
        let said = self.run(&["send", target.as_target(), text]).expect(0);
        assert_eq!(said.one_json()["state"], "delivered", "{said}");
        submitted(&said).unwrap_or_else(|| panic!("no `sent` line: {said}"))
    }

    /// Writes something for a peer, whether it is there or not, and returns the message's id.
    pub fn queues(&self, target: impl AsTarget, text: &str) -> String {
        let said = self
            .run(&["send", "--wait", "queued", target.as_target(), text])
            .expect(0);
        submitted(&said).unwrap_or_else(|| panic!("no `sent` line: {said}"))
    }

    /// Every piece of its memory in which one of these is to be found.
    pub fn memory_contains(&self, words: &[String]) -> BTreeSet<String> {
        self.daemon.memory_contains(words)
    }

    /// A line to this node over which messages can be queued one after another, through its deaths
    /// and restarts.
    pub fn client(&self) -> MessageClient {
        MessageClient::to(self.home.path())
    }

    /// Joins a room with this secret.
    pub fn joins(&self, room: &str, secret: &str) {
        self.home
            .run_with_input(&["join", room, "--secret-file", "-"], secret)
            .expect(0);
    }

    /// Runs a subcommand in this node's home.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.home.run(arguments)
    }

    // What it shows.

    /// Waits until it knows the other to be there.
    pub fn sees(&self, other: &Node) {
        self.sees_within(other, PATIENCE);
    }

    /// As [`Node::sees`], in this time.
    pub fn sees_within(&self, other: &Node, within: Duration) {
        self.wait(&format!("see {}", other.nick()), within, |printed| {
            (state_of(printed, other.id()) == Some("online")).then_some(())
        });
    }

    /// Waits until it knows the other to be gone.
    pub fn loses_within(&self, other: &Node, within: Duration) {
        self.wait(&format!("lose {}", other.nick()), within, |printed| {
            (state_of(printed, other.id()) == Some("offline")).then_some(())
        });
    }

    /// Waits until its session with the other takes this path: `relay`, `direct` or `lan`.
    pub fn connects_over(&self, path: &str, other: &Node, within: Duration) {
        self.wait(
            &format!("meet {} over {path}", other.nick()),
            within,
            |printed| (path_of(printed, other.id()) == Some(path)).then_some(()),
        );
    }

    /// Whether its session with the other takes this path.
    pub fn is_connected_over(&self, path: &str, other: &Node) -> bool {
        self.daemon
            .look(|printed| path_of(printed, other.id()) == Some(path))
    }

    /// Whether its session with the other has ever taken this path in the present run.
    pub fn has_connected_over(&self, path: &str, other: &Node) -> bool {
        let of_other = |event: &Value| event["event"] == "peer" && event["peer"] == other.id();
        self.daemon.look(|printed| {
            printed
                .this_run()
                .iter()
                .any(|event| of_other(event) && event["path"] == path)
        })
    }

    /// Waits until it shows this message, and checks that it has it once.
    pub fn shows_once(&self, text: &str) -> Value {
        self.shows_once_within(text, PATIENCE)
    }

    /// As [`Node::shows_once`], in this time.
    pub fn shows_once_within(&self, text: &str, within: Duration) -> Value {
        let shown = self.wait(&format!("show {text:?}"), within, |printed| {
            messages(printed.all_runs(), text).first().cloned()
        });
        self.daemon.look(|printed| {
            assert_eq!(
                messages(printed.all_runs(), text).len(),
                1,
                "{} showed {text:?} again",
                self.nick()
            )
        });
        let stored = self.history().iter().filter(|m| m["text"] == text).count();
        assert_eq!(
            stored,
            1,
            "{} has {text:?} {stored} times in its history",
            self.nick()
        );
        shown
    }

    /// Checks that it never showed this and does not have it. Only means something after an event
    /// that comes later.
    pub fn has_not(&self, text: &str) {
        let shown = self
            .daemon
            .look(|printed| messages(printed.all_runs(), text).len());
        assert_eq!(shown, 0, "{} showed {text:?}", self.nick());
        assert!(
            !self.history().iter().any(|m| m["text"] == text),
            "{} has {text:?} in its history",
            self.nick()
        );
    }

    /// Waits for a notice with this code.
    pub fn notices(&self, code: &str) -> Value {
        self.wait_for(
            &format!("notice {code}"),
            |event| event["event"] == "notice" && event["code"] == code,
            PATIENCE,
        )
    }

    /// Waits until it hears that a peer has this message of its own on disk.
    pub fn gets_receipt(&self, id: &str, from: &Node) {
        let fits = |event: &Value| {
            event["event"] == "receipt"
                && event["id"] == id
                && event["peer"] == from.id()
                && event["state"] == "delivered"
        };
        self.wait_for(&format!("get the receipt for {id}"), fits, PATIENCE);
    }

    /// Waits for an event of the present run, which may have come already.
    pub fn wait_for(&self, what: &str, fits: impl Fn(&Value) -> bool, within: Duration) -> Value {
        self.wait(what, within, |printed| {
            printed.this_run().iter().find(|event| fits(event)).cloned()
        })
    }

    /// All events so far, of all runs.
    pub fn events(&self) -> Vec<Value> {
        self.daemon.look(|printed| printed.all_runs().to_vec())
    }

    /// Everything it has, of all conversations, in display order.
    pub fn history(&self) -> Vec<Value> {
        self.run(&["history", "--limit", ALL]).expect(0).json()
    }

    /// Everything it has of one conversation (`#room` or a peer), in display order.
    pub fn history_of(&self, conversation: impl AsTarget) -> Vec<Value> {
        self.run(&["history", "--limit", ALL, conversation.as_target()])
            .expect(0)
            .json()
    }

    /// The texts of [`Node::history_of`].
    pub fn texts_of(&self, conversation: impl AsTarget) -> Vec<String> {
        self.history_of(conversation)
            .iter()
            .map(|m| m["text"].as_str().expect("a message has a text").to_owned())
            .collect()
    }

    /// Waits until the conversation reads like this, to the letter.
    pub fn shows_conversation(
        &self,
        conversation: impl AsTarget,
        texts: &[String],
        within: Duration,
    ) {
        let what = format!(
            "{} has the {} messages of {}",
            self.nick(),
            texts.len(),
            conversation.as_target()
        );
        until(&what, within, || {
            let has = self.texts_of(conversation.as_target());
            if has == texts {
                Ok(())
            } else {
                Err(difference(&has, texts))
            }
        });
    }

    /// The peers it knows, one line each.
    pub fn peers(&self) -> Vec<Value> {
        self.run(&["peers"]).expect(0).json()
    }

    // What is done to it.

    /// Starts it again, in the same home, and waits until it listens.
    pub fn start(&self) {
        self.daemon.start();
    }

    /// Starts it and returns at once.
    pub fn launch(&self) {
        self.daemon.launch();
    }

    /// Starts it, and waits until it listens or has given up.
    pub fn try_start(&self) -> Result<(), String> {
        self.daemon.try_start()
    }

    /// Ends it at once, as a power cut would.
    pub fn kill9(&self) {
        self.daemon.kill9();
    }

    /// Asks it to end, and waits until it has, in good order.
    pub fn terminate(&self) {
        self.daemon.terminate();
    }

    /// Ends it in good order and starts it again.
    pub fn restart(&self) {
        self.terminate();
        self.start();
    }

    fn wait<T>(&self, what: &str, within: Duration, check: impl FnMut(&Printed) -> Option<T>) -> T {
        self.daemon.wait(what, within, check)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            return;
        }
        let mut seen = BTreeSet::new();
        for message in self
            .events()
            .iter()
            .filter(|event| event["event"] == "message")
        {
            assert!(
                seen.insert(message["id"].to_string()),
                "{} showed a message twice: {message}",
                self.nick()
            );
        }
    }
}

/// What `send` takes for its target: a word, or a node, by its id.
pub trait AsTarget {
    /// The word.
    fn as_target(&self) -> &str;
}

impl AsTarget for str {
    fn as_target(&self) -> &str {
        self
    }
}

impl AsTarget for Node {
    fn as_target(&self) -> &str {
        self.id()
    }
}

impl AsTarget for String {
    fn as_target(&self) -> &str {
        self
    }
}

impl<T: AsTarget + ?Sized> AsTarget for &T {
    fn as_target(&self) -> &str {
        (*self).as_target()
    }
}

/// The id of the message that a `send` or `broadcast` has acknowledged, by whatever exit code it
/// ended then.
fn submitted(output: &Output) -> Option<String> {
    // A process that was killed may have left half a line.
    let lines = output
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let sent = lines.into_iter().find(|line| line["event"] == "sent")?;
    sent["id"].as_str().map(str::to_owned)
}

/// The last that was said about this peer's state in the present run.
fn state_of<'a>(printed: &'a Printed, peer: &str) -> Option<&'a str> {
    let last = printed
        .this_run()
        .iter()
        .rev()
        .find(|event| event["event"] == "peer" && event["peer"] == peer);
    last.and_then(|event| event["state"].as_str())
}

/// The path to this peer, by the last that was said about it in the present run.
fn path_of<'a>(printed: &'a Printed, peer: &str) -> Option<&'a str> {
    let last = printed
        .this_run()
        .iter()
        .rev()
        .find(|event| event["event"] == "peer" && event["peer"] == peer)?;
    (last["state"] == "online").then(|| last["path"].as_str())?
}

fn messages(events: &[Value], text: &str) -> Vec<Value> {
    events
        .iter()
        .filter(|event| event["event"] == "message" && event["text"] == text)
        .cloned()
        .collect()
}

/// Where two lists of texts first differ.
fn difference(has: &[String], wants: &[String]) -> String {
    let at = has.iter().zip(wants).take_while(|(a, b)| a == b).count();
    format!(
        "{} instead of {} messages; number {at} is {:?} instead of {:?}",
        has.len(),
        wants.len(),
        has.get(at),
        wants.get(at)
    )
}

/// For what should come in a moment, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// More messages than any test has.
const ALL: &str = "1000000";
