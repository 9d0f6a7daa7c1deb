//! What is wrong: evidence gathered from the engine, the system and the network, and judged by
//! [`diagnosis`].

use hobnob_protocol::PeerId;
use std::path::Path;

use tokio::task::JoinSet;

use super::engine::Command;
use crate::net::probe;
use crate::node::{look_up, look_up_all};
use crate::{Node, NodeError, SendError};
use hobnob_core::diagnosis::{
    self, Answer, Evidence, Finding, PeerEvidence, RelayState, Unmet, Verdict,
};
use hobnob_protocol::{HostPort, Target};
use std::net::SocketAddr;
use std::time::Duration;

/// How often relays are asked to call, until a call comes: one is a single datagram, and some are
/// lost.
const CALLS: u32 = 3;

/// How long a peer that is there may take to say so: longer than one that is silent has a session.
const PONG_WITHIN: Duration = Duration::from_secs(6);

/// How long a call may take.
const CALL_WITHIN: Duration = Duration::from_millis(500);

/// How often the sockets that relays have called from are asked how this node looks to them.
const ASKED: u32 = 3;

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_millis(300);

/// Relays without a connection that are asked whether they are there; further ones are told of as
/// not asked.
const PROBED_MAX: usize = 4;

/// How VPNs name their interfaces; besides, those without a link layer are taken for VPNs'.
const VPN_NAMES: [&str; 10] = [
    "tun",
    "tap",
    "wg",
    "ppp",
    "utun",
    "tailscale",
    "zt",
    "nordlynx",
    "proton",
    "ipsec",
];

/// The kind of an interface without a link layer, in `/sys/class/net/*/type` (ARPHRD_NONE of
/// Linux).
const NO_LINK_LAYER: &str = "65534";

impl Node {
    /// Looks at everything that this node's network needs, and says what is wrong and what to do.
    /// Takes a few seconds.
    ///
    /// # Errors
    ///
    /// [`NodeError::Stopped`] when the node has stopped.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let node = hobnob::Node::builder(dir.path()).start().await?;
    /// for finding in node.diagnose().await? {
    ///     println!("{} {}", finding.verdict().as_str(), finding.code());
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn diagnose(&self) -> Result<Vec<Finding>, NodeError> {
        self.settled().await;
        for n in 0..CALLS {
            self.ask(|reply| Command::DialBack {
                again: n > 0,
                reply,
            })
            .await?;
            tokio::time::sleep(CALL_WITHIN).await;
        }
        // Only now: what is sent to a socket lets its calls in.
        for _ in 0..ASKED {
            if !self.ask(Command::AskCallers).await? {
                break;
            }
            tokio::time::sleep(ANSWER_WITHIN).await;
        }
        let mut evidence = self.ask(Command::Evidence).await?;
        self.complete(&mut evidence).await;
        Ok(diagnosis::judge(&evidence))
    }

    /// Looks at everything between this node and a peer. Takes a few seconds, unless the peer is
    /// there and answers.
    ///
    /// # Errors
    ///
    /// [`NodeError::Stopped`] when the node has stopped.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let node = hobnob::Node::builder(dir.path()).start().await?;
    /// let bob = node.resolve("bob".parse()?).await?;
    /// for finding in node.diagnose_peer(bob).await? {
    ///     println!("{} {}", finding.verdict().as_str(), finding.code());
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn diagnose_peer(&self, peer: PeerId) -> Result<Vec<Finding>, NodeError> {
        self.settled().await;
        // Who says nothing has no session after it.
        let asked = self.ask(|reply| Command::Ping(peer, reply));
        let _ = tokio::time::timeout(PONG_WITHIN, asked).await;
        let (before, addrs) = self.ask(|reply| Command::PeerEvidence(peer, reply)).await?;
        if before.session.is_some() || before.denied.is_some() {
            return Ok(diagnosis::judge_peer(&before));
        }
        let (unmet, probes) = self.try_addrs(peer, addrs).await?;
        // The tries may have led to a session, or to a word from the peer.
        let (after, _) = self.ask(|reply| Command::PeerEvidence(peer, reply)).await?;
        let mut findings = diagnosis::judge_peer(&PeerEvidence {
            unmet,
            probes,
            ..after
        });
        self.add_what_is_wrong_here(&mut findings).await?;
        Ok(findings)
    }

    /// As [`Node::diagnose_peer`], of whoever is meant: what a ticket says of where they are is
    /// tried, and of an address where nobody answers it is told what is there.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let node = hobnob::Node::builder(dir.path()).loopback().start().await?;
    /// for finding in node.diagnose_target("10.0.0.2:4626".parse()?).await? {
    ///     println!("{} {}", finding.verdict().as_str(), finding.code());
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Nobody is meant by that name, the host has no address, or the node has stopped.
    pub async fn diagnose_target(&self, target: Target) -> Result<Vec<Finding>, SendError> {
        let peer = match target {
            Target::Id(peer) => peer,
            Target::Address(at) => match self.resolve(Target::Address(at.clone())).await {
                Ok(peer) => peer,
                Err(error) => return self.diagnose_address(at, error).await,
            },
            Target::Ticket(ticket) => {
                self.reach(ticket.id, look_up_all(&ticket.addrs).await, ticket.relays)
                    .await?
            }
            Target::Name(_) | Target::AtRelay(..) => self.resolve(target).await?,
        };
        Ok(self.diagnose_peer(peer).await?)
    }

    /// What is at an address where no session came about, for this reason.
    async fn diagnose_address(
        &self,
        at: HostPort,
        error: SendError,
    ) -> Result<Vec<Finding>, SendError> {
        let addrs = look_up(&at).await?;
        if !matches!(
            error,
            SendError::Unreachable { .. }
                | SendError::Refused { .. }
                | SendError::OtherVersion { .. }
        ) {
            return Err(error);
        }
        let mut answer = Answer::Silent;
        for addr in addrs {
            answer = probe::udp(addr).await;
            if answer != Answer::Silent {
                break;
            }
        }
        let mut findings = vec![diagnosis::judge_address(
            &at.to_string(),
            &unmet_of(error),
            answer,
        )];
        self.add_what_is_wrong_here(&mut findings).await?;
        Ok(findings)
    }

    /// Where it can't be told what is between us and a peer: what is wrong here may be why.
    async fn add_what_is_wrong_here(&self, findings: &mut Vec<Finding>) -> Result<(), NodeError> {
        if findings
            .iter()
            .any(|finding| finding.verdict() == Verdict::Unknown)
        {
            let here = self.diagnose().await?;
            findings.extend(
                here.into_iter()
                    .filter(|finding| finding.verdict() == Verdict::Problem),
            );
        }
        Ok(())
    }

    /// Dials each address anew, and asks it for any answer.
    async fn try_addrs(
        &self,
        peer: PeerId,
        addrs: Vec<SocketAddr>,
    ) -> Result<(Vec<(SocketAddr, Unmet)>, Vec<(SocketAddr, Answer)>), NodeError> {
        let mut tries = JoinSet::new();
        for addr in addrs {
            let node = self.clone();
            tries.spawn(async move {
                let dial = node.ask(|reply| Command::Dial {
                    addr,
                    expected: Some(peer),
                    reply,
                });
                let (dialed, answer) = tokio::join!(dial, probe::udp(addr));
                (addr, dialed, answer)
            });
        }
        let (mut unmet, mut probes) = (Vec::new(), Vec::new());
        while let Some(tried) = tries.join_next().await {
            let (addr, dialed, answer) = tried.expect("nothing in it panics");
            probes.push((addr, answer));
            unmet.extend(dialed?.err().map(|error| (addr, unmet_of(error))));
        }
        Ok((unmet, probes))
    }

    /// What the engine can't know without waiting.
    async fn complete(&self, evidence: &mut Evidence) {
        let source = probe::source_to_internet().await;
        for network in &mut evidence.networks {
            network.vpn = is_vpn(&network.interface);
            network.to_internet = Some(network.ip) == source;
        }
        evidence.disk_free = free_at(&self.data_dir);
        let down = evidence
            .relays
            .iter_mut()
            .filter(|relay| matches!(relay.state, RelayState::Down(_) | RelayState::Connecting));
        for relay in down.take(PROBED_MAX) {
            let Ok(at) = relay.at.parse::<HostPort>() else {
                continue;
            };
            if let Some(addr) = look_up(&at)
                .await
                .ok()
                .and_then(|addrs| addrs.first().copied())
            {
                relay.probe = Some(tokio::join!(probe::udp(addr), probe::tcp(addr)));
            }
        }
    }
}

fn unmet_of(error: SendError) -> Unmet {
    match error {
        SendError::IdentityMismatch { found, .. } => Unmet::OtherKey(found),
        SendError::OtherVersion { .. } => Unmet::OtherVersion,
        SendError::Refused { why, .. } => Unmet::Refused(why),
        SendError::Name(_)
        | SendError::UnknownId(_)
        | SendError::Host { .. }
        | SendError::Unreachable { .. }
        | SendError::Myself
        | SendError::Blocked(_)
        | SendError::NameTaken(_)
        | SendError::Body(_)
        | SendError::NotInRoom(_)
        | SendError::Store(_)
        | SendError::Stopped => Unmet::Failed(error.to_string()),
    }
}

fn is_vpn(interface: &str) -> bool {
    let kind = || std::fs::read_to_string(Path::new("/sys/class/net").join(interface).join("type"));
    VPN_NAMES.iter().any(|name| interface.starts_with(name))
        || kind().is_ok_and(|kind| kind.trim() == NO_LINK_LAYER)
}

fn free_at(dir: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(dir).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}
