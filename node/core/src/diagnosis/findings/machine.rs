//! Findings about the machine.

use serde::{Deserialize, Serialize};

use super::super::subject::{Parts, Subject, Verdict};

/// Findings about the machine: port, clock and disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum MachineFinding {
    /// The node listens on its usual UDP port, or on the configured one.
    PortOpen {
        /// The port.
        port: u16,
    },
    /// Another program has the usual UDP port, so the node listens on another one.
    PortTaken {
        /// The port.
        port: u16,
        /// The usual port.
        usual: u16,
    },
    /// No peer is connected to compare clocks with.
    ClockUntested {},
    /// This machine's clock agrees with those of all peers, or of most.
    ClockAgrees {
        /// Whether all agree.
        all: bool,
    },
    /// This machine's clock differs from that of the only peer: one of the two is wrong.
    ClockUnclear {},
    /// Most peers' clocks are ahead of this machine's by this difference.
    Clock {
        /// The difference in milliseconds; negative: behind.
        ahead_ms: i64,
    },
    /// The last commit failed (no size), or too little space is free on the disk of the messages.
    Disk {
        /// The free space.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        free_bytes: Option<u64>,
    },
    /// Enough space is free on the disk of the messages.
    DiskFree {
        /// The free space.
        free_bytes: u64,
    },
    /// The system does not report the free space.
    DiskUnknown {},
    /// The database is damaged. The next start drops what can't be read.
    DatabaseDamaged {},
    /// The database was damaged. The start dropped what could not be read.
    DatabaseRepaired {
        /// The number of entries that were dropped, as far as it is known.
        lost: u64,
    },
    /// The last automatic backup failed.
    BackupFailed {
        /// The cause.
        why: String,
    },
    /// Strangers wrote to this node, and the user has not accepted them.
    Requests {
        /// The number of strangers.
        strangers: u64,
        /// The bytes of their messages on disk.
        bytes: u64,
    },
    /// Strangers wrote so much to this node that it stores nothing more of some of them.
    RequestsFull {
        /// The number of strangers.
        strangers: u64,
        /// The bytes of their messages on disk.
        bytes: u64,
    },
    /// All places for sessions were taken, so peers that are not contacts were refused.
    PlacesFull {
        /// The number of connections that were refused or ended since the start.
        refused: u64,
    },
    /// A room holds as much as it may, or as one of those who send most may store there, so logs are
    /// dropped or refused.
    RoomFull {
        /// The room's name.
        room: String,
        /// The number of logs that were dropped or refused since the start.
        lost: u64,
    },
    /// Others name more addresses than this node may check, so peers are found later.
    ChecksWaiting {
        /// The number of addresses that wait.
        addresses: u64,
    },
    /// Peers named more addresses for a direct path than this node may probe, so paths may stay
    /// relayed.
    ProbesHeldBack {
        /// The number of probes that were not sent since the start.
        probes: u64,
    },
    /// So many peers came to open rooms and left that this node forgot early who was there. Peers that
    /// have been away since then miss messages of open rooms.
    AudiencesForgotten {
        /// The number of audiences that were forgotten since the start.
        audiences: u64,
    },
    /// So many peers were met that some were forgotten, with their names.
    PeersForgotten {
        /// The number of peers that were forgotten since the start.
        peers: u64,
    },
    /// The program detected internal faults.
    InternalFaults {
        /// The number of faults since the program started.
        count: u64,
    },
}

impl MachineFinding {
    pub(super) fn parts(&self) -> Parts {
        use Verdict::{Fine, Note, Problem, Unknown};
        match self {
            Self::PortOpen { .. } => (Subject::Port, Fine, "port-open"),
            Self::PortTaken { .. } => (Subject::Port, Problem, "port-taken"),
            Self::ClockUntested {} => (Subject::Clock, Unknown, "clock-untested"),
            Self::ClockAgrees { .. } => (Subject::Clock, Fine, "clock-agrees"),
            Self::ClockUnclear {} => (Subject::Clock, Unknown, "clock-unclear"),
            Self::Clock { .. } => (Subject::Clock, Problem, "clock"),
            Self::Disk { .. } => (Subject::Disk, Problem, "disk"),
            Self::DiskFree { .. } => (Subject::Disk, Fine, "disk-free"),
            Self::DiskUnknown {} => (Subject::Disk, Unknown, "disk-unknown"),
            Self::DatabaseDamaged {} => (Subject::Disk, Problem, "database-damaged"),
            Self::DatabaseRepaired { .. } => (Subject::Disk, Note, "database-repaired"),
            Self::BackupFailed { .. } => (Subject::Disk, Problem, "backup-failed"),
            Self::Requests { .. } => (Subject::Disk, Note, "requests"),
            Self::RequestsFull { .. } => (Subject::Disk, Problem, "requests-full"),
            Self::PlacesFull { .. } => (Subject::Limits, Note, "places-full"),
            Self::RoomFull { .. } => (Subject::Limits, Note, "room-full"),
            Self::ChecksWaiting { .. } => (Subject::Limits, Note, "checks-waiting"),
            Self::ProbesHeldBack { .. } => (Subject::Limits, Note, "probes-held-back"),
            Self::AudiencesForgotten { .. } => (Subject::Limits, Note, "audiences-forgotten"),
            Self::PeersForgotten { .. } => (Subject::Limits, Note, "peers-forgotten"),
            Self::InternalFaults { .. } => (Subject::Program, Problem, "internal-faults"),
        }
    }
}
