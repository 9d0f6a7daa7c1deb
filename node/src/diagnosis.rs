//! Collects evidence from the engine, the system and the network. [`diagnosis`] judges it.

use hobnob_protocol::PersonId;
use std::path::Path;

use tokio::task::JoinSet;

use super::engine::Command;
use crate::net::probe;
use crate::{Node, NodeError, SendError};
use hobnob_core::diagnosis::{
    self, Answer, Evidence, Finding, PeerEvidence, RelayState, Unmet, Verdict,
};
use hobnob_protocol::{HostPort, RelayAt, Target};
use std::net::SocketAddr;
use std::time::Duration;

/// How often relays are asked to dial back, until a probe arrives. A dial-back is one datagram, and
/// some are lost.
const DIAL_BACKS: u32 = 3;

/// How long a peer may take to answer a ping. A peer that is silent for this long loses its
/// session.
const PONG_WITHIN: Duration = Duration::from_secs(6);

/// How long a dial-back may take.
const DIAL_BACK_WITHIN: Duration = Duration::from_millis(500);

/// How often the sockets that relays dialed back from are asked how they see this node.
const ASKED: u32 = 3;

/// How long to wait for the check of the database, which reads 100 MB a second or more.
const CHECK_WITHIN: Duration = Duration::from_secs(5);

/// How long to wait for an answer.
const ANSWER_WITHIN: Duration = Duration::from_millis(300);

/// Relays without a connection that are probed. Further ones are reported as not probed.
const PROBED_MAX: usize = 4;

/// Prefixes of the names of VPN interfaces. Interfaces without a link layer count as VPNs, too.
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
    /// Checks this node's machine and network. Each check says what is wrong and what to do. Takes
    /// a few seconds.
    ///
    /// # Errors
    ///
    /// [`NodeError::Stopped`] when the node has stopped.
    pub async fn diagnose(&self) -> Result<Vec<Finding>, NodeError> {
        self.settled().await;
        for n in 0..DIAL_BACKS {
            self.ask(|reply| Command::DialBack {
                again: n > 0,
                reply,
            })
            .await?;
            tokio::time::sleep(DIAL_BACK_WITHIN).await;
        }
        // Ask last: after a question to a socket, a firewall admits datagrams from there.
        for _ in 0..ASKED {
            if !self.ask(Command::AskDialBackSockets).await? {
                break;
            }
            tokio::time::sleep(ANSWER_WITHIN).await;
        }
        // A large database takes longer. What is found then is part of the next diagnosis.
        let checked = self.ask(Command::CheckDatabase);
        let _ = tokio::time::timeout(CHECK_WITHIN, checked).await;
        let mut evidence = self.ask(Command::Evidence).await?;
        self.complete(&mut evidence).await;
        Ok(diagnosis::judge(&evidence))
    }

    /// Checks the path between this node and a peer. Takes a few seconds, unless the peer answers.
    ///
    /// # Errors
    ///
    /// [`NodeError::Stopped`] when the node has stopped.
    pub async fn diagnose_peer(&self, peer: PersonId) -> Result<Vec<Finding>, NodeError> {
        self.settled().await;
        // A peer that does not answer has no session afterwards.
        let asked = self.ask(|reply| Command::Ping(peer, reply));
        let _ = tokio::time::timeout(PONG_WITHIN, asked).await;
        let (before, addrs) = self.ask(|reply| Command::PeerEvidence(peer, reply)).await?;
        if before.session.is_some() || before.denied.is_some() {
            return Ok(diagnosis::judge_peer(&before));
        }
        let (unmet, probes) = self.try_addrs(peer, addrs).await?;
        // The attempts may have led to a session, or to a refusal by the peer.
        let (after, _) = self.ask(|reply| Command::PeerEvidence(peer, reply)).await?;
        let mut findings = diagnosis::judge_peer(&PeerEvidence {
            unmet,
            probes,
            ..after
        });
        self.add_what_is_wrong_here(&mut findings).await?;
        Ok(findings)
    }

    /// As [`Node::diagnose_peer`], for the peer that a target names. The addresses of a ticket are
    /// tried. For an address without an answer, the result says what is there.
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
    /// No peer has that name, the host has no address, or the node has stopped.
    pub async fn diagnose_target(&self, target: Target) -> Result<Vec<Finding>, SendError> {
        let peer = match target {
            Target::Id(peer) => peer,
            Target::Address(at) => match self.resolve(Target::Address(at.clone())).await {
                Ok(peer) => peer,
                Err(error) => return self.diagnose_address(at, error).await,
            },
            Target::Ticket(ticket) => {
                self.reach(
                    ticket.id,
                    self.look_up_all(&ticket.addrs).await,
                    ticket.relays,
                )
                .await?
            }
            Target::Name(_) | Target::AtRelay(..) => self.resolve(target).await?,
        };
        Ok(self.diagnose_peer(peer).await?)
    }

    /// Judges an address with which no session was possible, for this reason.
    async fn diagnose_address(
        &self,
        at: HostPort,
        error: SendError,
    ) -> Result<Vec<Finding>, SendError> {
        let addrs = self.look_up(&at).await?;
        if !matches!(
            error,
            SendError::Unreachable { .. }
                | SendError::Refused { .. }
                | SendError::OtherVersion { .. }
        ) {
            return Err(error);
        }
        let mut answer = answer_of(&error);
        for addr in addrs {
            if answer != Answer::Silent {
                break;
            }
            answer = probe::udp(addr).await;
        }
        let mut findings = vec![diagnosis::judge_address(
            &at.to_string(),
            &unmet_of(error),
            answer,
        )];
        self.add_what_is_wrong_here(&mut findings).await?;
        Ok(findings)
    }

    /// Adds this machine's problems where the checks of a path found no cause.
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

    /// Dials each address again, and probes it.
    async fn try_addrs(
        &self,
        peer: PersonId,
        addrs: Vec<SocketAddr>,
    ) -> Result<(Vec<(SocketAddr, Unmet)>, Vec<(SocketAddr, Answer)>), NodeError> {
        let mut tries = JoinSet::new();
        for addr in addrs {
            let node = self.clone();
            tries.spawn(async move { (addr, node.try_addr(peer, addr).await) });
        }
        let (mut unmet, mut probes) = (Vec::new(), Vec::new());
        while let Some(tried) = tries.join_next().await {
            let (addr, outcome) = tried.expect("nothing in it panics");
            let (failure, answer) = outcome?;
            unmet.extend(failure.map(|error| (addr, unmet_of(error))));
            probes.push((addr, answer));
        }
        Ok((unmet, probes))
    }

    /// Why a dial of this address failed, if it did, and what the machine answers.
    async fn try_addr(
        &self,
        peer: PersonId,
        addr: SocketAddr,
    ) -> Result<(Option<SendError>, Answer), NodeError> {
        let dial = self.ask(|reply| Command::Dial {
            addr,
            expected: Some(peer),
            reply,
        });
        let (dialed, answer) = tokio::join!(dial, probe::udp_beside_a_dial(addr));
        let error = dialed?.err();
        let found = error.as_ref().map_or(Answer::Silent, answer_of);
        Ok((
            error,
            if answer == Answer::Silent {
                found
            } else {
                answer
            },
        ))
    }

    /// Adds the evidence that takes time to collect.
    async fn complete(&self, evidence: &mut Evidence) {
        let source = probe::source_to_internet().await;
        for network in &mut evidence.networks {
            network.vpn = is_vpn(&network.interface);
            network.to_internet = Some(network.ip) == source;
        }
        evidence.disk_free = free_at(&self.data_dir);
        if self.proxy_only {
            return;
        }
        let down = evidence
            .relays
            .iter_mut()
            .filter(|relay| matches!(relay.state, RelayState::Down(_) | RelayState::Connecting));
        for relay in down.take(PROBED_MAX) {
            let at: RelayAt = relay.at.parse().expect("the engine wrote an address");
            if at.path().is_some() {
                // A reverse proxy says nothing about UDP.
                continue;
            }
            if let Some(addr) = self
                .look_up(at.host_port())
                .await
                .ok()
                .and_then(|addrs| addrs.first().copied())
            {
                relay.probe = Some(tokio::join!(probe::udp(addr), probe::tcp(addr)));
            }
        }
    }
}

/// What the probes of a dial have found out about the machine.
fn answer_of(error: &SendError) -> Answer {
    if matches!(error, SendError::Unreachable { closed: true, .. }) {
        Answer::Refused
    } else {
        Answer::Silent
    }
}

fn unmet_of(error: SendError) -> Unmet {
    match error {
        SendError::IdentityMismatch { found, .. } => Unmet::OtherKey(found.only_device()),
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
        | SendError::NoSuchMessage
        | SendError::NotYours(_)
        | SendError::NotEditable
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
