//! The JSON lines of `hobnob relay`: what it prints, and what goes over its operator's socket.
//!
//! A request is one line, `{"cmd":"kick","target":"ann"}`. The answer is any number of lines that
//! tell something, `{"v":1,"event":…}`, and then either `{"done":true}` or
//! `{"error":{"code":…,"exit":…,"text":…}}`.

use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use hobnob::protocol::PeerId;
use hobnob_control::wire::{Failure, LINES_VERSION, Text, Time};
use hobnob_relay::server::{OperatorError, Peer};
use serde::{Deserialize, Serialize};

/// What the operator asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cmd", rename_all = "lowercase")]
pub(super) enum Request {
    Peers,
    Kick { target: String },
    Ban { target: String },
    Unban { target: String },
}

/// A line that tells something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    v: u8,
    #[serde(flatten)]
    pub(super) event: Event,
}

/// What a line tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Event {
    /// The relay runs, and can be reached here.
    Listening {
        relay: Text<PeerId>,
        addrs: Vec<SocketAddr>,
    },
    /// The relay shows its status here.
    Status { addr: SocketAddr },
    /// A peer in the liveness table.
    RelayPeer(Row),
    /// A peer's connection was ended.
    Kicked { peer: Text<PeerId> },
    /// A peer is kept out.
    Banned { peer: Text<PeerId> },
    /// A peer is kept out no longer.
    Unbanned { peer: Text<PeerId> },
}

/// A peer in the liveness table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) peer: Text<PeerId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<String>,
    /// `alive`, `suspect` or `gone`.
    pub(super) state: String,
    pub(super) addr: SocketAddr,
    /// When it registered.
    pub(super) since: Time,
    /// How long ago something last came from it.
    pub(super) heard_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rtt_ms: Option<f64>,
    /// Heartbeats missed in a row.
    pub(super) missed: u32,
    pub(super) rooms: usize,
    pub(super) channels: usize,
    /// Frames it has made the relay pass on, and the bytes in them.
    pub(super) frames: u64,
    pub(super) bytes: u64,
    /// Frames of its channels that were dropped, by cause.
    pub(super) over_rate: u64,
    pub(super) wrong_sender: u64,
    pub(super) unsent: u64,
}

/// The last line of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum End {
    Done(bool),
    Error(Failure),
}

/// A line of an answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Answer {
    Tells(Line),
    Ends(End),
}

impl From<Event> for Line {
    fn from(event: Event) -> Self {
        Line {
            v: LINES_VERSION,
            event,
        }
    }
}

impl From<Peer> for Row {
    fn from(
        Peer {
            row,
            label,
            since,
            heard_ago,
        }: Peer,
    ) -> Self {
        Row {
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

/// What a failed request of the operator's means to a command.
pub(super) fn failure(error: &OperatorError) -> Failure {
    let text = error.to_string();
    if error.is_about_the_name() {
        return Failure {
            code: "no-such-peer".into(),
            exit: 3,
            text,
        };
    }
    Failure::fault(text)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_control::wire::to_line;

    #[test]
    fn lines_are_as_the_manual_says() {
        let peer = Text(PeerId::from_bytes([9; 32]));
        let listening = Event::Listening {
            relay: peer,
            addrs: vec!["192.0.2.7:4627".parse().unwrap()],
        };
        let expected = format!(
            "{{\"v\":1,\"event\":\"listening\",\"relay\":\"{}\",\"addrs\":[\"192.0.2.7:4627\"]}}\n",
            peer.0
        );
        assert_eq!(to_line(&Line::from(listening)), expected);
        let banned = format!("{{\"v\":1,\"event\":\"banned\",\"peer\":\"{}\"}}\n", peer.0);
        assert_eq!(to_line(&Line::from(Event::Banned { peer })), banned);
        assert_eq!(
            to_line(&Request::Kick {
                target: "ann".into()
            }),
            "{\"cmd\":\"kick\",\"target\":\"ann\"}\n"
        );
        assert_eq!(to_line(&End::Done(true)), "{\"done\":true}\n");
    }

    #[test]
    fn the_two_ends_of_an_answer_are_told_apart() {
        let failure = Failure::usage("x");
        let peer = Text(PeerId::from_bytes([9; 32]));
        let line = Line::from(Event::Kicked { peer });
        for (text, answer) in [
            (to_line(&line), Answer::Tells(line)),
            (to_line(&End::Done(true)), Answer::Ends(End::Done(true))),
            (
                to_line(&End::Error(failure.clone())),
                Answer::Ends(End::Error(failure)),
            ),
        ] {
            assert_eq!(
                serde_json::from_str::<Answer>(&text).unwrap(),
                answer,
                "{text}"
            );
        }
    }
}
