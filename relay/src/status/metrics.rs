//! The metrics for Prometheus, as OpenMetrics text. No metric names a peer: peers are only in the
//! table.
//!
//! | metric | meaning |
//! | --- | --- |
//! | `hobnob_relay_up_seconds` | time since the relay started |
//! | `hobnob_relay_peers{state}` | peers in the table: alive, suspect (missed a heartbeat), gone (within the last hour) |
//! | `hobnob_relay_banned` | banned peers |
//! | `hobnob_relay_channels` | channels |
//! | `hobnob_relay_rooms` | rooms with a connected peer |
//! | `hobnob_relay_newcomers_total{fate}` | connections before their registration: begun, asked (to validate the address), refused, failed, not-admitted |
//! | `hobnob_relay_registered_total` | control connections that were registered |
//! | `hobnob_relay_left_total` | control connections that ended, other than by the relay |
//! | `hobnob_relay_ended_total{code}` | control connections that the relay ended or rejected, by close code |
//! | `hobnob_relay_heartbeats_total` | heartbeats received |
//! | `hobnob_relay_roster_frames_total` | roster frames sent |
//! | `hobnob_relay_roster_changes_total` | changes in these frames |
//! | `hobnob_relay_roster_looks_total` | members of rooms examined to find these changes |
//! | `hobnob_relay_opened_total` | channels opened |
//! | `hobnob_relay_not_opened_total{why}` | channels not opened: not-here, refused, limit |
//! | `hobnob_relay_dial_backs_total` | dial-backs that peers asked for and that were made |
//! | `hobnob_relay_forwarded_frames_total` | channel frames forwarded |
//! | `hobnob_relay_forwarded_bytes_total` | bytes of these frames, with their headers |
//! | `hobnob_relay_dropped_total{cause}` | dropped datagrams, by cause |
//! | `hobnob_relay_stun_answered_total` | STUN requests answered |
//! | `hobnob_relay_socket_errors_total{call}` | failed system calls: send, recv |

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

/// The media type of [`text`].
pub(super) const CONTENT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics at one moment.
pub(super) fn text(table: &Table, counted: &Counted, newcomers: &Newcomers) -> String {
    let mut registry = Registry::with_prefix("hobnob_relay");
    registry.register_collector(Box::new(Metrics(metrics(table, counted, newcomers))));
    let mut text = String::new();
    encode(&mut text, &registry).expect("writing to a string cannot fail");
    text
}

/// The dropped datagrams by cause, with an explanation of each cause.
pub(super) fn dropped(counted: &Counted) -> [(&'static str, u64, &'static str); 12] {
    [
        (
            "unknown-channel",
            counted.unknown_channel,
            "a frame of an unknown channel: the channel has ended, or somebody is guessing",
        ),
        (
            "wrong-sender",
            counted.wrong_sender,
            "a frame of another peer's channel, or from an earlier address of its peer",
        ),
        ("over-rate", counted.over_rate, "a peer exceeded its rate"),
        (
            "unsent",
            counted.unsent,
            "the system's send buffer was full",
        ),
        (
            "refused",
            counted.frames_refused,
            "the system rejected it, for example because there is no route to the receiver",
        ),
        (
            "overflowed",
            counted.overflowed,
            "the system's receive buffer was full: the relay is overloaded",
        ),
        (
            "quic-overflowed",
            counted.quic_overflowed,
            "QUIC that arrived faster than the relay could read it, as in a flood of newcomers",
        ),
        (
            "oversized",
            counted.oversized,
            "longer than any datagram that a peer may send",
        ),
        (
            "probe",
            counted.probe,
            "a hole-punching probe, which a relay does not expect",
        ),
        ("unknown", counted.unknown, "of no known kind, or empty"),
        (
            "stun-malformed",
            counted.stun_malformed,
            "STUN, but damaged or not a Binding request",
        ),
        (
            "stun-over-rate",
            counted.stun_over_rate,
            "more STUN requests than the relay answers",
        ),
    ]
}

/// The number of peers in this state.
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
    let newcomers = counter(
        "newcomers",
        "Connections before their registration, by fate",
        Values::By("fate", fates),
    );
    let now = relay_now(table).into_iter().chain([newcomers]);
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
            "Banned peers",
            Values::One(table.banned.len() as u64),
        ),
        gauge("channels", "Channels", Values::One(table.channels as u64)),
        gauge(
            "rooms",
            "Rooms with a connected peer",
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
            "Control connections that ended, other than by the relay",
            counts.left,
        ),
        counter(
            "ended",
            "Control connections that the relay ended or rejected, by close code",
            Values::By("code", ended),
        ),
        one("heartbeats", "Heartbeats received", counts.heartbeats),
        one("roster_frames", "Roster frames sent", counts.roster_frames),
        one(
            "roster_changes",
            "Changes in roster frames",
            counts.roster_changes,
        ),
        one(
            "roster_looks",
            "Members of rooms examined to find changes of the roster",
            counts.roster_looks,
        ),
        one("opened", "Channels opened", counts.opened),
        counter("not_opened", "Channels not opened", Values::By("why", why)),
        one(
            "dial_backs",
            "Dial-backs that peers asked for and that were made",
            counts.dial_backs,
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
        counter("dropped", "Dropped datagrams", Values::By("cause", causes)),
        counter(
            "stun_answered",
            "STUN requests answered",
            Values::One(counted.stun_answered),
        ),
        counter(
            "socket_errors",
            "Failed system calls",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_of_a_drop_is_listed_once_with_an_explanation() {
        let dropped = dropped(&Counted::default());
        let causes: std::collections::BTreeSet<_> =
            dropped.iter().map(|(cause, ..)| cause).collect();
        assert_eq!(causes.len(), dropped.len());
        assert!(dropped.iter().all(|(_, _, why)| !why.is_empty()));
    }

    #[test]
    fn a_counter_is_encoded_with_its_labels() {
        let counts = Counts {
            not_here: 3,
            dial_backs: 2,
            ..Counts::default()
        };
        let mut registry = Registry::with_prefix("hobnob_relay");
        registry.register_collector(Box::new(Metrics(core_counts(&counts).into())));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "hobnob_relay_not_opened_total{why=\"not-here\"} 3",
            "hobnob_relay_dial_backs_total 2",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}: {text}");
        }
    }
}
