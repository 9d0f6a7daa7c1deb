//! A `hobnob up` on a machine, with methods for sending messages, checking its output, and stopping
//! and starting it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::daemon::Daemon;
use super::home::Home;
use super::machine::Machine;
use super::message_client::MessageClient;
use super::process::Output;
use super::transcript::Printed;
use super::usage::Usage;
use super::wait::until;

/// A node, which can be stopped and started again.
///
/// Dropping it kills the node and checks that it showed no message twice, over all its runs.
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

    /// The node's peer id.
    pub fn id(&self) -> &str {
        self.daemon.id()
    }

    /// The node's nickname.
    pub fn nick(&self) -> &str {
        self.home.nick()
    }

    /// The machine that the node runs on.
    pub fn machine(&self) -> &Machine {
        self.home.machine()
    }

    /// The node's home.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The node's ticket.
    pub fn ticket(&self) -> String {
        self.run(&["id"]).expect(0).one_json()["ticket"]
            .as_str()
            .expect("an id line has a ticket")
            .to_owned()
    }

    // Sending messages and running commands.

    /// Sends a text to the lobby, and returns the message's id.
    pub fn says(&self, text: &str) -> String {
        self.says_in("lobby", text)
    }

    /// Sends a text to a room, and returns the message's id.
    pub fn says_in(&self, room: &str, text: &str) -> String {
        // Does not wait for delivery, because there may be no recipients yet. Tests check the
        // recipients instead.
        let sent = self
            .run(&["broadcast", "--wait", "queued", "--room", room, text])
            .expect(0);
        submitted(&sent).unwrap_or_else(|| panic!("no `sent` line: {sent}"))
    }

    /// Sends a text to a peer, checks that it is delivered, and returns the message's id.
    pub fn tells(&self, target: impl AsTarget, text: &str) -> String {
        let sent = self.run(&["send", target.as_target(), text]).expect(0);
        assert_eq!(sent.one_json()["state"], "delivered", "{sent}");
        submitted(&sent).unwrap_or_else(|| panic!("no `sent` line: {sent}"))
    }

    /// Accepts a peer as a contact, so that it can write as much as it wants.
    pub fn befriends(&self, target: impl AsTarget) {
        self.run(&["contacts", "accept", target.as_target()])
            .expect(0);
    }

    /// Makes two nodes contacts of each other, so that they look for a direct path.
    pub fn are_contacts(&self, other: &Node) {
        self.befriends(other);
        other.befriends(self);
    }

    /// Queues a text for a peer, online or not, and returns the message's id.
    pub fn queues(&self, target: impl AsTarget, text: &str) -> String {
        let sent = self
            .run(&["send", "--wait", "queued", target.as_target(), text])
            .expect(0);
        submitted(&sent).unwrap_or_else(|| panic!("no `sent` line: {sent}"))
    }

    /// Which of these words are in the node's memory.
    pub fn memory_contains(&self, words: &[String]) -> BTreeSet<String> {
        self.daemon.memory_contains(words)
    }

    /// Keeps only those events from now on that fit. A run of an hour may print millions.
    pub fn keep_only(&self, fits: fn(&Value) -> bool) {
        self.daemon.keep_only(fits);
    }

    /// What the node uses now.
    pub fn usage(&self) -> Usage {
        self.daemon.usage()
    }

    /// The processor time that the node's process has used.
    pub fn processor_time(&self) -> Duration {
        self.daemon.processor_time()
    }

    /// The memory that the node uses now, in bytes.
    pub fn memory(&self) -> u64 {
        self.daemon.memory()
    }

    /// A client that queues messages at this node and connects again after the node restarts.
    pub fn client(&self) -> MessageClient {
        MessageClient::to(self.home.path())
    }

    /// Joins a room with this secret.
    pub fn joins(&self, room: &str, secret: &str) {
        self.home
            .run_with_input(&["join", room, "--secret-file", "-"], secret)
            .expect(0);
    }

    /// Runs a subcommand in this node's home and waits until it exits.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.home.run(arguments)
    }

    // Checking the node's output.

    /// Waits until the node shows the other as online.
    pub fn sees(&self, other: &Node) {
        self.sees_within(other, TIMEOUT);
    }

    /// Like [`Node::sees`], with this time limit.
    pub fn sees_within(&self, other: &Node, within: Duration) {
        self.wait(&format!("see {}", other.nick()), within, |printed| {
            (state_of(printed, other.id()) == Some("online")).then_some(())
        });
    }

    /// Waits until the node shows the other as offline.
    pub fn loses_within(&self, other: &Node, within: Duration) {
        self.wait(&format!("lose {}", other.nick()), within, |printed| {
            (state_of(printed, other.id()) == Some("offline")).then_some(())
        });
    }

    /// Waits until the node's session with the other uses this path: `relay`, `direct` or `lan`.
    pub fn connects_over(&self, path: &str, other: &Node, within: Duration) {
        self.wait(
            &format!("connect to {} over {path}", other.nick()),
            within,
            |printed| (path_of(printed, other.id()) == Some(path)).then_some(()),
        );
    }

    /// Whether the node's session with the other uses this path.
    pub fn is_connected_over(&self, path: &str, other: &Node) -> bool {
        self.daemon
            .look(|printed| path_of(printed, other.id()) == Some(path))
    }

    /// Whether the node's session with the other has used this path in the current run.
    pub fn has_connected_over(&self, path: &str, other: &Node) -> bool {
        let of_other = |event: &Value| event["event"] == "peer" && event["peer"] == other.id();
        self.daemon.look(|printed| {
            printed
                .this_run()
                .iter()
                .any(|event| of_other(event) && event["path"] == path)
        })
    }

    /// Waits until the node shows this message, and checks that it shows and stores it once.
    pub fn shows_once(&self, text: &str) -> Value {
        self.shows_once_within(text, TIMEOUT)
    }

    /// Like [`Node::shows_once`], with this time limit.
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

    /// Checks that the node neither showed nor stored this text. Only meaningful after the test has
    /// waited for a later event.
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
            TIMEOUT,
        )
    }

    /// Waits for the receipt that a peer has stored this message of the node.
    pub fn gets_receipt(&self, id: &str, from: &Node) {
        let fits = |event: &Value| {
            event["event"] == "receipt"
                && event["id"] == id
                && event["peer"] == from.id()
                && event["state"] == "delivered"
        };
        self.wait_for(&format!("get the receipt for {id}"), fits, TIMEOUT);
    }

    /// Waits for an event of the current run. It may have been printed already.
    pub fn wait_for(&self, what: &str, fits: impl Fn(&Value) -> bool, within: Duration) -> Value {
        self.wait(what, within, |printed| {
            printed.this_run().iter().find(|event| fits(event)).cloned()
        })
    }

    /// All events of all runs so far.
    pub fn events(&self) -> Vec<Value> {
        self.daemon.look(|printed| printed.all_runs().to_vec())
    }

    /// The node's history of all conversations, in display order.
    pub fn history(&self) -> Vec<Value> {
        self.run(&["history", "--limit", ALL]).expect(0).json()
    }

    /// The node's history of one conversation (`#room` or a peer), in display order.
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

    /// Waits until the conversation consists of exactly these texts.
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

    /// The peers that the node knows, one line each.
    pub fn peers(&self) -> Vec<Value> {
        self.run(&["peers"]).expect(0).json()
    }

    // Stopping and starting the node.

    /// Starts the node again in the same home, and waits until it listens.
    pub fn start(&self) {
        self.daemon.start();
    }

    /// Starts the node and returns immediately.
    pub fn launch(&self) {
        self.daemon.launch();
    }

    /// Starts the node and waits until it listens or exits.
    pub fn try_start(&self) -> Result<(), String> {
        self.daemon.try_start()
    }

    /// Kills the node, like a power failure.
    pub fn kill9(&self) {
        self.daemon.kill9();
    }

    /// Sends SIGTERM, waits until the node exits, and checks its exit code.
    pub fn terminate(&self) {
        self.daemon.terminate();
    }

    /// Stops the node and starts it again.
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

/// Something that `send` accepts as a target: a word, or a node, by its id.
pub trait AsTarget {
    /// The target as a word.
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

/// The id of the message that a `send` or `broadcast` acknowledged, for any exit code.
fn submitted(output: &Output) -> Option<String> {
    // A killed process may have printed half a line.
    let lines = output
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let sent = lines.into_iter().find(|line| line["event"] == "sent")?;
    sent["id"].as_str().map(str::to_owned)
}

/// The last reported state of this peer in the current run.
fn state_of<'a>(printed: &'a Printed, peer: &str) -> Option<&'a str> {
    let last = printed
        .this_run()
        .iter()
        .rev()
        .find(|event| event["event"] == "peer" && event["peer"] == peer);
    last.and_then(|event| event["state"].as_str())
}

/// The path to this peer according to the last report in the current run.
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

/// Time limit for events that are normally immediate, on a machine that is busy with other tests.
const TIMEOUT: Duration = Duration::from_secs(30);

/// More messages than any test sends.
const ALL: &str = "1000000";
