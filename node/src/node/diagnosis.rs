//! What is wrong: evidence gathered from the engine, the system and the network, and judged by [`diagnosis`].

use std::path::Path;

use tokio::task::JoinSet;

use super::engine::Command;
use super::*;
use crate::core::diagnosis::{self, Answer, Check, Evidence, PeerEvidence, RelayState, Unmet, Verdict};
use crate::net::probe;

/// How long peers that were asked to call have for it.
const CALLS: Duration = Duration::from_millis(1500);

/// Relays without a connection that are asked whether they are there; further ones are told of as not asked.
const PROBED_MAX: usize = 4;

/// How VPNs name their interfaces; besides, those without a link layer are taken for VPNs'.
const VPN_NAMES: [&str; 10] = ["tun", "tap", "wg", "ppp", "utun", "tailscale", "zt", "nordlynx", "proton", "ipsec"];

/// The kind of an interface without a link layer, in `/sys/class/net/*/type` (ARPHRD_NONE of Linux).
const NO_LINK_LAYER: &str = "65534";

impl Node {
    /// Looks at everything that this node's network needs, and says what is wrong and what to do. Takes a few seconds.
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
    /// for check in node.diagnose().await? {
    ///     println!("{:?} {}: {}", check.verdict, check.check, check.text);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn diagnose(&self) -> Result<Vec<Check>, NodeError> {
        self.settled().await;
        self.ask(Command::CallMe).await?;
        tokio::time::sleep(CALLS).await;
        let mut evidence = self.ask(Command::Evidence).await?;
        self.complete(&mut evidence).await;
        Ok(diagnosis::judge(&evidence))
    }

    /// Looks at everything between this node and a peer. Takes a few seconds, unless the peer is there.
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
    /// for check in node.diagnose_peer(bob).await? {
    ///     println!("{:?} {}: {}", check.verdict, check.check, check.text);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn diagnose_peer(&self, peer: PeerId) -> Result<Vec<Check>, NodeError> {
        self.settled().await;
        let (before, addrs) = self.ask(|reply| Command::PeerEvidence(peer, reply)).await?;
        if before.session.is_some() || before.bar.is_some() {
            return Ok(diagnosis::judge_peer(&before));
        }
        let (unmet, probes) = self.try_addrs(peer, addrs).await?;
        // The tries may have led to a session, or to a word from the peer.
        let (after, _) = self.ask(|reply| Command::PeerEvidence(peer, reply)).await?;
        let mut checks = diagnosis::judge_peer(&PeerEvidence { unmet, probes, ..after });
        if checks.iter().any(|check| check.verdict == Verdict::Unknown) {
            // What is wrong here may be why.
            let here = self.diagnose().await?;
            checks.extend(here.into_iter().filter(|check| check.verdict == Verdict::Problem));
        }
        Ok(checks)
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
                let dial = node.ask(|reply| Command::Dial { addr, expected: Some(peer), reply });
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
        let down = evidence.relays.iter_mut().filter(|relay| matches!(relay.state, RelayState::Down(_) | RelayState::Connecting));
        for relay in down.take(PROBED_MAX) {
            let Ok(at) = relay.at.parse::<HostPort>() else { continue };
            if let Some(addr) = look_up(&at).await.ok().and_then(|addrs| addrs.first().copied()) {
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
    VPN_NAMES.iter().any(|name| interface.starts_with(name)) || kind().is_ok_and(|kind| kind.trim() == NO_LINK_LAYER)
}

fn free_at(dir: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(dir).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}
