//! Connections that are not sessions yet: those whose peer has not sent Hello, and those that wait
//! for the verdict of [`hobnob_core::paths`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

use hobnob_core::SessionId;

use super::internal::DialReply;
use crate::net::session::Greeted;

/// Accepted connections whose peer has not sent Hello yet, at most. One more closes the oldest: an
/// honest peer sends Hello at once, and a silent one can keep nobody out.
const GREETINGS_MAX: usize = 64;

/// All connections that are not sessions yet.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    /// The oldest first.
    greetings: VecDeque<Greeting>,
    greeted: BTreeMap<SessionId, GreetedConnection>,
    last_session: u64,
}

/// An accepted connection whose peer has not sent Hello yet.
#[derive(Debug)]
struct Greeting {
    connection: quinn::Connection,
    /// Dropped when the greeting has succeeded or failed.
    under_way: Weak<()>,
}

/// A greeted connection that waits for the verdict of `paths`.
#[derive(Debug)]
pub(super) struct GreetedConnection {
    pub(super) greeted: Box<Greeted>,
    pub(super) reply: Option<DialReply>,
}

impl Handshakes {
    /// Adds an accepted connection. The caller keeps the returned value for as long as the greeting
    /// lasts, and closes the other connection, if there is one: it had to make room.
    pub(super) fn begin(
        &mut self,
        connection: quinn::Connection,
    ) -> (Arc<()>, Option<quinn::Connection>) {
        self.greetings
            .retain(|greeting| greeting.under_way.strong_count() > 0);
        let oldest = if self.greetings.len() >= GREETINGS_MAX {
            self.greetings.pop_front()
        } else {
            None
        };
        let under_way = Arc::new(());
        self.greetings.push_back(Greeting {
            connection,
            under_way: Arc::downgrade(&under_way),
        });
        (under_way, oldest.map(|greeting| greeting.connection))
    }

    /// Gives the next session its id.
    pub(super) fn next_session(&mut self) -> SessionId {
        self.last_session += 1;
        SessionId(self.last_session)
    }

    pub(super) fn add_greeted(&mut self, session: SessionId, connection: GreetedConnection) {
        self.greeted.insert(session, connection);
    }

    pub(super) fn take_greeted(&mut self, session: SessionId) -> Option<GreetedConnection> {
        self.greeted.remove(&session)
    }

    /// All connections, to close them.
    pub(super) fn connections(&self) -> impl Iterator<Item = quinn::Connection> {
        let greeted = self.greeted.values();
        greeted
            .map(|connection| connection.greeted.connection.clone())
            .chain(
                self.greetings
                    .iter()
                    .map(|greeting| greeting.connection.clone()),
            )
    }
}
