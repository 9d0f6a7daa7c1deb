//! The hub: one task that drives the pure core, and so is the only one that decides anything about
//! registered peers.
//!
//! What happens comes as [`Event`]s, one after the other; what the core says goes out at once, to
//! outboxes, connections and the forwarding plane, none of which it ever waits for.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hobnob_protocol::PeerId;
use hobnob_protocol::relay::{FromRelay, Register, TOKEN_EXPORTER_LABEL, ToRelay, close};
use quinn::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use super::arrivals::end;
use super::callers::Callers;
use super::clock::Clock;
use super::frames::{Full, OUT_BYTES_MAX, Outbox};
use super::newcomers::{Fate, Newcomers};
use super::operator::OperatorRequest;
use super::wording;
use crate::admission::Admission;
use crate::core::{ConnectionId, Input, Output, Relay};
use crate::plane::PlaneHandle;

/// How often the hub looks whether a NAT has given a peer another address.
const LOOK_FOR_MOVES_EVERY: Duration = Duration::from_secs(1);

/// What happens at the relay.
#[derive(Debug)]
pub(super) enum Event {
    /// A peer has proved its id, and registers.
    Register(Box<Registration>),
    /// A registered peer says something.
    Frame(ConnectionId, ToRelay),
    /// A connection has ended.
    Down(ConnectionId),
    /// The operator asks.
    Operator(OperatorRequest),
    /// The relay stops; answered when all have been told.
    Drain(oneshot::Sender<()>),
}

/// A newcomer that wants to be registered.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) id: ConnectionId,
    pub(super) connection: Connection,
    /// Where it shook hands from, which proves the address.
    pub(super) from: SocketAddr,
    pub(super) peer: PeerId,
    pub(super) register: Register,
    pub(super) outbox: Arc<Outbox>,
}

/// The core, and all that it speaks to.
pub(super) struct Hub {
    pub(super) relay: Relay,
    pub(super) clock: Clock,
    pub(super) admission: Admission,
    plane: PlaneHandle,
    newcomers: Arc<Newcomers>,
    callers: Callers,
    links: HashMap<ConnectionId, RegisteredPeer>,
    /// Who waits until everybody has been told to go.
    drained: Option<oneshot::Sender<()>>,
}

/// A registered peer's connection.
struct RegisteredPeer {
    connection: Connection,
    outbox: Arc<Outbox>,
    /// What the core knows as its address.
    addr: SocketAddr,
}

impl Hub {
    pub(super) fn new(
        relay: Relay,
        admission: Admission,
        plane: PlaneHandle,
        newcomers: Arc<Newcomers>,
        callers: Callers,
    ) -> Self {
        Self {
            relay,
            clock: Clock::start(),
            admission,
            plane,
            newcomers,
            callers,
            links: HashMap::new(),
            drained: None,
        }
    }

    /// Runs until nobody can tell of anything any more.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let mut look = interval(LOOK_FOR_MOVES_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let timeout = self
                .relay
                .poll_timeout()
                .map(|moment| self.clock.at(moment));
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.event(event),
                    None => return,
                },
                () = at(timeout) => self.tell(Input::Timeout),
                _ = look.tick() => self.look_for_moves(),
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Register(registration) => self.register(*registration),
            Event::Frame(id, frame) => self.frame(id, frame),
            Event::Down(id) => {
                if self.links.remove(&id).is_some() {
                    self.tell(Input::Down { connection: id });
                }
            }
            Event::Operator(ask) => self.ask(ask),
            Event::Drain(done) => {
                self.drained = Some(done);
                self.tell(Input::Drain);
            }
        }
    }

    fn register(&mut self, registration: Registration) {
        let Registration {
            id,
            connection,
            from: addr,
            peer,
            register,
            outbox,
        } = registration;
        let mut exporter = [0; 32];
        connection
            .export_keying_material(&mut exporter, TOKEN_EXPORTER_LABEL, b"")
            .expect("32 bytes are not too many to export");
        let proof = register.token_proof.as_ref();
        if let Err(refusal) = self.admission.check(peer, proof, &exporter) {
            self.newcomers.count(Fate::NotAdmitted);
            return end(&connection, refusal.code, refusal.reason);
        }
        self.links.insert(
            id,
            RegisteredPeer {
                connection,
                outbox,
                addr,
            },
        );
        self.tell(Input::Registered {
            connection: id,
            peer,
            addr,
            rooms: register.rooms,
        });
        self.look_at(id);
    }

    fn frame(&mut self, id: ConnectionId, frame: ToRelay) {
        // What a peer said before it was sent away counts no more.
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let rtt = matches!(frame, ToRelay::Heartbeat(_)).then(|| link.connection.rtt());
        self.look_at(id);
        if let Some(rtt) = rtt {
            self.tell(Input::Rtt {
                connection: id,
                rtt,
            });
        }
        self.tell(Input::Frame {
            connection: id,
            frame,
        });
    }

    fn look_for_moves(&mut self) {
        let moved = self
            .links
            .iter()
            .filter(|(_, link)| link.connection.remote_address() != link.addr);
        for id in moved.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.look_at(id);
        }
    }

    /// Tells the core if the peer's address is another now: its NAT has rebound it, or its network
    /// changed.
    fn look_at(&mut self, id: ConnectionId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let addr = link.connection.remote_address();
        if std::mem::replace(&mut link.addr, addr) != addr {
            self.tell(Input::Moved {
                connection: id,
                addr,
            });
        }
    }

    /// One input to the core, and then all that it says.
    pub(super) fn tell(&mut self, input: Input) {
        self.relay.handle(self.clock.now(), input);
        while let Some(output) = self.relay.poll_output() {
            match output {
                Output::Say(id, frame) => self.say(id, &frame),
                Output::End(id, reason) => {
                    if let Some(link) = self.links.remove(&id) {
                        let words = wording::end_reason(&reason);
                        end(&link.connection, reason.code(), &words);
                    }
                }
                Output::Call(id, token) => self.call(id, token),
                Output::Route(update) => self.plane.update(update),
            }
        }
        if self.links.is_empty()
            && let Some(drained) = self.drained.take()
        {
            // Whoever waited may have lost patience.
            let _gone = drained.send(());
        }
    }

    /// Has a peer called, at the address that the core knows as its own; if that can't be done, it
    /// is told so.
    fn call(&mut self, id: ConnectionId, token: [u8; 16]) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let from = link
            .connection
            .local_ip()
            .unwrap_or(self.plane.local_addr().ip());
        let outbox = link.outbox.clone();
        let called = self.callers.call(from, link.addr, token, move |port| {
            // Who reads so little that this does not fit is sent away when something else does not.
            let _full = outbox.push(
                &FromRelay::Called {
                    token,
                    from: Some(port),
                }
                .encode(),
            );
        });
        if !called {
            self.say(id, &FromRelay::Called { token, from: None });
        }
    }

    fn say(&mut self, id: ConnectionId, frame: &FromRelay) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        if link.outbox.push(&frame.encode()) == Err(Full) {
            // Its task will tell when the connection has ended.
            let reason = format!(
                "you did not read what this relay said, and more than {OUT_BYTES_MAX} bytes of it waited"
            );
            end(&link.connection, close::LIMIT, &reason);
        }
    }

    /// The connections that are registered.
    pub(super) fn connections(&self) -> usize {
        self.links.len()
    }
}

async fn at(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
