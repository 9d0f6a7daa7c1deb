//! What is wrong with a node's network, or with the way to one peer: evidence in, verdicts out.
//!
//! Each check says what it saw, and is *fine*, a *note* (nothing is broken, and it explains
//! something), a *problem* with the way to mend it, or *unknown*. Nothing here gathers
//! evidence: `Node` does.

mod here;
mod reach;
mod there;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hobnob_protocol::PeerId;
use serde::{Deserialize, Serialize};

pub use here::judge;
pub use there::{judge_address, judge_peer};

/// Clocks that differ by less are the same.
pub const CLOCK_DIFFERENCE_MS: u64 = 2 * 60 * 1000;

/// With less room than this on its disk, a node may soon not be able to store messages.
pub const DISK_FREE_MIN: u64 = 64 * 1024 * 1024;

/// A session that is younger says nothing of what has not been heard yet.
pub const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is as it should be.
    Fine,
    /// Nothing is broken, and this explains why something is as it is.
    Note,
    /// This is broken.
    Problem,
    /// It can't be told.
    Unknown,
}

impl Verdict {
    /// The word for it on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Fine => "fine",
            Verdict::Note => "note",
            Verdict::Problem => "problem",
            Verdict::Unknown => "unknown",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub check: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// For a note or a problem: which one, for programs.
    pub code: Option<&'static str>,
    /// Where there are several kinds of what was looked at: which one it is, as far as that is
    /// known. A fixed word, for programs.
    pub kind: Option<&'static str>,
    /// What was seen, and what it means, in plain words.
    pub text: String,
    /// For a problem: what to do.
    pub fix: Option<&'static str>,
}

impl Check {
    fn fine(check: &'static str, text: impl Into<String>) -> Self {
        Self {
            check,
            verdict: Verdict::Fine,
            code: None,
            kind: None,
            text: text.into(),
            fix: None,
        }
    }

    fn unknown(check: &'static str, text: impl Into<String>) -> Self {
        Self {
            check,
            verdict: Verdict::Unknown,
            code: None,
            kind: None,
            text: text.into(),
            fix: None,
        }
    }

    fn note(check: &'static str, code: &'static str, text: impl Into<String>) -> Self {
        Self {
            check,
            verdict: Verdict::Note,
            code: Some(code),
            kind: None,
            text: text.into(),
            fix: None,
        }
    }

    fn problem(
        check: &'static str,
        code: &'static str,
        text: impl Into<String>,
        fix: &'static str,
    ) -> Self {
        Self {
            check,
            verdict: Verdict::Problem,
            code: Some(code),
            kind: None,
            text: text.into(),
            fix: Some(fix),
        }
    }

    fn of_kind(self, kind: &'static str) -> Self {
        Self {
            kind: Some(kind),
            ..self
        }
    }
}

/// What came of asking an address for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It answered.
    Answered,
    /// Its machine says that nothing listens there.
    Refused,
    /// Nothing came back.
    Silent,
}

/// Everything that is known of this node's network.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// The UDP port it listens on.
    pub port: u16,
    /// Whether it would have taken the usual one, and somebody else had it.
    pub usual_port_taken: bool,
    /// The machine's networks, without loopback and IPv6 link-local ones.
    pub networks: Vec<Network>,
    /// Whether it looks for peers by mDNS.
    pub mdns: bool,
    /// The peers that it has a session with.
    pub sessions: Vec<Session>,
    /// Its relays.
    pub relays: Vec<Relay>,
    /// What came of asking peers to call.
    pub calls: Vec<Call>,
    /// Bytes free on the disk of the messages; none if the system does not say.
    pub disk_free: Option<u64>,
    /// Whether the last commit failed.
    pub store_failing: bool,
}

/// One address of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its interface.
    pub interface: String,
    /// The address.
    pub ip: IpAddr,
    /// Whether the interface is one of a VPN, by its name or kind.
    pub vpn: bool,
    /// Whether what goes to the internet goes by this address.
    pub to_internet: bool,
}

/// A session, as far as it tells something about the network.
#[derive(Debug, Clone)]
pub struct Session {
    /// With whom, for people.
    pub name: String,
    /// For how long.
    pub age: Duration,
    /// The interface to whose network the peer belongs, if there is no router between.
    pub interface: Option<String>,
    /// Whether it goes through a relay.
    pub relayed: bool,
    /// Whether the peer says that it is to be found by mDNS.
    pub discoverable: bool,
    /// Whether it was found by mDNS in this run.
    pub heard: bool,
    /// Whether the peer has told of an address in a network of ours, and has our public address.
    pub same_network: bool,
    /// By how much its clock is ahead of ours.
    pub clock_ahead_ms: i64,
}

/// A relay and what is known of the way to it.
#[derive(Debug, Clone)]
pub struct Relay {
    /// Where it is, for people.
    pub at: String,
    /// How things stand with it.
    pub state: RelayState,
    /// Answers from its address: over UDP, and over TCP, which tells whether the machine is there.
    pub probe: Option<(Answer, Answer)>,
    /// What came of asking it to call.
    pub call: RelayCall,
}

/// How things stand with a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayState {
    /// Registered; it is at the first address, and sees us at the second.
    Up(SocketAddr, SocketAddr),
    /// Nothing has come of it yet.
    Connecting,
    /// Its name has no address.
    NoAddress(String),
    /// It proves another identity than before.
    OtherIdentity,
    /// It ended the connection, and said why.
    Refused(String),
    /// Something else is wrong with it.
    Down(String),
}

/// A relay that was asked to send a datagram from a socket that we never sent anything to: another
/// port of its address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RelayCall {
    /// It says that it did.
    pub made: bool,
    /// It came.
    pub came: bool,
    /// Where that socket sees us: it answered when we wrote to it, afterwards. So there is a way
    /// both ways.
    pub seen: Option<SocketAddr>,
}

/// A peer that was asked to send a datagram from a socket that we never sent anything to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// It is on one of our networks, with no router between.
    pub neighbour: bool,
    /// It says that it did.
    pub made: bool,
    /// It came.
    pub came: bool,
}

/// Everything that is known of the way to one peer.
#[derive(Debug, Clone, Default)]
pub struct PeerEvidence {
    /// What to call it.
    pub name: String,
    /// Whether its texts are not shown.
    pub ignored: bool,
    /// Why this node has no session with it.
    pub denied: Option<super::policy::DenyReason>,
    /// Why it has none with us, by its own word.
    pub turned_away: Option<super::policy::DenyReason>,
    /// The session: its path in words, and by how much the peer's clock is ahead.
    pub session: Option<(String, i64)>,
    /// The latest dials that came to nothing, each with its address.
    pub unmet: Vec<(SocketAddr, Unmet)>,
    /// What its last known addresses answer to a datagram.
    pub probes: Vec<(SocketAddr, Answer)>,
    /// Relays that are up and know nothing of it.
    pub not_at: Vec<String>,
}

/// Why a dial came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmet {
    /// Another key answers.
    OtherKey(PeerId),
    /// What answers speaks another version.
    OtherVersion,
    /// It answered, and wants no session.
    Refused(String),
    /// Nobody answered, or something else failed.
    Failed(String),
}

/// A span of time in words, to the unit that matters.
pub fn span(ms: u64) -> String {
    let minutes = ms / 60_000;
    match minutes {
        0..=119 => format!("{minutes} minutes"),
        120..=2879 => format!("{} hours", minutes / 60),
        2880..=1_051_199 => format!("{} days", minutes / 1440),
        _ => format!("{} years", minutes / 525_600),
    }
}
