//! Makes connections and exchanges Hellos, in tasks beside the engine. Each outcome is reported to
//! the engine, which decides what becomes of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hobnob_core::diagnosis::Answer;
use hobnob_core::policy::DenyReason;
use hobnob_protocol::{DeviceId, Hello, close};
use hobnob_transport::tls;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{debug, info};

use super::hello::HelloMaker;
use super::internal::{DialReply, Internal, Met};
use super::relays::{ChannelOpening, OpenFailed};
use crate::error::SendError;
use crate::net::endpoint::{Accepted, DialError, Endpoint};
use crate::net::probe;
use crate::net::session::{Ended, GreetError, Greeted, greet};

/// How long a dial may take. The exchange of Hellos may take as long again.
pub(super) const DIAL_LIMIT: Duration = Duration::from_secs(5);

/// Of several addresses, the next is tried as well when the one before has not answered for this
/// long (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(150);

/// A peer that is not at a relay yet is asked for again after this long.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// An address that a user named is probed if it has not answered for this long, and once more after
/// the same time.
const PROBED_AFTER: Duration = Duration::from_millis(500);

/// The machine reports that nothing uses the UDP port.
const NOBODY_LISTENS: &str = "that machine answers that nobody listens at this UDP port: start hobnob there, or check the port";

/// The machine answers over TCP, and not over UDP.
const UDP_BLOCKED: &str = "that machine is up, but nothing answers at this UDP port: UDP is blocked on the way or by \
     its firewall, or hobnob there uses another port";

/// The machine answers neither over UDP nor over TCP.
const ALL_SILENT: &str = "nothing at this address answers, neither over UDP nor over TCP: that machine is off or \
     elsewhere, or a firewall drops everything";

/// The values that one task needs to connect with a peer.
#[derive(Debug, Clone)]
pub(super) struct Dialer {
    pub(super) endpoint: Endpoint,
    pub(super) hello: HelloMaker,
    pub(super) reports: mpsc::UnboundedSender<Internal>,
}

/// An address of a peer, and what dialing it takes.
#[derive(Debug)]
pub(super) struct DialAddr {
    pub(super) addr: SocketAddr,
    /// The channel to wait for, for an address at a relay.
    pub(super) opening: Option<ChannelOpening>,
    pub(super) hello: HelloMaker,
}

/// Why a dial led to no session of its own.
#[derive(Debug)]
enum NotMet {
    /// The peer, which proved its identity, has another connection with this node.
    Duplicate(DeviceId),
    /// The other end has this node's identity, and closed first.
    Myself,
    /// The peer, which proved its identity, refuses sessions with this node.
    Denied(DenyReason),
    /// The peer is not at the relay now.
    NotHere,
    /// Nothing answered in time.
    Silent(SendError),
    /// Anything else.
    Failed(SendError),
}

impl Dialer {
    /// Dials all addresses of a peer, one a moment after the other. The first that answers wins.
    /// An address with a `ChannelOpening` is dialed when its channel is open. Each address has its
    /// own Hello.
    pub(super) async fn dial_peer(self, peer: DeviceId, addrs: Vec<DialAddr>) {
        let mut attempts = JoinSet::new();
        let mut hellos = BTreeMap::new();
        for (i, dialed) in (0u32..).zip(addrs) {
            let DialAddr {
                addr,
                opening,
                hello,
            } = dialed;
            let dialer = self.with_hello(hello.clone());
            hellos.insert(addr, hello);
            attempts.spawn(async move {
                tokio::time::sleep(STAGGER * i).await;
                (addr, dialer.connect(addr, opening, Some(peer)).await)
            });
        }
        while let Some(attempt) = attempts.join_next().await {
            match attempt {
                // Returning drops the set, which aborts the attempts at the other addresses.
                Ok((_, Ok(greeted))) => return self.met(greeted, None),
                Ok((
                    addr,
                    Err(NotMet::Failed(SendError::IdentityMismatch {
                        expected, found, ..
                    })),
                )) => self.report(Internal::WrongPeer {
                    addr,
                    expected: expected.only_device(),
                    found: found.only_device(),
                }),
                Ok((_, Err(NotMet::Denied(reason)))) => {
                    self.report(Internal::RefusedBy(peer, reason));
                }
                // A peer that has just started may register while the other addresses are tried.
                Ok((addr, Err(NotMet::NotHere))) if !attempts.is_empty() => {
                    let dialer = self.with_hello(hellos[&addr].clone());
                    attempts.spawn(async move {
                        tokio::time::sleep(ASK_AGAIN_AFTER).await;
                        let opening = dialer.ask_again(addr).await;
                        (addr, dialer.connect(addr, opening, Some(peer)).await)
                    });
                }
                Ok((addr, Err(NotMet::NotHere))) => debug!(%addr, "not at the relay"),
                Ok((addr, Err(NotMet::Silent(error) | NotMet::Failed(error)))) => {
                    debug!(%addr, "not reached: {error}")
                }
                Ok((_, Err(NotMet::Duplicate(_) | NotMet::Myself))) | Err(_) => {}
            }
        }
        self.report(Internal::DialFailed(peer));
    }

    /// Dials an address that a user named, and answers the user. `probes`: whether probes may find
    /// out why nobody answers.
    pub(super) async fn dial_for_user(
        self,
        addr: SocketAddr,
        expected: Option<DeviceId>,
        probes: bool,
        reply: DialReply,
    ) {
        let dial = self.clone().connect(addr, None, expected);
        let met = match probes {
            true => dial_and_probe(addr, dial).await,
            false => dial.await,
        };
        let answer = match met {
            Ok(greeted) => return self.met(greeted, Some(reply)),
            // Both ends dialed at once, and the other connection stays. It has the same peer.
            Err(NotMet::Duplicate(peer)) => Ok(peer.person()),
            Err(NotMet::Myself) => Err(SendError::Myself),
            Err(NotMet::Denied(reason)) => {
                if let Some(peer) = expected {
                    self.report(Internal::RefusedBy(peer, reason));
                }
                let (addr, why) = (addr.to_string(), reason.code().1.to_owned());
                Err(SendError::Refused { addr, why })
            }
            Err(NotMet::NotHere) => Err(unreachable(addr, &OpenFailed::NotHere.to_string())),
            Err(NotMet::Silent(error) | NotMet::Failed(error)) => {
                // The engine may know who was at this address last.
                return self.report(Internal::Met(Met::Failed { addr, error, reply }));
            }
        };
        let _ = reply.send(answer);
    }

    /// A node with this node's own identity answers at another address: connects to learn whether a
    /// copy of this node runs there.
    pub(super) async fn look_for_copy(self, addr: SocketAddr) {
        let me = self.hello.me;
        match self.clone().connect(addr, None, Some(me)).await {
            Ok(greeted) => self.met(greeted, None),
            Err(NotMet::Myself) => self.report(Internal::Met(Met::Copy(addr))),
            Err(
                NotMet::Duplicate(_)
                | NotMet::Denied(_)
                | NotMet::NotHere
                | NotMet::Silent(_)
                | NotMet::Failed(_),
            ) => {}
        }
    }

    /// Exchanges Hellos on an accepted connection. `under_way` is dropped at the end.
    pub(super) async fn greet_accepted<T>(self, accepted: Accepted, under_way: T) {
        let (hello, peer) = (self.hello.clone(), accepted.peer);
        let make_hello = |exporter: &[u8; 32], theirs: Option<&Hello>| match theirs {
            Some(theirs) => hello.answer(exporter, peer, theirs),
            None => hello.hello(exporter),
        };
        match greet(accepted.connection, false, make_hello, DIAL_LIMIT).await {
            Ok(greeted) => self.met(greeted, None),
            Err(error) => info!(peer = ?accepted.peer, "an accepted connection failed: {error}"),
        }
        drop(under_way);
    }

    /// Connects and exchanges Hellos. With a `ChannelOpening`, waits for the channel first.
    async fn connect(
        self,
        addr: SocketAddr,
        opening: Option<ChannelOpening>,
        expected: Option<DeviceId>,
    ) -> Result<Greeted, NotMet> {
        // Until this attempt ends, a channel that is lost is opened again.
        let mut opening = opening;
        if let Some(opening) = &mut opening {
            wait_for_channel(addr, opening).await?;
        }
        let connection = self
            .endpoint
            .dial(addr, expected, DIAL_LIMIT)
            .await
            .map_err(|error| not_connected(addr, error))?;
        let peer = tls::peer_id(connection.peer_identity());
        let make_hello = |exporter: &[u8; 32], _: Option<&Hello>| self.hello.hello(exporter);
        greet(connection, true, make_hello, DIAL_LIMIT)
            .await
            .map_err(|error| not_greeted(addr, peer, &error))
    }

    fn with_hello(&self, hello: HelloMaker) -> Self {
        Self {
            hello,
            ..self.clone()
        }
    }

    /// Asks the relay for the channel once more.
    async fn ask_again(&self, addr: SocketAddr) -> Option<ChannelOpening> {
        let (reply, opening) = oneshot::channel();
        self.report(Internal::OpenAgain { addr, reply });
        opening.await.ok()
    }

    fn met(&self, greeted: Greeted, reply: Option<DialReply>) {
        self.report(Internal::Met(Met::Greeted {
            greeted: Box::new(greeted),
            reply,
        }));
    }

    fn report(&self, report: Internal) {
        // The engine ends before its tasks do. Then nobody needs the report.
        let _ = self.reports.send(report);
    }
}

async fn wait_for_channel(addr: SocketAddr, opening: &mut ChannelOpening) -> Result<(), NotMet> {
    match tokio::time::timeout(DIAL_LIMIT, opening.opened()).await {
        Ok(Some(Ok(()))) => Ok(()),
        Ok(Some(Err(OpenFailed::NotHere))) => Err(NotMet::NotHere),
        Ok(Some(Err(failed))) => Err(NotMet::Failed(unreachable(addr, &failed.to_string()))),
        Ok(None) | Err(_) => Err(NotMet::Failed(unreachable(
            addr,
            "the relay does not answer",
        ))),
    }
}

/// Dials an address, and finds out why nobody answers there: the machine reports that nothing uses
/// the port, or it is up and its UDP is blocked, or nothing of it answers.
async fn dial_and_probe(
    addr: SocketAddr,
    dial: impl Future<Output = Result<Greeted, NotMet>>,
) -> Result<Greeted, NotMet> {
    let is_closed = async {
        // Most dials are done by then. A node that is being started gets a second.
        for _ in 0..2 {
            tokio::time::sleep(PROBED_AFTER).await;
            if probe::udp(addr).await != Answer::Refused {
                return std::future::pending().await;
            }
        }
    };
    let dialed = tokio::select! {
        dialed = dial => dialed,
        () = is_closed => return Err(NotMet::Failed(SendError::Unreachable {
            addr: addr.to_string(),
            cause: NOBODY_LISTENS.to_owned(),
            closed: true,
        })),
    };
    if !matches!(dialed, Err(NotMet::Silent(_))) {
        return dialed;
    }
    Err(NotMet::Failed(match probe::tcp(addr).await {
        Answer::Answered | Answer::Refused => unreachable(addr, UDP_BLOCKED),
        Answer::Silent => unreachable(addr, ALL_SILENT),
    }))
}

fn unreachable(addr: SocketAddr, cause: &str) -> SendError {
    SendError::Unreachable {
        addr: addr.to_string(),
        cause: cause.to_owned(),
        closed: false,
    }
}

/// Why there is no connection.
fn not_connected(addr: SocketAddr, error: DialError) -> NotMet {
    if let DialError::Closed { code, .. } = &error
        && let Some(reason) = DenyReason::of_code(*code)
    {
        return NotMet::Denied(reason);
    }
    let is_silent = matches!(error, DialError::Timeout);
    let error = SendError::dial(addr.to_string(), error);
    match is_silent {
        true => NotMet::Silent(error),
        false => NotMet::Failed(error),
    }
}

/// Why a connection with this peer, if it has proved who it is, did not become a session.
fn not_greeted(addr: SocketAddr, peer: Option<DeviceId>, error: &GreetError) -> NotMet {
    if let GreetError::Ended(Ended::Closed { code, .. }) = error {
        if let Some(reason) = DenyReason::of_code(*code) {
            return NotMet::Denied(reason);
        }
        if *code == u64::from(close::SELF) {
            return NotMet::Myself;
        }
        if *code == u64::from(close::DUPLICATE)
            && let Some(peer) = peer
        {
            return NotMet::Duplicate(peer);
        }
    }
    let (addr, why) = (addr.to_string(), error.to_string());
    NotMet::Failed(if matches!(error, GreetError::Version { .. }) {
        SendError::OtherVersion { addr, why }
    } else {
        SendError::Refused { addr, why }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr() -> SocketAddr {
        "192.0.2.1:4626".parse().expect("an address")
    }

    fn closed(code: u32) -> GreetError {
        GreetError::Ended(Ended::Closed {
            code: code.into(),
            reason: String::new(),
        })
    }

    #[test]
    fn a_close_code_says_why_there_is_no_session() {
        let ann = DeviceId::from_bytes([1; 32]);
        let why = |code| not_greeted(addr(), Some(ann), &closed(code));
        assert!(matches!(why(close::SELF), NotMet::Myself));
        assert!(matches!(why(close::DUPLICATE), NotMet::Duplicate(peer) if peer == ann));
        let (blocked, _) = DenyReason::Blocked.code();
        assert!(matches!(why(blocked), NotMet::Denied(DenyReason::Blocked)));
        assert!(matches!(
            why(close::PROTOCOL),
            NotMet::Failed(SendError::Refused { .. })
        ));
        let version = GreetError::Version { theirs: (9, 0) };
        assert!(matches!(
            not_greeted(addr(), Some(ann), &version),
            NotMet::Failed(SendError::OtherVersion { .. })
        ));
    }

    #[tokio::test]
    async fn a_dial_in_vain_says_what_the_machine_answers() {
        async fn cause(
            addr: SocketAddr,
            dial: impl Future<Output = Result<Greeted, NotMet>>,
        ) -> String {
            match dial_and_probe(addr, dial).await {
                Err(NotMet::Failed(SendError::Unreachable { cause, .. })) => cause,
                other => panic!("reached: {other:?}"),
            }
        }
        let there = tokio::net::UdpSocket::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let addr = there.local_addr().expect("it is bound");
        let in_vain = async { Err(not_connected(addr, DialError::Timeout)) };
        assert_eq!(cause(addr, in_vain).await, UDP_BLOCKED);
        let other = DialError::Stopping;
        let stopped = async { Err(not_connected(addr, other.clone())) };
        assert_eq!(cause(addr, stopped).await, other.to_string());
        drop(there);
        assert_eq!(cause(addr, std::future::pending()).await, NOBODY_LISTENS);
    }

    #[tokio::test]
    async fn a_channel_that_a_relay_refuses_is_not_dialed() {
        let mut opening = ChannelOpening::refused(OpenFailed::NotHere);
        let error = wait_for_channel(addr(), &mut opening).await;
        assert!(matches!(error, Err(NotMet::NotHere)));
        let mut opening = ChannelOpening::refused(OpenFailed::Limit);
        let error = wait_for_channel(addr(), &mut opening).await;
        let Err(NotMet::Failed(SendError::Unreachable { cause, .. })) = error else {
            panic!("refused: {error:?}");
        };
        assert_eq!(cause, OpenFailed::Limit.to_string());
    }
}
