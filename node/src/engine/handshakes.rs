//! Connections that are not sessions yet: those whose peer has not sent Hello, and those that wait
//! for the verdict of [`hobnob_core::paths`].

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use hobnob_core::SessionId;
use hobnob_core::source_network::SourceNetwork;
use hobnob_limits::{Entrance, Places};

use super::internal::DialReply;
use crate::net::session::Greeted;

/// Accepted connections whose peer has not sent Hello yet, at most. One more closes an older one: an
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
        source: SourceNetwork,
        connection: quinn::Connection,
    ) -> (Arc<()>, Option<quinn::Connection>) {
        self.greetings.add(source, connection)
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

/// Accepted connections whose peers have not sent Hello yet.
#[derive(Debug)]
struct Greetings<C> {
    places: Places<SourceNetwork, u64>,
    under_way: BTreeMap<u64, Greeting<C>>,
    last: u64,
}

#[derive(Debug)]
struct Greeting<C> {
    connection: C,
    /// Dropped when the greeting has succeeded or failed.
    under_way: Weak<()>,
}

impl<C> Default for Greetings<C> {
    fn default() -> Self {
        Self {
            places: Places::new(GREETINGS_MAX),
            under_way: BTreeMap::new(),
            last: 0,
        }
    }
}

impl<C> Greetings<C> {
    /// Adds a connection. Returns a value that lives as long as the greeting, and the connection that
    /// has to make room, if there is one: the oldest of the most crowded source, or of the same one.
    fn add(&mut self, source: SourceNetwork, connection: C) -> (Arc<()>, Option<C>) {
        self.under_way.retain(|number, greeting| {
            let is_over = greeting.under_way.strong_count() == 0;
            if is_over {
                self.places.leave(*number);
            }
            !is_over
        });
        let replaced = match self.places.entrance(source, false) {
            Entrance::Free => None,
            Entrance::Replaces(other) => Some(other),
            Entrance::Full => self
                .places
                .idlest_of(source)
                .or_else(|| self.under_way.keys().next().copied()),
        };
        let replaced = replaced.and_then(|other| {
            self.places.leave(other);
            self.under_way.remove(&other)
        });
        self.last += 1;
        let entrance = self.places.enter(self.last, source, false);
        debug_assert_eq!(entrance, Entrance::Free, "one has made room");
        let under_way = Arc::new(());
        let greeting = Greeting {
            connection,
            under_way: Arc::downgrade(&under_way),
        };
        self.under_way.insert(self.last, greeting);
        (under_way, replaced.map(|greeting| greeting.connection))
    }

    fn all(&self) -> impl Iterator<Item = &C> {
        self.under_way.values().map(|greeting| &greeting.connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(n: u64) -> SourceNetwork {
        SourceNetwork(n)
    }

    #[test]
    fn a_silent_connection_makes_room_for_a_new_one() {
        let mut greetings = Greetings::default();
        let mut under_way = Vec::new();
        for n in 0..GREETINGS_MAX {
            let (greeting, oldest) = greetings.add(host(1), n);
            assert_eq!(oldest, None);
            under_way.push(greeting);
        }
        let (_greeting, oldest) = greetings.add(host(1), GREETINGS_MAX);
        assert_eq!(oldest, Some(0));
        assert_eq!(greetings.all().count(), GREETINGS_MAX);
    }

    #[test]
    fn connections_of_one_host_do_not_displace_those_of_another() {
        let mut greetings = Greetings::default();
        let (_first, _) = greetings.add(host(1), 1000);
        let mut under_way = Vec::new();
        for n in 0..2 * GREETINGS_MAX {
            under_way.push(greetings.add(host(2), n).0);
        }
        assert!(greetings.all().any(|connection| *connection == 1000));
    }

    #[test]
    fn a_greeting_that_is_over_takes_no_room() {
        let mut greetings = Greetings::default();
        for n in 0..2 * GREETINGS_MAX {
            let (greeting, oldest) = greetings.add(host(1), n);
            assert_eq!(oldest, None);
            drop(greeting);
        }
        let (_greeting, _) = greetings.add(host(1), 99);
        assert_eq!(greetings.all().collect::<Vec<_>>(), [&99]);
    }

    #[test]
    fn each_session_has_its_own_id() {
        let mut handshakes = Handshakes::default();
        assert_ne!(handshakes.next_session(), handshakes.next_session());
        assert!(handshakes.take_greeted(SessionId(1)).is_none());
    }
}
