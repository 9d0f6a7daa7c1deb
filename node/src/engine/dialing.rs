//! Connections before they are sessions: dialed, accepted, greeted, and put before `core::paths`.

use std::net::SocketAddr;
use std::time::Duration;

use hobnob_core::paths::{self, Instance};
use hobnob_core::policy::DenyReason;
use hobnob_core::synthetic::is_synthetic;
use hobnob_protocol::frame::Profile;
use hobnob_protocol::frame::features::{CONTENT, DIAL_BACK, DISCOVERABLE};
use hobnob_protocol::{Hello, PeerId, close};
use hobnob_transport::tls;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::{debug, info};

use super::handshakes::GreetedConnection;
use super::internal::{DialReply, Internal, Met};
use super::relays::OpenFailed;
use super::state::Engine;
use crate::error::SendError;
use crate::net::endpoint::{Accepted, DialError, Endpoint};
use crate::net::goodbye::hang_up;
use crate::net::session::{Ended, GreetError, Greeted, greet};

/// How long a dial may take, Hello included, when somebody waits for it.
const DIAL_LIMIT: Duration = Duration::from_secs(5);

/// Of several addresses, the next is tried as well when the one before has not answered for so long
/// (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(150);

impl Engine {
    pub(super) fn paths_output(&mut self, output: paths::Output) {
        match output {
            paths::Output::Dial(peer, _)
                if self.policy.denies(peer, self.clock.now()).is_some() =>
            {
                self.dial_failed(peer)
            }
            paths::Output::Dial(peer, addrs) => self.dial(peer, addrs),
            paths::Output::Keep(session) => self.begin_session(session),
            paths::Output::Close(session, reason) => self.close_session(session, reason),
            paths::Output::Copied(peer) => {
                let name = self.peers.name(peer);
                let text = format!(
                    "{name} runs in two places at once; this node talks to the one that was started last."
                );
                self.reports.notice("identity-copied", text, Some(peer));
            }
        }
    }

    pub(super) fn dial_failed(&mut self, peer: PeerId) {
        self.paths
            .handle(self.clock.now(), paths::Input::DialFailed(peer));
        self.not_reached(peer);
    }

    /// Dials all addresses of a peer, one a moment after the other; the first that leads to it
    /// wins.
    fn dial(&mut self, peer: PeerId, addrs: Vec<SocketAddr>) {
        let (endpoint, internal, hello) = (
            self.network.endpoint.clone(),
            self.tasks.reports.clone(),
            self.hello_maker(),
        );
        let ways: Vec<_> = addrs
            .into_iter()
            .map(|addr| (addr, self.way_to(addr)))
            .collect();
        self.tasks.spawn_until_stop(async move {
            let mut attempts = JoinSet::new();
            for (i, (addr, way)) in (0u32..).zip(ways) {
                let (endpoint, hello) = (endpoint.clone(), hello.clone());
                attempts.spawn(async move {
                    tokio::time::sleep(STAGGER * i).await;
                    (addr, connect(&endpoint, addr, way, Some(peer), hello).await)
                });
            }
            while let Some(attempt) = attempts.join_next().await {
                match attempt {
                    Ok((_, Ok(greeted))) => {
                        let _ = internal.send(Internal::Met(Met::Greeted {
                            greeted: Box::new(greeted),
                            reply: None,
                        }));
                        return;
                    }
                    Ok((
                        addr,
                        Err(NotMet::Failed(SendError::IdentityMismatch {
                            expected, found, ..
                        })),
                    )) => {
                        let _ = internal.send(Internal::WrongPeer {
                            addr,
                            expected,
                            found,
                        });
                    }
                    Ok((_, Err(NotMet::TurnedAway(reason)))) => {
                        drop(internal.send(Internal::TurnedAway(peer, reason)))
                    }
                    Ok((addr, Err(NotMet::Failed(error)))) => debug!(%addr, "not reached: {error}"),
                    Ok((_, Err(NotMet::Duplicate(_) | NotMet::Myself))) | Err(_) => {}
                }
            }
            let _ = internal.send(Internal::DialFailed(peer));
        });
    }

    /// Dials an address that a user named, unless there is a session with it.
    pub(super) fn dial_for_user(
        &mut self,
        addr: SocketAddr,
        expected: Option<PeerId>,
        reply: DialReply,
    ) {
        let there = self
            .sessions
            .live
            .values()
            .find(|link| link.session.remote_addr() == addr)
            .map(|link| link.peer);
        if let Some(found) = there {
            let answer = match expected {
                Some(expected) if expected != found => Err(SendError::IdentityMismatch {
                    addr: addr.to_string(),
                    expected,
                    found,
                }),
                Some(_) | None => Ok(found),
            };
            let _ = reply.send(answer);
            return;
        }
        let (endpoint, internal, hello) = (
            self.network.endpoint.clone(),
            self.tasks.reports.clone(),
            self.hello_maker(),
        );
        self.tasks.spawn_until_stop(async move {
            let met = match connect(&endpoint, addr, None, expected, hello).await {
                Ok(greeted) => Met::Greeted {
                    greeted: Box::new(greeted),
                    reply: Some(reply),
                },
                // Both sides dialed at once, and the other connection stays: whoever answered here
                // is at its end.
                Err(NotMet::Duplicate(peer)) => return drop(reply.send(Ok(peer))),
                Err(NotMet::Myself) => return drop(reply.send(Err(SendError::Myself))),
                Err(NotMet::TurnedAway(reason)) => {
                    if let Some(peer) = expected {
                        let _ = internal.send(Internal::TurnedAway(peer, reason));
                    }
                    let (addr, why) = (addr.to_string(), reason.code().1.to_owned());
                    return drop(reply.send(Err(SendError::Refused { addr, why })));
                }
                Err(NotMet::Failed(error)) => Met::Failed { addr, error, reply },
            };
            let _ = internal.send(Internal::Met(met));
        });
    }

    pub(super) fn greet_accepted(&mut self, accepted: Accepted) {
        if let Some(reason) = self.policy.denies(accepted.peer, self.clock.now()) {
            let (code, words) = reason.code();
            return hang_up(&accepted.connection, code, words);
        }
        let (under_way, oldest) = self.handshakes.begin(accepted.connection.clone());
        if let Some(oldest) = oldest {
            let why = "too many connections that have not said Hello";
            hang_up(&oldest, close::FULL, why);
        }
        let (internal, hello) = (self.tasks.reports.clone(), self.hello_maker());
        self.tasks.spawn_until_stop(async move {
            let _under_way = under_way;
            match greet(accepted.connection, false, hello, DIAL_LIMIT).await {
                Ok(greeted) => drop(internal.send(Internal::Met(Met::Greeted {
                    greeted: Box::new(greeted),
                    reply: None,
                }))),
                Err(error) => info!(peer = ?accepted.peer, "a connection came to nothing: {error}"),
            }
        });
    }

    /// Makes our Hello for a connection, as things stand now; what changes until it is through is
    /// told afterwards.
    pub(super) fn hello_maker(&self) -> impl FnOnce(&[u8; 32]) -> Hello + Clone + Send + 'static {
        let (instance, clock, me) = (self.instance, self.clock, self.me);
        let discoverable = self.discovery.is_on();
        let (nick, addrs) = (self.peers.own().to_string(), self.network.listening_addrs());
        let keys: Vec<_> = self.replica.rooms().map(|(_, _, key, _)| *key).collect();
        move |exporter| Hello {
            version: hobnob_protocol::VERSION,
            features: CONTENT | DIAL_BACK | if discoverable { DISCOVERABLE } else { 0 },
            instance: instance.number,
            started_at_ms: instance.started_at_ms,
            clock_ms: clock.now().wall_ms,
            profile: Profile {
                nick,
                addrs,
                proofs: keys.iter().map(|key| key.proof(exporter, me)).collect(),
            },
        }
    }

    pub(super) fn met(&mut self, met: Met) {
        let (greeted, reply) = match met {
            Met::Greeted { greeted, reply } => (greeted, reply),
            Met::Copy(addr) => {
                self.reports.copied_by_unknown(&format!("at {addr}"));
                return;
            }
            Met::Failed { addr, error, reply } => {
                let error = self.peer_last_at(addr, error);
                let _ = reply.send(error);
                return;
            }
        };
        let instance = Instance {
            started_at_ms: greeted.hello.started_at_ms,
            number: greeted.hello.instance,
        };
        let (peer, dialed, greeted_from) = (
            greeted.peer,
            greeted.dialed,
            greeted.connection.remote_address(),
        );
        if peer == self.me {
            self.met_myself(&greeted, instance, reply);
            return;
        }
        if let Some(reason) = self.policy.denies(peer, self.clock.now()) {
            return self.turn_away(peer, &greeted, reply, reason);
        }
        if self.has_taken_name(peer, &greeted.hello.profile.nick) {
            return self.turn_away(peer, &greeted, reply, DenyReason::NameTaken);
        }
        let session = self.handshakes.next_session();
        let relayed = is_synthetic(greeted_from.ip());
        let mark = u64::from_be_bytes(std::array::from_fn(|i| greeted.exporter[i]));
        let connected = paths::Input::Connected {
            session,
            peer,
            dialed,
            instance,
            relayed,
            mark,
        };
        self.handshakes
            .add_greeted(session, GreetedConnection { greeted, reply });
        self.paths.handle(self.clock.now(), connected);
    }

    /// The user wants no session with the peer that was met.
    fn turn_away(
        &mut self,
        peer: PeerId,
        greeted: &Greeted,
        reply: Option<DialReply>,
        reason: DenyReason,
    ) {
        let (code, words) = reason.code();
        hang_up(&greeted.connection, code, words);
        if greeted.dialed {
            self.dial_failed(peer);
        }
        if let Some(reply) = reply {
            // Who it is has been proved: a message to a peer that was kicked waits for it.
            let meant = if reason == DenyReason::NameTaken {
                Err(SendError::NameTaken(peer))
            } else {
                Ok(peer)
            };
            let _ = reply.send(meant);
        }
    }

    /// Nobody answers at an address where a known peer was last: that peer is meant, and is away.
    fn peer_last_at(&self, addr: SocketAddr, error: SendError) -> Result<PeerId, SendError> {
        let mut there = self
            .peers
            .all()
            .filter(|peer| self.paths.addrs(*peer).first() == Some(&addr));
        match (there.next(), there.next(), &error) {
            (Some(peer), None, SendError::Unreachable { .. }) => Ok(peer),
            (_, _, _) => Err(error),
        }
    }

    fn met_myself(&mut self, greeted: &Greeted, instance: Instance, reply: Option<DialReply>) {
        if let Some(reply) = reply {
            let _ = reply.send(Err(SendError::Myself));
        }
        let connection = greeted.connection.clone();
        if greeted.dialed {
            // The other end closes once it has read our Hello: until then it does not know whom it
            // met.
            self.tasks.spawn_until_stop(async move {
                let _ = tokio::time::timeout(DIAL_LIMIT, connection.closed()).await;
            });
        } else {
            hang_up(&connection, close::SELF, "this is the same identity");
        }
        if instance != self.instance {
            let at = greeted.connection.remote_address();
            self.reports.copied_by(instance, &format!("at {at}"));
        }
    }

    /// Somebody announces our own id: unless it is a trace of ourselves, see who answers there.
    pub(super) fn look_for_copy(&self, addrs: &[SocketAddr]) {
        let own = self.network.listening_addrs();
        let Some(&addr) = addrs.iter().find(|addr| !own.contains(addr)) else {
            return;
        };
        let (endpoint, internal, hello, me) = (
            self.network.endpoint.clone(),
            self.tasks.reports.clone(),
            self.hello_maker(),
            self.me,
        );
        self.tasks.spawn_until_stop(async move {
            let met = match connect(&endpoint, addr, None, Some(me), hello).await {
                Ok(greeted) => Met::Greeted {
                    greeted: Box::new(greeted),
                    reply: None,
                },
                Err(NotMet::Myself) => Met::Copy(addr),
                Err(NotMet::Duplicate(_) | NotMet::TurnedAway(_) | NotMet::Failed(_)) => return,
            };
            let _ = internal.send(Internal::Met(met));
        });
    }
}

/// Why a dial led to no session of its own.
enum NotMet {
    /// The peer, which proved its identity, has another connection with us.
    Duplicate(PeerId),
    /// The other end has our own identity, and said so first.
    Myself,
    /// The peer, which proved its identity, wants no session with us.
    TurnedAway(DenyReason),
    /// Anything else.
    Failed(SendError),
}

/// Connects and says Hello; to a relayed peer, when there is a channel.
async fn connect(
    endpoint: &Endpoint,
    addr: SocketAddr,
    way: Option<oneshot::Receiver<Result<(), OpenFailed>>>,
    expected: Option<PeerId>,
    hello: impl FnOnce(&[u8; 32]) -> Hello,
) -> Result<Greeted, NotMet> {
    if let Some(way) = way {
        let unreachable = |cause: String| {
            NotMet::Failed(SendError::Unreachable {
                addr: addr.to_string(),
                cause,
            })
        };
        match tokio::time::timeout(DIAL_LIMIT, way).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(failed))) => return Err(unreachable(failed.to_string())),
            Ok(Err(_)) | Err(_) => return Err(unreachable("the relay does not answer".to_owned())),
        }
    }
    let failed = |error: DialError| {
        let reason = if let DialError::Closed { code, .. } = &error {
            DenyReason::of_code(*code)
        } else {
            None
        };
        reason.map_or_else(
            || NotMet::Failed(SendError::dial(addr.to_string(), error)),
            NotMet::TurnedAway,
        )
    };
    let connection = endpoint
        .dial(addr, expected, DIAL_LIMIT)
        .await
        .map_err(failed)?;
    let peer = tls::peer_id(connection.peer_identity());
    greet(connection, true, hello, DIAL_LIMIT)
        .await
        .map_err(|error| match (peer, &error) {
            (_, GreetError::Ended(Ended::Closed { code, .. }))
                if let Some(reason) = DenyReason::of_code(*code) =>
            {
                NotMet::TurnedAway(reason)
            }
            (Some(peer), GreetError::Ended(Ended::Closed { code, .. }))
                if *code == u64::from(close::DUPLICATE) =>
            {
                NotMet::Duplicate(peer)
            }
            (_, GreetError::Ended(Ended::Closed { code, .. }))
                if *code == u64::from(close::SELF) =>
            {
                NotMet::Myself
            }
            (_, GreetError::Version { .. }) => NotMet::Failed(SendError::OtherVersion {
                addr: addr.to_string(),
                why: error.to_string(),
            }),
            (_, _) => NotMet::Failed(SendError::Refused {
                addr: addr.to_string(),
                why: error.to_string(),
            }),
        })
}
