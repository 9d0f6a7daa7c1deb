//! Connections before they are sessions: dialed, accepted, greeted, and put before `core::paths`.

use crate::net::endpoint::Endpoint;
use std::net::SocketAddr;
use std::sync::Weak;
use std::time::Duration;

use hobnob_protocol::frame::features::{CALLS, CONTENT, DISCOVERABLE};
use hobnob_protocol::{Hello, close};
use tokio::task::JoinSet;
use tracing::{debug, info};

use super::Engine;
use super::Internal;
use super::relays::OpenFailed;
use crate::SendError;
use crate::net::endpoint::Accepted;
use crate::net::endpoint::DialError;
use crate::net::goodbye::hang_up;
use crate::net::session::{Ended, GreetError, Greeted, greet};
use hobnob_core::SessionId;
use hobnob_core::paths;
use hobnob_core::paths::Instance;
use hobnob_core::policy::DenyReason;
use hobnob_core::synthetic::is_synthetic;
use hobnob_protocol::PeerId;
use hobnob_protocol::frame::Profile;
use hobnob_protocol::tls;
use std::sync::Arc;
use tokio::sync::oneshot;

/// How long a dial may take, Hello included, when somebody waits for it.
const DIAL_LIMIT: Duration = Duration::from_secs(5);

/// Of several addresses, the next is tried as well when the one before has not answered for so long
/// (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(150);

/// Connections that peers dialed and that have not said Hello yet, at once. For one more, the
/// oldest is closed with `full`: who means it says Hello at once, and who does not can keep nobody
/// out.
const GREETINGS_MAX: usize = 64;

/// A connection that a peer dialed and that has not said Hello yet.
pub(super) struct Greeting {
    pub(super) connection: quinn::Connection,
    /// Gone once the greeting is over, one way or the other.
    pub(super) under_way: Weak<()>,
}

/// Whoever waits for a dial.
type DialReply = oneshot::Sender<Result<PeerId, SendError>>;

/// A connection that has said Hello, or a dial for a user that came to nothing.
#[derive(Debug)]
pub(crate) enum Met {
    /// Both Hellos were exchanged.
    Greeted {
        greeted: Box<Greeted>,
        reply: Option<DialReply>,
    },
    /// Somebody with our own identity answers there.
    Copy(SocketAddr),
    /// The dial that a user waited for failed.
    Failed {
        addr: SocketAddr,
        error: SendError,
        reply: DialReply,
    },
}

/// A greeted connection that waits for the verdict of `paths`.
pub(super) struct GreetedConnection {
    pub(super) greeted: Box<Greeted>,
    pub(super) reply: Option<DialReply>,
}

impl Engine {
    pub(super) fn paths_output(&mut self, output: paths::Output) {
        match output {
            paths::Output::Dial(peer, _) if self.bar(peer).is_some() => self.dial_failed(peer),
            paths::Output::Dial(peer, addrs) => self.dial(peer, addrs),
            paths::Output::Keep(session) => self.keep(session),
            paths::Output::Close(session, reason) => self.close_link(session, reason),
            paths::Output::Copied(peer) => {
                let name = self.peers.name(peer);
                let text = format!(
                    "{name} runs in two places at once; this node talks to the one that was started last."
                );
                self.notice("identity-copied", text, Some(peer));
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
            self.endpoint.clone(),
            self.internal.clone(),
            self.hello_maker(),
        );
        let ways: Vec<_> = addrs
            .into_iter()
            .map(|addr| (addr, self.way_to(addr)))
            .collect();
        self.spawn(async move {
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
                    Ok((_, Err(NotMet::TurnedAway(bar)))) => {
                        drop(internal.send(Internal::TurnedAway(peer, bar)))
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
            .links
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
            self.endpoint.clone(),
            self.internal.clone(),
            self.hello_maker(),
        );
        self.spawn(async move {
            let met = match connect(&endpoint, addr, None, expected, hello).await {
                Ok(greeted) => Met::Greeted {
                    greeted: Box::new(greeted),
                    reply: Some(reply),
                },
                // Both sides dialed at once, and the other connection stays: whoever answered here
                // is at its end.
                Err(NotMet::Duplicate(peer)) => return drop(reply.send(Ok(peer))),
                Err(NotMet::Myself) => return drop(reply.send(Err(SendError::Myself))),
                Err(NotMet::TurnedAway(bar)) => {
                    if let Some(peer) = expected {
                        let _ = internal.send(Internal::TurnedAway(peer, bar));
                    }
                    let (addr, why) = (addr.to_string(), bar.code().1.to_owned());
                    return drop(reply.send(Err(SendError::Refused { addr, why })));
                }
                Err(NotMet::Failed(error)) => Met::Failed { addr, error, reply },
            };
            let _ = internal.send(Internal::Met(met));
        });
    }

    pub(super) fn greet_accepted(&mut self, accepted: Accepted) {
        if let Some(bar) = self.bar(accepted.peer) {
            let (code, words) = bar.code();
            return hang_up(&accepted.connection, code, words);
        }
        self.greetings
            .retain(|greeting| greeting.under_way.strong_count() > 0);
        if self.greetings.len() >= GREETINGS_MAX
            && let Some(oldest) = self.greetings.pop_front()
        {
            hang_up(
                &oldest.connection,
                close::FULL,
                "too many connections that have not said Hello",
            );
        }
        let under_way = Arc::new(());
        let greeting = Greeting {
            connection: accepted.connection.clone(),
            under_way: Arc::downgrade(&under_way),
        };
        self.greetings.push_back(greeting);
        let (internal, hello) = (self.internal.clone(), self.hello_maker());
        self.spawn(async move {
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

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.stopping.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = stopping.cancelled() => {}
            }
        });
    }

    /// Makes our Hello for a connection, as things stand now; what changes until it is through is
    /// told afterwards.
    pub(super) fn hello_maker(&self) -> impl FnOnce(&[u8; 32]) -> Hello + Clone + Send + 'static {
        let (instance, clock, me) = (self.instance, self.clock, self.me);
        let discoverable = self.discovery.is_some();
        let (nick, addrs) = (self.peers.own().to_string(), self.listening_addrs());
        let keys: Vec<_> = self.replica.rooms().map(|(_, _, key, _)| *key).collect();
        move |exporter| Hello {
            version: hobnob_protocol::VERSION,
            features: CONTENT | CALLS | if discoverable { DISCOVERABLE } else { 0 },
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
                if self.copies_told.is_empty() {
                    self.copied(&format!("at {addr}"));
                }
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
        if let Some(bar) = self.bar(peer) {
            return self.turn_away(peer, &greeted, reply, bar);
        }
        if self.has_taken_name(peer, &greeted.hello.profile.nick) {
            return self.turn_away(peer, &greeted, reply, DenyReason::NameTaken);
        }
        let session = SessionId(self.next_session);
        self.next_session += 1;
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
        self.candidates
            .insert(session, GreetedConnection { greeted, reply });
        self.paths.handle(self.clock.now(), connected);
    }

    /// The user wants no session with the peer that was met.
    fn turn_away(
        &mut self,
        peer: PeerId,
        greeted: &Greeted,
        reply: Option<DialReply>,
        bar: DenyReason,
    ) {
        let (code, words) = bar.code();
        hang_up(&greeted.connection, code, words);
        if greeted.dialed {
            self.dial_failed(peer);
        }
        if let Some(reply) = reply {
            // Who it is has been proved: a message to a peer that was kicked waits for it.
            let meant = if bar == DenyReason::NameTaken {
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
            self.spawn(async move {
                let _ = tokio::time::timeout(DIAL_LIMIT, connection.closed()).await;
            });
        } else {
            hang_up(&connection, close::SELF, "this is the same identity");
        }
        if instance != self.instance && self.copies_told.insert(instance) {
            let at = greeted.connection.remote_address();
            self.copied(&format!("at {at}"));
        }
    }

    /// Somebody announces our own id: unless it is a trace of ourselves, see who answers there.
    pub(super) fn look_for_copy(&self, addrs: &[SocketAddr]) {
        let own = self.listening_addrs();
        let Some(&addr) = addrs.iter().find(|addr| !own.contains(addr)) else {
            return;
        };
        let (endpoint, internal, hello, me) = (
            self.endpoint.clone(),
            self.internal.clone(),
            self.hello_maker(),
            self.me,
        );
        self.spawn(async move {
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

    pub(super) fn copied(&mut self, wher: &str) {
        let text = format!(
            "This identity is in use by another running node {wher}. Messages may reach either of the two: stop one, and give it \
             a home folder of its own."
        );
        self.notice("identity-copied", text, None);
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
        let bar = if let DialError::Closed { code, .. } = &error {
            DenyReason::of_code(*code)
        } else {
            None
        };
        bar.map_or_else(
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
                if let Some(bar) = DenyReason::of_code(*code) =>
            {
                NotMet::TurnedAway(bar)
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
