//! The gate: bounds the handshakes that newcomers can cause.
//!
//! Every newcomer must first validate its address (Retry, RFC 9000 section 8.1.2). That costs the
//! newcomer a round trip, and the relay only an answer that is shorter than the request. So nobody
//! can use the relay to send more to a third party than they sent themselves.
//!
//! Then the newcomer occupies a place until it has registered. Without a free place it waits for a
//! short time. The number that may wait is bounded, too: ten thousand peers that reconnect at once
//! are served as fast as the machine can, and further ones are refused.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Maximum newcomers that have a place: their handshake or registration is in progress.
pub(crate) const HANDSHAKES_MAX: usize = 256;

/// Maximum newcomers with a validated address that wait for a place. Each occupies about 4 KiB with
/// its first datagrams. The limit is the number of peers that may reconnect at once, because a
/// refused one must start again behind all others.
pub(crate) const WAITING_MAX: usize = 10_000;

/// The places, and the seats for newcomers that wait for a place.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    places: Arc<Semaphore>,
    seats: Arc<Semaphore>,
}

/// The gate's decision about a newcomer.
#[derive(Debug)]
pub(crate) enum GateDecision {
    /// It begins its handshake and occupies this place.
    Begin(OwnedSemaphorePermit),
    /// It must validate its address first.
    Retry,
    /// It waits for a place and occupies this seat.
    Wait(OwnedSemaphorePermit),
    /// It is refused.
    Refuse,
}

impl Gate {
    pub(crate) fn new(places: usize, seats: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            seats: Arc::new(Semaphore::new(seats)),
        }
    }

    /// Decides about one newcomer. `validated`: whether its address is validated.
    pub(crate) fn admit(&self, validated: bool) -> GateDecision {
        if !validated {
            return GateDecision::Retry;
        }
        match self.places.clone().try_acquire_owned() {
            Ok(place) => GateDecision::Begin(place),
            Err(_) => self
                .seats
                .clone()
                .try_acquire_owned()
                .map_or(GateDecision::Refuse, GateDecision::Wait),
        }
    }

    /// Waits for a place. Newcomers get places in the order in which they began to wait.
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
            GateDecision::Begin(place) => {
                places.push(place);
                "begin"
            }
            GateDecision::Retry => "retry",
            GateDecision::Wait(seat) => {
                seats.push(seat);
                "wait"
            }
            GateDecision::Refuse => "refuse",
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
        assert!(matches!(gate.admit(true), GateDecision::Begin(_)));
    }
}
