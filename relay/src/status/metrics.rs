//! What Prometheus gets, as OpenMetrics text. Nothing here names a peer: those are in the table
//! alone.
//!
//! | metric | what |
//! | --- | --- |
//! | `hobnob_relay_up_seconds` | time since the relay started |
//! | `hobnob_relay_peers{state}` | peers in the table: alive, suspect (a heartbeat missed), gone (within the hour) |
//! | `hobnob_relay_banned` | peers that the operator keeps out |
//! | `hobnob_relay_channels` | channels there are |
//! | `hobnob_relay_rooms` | rooms with a connected peer in them |
//! | `hobnob_relay_newcomers_total{fate}` | connections before their registration: begun, asked (for proof of address), refused, failed, not-admitted |
//! | `hobnob_relay_registered_total` | control connections that were registered |
//! | `hobnob_relay_left_total` | control connections that went of themselves |
//! | `hobnob_relay_ended_total{code}` | control connections that the relay ended or turned away, by close code |
//! | `hobnob_relay_heartbeats_total` | heartbeats that came |
//! | `hobnob_relay_roster_frames_total` | roster frames said |
//! | `hobnob_relay_roster_changes_total` | changes in them |
//! | `hobnob_relay_roster_looks_total` | members of rooms looked at to find those changes |
//! | `hobnob_relay_opened_total` | channels opened |
//! | `hobnob_relay_not_opened_total{why}` | channels not opened: not-here, refused, limit |
//! | `hobnob_relay_calls_total` | peers called that wanted to know whether calls reach them |
//! | `hobnob_relay_forwarded_frames_total` | channel frames forwarded |
//! | `hobnob_relay_forwarded_bytes_total` | bytes in them, with their headers |
//! | `hobnob_relay_dropped_total{cause}` | datagrams that came and went nowhere, by cause |
//! | `hobnob_relay_stun_answered_total` | STUN requests answered |
//! | `hobnob_relay_socket_errors_total{call}` | calls that the system refused: send, recv |

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use hobnob_protocol::relay::close;

use crate::core::{Counts, State};
use crate::plane::Counted;
use crate::server::{Fate, Newcomers, Table};

/// The media type of what [`text`] makes.
pub(super) const CONTENT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics at one moment.
pub(super) fn text(table: &Table, counted: &Counted, newcomers: &Newcomers) -> String {
    let mut registry = Registry::with_prefix("hobnob_relay");
    registry.register_collector(Box::new(Metrics(metrics(table, counted, newcomers))));
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes everything");
    text
}

/// Datagrams that came and went nowhere, with what a person needs to know of the cause.
pub(super) fn dropped(counted: &Counted) -> [(&'static str, u64, &'static str); 12] {
    [
        (
            "unknown-channel",
            counted.unknown_channel,
            "a frame of no channel that there is: it has ended, or somebody guesses",
        ),
        (
            "wrong-sender",
            counted.wrong_sender,
            "a frame of another's channel, or from an address that its peer no longer has",
        ),
        (
            "over-rate",
            counted.over_rate,
            "a peer sent more than it may",
        ),
        (
            "unsent",
            counted.unsent,
            "the system's send buffer was full",
        ),
        (
            "refused",
            counted.frames_refused,
            "the system would not send it: no way leads to the receiver",
        ),
        (
            "overflowed",
            counted.overflowed,
            "the system's receive buffer was full: the relay is overloaded",
        ),
        (
            "quic-overflowed",
            counted.quic_overflowed,
            "QUIC that came faster than it could be read, as in a flood of newcomers",
        ),
        (
            "oversized",
            counted.oversized,
            "longer than any datagram that a peer may send",
        ),
        (
            "knock",
            counted.knock,
            "a knock: nobody has a reason to knock at a relay",
        ),
        ("unknown", counted.unknown, "of no known kind, or empty"),
        (
            "stun-malformed",
            counted.stun_malformed,
            "STUN, but damaged or no Binding request",
        ),
        (
            "stun-over-rate",
            counted.stun_over_rate,
            "more STUN requests than the relay answers",
        ),
    ]
}

/// How many peers are in this state.
pub(super) fn peers(table: &Table, state: State) -> u64 {
    table
        .peers
        .iter()
        .filter(|peer| peer.row.state == state)
        .count() as u64
}

#[derive(Debug)]
struct Metric {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    values: Values,
}

#[derive(Debug)]
enum Values {
    One(u64),
    By(&'static str, Vec<(&'static str, u64)>),
}

fn metrics(table: &Table, counted: &Counted, newcomers: &Newcomers) -> Vec<Metric> {
    let fates = Fate::ALL
        .map(|fate| (fate.name(), newcomers.read(fate)))
        .to_vec();
    let came = counter(
        "newcomers",
        "Connections before their registration, by what became of them",
        Values::By("fate", fates),
    );
    let now = relay_now(table).into_iter().chain([came]);
    now.chain(core_counts(&table.counts))
        .chain(plane_counts(counted))
        .collect()
}

fn gauge(name: &'static str, help: &'static str, values: Values) -> Metric {
    Metric {
        name,
        help,
        kind: MetricType::Gauge,
        values,
    }
}

fn counter(name: &'static str, help: &'static str, values: Values) -> Metric {
    Metric {
        name,
        help,
        kind: MetricType::Counter,
        values,
    }
}

fn relay_now(table: &Table) -> [Metric; 5] {
    let states = [State::Alive, State::Suspect, State::Gone]
        .map(|state| (state.name(), peers(table, state)));
    [
        gauge(
            "up_seconds",
            "Time since the relay started",
            Values::One(table.up.as_secs()),
        ),
        gauge(
            "peers",
            "Peers in the table",
            Values::By("state", states.to_vec()),
        ),
        gauge(
            "banned",
            "Peers that the operator keeps out",
            Values::One(table.banned.len() as u64),
        ),
        gauge(
            "channels",
            "Channels there are",
            Values::One(table.channels as u64),
        ),
        gauge(
            "rooms",
            "Rooms with a connected peer in them",
            Values::One(table.rooms as u64),
        ),
    ]
}

fn core_counts(counts: &Counts) -> [Metric; 10] {
    let ended = counts
        .ended
        .iter()
        .map(|(code, n)| (close::name(u64::from(*code)), *n))
        .collect();
    let why = vec![
        ("not-here", counts.not_here),
        ("refused", counts.refused),
        ("limit", counts.over_limit),
    ];
    let one = |name, help, n| counter(name, help, Values::One(n));
    [
        one(
            "registered",
            "Control connections that were registered",
            counts.registered,
        ),
        one(
            "left",
            "Control connections that went of themselves",
            counts.left,
        ),
        counter(
            "ended",
            "Control connections that the relay ended or turned away, by close code",
            Values::By("code", ended),
        ),
        one("heartbeats", "Heartbeats that came", counts.heartbeats),
        one("roster_frames", "Roster frames said", counts.roster_frames),
        one(
            "roster_changes",
            "Changes in roster frames said",
            counts.roster_changes,
        ),
        one(
            "roster_looks",
            "Members of rooms looked at to find changes of the roster",
            counts.roster_looks,
        ),
        one("opened", "Channels opened", counts.opened),
        counter("not_opened", "Channels not opened", Values::By("why", why)),
        one(
            "calls",
            "Peers called that wanted to know whether calls reach them",
            counts.calls,
        ),
    ]
}

fn plane_counts(counted: &Counted) -> [Metric; 5] {
    let causes = dropped(counted).map(|(cause, n, _)| (cause, n)).to_vec();
    let errors = vec![("send", counted.send_error), ("recv", counted.recv_error)];
    [
        counter(
            "forwarded_frames",
            "Channel frames forwarded",
            Values::One(counted.frames),
        ),
        counter(
            "forwarded_bytes",
            "Bytes in forwarded channel frames, with their headers",
            Values::One(counted.bytes),
        ),
        counter(
            "dropped",
            "Datagrams that came and went nowhere",
            Values::By("cause", causes),
        ),
        counter(
            "stun_answered",
            "STUN requests answered",
            Values::One(counted.stun_answered),
        ),
        counter(
            "socket_errors",
            "Calls that the system refused",
            Values::By("call", errors),
        ),
    ]
}

#[derive(Debug)]
struct Metrics(Vec<Metric>);

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for metric in &self.0 {
            let mut family =
                encoder.encode_descriptor(metric.name, metric.help, None, metric.kind)?;
            let value = |n: u64| -> Box<dyn EncodeMetric> {
                if matches!(metric.kind, MetricType::Gauge) {
                    Box::new(ConstGauge::new(n))
                } else {
                    Box::new(ConstCounter::new(n))
                }
            };
            match &metric.values {
                Values::One(n) => value(*n).encode(family)?,
                Values::By(label, values) => {
                    for (of, n) in values {
                        value(*n).encode(family.encode_family(&[(*label, *of)])?)?;
                    }
                }
            }
        }
        Ok(())
    }
}
