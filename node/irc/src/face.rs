//! What the driver of a connection and the sessions of both kinds say to each other.
//!
//! A session has no sockets, clock or tasks. The driver calls the methods of [`Face`] and then
//! drains [`Face::poll_output`] until it returns `None`.

use std::collections::{BTreeMap, VecDeque};

use hobnob_control::wire::{AnyRequest, Failure, Time, WireEvent};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Maximum requests of one session to the node at a time. Beyond it, the driver reads no further
/// line of the client.
pub(crate) const ASKS_MAX: usize = 64;

/// What a session wants from its driver.
#[derive(Debug, PartialEq)]
pub(crate) enum Output {
    /// Send these bytes to the client.
    Send(Vec<u8>),
    /// Connect to the node, subscribe to its events, and call [`Face::attached`].
    Attach,
    /// Send a request to the node, and call [`Face::answered`] with this number.
    Ask(u64, Box<AnyRequest>),
    /// End the connection after all bytes are sent.
    Close,
}

/// A session with one client: IRC or plain lines.
pub(crate) trait Face: Send {
    /// The client has sent a line, without its line feed.
    fn line(&mut self, now: Time, line: &[u8]);
    /// The client has sent a line that is longer than [`Face::line_bytes_max`].
    fn too_long(&mut self);
    /// The node answers, and events follow.
    fn attached(&mut self, now: Time);
    /// The node has answered a request.
    fn answered(&mut self, now: Time, number: u64, answer: Result<Value, Failure>);
    /// The node reports an event.
    fn event(&mut self, now: Time, event: WireEvent);
    /// The node has stopped, or can't be reached for this reason.
    fn detached(&mut self, why: &str);
    /// Some time has passed. Called about four times a second.
    fn tick(&mut self, now: Time);
    /// Whether the session takes events now. Those that arrive meanwhile wait at the node.
    fn takes_events(&self) -> bool;
    /// Whether the session takes lines of the client now.
    fn takes_lines(&self) -> bool;
    /// Whether requests to the node have no answer yet.
    fn waits(&self) -> bool;
    /// Longest line of the client.
    fn line_bytes_max(&self) -> usize;
    /// The next thing to do.
    fn poll_output(&mut self) -> Option<Output>;
}

/// Reads an answer of the node.
pub(crate) fn read<T: DeserializeOwned>(value: Value) -> Result<T, serde_json::Error> {
    serde_json::from_value(value)
}

/// The requests of a session that have no answer yet, each with what follows from the answer.
#[derive(Debug)]
pub(crate) struct Asks<T> {
    next: u64,
    waiting: BTreeMap<u64, T>,
}

impl<T> Asks<T> {
    pub(crate) fn new() -> Asks<T> {
        Asks {
            next: 0,
            waiting: BTreeMap::new(),
        }
    }

    /// Puts a request into the outputs of a session.
    pub(crate) fn ask(
        &mut self,
        out: &mut VecDeque<Output>,
        request: impl Into<AnyRequest>,
        then: T,
    ) {
        self.next += 1;
        self.waiting.insert(self.next, then);
        out.push_back(Output::Ask(self.next, Box::new(request.into())));
    }

    /// What follows from the answer with this number.
    pub(crate) fn take(&mut self, number: u64) -> Option<T> {
        self.waiting.remove(&number)
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}
