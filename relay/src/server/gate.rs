//! The gate: bounds the handshakes that anybody can make the relay begin.
//!
//! Every newcomer must first show that it is where it says (Retry, RFC 9000 section 8.1.2), which
//! costs the relay nothing but an answer shorter than the question, and the newcomer a round trip:
//! so nobody can make a relay, which anybody can find, send more to a third party than came. Then
//! it takes a place, and keeps it until it has registered. Those that find no place wait in a room
//! of bounded size, for a short time; so ten thousand peers that come back at once are served as
//! fast as the machine can, and not turned away. Beyond that they are refused.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Newcomers that have not registered at once.
pub(crate) const HANDSHAKES_MAX: usize = 256;

/// Newcomers of proved address that wait for a place at once; each holds its first datagrams, some
/// 4 KiB. As many as may come back together: whoever is turned away comes back again later, and is
/// the last.
pub(crate) const WAITING_MAX: usize = 10_000;

/// The places, and the room before them.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    places: Arc<Semaphore>,
    seats: Arc<Semaphore>,
}

/// What becomes of a newcomer.
#[derive(Debug)]
pub(crate) enum Entry {
    /// It may begin its handshake, and holds this place.
    Begin(OwnedSemaphorePermit),
    /// It must prove its address first.
    Retry,
    /// It may wait for a place; meanwhile it holds this seat.
    Wait(OwnedSemaphorePermit),
    /// It is turned away.
    Refuse,
}

impl Gate {
    pub(crate) fn new(places: usize, seats: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            seats: Arc::new(Semaphore::new(seats)),
        }
    }

    /// Decides about one newcomer; `validated` says that its address is proved.
    pub(crate) fn admit(&self, validated: bool) -> Entry {
        if !validated {
            return Entry::Retry;
        }
        match self.places.clone().try_acquire_owned() {
            Ok(place) => Entry::Begin(place),
            Err(_) => self
                .seats
                .clone()
                .try_acquire_owned()
                .map_or(Entry::Refuse, Entry::Wait),
        }
    }

    /// A place, as soon as there is one. Those who wait longer come first.
    pub(crate) async fn place(&self) -> OwnedSemaphorePermit {
        self.places
            .clone()
            .acquire_owned()
            .await
            .expect("the semaphore is never closed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_asks_everybody_for_proof_lets_some_wait_and_refuses_when_full() {
        let gate = Gate::new(4, 1);
        let (mut places, mut seats) = (Vec::new(), Vec::new());
        let mut enter = |validated| match gate.admit(validated) {
            Entry::Begin(place) => {
                places.push(place);
                "begin"
            }
            Entry::Retry => "retry",
            Entry::Wait(seat) => {
                seats.push(seat);
                "wait"
            }
            Entry::Refuse => "refuse",
        };
        assert_eq!(
            [enter(false), enter(true), enter(true)],
            ["retry", "begin", "begin"]
        );
        assert_eq!(
            [enter(true), enter(true), enter(true), enter(true)],
            ["begin", "begin", "wait", "refuse"]
        );
        assert_eq!(enter(false), "retry");
        places.clear();
        assert!(matches!(gate.admit(true), Entry::Begin(_)));
    }
}
