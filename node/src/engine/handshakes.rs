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
    greetings: Greetings<quinn::Connection>,
    greeted: BTreeMap<SessionId, GreetedConnection>,
    last_session: u64,
}

/// A greeted connection that waits for the verdict of `paths`.
#[derive(Debug)]
pub(super) struct GreetedConnection {
    pub(super) greeted: Box<Greeted>,
    /// The user who dialed the address, if one did.
    pub(super) reply: Option<DialReply>,
}

impl Handshakes {
    /// Adds an accepted connection. The caller keeps the returned value for as long as the greeting
    /// lasts, and closes the other connection, if there is one: it had to make room.
    pub(super) fn begin(
        &mut self,
        connection: quinn::Connection,
    ) -> (Arc<()>, Option<quinn::Connection>) {
        self.greetings.add(connection)
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
            .chain(self.greetings.all().cloned())
    }
}

/// Accepted connections whose peers have not sent Hello yet, the oldest first.
#[derive(Debug)]
struct Greetings<C>(VecDeque<Greeting<C>>);

#[derive(Debug)]
struct Greeting<C> {
    connection: C,
    /// Dropped when the greeting has succeeded or failed.
    under_way: Weak<()>,
}

impl<C> Default for Greetings<C> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<C> Greetings<C> {
    /// Adds a connection. Returns a value that lives as long as the greeting, and the oldest
    /// connection if it has to make room.
    fn add(&mut self, connection: C) -> (Arc<()>, Option<C>) {
        self.0
            .retain(|greeting| greeting.under_way.strong_count() > 0);
        let oldest = if self.0.len() >= GREETINGS_MAX {
            self.0.pop_front()
        } else {
            None
        };
        let under_way = Arc::new(());
        self.0.push_back(Greeting {
            connection,
            under_way: Arc::downgrade(&under_way),
        });
        (under_way, oldest.map(|greeting| greeting.connection))
    }

    fn all(&self) -> impl Iterator<Item = &C> {
        self.0.iter().map(|greeting| &greeting.connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_connection_makes_room_for_a_new_one() {
        let mut greetings = Greetings::default();
        let mut under_way = Vec::new();
        for n in 0..GREETINGS_MAX {
            let (greeting, oldest) = greetings.add(n);
            assert_eq!(oldest, None);
            under_way.push(greeting);
        }
        let (_greeting, oldest) = greetings.add(GREETINGS_MAX);
        assert_eq!(oldest, Some(0));
        assert_eq!(greetings.all().count(), GREETINGS_MAX);
    }

    #[test]
    fn a_greeting_that_is_over_takes_no_room() {
        let mut greetings = Greetings::default();
        for n in 0..2 * GREETINGS_MAX {
            let (greeting, oldest) = greetings.add(n);
            assert_eq!(oldest, None);
            drop(greeting);
        }
        let (_greeting, _) = greetings.add(99);
        assert_eq!(greetings.all().collect::<Vec<_>>(), [&99]);
    }

    #[test]
    fn each_session_has_its_own_id() {
        let mut handshakes = Handshakes::default();
        assert_ne!(handshakes.next_session(), handshakes.next_session());
        assert!(handshakes.take_greeted(SessionId(1)).is_none());
    }
}
