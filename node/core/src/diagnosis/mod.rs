//! Diagnosis of a node's network, or of the path to one peer: evidence in, findings out.
//!
//! Each check returns a [`Finding`], whose [`Verdict`] is *fine*, a *note* (nothing is broken, and
//! it explains something), a *problem* or *unknown*. Nothing here gathers evidence: `Node` does.
//! Nothing here is worded for people: the user interfaces do that.

mod findings;
mod here;
mod mail;
mod nat;
mod port_mapping;
mod reach;
mod subject;
mod there;

use crate::mail_refusal::MailRefusal;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hobnob_protocol::DeviceId;

pub use findings::{
    Finding, MachineFinding, MailFinding, MdnsFault, NetworkFinding, PeerFinding, ReachFinding,
    RelayFinding,
};
pub use here::judge;
pub use nat::{Filtering, Mapping};
pub use port_mapping::{MappingProtocol, PortMapping};
pub use subject::{Subject, Verdict};
pub use there::{judge_address, judge_peer};

/// Clocks that differ by less than this count as equal.
pub const CLOCK_DIFFERENCE_MS: u64 = 2 * 60 * 1000;

/// With less free space than this, a node may soon be unable to store messages.
pub const DISK_FREE_MIN: u64 = 64 * 1024 * 1024;

/// With fewer addresses that wait for a check, the budget of the checks is enough.
pub const CHECKS_WAITING_MIN: u64 = 64;

/// A holder of mail without a connection for this many days is reported.
pub const HOLDER_AWAY_DAYS: u64 = 1;

/// Messages that have waited at a holder for this many days are noted. Holders drop them after 30.
pub const LONG_HELD_DAYS: u64 = 21;

/// In a younger session, a peer that mDNS has not found yet proves nothing.
pub const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// The outcome of a probe: a packet that asks for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It answered.
    Answered,
    /// The machine reports that nothing listens there.
    Refused,
    /// Nothing arrived.
    Silent,
}

/// Whether mDNS discovery runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mdns {
    /// The user has disabled it.
    #[default]
    Off,
    /// It cannot start.
    Failed(MdnsFault),
    /// It runs.
    On,
}

/// Everything that the node knows about its network.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// The UDP port it listens on.
    pub port: u16,
    /// Whether another program has the usual port.
    pub usual_port_taken: bool,
    /// The machine's networks, without loopback, and without IPv6 link-local ones of interfaces
    /// that have others.
    pub networks: Vec<Network>,
    /// The last address to which the system refused to send in the last minute.
    pub send_refused: Option<SocketAddr>,
    /// Whether mDNS discovery runs.
    pub mdns: Mdns,
    /// Peers that mDNS records announce at addresses where nobody answers.
    pub silent: Vec<(String, SocketAddr)>,
    /// Whether nothing is sent beyond the machine's links except through a proxy.
    pub proxy_only: bool,
    /// What the router answered when it was asked for a port.
    pub port_mapping: PortMapping,
    /// The sessions with peers.
    pub sessions: Vec<Session>,
    /// Its relays.
    pub relays: Vec<Relay>,
    /// The dial-backs that peers were asked for.
    pub dial_backs: Vec<PeerDialBack>,
    /// Bytes free on the disk of the messages; none if the system does not report it.
    pub disk_free: Option<u64>,
    /// Whether the last commit failed.
    pub store_failing: bool,
    /// Whether damage was found in the database in this run.
    pub damaged: bool,
    /// The entries that the start dropped from a damaged database.
    pub dropped: Option<u64>,
    /// Why the last automatic backup failed.
    pub backup_fault: Option<String>,
    /// Broken invariants of this program since it started.
    pub faults: u64,
    /// The strangers whose messages are stored here.
    pub strangers: u64,
    /// The bytes of these messages on disk.
    pub strangers_bytes: u64,
    /// How often a stranger's messages were refused since the start, because strangers had stored
    /// too much.
    pub requests_refused: u64,
    /// How many connections were refused, and sessions of strangers ended, since the start, because
    /// all places for sessions were taken.
    pub places_refused: u64,
    /// The rooms that were too full for a log since the start.
    pub full_rooms: Vec<FullRoom>,
    /// Addresses that wait until the budget allows a check of them.
    pub checks_waiting: u64,
    /// Hole-punching probes that the budget did not allow since the start.
    pub probes_held_back: u64,
    /// Audiences of open rooms that were forgotten for lack of memory since the start.
    pub audiences_forgotten: u64,
    /// Peers that were forgotten since the start because too many were met.
    pub peers_forgotten: u64,
    /// Mail for this node, and of it.
    pub mail: MailEvidence,
}

/// Everything that the node knows about mail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailEvidence {
    /// The number of contacts.
    pub contacts: u64,
    /// How many of them have no session now.
    pub contacts_away: u64,
    /// The connected relays and nodes that hold mail for this node.
    pub holders_connected: u64,
    /// Those that did so in this run and are not connected, with the full days since then.
    pub lost_holders: Vec<(String, u64)>,
    /// The peers for which no holder takes messages.
    pub refused: Vec<(String, MailRefusal)>,
    /// The messages that holders have for peers and that these have not confirmed.
    pub held: u64,
    /// The number of these peers.
    pub held_for: u64,
    /// Full days since the last deposit for the peer that has waited longest.
    pub held_days: u64,
    /// Small files whose contents no holder has yet.
    pub files_waiting: u64,
    /// The bytes of mail that this node holds for others, and how many it may hold.
    pub holding: Option<(u64, u64)>,
}

/// A room that was too full for a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullRoom {
    /// Its name.
    pub name: String,
    /// The number of logs that were dropped or refused since the start.
    pub lost: u64,
}

/// One address of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its interface.
    pub interface: String,
    /// The address.
    pub ip: IpAddr,
    /// Whether the interface looks like a VPN, by its name or kind.
    pub vpn: bool,
    /// Whether packets to the internet leave from this address.
    pub to_internet: bool,
}

/// A session, as far as it is evidence about the network.
#[derive(Debug, Clone)]
pub struct Session {
    /// The peer's name.
    pub name: String,
    /// Its age.
    pub age: Duration,
    /// The interface whose network the peer is on, if no router stands between.
    pub interface: Option<String>,
    /// Whether its path leads through a relay.
    pub relayed: bool,
    /// Whether the peer announces itself by mDNS.
    pub discoverable: bool,
    /// Whether mDNS has found it in this run.
    pub heard: bool,
    /// Whether the peer has an address in one of this machine's networks, and the same public
    /// address.
    pub same_network: bool,
    /// How far the peer's clock is ahead of this machine's, in milliseconds.
    pub clock_ahead_ms: i64,
}

/// A relay and the evidence about the path to it.
#[derive(Debug, Clone)]
pub struct Relay {
    /// Its name and port, as the user knows them.
    pub at: String,
    /// Its state.
    pub state: RelayState,
    /// Probes of its address: over UDP, and over TCP, which shows whether the machine is up.
    pub probe: Option<(Answer, Answer)>,
    /// The dial-back that it was asked for.
    pub dial_back: RelayDialBack,
}

/// The state of a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayState {
    /// Registered. It is at the first address, and sees this node at the second.
    Up(SocketAddr, SocketAddr),
    /// Registered through a stream, because UDP is blocked.
    UpByTcp,
    /// It has not answered yet.
    Connecting,
    /// Its name has no address, for this reason.
    NoAddress(String),
    /// It proves another identity than before.
    OtherIdentity,
    /// It closed the connection, for this reason.
    Refused(String),
    /// It is not usable, for another reason.
    Down(String),
}

/// A dial-back by a relay: it was asked to send a datagram from another port, to which this node
/// has never sent anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RelayDialBack {
    /// The relay reports that it sent the datagram.
    pub sent: bool,
    /// The datagram arrived.
    pub arrived: bool,
    /// The address at which that socket sees this node. The node wrote to the socket afterwards,
    /// and it answered. So packets pass in both directions.
    pub seen: Option<SocketAddr>,
}

/// A dial-back by a peer: it was asked to send a datagram from a socket to which this node has
/// never sent anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerDialBack {
    /// The peer is on one of this machine's networks, with no router between.
    pub neighbour: bool,
    /// The peer reports that it sent the datagram.
    pub sent: bool,
    /// The datagram arrived.
    pub arrived: bool,
}

/// Everything that the node knows about the path to one peer.
#[derive(Debug, Clone, Default)]
pub struct PeerEvidence {
    /// The peer's name.
    pub name: String,
    /// Whether the user ignores it.
    pub ignored: bool,
    /// Whether it refuses messages until its user accepts this node.
    pub awaits_consent: bool,
    /// Why no holder takes messages for it.
    pub mail_refused: Option<MailRefusal>,
    /// Why this node denies it a session.
    pub denied: Option<super::policy::DenyReason>,
    /// Why it denies this node a session, as it reported.
    pub turned_away: Option<super::policy::DenyReason>,
    /// The session with it.
    pub session: Option<PeerSession>,
    /// The latest failed dials, each with its address.
    pub unmet: Vec<(SocketAddr, Unmet)>,
    /// Probes of its last known addresses.
    pub probes: Vec<(SocketAddr, Answer)>,
    /// Relays that are up and where it is not registered.
    pub not_at: Vec<String>,
}

/// A session with the peer that is examined.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerSession {
    /// The kind of its path: `lan`, `direct` or `relay`.
    pub path: &'static str,
    /// The last round trip, in milliseconds.
    pub rtt_ms: f64,
    /// How far the peer's clock is ahead of this machine's, in milliseconds.
    pub clock_ahead_ms: i64,
}

/// Why a dial failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmet {
    /// Another key answers.
    OtherKey(DeviceId),
    /// Another version answers, or another program.
    OtherVersion,
    /// The node there refuses a session, for this reason.
    Refused(String),
    /// Nobody answered, or something else failed.
    Failed(String),
}
