//! The hub: one task that drives the pure core, and so makes all decisions about registered peers.
//!
//! It receives [`Event`]s one by one. It passes the core's outputs at once to outboxes, connections
//! and the forwarding plane, and never waits for any of them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hobnob_protocol::PeerId;
use hobnob_protocol::relay::{FromRelay, TOKEN_EXPORTER_LABEL, ToRelay, close};
use hobnob_transport::tls;
use quinn::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use super::clock::Clock;
use super::close::end;
use super::dial_back::DialBacks;
use super::event::{Event, Registration};
use super::frames::{Full, OUT_BYTES_MAX, Outbox};
use super::newcomers::{Fate, Newcomers};
use super::operator::{Banned, OperatorError, OperatorRequest, PeerStatus, Table, resolve};
use super::wording;
use crate::admission::Admission;
use crate::core::{ConnectionId, Input, Output, Relay, Row, State};
use crate::plane::PlaneHandle;

/// How often the hub checks whether peers' addresses have changed.
const CHECK_ADDRESSES_EVERY: Duration = Duration::from_secs(1);

/// The core and everything that it acts on.
pub(super) struct Hub {
    relay: Relay,
    clock: Clock,
    admission: Admission,
    plane: PlaneHandle,
    newcomers: Arc<Newcomers>,
    dial_backs: DialBacks,
    links: HashMap<ConnectionId, RegisteredPeer>,
    /// Completed once all peers have been disconnected.
    drained: Option<oneshot::Sender<()>>,
}

/// The connection of a registered peer.
struct RegisteredPeer {
    connection: Connection,
    outbox: Arc<Outbox>,
    /// The address that the core knows.
    addr: SocketAddr,
}

impl Hub {
    pub(super) fn new(
        relay: Relay,
        admission: Admission,
        plane: PlaneHandle,
        newcomers: Arc<Newcomers>,
        dial_backs: DialBacks,
    ) -> Self {
        Self {
            relay,
            clock: Clock::start(),
            admission,
            plane,
            newcomers,
            dial_backs,
            links: HashMap::new(),
            drained: None,
        }
    }

    /// Runs until all senders of events are gone.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let mut check_addresses = interval(CHECK_ADDRESSES_EVERY);
        check_addresses.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
                () = at(timeout) => self.handle(Input::Timeout),
                _ = check_addresses.tick() => self.check_addresses(),
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Register(registration) => self.register(*registration),
            Event::Frame(id, frame) => self.frame(id, frame),
            Event::Disconnected(id) => {
                // The core knows already if it has ended the connection itself.
                if self.links.remove(&id).is_some() {
                    self.handle(Input::Disconnected { connection: id });
                }
            }
            Event::Operator(request) => self.answer(request),
            Event::Drain(done) => {
                self.drained = Some(done);
                self.handle(Input::Drain);
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
            stream,
            outbox,
        } = registration;
        let exporter = tls::exported_secret(&connection, TOKEN_EXPORTER_LABEL);
        let proof = register.token_proof.as_ref();
        if let Err(refusal) = self.admission.check(peer, proof, &exporter) {
            self.newcomers.count(Fate::NotAdmitted);
            return end(&connection, refusal.code(), wording::refusal(refusal));
        }
        let link = RegisteredPeer {
            connection,
            outbox,
            addr,
        };
        self.links.insert(id, link);
        if let Some(client) = &stream {
            client.registered.cancel();
        }
        self.handle(Input::Registered {
            connection: id,
            peer,
            addr: stream.as_ref().map_or(addr, |client| client.addr),
            stream: stream.as_ref().map(|_| addr),
            rooms: register.rooms,
        });
        self.check_address(id);
    }

    fn frame(&mut self, id: ConnectionId, frame: ToRelay) {
        // A frame may arrive after the core has ended the connection.
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let rtt = matches!(frame, ToRelay::Heartbeat(_)).then(|| link.connection.rtt());
        self.check_address(id);
        if let Some(rtt) = rtt {
            self.handle(Input::Rtt {
                connection: id,
                rtt,
            });
        }
        self.handle(Input::Frame {
            connection: id,
            frame,
        });
    }

    fn check_addresses(&mut self) {
        let moved = self
            .links
            .iter()
            .filter(|(_, link)| link.connection.remote_address() != link.addr);
        for id in moved.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.check_address(id);
        }
    }

    /// Reports to the core if a peer's address has changed: its NAT rebound it, or its network
    /// changed.
    fn check_address(&mut self, id: ConnectionId) {
        // The core may have ended the connection at an earlier input.
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let addr = link.connection.remote_address();
        if std::mem::replace(&mut link.addr, addr) != addr {
            self.handle(Input::Moved {
                connection: id,
                addr,
            });
        }
    }

    /// Passes one input to the core and executes all outputs.
    fn handle(&mut self, input: Input) {
        self.relay.handle(self.clock.now(), input);
        while let Some(output) = self.relay.poll_output() {
            match output {
                Output::Send(id, frame) => self.send(id, &frame),
                Output::End(id, reason) => {
                    let link = self.links.remove(&id).expect(IS_LINKED);
                    let words = wording::end_reason(&reason);
                    end(&link.connection, reason.code(), &words);
                }
                Output::DialBack(id, token) => self.dial_back(id, token),
                Output::Route(update) => self.plane.update(update),
            }
        }
        if self.links.is_empty()
            && let Some(drained) = self.drained.take()
        {
            // The receiver is gone if it stopped waiting.
            let _gone = drained.send(());
        }
    }

    /// Sends a probe to the address that the core knows, or reports to the peer that there is none.
    fn dial_back(&mut self, id: ConnectionId, token: [u8; 16]) {
        let link = self.links.get(&id).expect(IS_LINKED);
        let from = link
            .connection
            .local_ip()
            .unwrap_or(self.plane.local_addr().ip());
        let outbox = link.outbox.clone();
        let report = move |port| {
            let frame = FromRelay::DialedBack {
                token,
                from: Some(port),
            };
            // If a peer reads so little that this frame does not fit, a later frame that does not
            // fit will end its connection.
            let _full = outbox.push(&frame.encode());
        };
        if !self.dial_backs.start(from, link.addr, token, report) {
            self.send(id, &FromRelay::DialedBack { token, from: None });
        }
    }

    fn send(&mut self, id: ConnectionId, frame: &FromRelay) {
        let link = self.links.get(&id).expect(IS_LINKED);
        if link.outbox.push(&frame.encode()) == Err(Full) {
            // The connection's task will report its end.
            let reason = format!(
                "more than {OUT_BYTES_MAX} bytes from this relay are waiting for you to read them"
            );
            end(&link.connection, close::LIMIT, &reason);
        }
    }

    fn answer(&mut self, request: OperatorRequest) {
        // The receiver is gone if the operator's request was cancelled.
        match request {
            OperatorRequest::Peers(answer) => drop(answer.send(self.table())),
            OperatorRequest::Kick(target, answer) => drop(answer.send(self.kick(target))),
            OperatorRequest::SetBanned(target, banned, answer) => {
                drop(answer.send(self.set_banned(target, banned)))
            }
        }
    }

    fn table(&self) -> Table {
        let now = self.clock.now();
        let peer = |row: Row| PeerStatus {
            label: self.admission.label(row.peer).map(str::to_owned),
            since: self.clock.wall(row.since),
            heard_ago: now.saturating_sub(row.heard_at),
            row,
        };
        Table {
            peers: self.relay.table().into_iter().map(peer).collect(),
            banned: self.admission.banned().clone(),
            counts: self.relay.counts(),
            connections: self.links.len(),
            channels: self.relay.channels(),
            rooms: self.relay.rooms(),
            up: now,
        }
    }

    fn kick(&mut self, target: String) -> Result<PeerId, OperatorError> {
        let rows = self.relay.table();
        let peer = resolve(target, &self.admission, &rows)?;
        if !rows
            .iter()
            .any(|row| row.peer == peer && row.state != State::Gone)
        {
            return Err(OperatorError::NotConnected(peer));
        }
        self.handle(Input::Kick(peer));
        Ok(peer)
    }

    fn set_banned(&mut self, target: String, banned: bool) -> Result<Banned, OperatorError> {
        let peer = resolve(target, &self.admission, &self.relay.table())?;
        if !self.admission.set_banned(peer, banned) {
            return Err(if banned {
                OperatorError::BannedAlready(peer)
            } else {
                OperatorError::NotBanned(peer)
            });
        }
        if banned {
            self.handle(Input::Ban(peer));
        }
        Ok(Banned {
            peer,
            all: self.admission.banned().clone(),
        })
    }
}

/// Proof for lookups of links: `register` adds the link before the core knows the connection, and
/// the link is removed together with the core's entry.
const IS_LINKED: &str = "the core acts on registered connections only";

async fn at(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
