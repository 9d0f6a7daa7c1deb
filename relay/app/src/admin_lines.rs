//! The JSON lines of the relay: those that it prints with `--json`, and those of its local socket.
//!
//! A request is one line, `{"cmd":"kick","target":"ann"}`. The answer is any number of event lines,
//! `{"v":1,"event":…}`, followed by `{"done":true}` or
//! `{"error":{"code":…,"exit":…,"text":…}}`.

use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use hobnob_local::json::{LINES_VERSION, Text, Time};
use hobnob_protocol::{DeviceId, HostPort, RelayAddr};
use hobnob_relay::admission::{BanTarget, IpRange};
use hobnob_relay::server::{OperatorError, PeerStatus};
use serde::{Deserialize, Serialize};

use crate::wording;

/// A request of the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cmd", rename_all = "lowercase")]
pub(crate) enum AdminRequest {
    Peers,
    Kick { target: String },
    Ban { target: String },
    Unban { target: String },
    Bans,
    Drain,
}

/// One event line: the version of the lines and the event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RelayEventLine {
    v: u8,
    #[serde(flatten)]
    pub(crate) event: RelayEvent,
}

/// An event: a fact about the relay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum RelayEvent {
    /// The relay runs and is reachable at these addresses.
    Listening {
        relay: Text<DeviceId>,
        addrs: Vec<SocketAddr>,
        /// Where nodes on other networks reach it, if the operator has named that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        public: Option<Text<HostPort>>,
    },
    /// Peers of several networks reach the relay at this address, which is none of this machine's.
    ReachedAt { addr: SocketAddr },
    /// The relay serves its status page at this address.
    Status { addr: SocketAddr },
    /// A peer in the liveness table.
    RelayPeer(PeerRow),
    /// The relay disconnected a peer.
    Kicked { peer: Text<DeviceId> },
    /// A peer is banned.
    Banned { peer: Text<DeviceId> },
    /// The ban of a peer was removed.
    Unbanned { peer: Text<DeviceId> },
    /// A range of addresses is banned.
    BannedRange { range: Text<IpRange> },
    /// The ban of a range of addresses was removed.
    UnbannedRange { range: Text<IpRange> },
    /// The relay has disconnected this many peers, all that it had, and accepts no others.
    Drained { peers: usize },
    /// The key of a new fleet was made. This is the fleet's id.
    FleetKey { fleet: Text<DeviceId> },
    /// A NATS user key was made. This is its public half.
    NatsUser { user: String },
    /// The list of a fleet.
    FleetList {
        fleet: Text<DeviceId>,
        number: u64,
        relays: Vec<Text<RelayAddr>>,
    },
}

/// A peer in the liveness table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PeerRow {
    pub(crate) peer: Text<DeviceId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    /// `alive`, `suspect`, `asleep` or `gone`.
    pub(crate) state: String,
    pub(crate) addr: SocketAddr,
    /// Time of registration.
    pub(crate) since: Time,
    /// Milliseconds since the last packet from it.
    pub(crate) heard_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rtt_ms: Option<f64>,
    /// Consecutive missed heartbeats.
    pub(crate) missed: u32,
    pub(crate) rooms: usize,
    pub(crate) channels: usize,
    /// Frames that the relay forwarded for it, and their bytes.
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    /// Dropped frames of its channels, by cause.
    pub(crate) over_rate: u64,
    pub(crate) wrong_sender: u64,
    pub(crate) unsent: u64,
}

/// The last line of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AdminEnd {
    Done(bool),
    Error(AdminError),
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub(crate) struct AdminError {
    /// A fixed word for programs: `fault`, `usage` or `no-such-peer`.
    pub(crate) code: String,
    /// The exit code of the command.
    pub(crate) exit: u8,
    /// What happened and what to do, for people.
    pub(crate) text: String,
}

/// A line of an answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum AdminAnswer {
    Event(RelayEventLine),
    End(AdminEnd),
}

impl RelayEvent {
    /// A ban that is in effect.
    pub(crate) fn banned(target: BanTarget) -> Self {
        match target {
            BanTarget::Peer(peer) => Self::Banned { peer: Text(peer) },
            BanTarget::Range(range) => Self::BannedRange { range: Text(range) },
        }
    }

    /// A ban that was removed.
    pub(crate) fn unbanned(target: BanTarget) -> Self {
        match target {
            BanTarget::Peer(peer) => Self::Unbanned { peer: Text(peer) },
            BanTarget::Range(range) => Self::UnbannedRange { range: Text(range) },
        }
    }
}

impl From<RelayEvent> for RelayEventLine {
    fn from(event: RelayEvent) -> Self {
        RelayEventLine {
            v: LINES_VERSION,
            event,
        }
    }
}

impl From<PeerStatus> for PeerRow {
    fn from(
        PeerStatus {
            row,
            label,
            since,
            heard_ago,
        }: PeerStatus,
    ) -> Self {
        PeerRow {
            peer: Text(row.peer),
            label,
            state: row.state.name().to_owned(),
            addr: row.addr,
            since: Time(millis(since.duration_since(UNIX_EPOCH).unwrap_or_default())),
            heard_ms: millis(heard_ago),
            rtt_ms: row.rtt.map(|rtt| rtt.as_secs_f64() * 1_000.0),
            missed: row.missed,
            rooms: row.rooms,
            channels: row.channels,
            frames: row.metered.frames,
            bytes: row.metered.bytes,
            over_rate: row.metered.over_rate,
            wrong_sender: row.metered.wrong_sender,
            unsent: row.metered.unsent,
        }
    }
}

impl AdminError {
    /// The request is invalid.
    pub(crate) fn usage(text: String) -> Self {
        Self {
            code: "usage".into(),
            exit: 2,
            text,
        }
    }
}

impl From<&OperatorError> for AdminError {
    fn from(error: &OperatorError) -> Self {
        let (code, exit) = match error {
            OperatorError::Unknown(_) | OperatorError::Ambiguous { .. } => ("no-such-peer", 3),
            OperatorError::NotConnected(_)
            | OperatorError::BannedAlready(_)
            | OperatorError::NotBanned(_)
            | OperatorError::TooManyBans
            | OperatorError::NotStored(_)
            | OperatorError::StillDraining
            | OperatorError::File(_)
            | OperatorError::Certificate(_)
            | OperatorError::Stopping => ("fault", 1),
        };
        Self {
            code: code.into(),
            exit,
            text: wording::operator_error(error),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_local::json::to_line;

    #[test]
    fn lines_have_the_documented_form() {
        let peer = Text(DeviceId::from_bytes([9; 32]));
        let listening = RelayEvent::Listening {
            relay: peer,
            addrs: vec!["192.0.2.7:4627".parse().unwrap()],
            public: None,
        };
        let expected = format!(
            "{{\"v\":1,\"event\":\"listening\",\"relay\":\"{}\",\"addrs\":[\"192.0.2.7:4627\"]}}\n",
            peer.0
        );
        assert_eq!(to_line(&RelayEventLine::from(listening)), expected);
        let addr = "203.0.113.7:443".parse().unwrap();
        assert_eq!(
            to_line(&RelayEventLine::from(RelayEvent::ReachedAt { addr })),
            "{\"v\":1,\"event\":\"reached-at\",\"addr\":\"203.0.113.7:443\"}\n"
        );
        let banned = format!("{{\"v\":1,\"event\":\"banned\",\"peer\":\"{}\"}}\n", peer.0);
        assert_eq!(
            to_line(&RelayEventLine::from(RelayEvent::Banned { peer })),
            banned
        );
        let range = "192.0.2.0/24".parse().unwrap();
        assert_eq!(
            to_line(&RelayEventLine::from(RelayEvent::banned(BanTarget::Range(
                range
            )))),
            "{\"v\":1,\"event\":\"banned-range\",\"range\":\"192.0.2.0/24\"}\n"
        );
        assert_eq!(
            to_line(&AdminRequest::Kick {
                target: "ann".into()
            }),
            "{\"cmd\":\"kick\",\"target\":\"ann\"}\n"
        );
        assert_eq!(to_line(&AdminEnd::Done(true)), "{\"done\":true}\n");
    }

    #[test]
    fn event_lines_and_both_ends_of_an_answer_are_distinct() {
        let failure = AdminError::usage("x".into());
        let peer = Text(DeviceId::from_bytes([9; 32]));
        let line = RelayEventLine::from(RelayEvent::Kicked { peer });
        for (text, answer) in [
            (to_line(&line), AdminAnswer::Event(line)),
            (
                to_line(&AdminEnd::Done(true)),
                AdminAnswer::End(AdminEnd::Done(true)),
            ),
            (
                to_line(&AdminEnd::Error(failure.clone())),
                AdminAnswer::End(AdminEnd::Error(failure)),
            ),
        ] {
            assert_eq!(
                serde_json::from_str::<AdminAnswer>(&text).unwrap(),
                answer,
                "{text}"
            );
        }
    }
}
