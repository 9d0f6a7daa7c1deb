//! The gate: bounds the handshakes that newcomers can cause, and shares them among source networks.
//!
//! A newcomer takes a place until it has proved its identity. It may be asked first to validate its
//! address (Retry, RFC 9000 section 8.1.2), which costs the newcomer a round trip, and this end only
//! an answer that is shorter than the request. Without a free place it may wait.
//!
//! Places and seats are shared by [`Places`] and [`WaitingLine`]: a network that has few can take
//! from the one that has the most. So handshakes that stop half-way exclude only their own network.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hobnob_limits::{Entrance, Places, WaitingLine};
use tokio::sync::oneshot;

/// How many newcomers a gate takes.
#[derive(Debug, Clone, Copy)]
pub struct GateLimits {
    /// Maximum newcomers that have a place.
    pub places: usize,
    /// Maximum newcomers of one network that have a place, even while others are free. Further ones
    /// are refused.
    pub per_network: usize,
    /// While fewer places than this are taken, newcomers need not validate their addresses.
    pub unvalidated: usize,
    /// Maximum newcomers that wait for a place.
    pub seats: usize,
}

/// The places of newcomers from networks `N`. Clones share them.
#[derive(Debug)]
pub struct Gate<N: Ord + Copy> {
    limits: GateLimits,
    inner: Arc<Mutex<Inner<N>>>,
}

#[derive(Debug)]
struct Inner<N> {
    places: Places<N, u64>,
    /// Dropped to end the handshakes of replaced holders.
    held: BTreeMap<u64, oneshot::Sender<()>>,
    line: WaitingLine<N>,
    waiting: BTreeMap<u64, (N, oneshot::Sender<()>)>,
    newcomers: u64,
}

/// The gate's decision about a newcomer.
#[derive(Debug)]
pub enum Admission<N: Ord + Copy> {
    /// It begins its handshake and holds this place.
    Begin(Place<N>),
    /// It must validate its address first.
    Retry,
    /// It waits for a place.
    Wait(Waiting<N>),
    /// It is refused.
    Refuse,
}

/// A newcomer's place in the gate, free again when this is dropped.
#[derive(Debug)]
pub struct Place<N: Ord + Copy> {
    gate: Gate<N>,
    holder: u64,
    held: oneshot::Receiver<()>,
}

/// A newcomer's seat. It leaves the line when this is dropped.
#[derive(Debug)]
pub struct Waiting<N: Ord + Copy> {
    gate: Gate<N>,
    network: N,
    newcomer: u64,
    turn: oneshot::Receiver<()>,
}

impl<N: Ord + Copy> Clone for Gate<N> {
    fn clone(&self) -> Self {
        Self {
            limits: self.limits,
            inner: self.inner.clone(),
        }
    }
}

impl<N: Ord + Copy> Gate<N> {
    /// Creates a gate with free places.
    pub fn new(limits: GateLimits) -> Self {
        let inner = Inner {
            places: Places::new(limits.places),
            held: BTreeMap::new(),
            line: WaitingLine::new(limits.seats),
            waiting: BTreeMap::new(),
            newcomers: 0,
        };
        Self {
            limits,
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// Decides about one newcomer. `validated`: whether its address is validated.
    pub fn admit(&self, network: N, validated: bool) -> Admission<N> {
        let mut inner = self.lock();
        if !validated && inner.places.taken() >= self.limits.unvalidated {
            return Admission::Retry;
        }
        if inner.places.taken_by(network) >= self.limits.per_network {
            return Admission::Refuse;
        }
        inner.newcomers += 1;
        let newcomer = inner.newcomers;
        match inner.places.enter(newcomer, network, false) {
            Entrance::Free => {}
            Entrance::Replaces(holder) => drop(inner.held.remove(&holder)),
            Entrance::Full => return self.wait(&mut inner, network, newcomer),
        }
        Admission::Begin(self.place(&mut inner, newcomer))
    }

    fn wait(&self, inner: &mut Inner<N>, network: N, newcomer: u64) -> Admission<N> {
        match inner.line.join(network, newcomer) {
            Entrance::Free => {}
            Entrance::Replaces(other) => drop(inner.waiting.remove(&other)),
            Entrance::Full => return Admission::Refuse,
        }
        let (sender, turn) = oneshot::channel();
        inner.waiting.insert(newcomer, (network, sender));
        Admission::Wait(Waiting {
            gate: self.clone(),
            network,
            newcomer,
            turn,
        })
    }

    fn place(&self, inner: &mut Inner<N>, holder: u64) -> Place<N> {
        let (sender, held) = oneshot::channel();
        inner.held.insert(holder, sender);
        Place {
            gate: self.clone(),
            holder,
            held,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<N>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<N: Ord + Copy> Inner<N> {
    /// Gives free places to those who wait.
    fn serve(&mut self, max: usize) {
        while self.places.taken() < max {
            let Some(newcomer) = self.line.next_turn() else {
                return;
            };
            let (network, turn) = self
                .waiting
                .remove(&newcomer)
                .expect("a newcomer in the line waits");
            let entrance = self.places.enter(newcomer, network, false);
            debug_assert_eq!(entrance, Entrance::Free);
            if turn.send(()).is_err() {
                // It is being dropped at this moment, and has not left the line yet.
                self.places.leave(newcomer);
            }
        }
    }
}

impl<N: Ord + Copy> Place<N> {
    /// Returns when a newcomer from another network has taken this place.
    pub async fn replaced(&mut self) {
        // The gate drops the other end. It never sends.
        let _dropped = (&mut self.held).await;
    }
}

impl<N: Ord + Copy> Drop for Place<N> {
    fn drop(&mut self) {
        let mut inner = self.gate.lock();
        inner.held.remove(&self.holder);
        if inner.places.leave(self.holder) {
            inner.serve(self.gate.limits.places);
        }
    }
}

impl<N: Ord + Copy> Waiting<N> {
    /// Waits for the newcomer's turn. `None`: it lost its seat to a newcomer from another network.
    pub async fn place(mut self) -> Option<Place<N>> {
        (&mut self.turn).await.ok()?;
        let place = self.gate.place(&mut self.gate.lock(), self.newcomer);
        // The place is the newcomer's now, and is freed with `place`.
        self.newcomer = 0;
        Some(place)
    }
}

impl<N: Ord + Copy> Drop for Waiting<N> {
    fn drop(&mut self) {
        let mut inner = self.gate.lock();
        if inner.waiting.remove(&self.newcomer).is_some() {
            inner.line.leave(self.network, self.newcomer);
        } else if inner.places.leave(self.newcomer) {
            // Its turn came, but it does not use it.
            inner.serve(self.gate.limits.places);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    fn gate(places: usize, unvalidated: usize, seats: usize) -> Gate<char> {
        Gate::new(GateLimits {
            places,
            per_network: usize::MAX,
            unvalidated,
            seats,
        })
    }

    #[test]
    fn a_network_may_not_take_more_than_its_share_of_free_places() {
        let gate = Gate::new(GateLimits {
            places: 9,
            per_network: 2,
            unvalidated: 0,
            seats: 9,
        });
        let held = [begin(&gate, 'a'), begin(&gate, 'a')];
        assert!(matches!(gate.admit('a', true), Admission::Refuse));
        let _other = begin(&gate, 'b');
        drop(held);
        let _again = begin(&gate, 'a');
    }

    fn begin(gate: &Gate<char>, network: char) -> Place<char> {
        let admission = gate.admit(network, true);
        let Admission::Begin(place) = admission else {
            panic!("{network} does not begin: {admission:?}");
        };
        place
    }

    fn wait(gate: &Gate<char>, network: char) -> Waiting<char> {
        let admission = gate.admit(network, true);
        let Admission::Wait(waiting) = admission else {
            panic!("{network} does not wait: {admission:?}");
        };
        waiting
    }

    /// The result of a future that is ready.
    fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
        match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn newcomers_validate_their_addresses_once_places_are_scarce() {
        let gate = gate(2, 1, 0);
        let Admission::Begin(place) = gate.admit('a', false) else {
            panic!("all places are free");
        };
        assert!(matches!(gate.admit('a', false), Admission::Retry));
        let _second = begin(&gate, 'a');
        assert!(matches!(gate.admit('a', true), Admission::Refuse));
        drop(place);
        let _third = begin(&gate, 'a');
    }

    #[test]
    fn a_newcomer_from_another_network_ends_the_oldest_handshake_of_the_crowd() {
        let gate = gate(3, 0, 0);
        let mut crowd: Vec<_> = (0..3).map(|_| begin(&gate, 'a')).collect();
        assert_eq!(ready(crowd[0].replaced()), None);
        let _newcomer = begin(&gate, 'b');
        assert_eq!(ready(crowd[0].replaced()), Some(()));
        assert_eq!(ready(crowd[1].replaced()), None);
        assert!(matches!(gate.admit('a', true), Admission::Refuse));
        // A replaced holder has no place to give back.
        drop(crowd.remove(0));
        assert!(matches!(gate.admit('a', true), Admission::Refuse));
    }

    #[test]
    fn those_who_wait_get_free_places_in_turns() {
        let gate = gate(1, 0, 4);
        let holder = begin(&gate, 'a');
        let [first, second, other] = ['a', 'a', 'b'].map(|network| wait(&gate, network));
        drop(holder);
        let first = ready(first.place()).flatten().expect("its turn");
        let mut turn = Box::pin(second.place());
        assert!(ready(turn.as_mut()).is_none());
        drop(first);
        assert!(
            ready(turn.as_mut()).is_none(),
            "it is the other network's turn"
        );
        let other = ready(other.place()).flatten().expect("its turn");
        drop(other);
        assert!(ready(turn.as_mut()).flatten().is_some());
    }

    #[test]
    fn a_newcomer_that_gives_up_frees_its_seat_or_its_place() {
        let gate = gate(1, 0, 1);
        let holder = begin(&gate, 'a');
        drop(wait(&gate, 'a'));
        let waiting = wait(&gate, 'a');
        assert!(matches!(gate.admit('a', true), Admission::Refuse));
        drop(holder);
        // Its turn has come, but it gives up.
        drop(waiting);
        let _next = begin(&gate, 'a');
    }

    #[test]
    fn a_newcomer_takes_the_seat_of_one_from_a_longer_line() {
        let gate = gate(1, 0, 3);
        let _holder = begin(&gate, 'a');
        let mut crowd: Vec<_> = (0..3).map(|_| wait(&gate, 'a')).collect();
        let _other = wait(&gate, 'b');
        let last = crowd.pop().expect("three wait");
        assert!(ready(last.place()).expect("it lost its seat").is_none());
    }
}
