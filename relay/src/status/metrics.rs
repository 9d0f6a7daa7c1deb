//! The metrics for Prometheus, as OpenMetrics text or in the older text format of Prometheus. No
//! metric names a peer: peers are only in the table.
//!
//! | metric | meaning |
//! | --- | --- |
//! | `hobnob_relay_up_seconds` | time since the relay started |
//! | `hobnob_relay_build_info{version}` | 1, for the version of the program |
//! | `hobnob_relay_peers_max` | the maximum number of peers |
//! | `hobnob_relay_peers{state}` | peers in the table: alive, suspect (missed a heartbeat), asleep, gone (within the last hour) |
//! | `hobnob_relay_banned` | bans, of identities and of address ranges |
//! | `hobnob_relay_channels` | channels |
//! | `hobnob_relay_rooms` | rooms with a connected peer |
//! | `hobnob_relay_mailboxes` | mailboxes, if the relay holds mail |
//! | `hobnob_relay_mailbox_envelopes` | envelopes that wait in them |
//! | `hobnob_relay_mailbox_bytes` | bytes of these envelopes |
//! | `hobnob_relay_mailbox_bytes_max` | the maximum of these bytes |
//! | `hobnob_relay_newcomers_total{fate}` | connections before their registration: begun, asked (to validate the address), refused, failed, not-admitted |
//! | `hobnob_relay_registered_total` | control connections that were registered |
//! | `hobnob_relay_left_total` | control connections that ended, other than by the relay |
//! | `hobnob_relay_ended_total{code}` | control connections that the relay ended or rejected, by close code |
//! | `hobnob_relay_heartbeats_total` | heartbeats received |
//! | `hobnob_relay_slept_total` | times that a peer fell asleep |
//! | `hobnob_relay_woke_total` | times that a sleeping peer connected again |
//! | `hobnob_relay_wakes_total` | wakes sent to sleeping peers that another peer wanted |
//! | `hobnob_relay_sleeper_heartbeats_total` | heartbeats of sleeping peers, and their answers |
//! | `hobnob_relay_roster_frames_total` | roster frames sent |
//! | `hobnob_relay_roster_changes_total` | changes in these frames |
//! | `hobnob_relay_roster_looks_total` | members of rooms examined to find these changes |
//! | `hobnob_relay_opened_total` | channels opened |
//! | `hobnob_relay_not_opened_total{why}` | channels not opened: not-here, refused, limit, unsure |
//! | `hobnob_relay_elsewhere_total` | requests for channels with peers of other relays of the fleet |
//! | `hobnob_relay_dial_backs_total` | dial-backs that peers asked for and that were made |
//! | `hobnob_relay_forwarded_frames_total` | channel frames forwarded |
//! | `hobnob_relay_forwarded_bytes_total` | bytes of these frames, with their headers |
//! | `hobnob_relay_dropped_total{cause}` | dropped datagrams, by cause |
//! | `hobnob_relay_stun_answered_total` | STUN requests answered |
//! | `hobnob_relay_socket_errors_total{call}` | failed system calls: send, recv |
//! | `hobnob_relay_forward_seconds` | histogram: time from receiving frames until they are sent; one receive call in 16 is measured |
//! | `process_resident_memory_bytes` | memory of the process |
//! | `process_cpu_seconds_total` | processor time of the process |
//! | `process_open_fds` | open file descriptors |
//! | `process_max_fds` | limit of open file descriptors |

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use hobnob_protocol::relay::close;

use super::process::Process;
use crate::core::{Counts, State};
use crate::mailbox::Totals;
use crate::plane::{Counted, Latency};
use crate::server::{Fate, Newcomers, Table};

/// The media type of OpenMetrics text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The media type of the older format, for programs that do not ask for OpenMetrics.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The sources of the metrics.
pub(super) struct Sources<'a> {
    pub(super) table: &'a Table,
    pub(super) counted: &'a Counted,
    pub(super) newcomers: &'a Newcomers,
    pub(super) latency: Latency,
    /// What the mailboxes hold, if there are any.
    pub(super) mailboxes: Option<Totals>,
}

/// The media type and all metrics at one moment, in the format that the header `Accept` asks for.
pub(super) fn answer(sources: Sources<'_>, accept: &str) -> (&'static str, String) {
    let text = open_metrics(sources, Process::now());
    if accept.contains("application/openmetrics-text") {
        (OPEN_METRICS, text)
    } else {
        (PROMETHEUS, to_prometheus(&text))
    }
}

fn open_metrics(sources: Sources<'_>, process: Process) -> String {
    let mut relay = Registry::with_prefix("hobnob_relay");
    relay.register_collector(Box::new(Metrics(metrics(sources))));
    let mut others = Registry::default();
    others.register_collector(Box::new(Metrics(process_metrics(process))));
    let mut text = String::new();
    for registry in [&relay, &others] {
        encode_registry(&mut text, registry).expect("writing to a string cannot fail");
    }
    encode_eof(&mut text).expect("writing to a string cannot fail");
    text
}

/// OpenMetrics names a counter without `_total` in its header lines, and ends with a line of its own.
fn to_prometheus(open_metrics: &str) -> String {
    let lines: Vec<&str> = open_metrics.lines().collect();
    let counters: BTreeSet<&str> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut text = String::new();
    for line in lines.into_iter().filter(|line| *line != "# EOF") {
        let header = ["# HELP ", "# TYPE "]
            .into_iter()
            .find_map(|header| Some((header, line.strip_prefix(header)?.split_once(' ')?)));
        match header {
            Some((header, (name, rest))) if counters.contains(name) => {
                text.push_str(&format!("{header}{name}_total {rest}\n"));
            }
            Some(_) | None => text.push_str(&format!("{line}\n")),
        }
    }
    text
}

/// The dropped datagrams by cause, with an explanation of each cause.
pub(super) fn dropped(counted: &Counted) -> [(&'static str, u64, &'static str); 13] {
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
        (
            "heartbeat",
            counted.beats_refused,
            "a heartbeat of nobody who sleeps here, forged, or repeated",
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
    if state == State::Asleep {
        // The table lists some of them only.
        return table.asleep as u64;
    }
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
    Fraction(f64),
    By(&'static str, Vec<(&'static str, u64)>),
    Histogram(Latency),
}

fn metrics(sources: Sources<'_>) -> Vec<Metric> {
    let Sources {
        table,
        counted,
        newcomers,
        latency,
        mailboxes,
    } = sources;
    let fates = Fate::ALL
        .map(|fate| (fate.name(), newcomers.read(fate)))
        .to_vec();
    let newcomers = counter(
        "newcomers",
        "Connections before their registration, by fate",
        Values::By("fate", fates),
    );
    let latency = Metric {
        name: "forward_seconds",
        help: "Time from receiving frames until they are sent",
        kind: MetricType::Histogram,
        values: Values::Histogram(latency),
    };
    let build = gauge(
        "build_info",
        "1, for the version of the program",
        Values::By("version", vec![(env!("CARGO_PKG_VERSION"), 1)]),
    );
    let now = relay_now(table)
        .into_iter()
        .chain([build, newcomers, latency]);
    now.chain(core_counts(&table.counts))
        .chain(plane_counts(counted))
        .chain(mailboxes.into_iter().flat_map(mailbox_totals))
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

fn relay_now(table: &Table) -> [Metric; 6] {
    let states = [State::Alive, State::Suspect, State::Asleep, State::Gone]
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
            "peers_max",
            "Maximum number of peers",
            Values::One(table.peers_max as u64),
        ),
        gauge(
            "banned",
            "Bans, of identities and of address ranges",
            Values::One(table.bans.len() as u64),
        ),
        gauge("channels", "Channels", Values::One(table.channels as u64)),
        gauge(
            "rooms",
            "Rooms with a connected peer",
            Values::One(table.rooms as u64),
        ),
    ]
}

fn mailbox_totals(totals: Totals) -> [Metric; 4] {
    let one = |name, help, n| gauge(name, help, Values::One(n));
    [
        one("mailboxes", "Mailboxes", totals.recipients),
        one(
            "mailbox_envelopes",
            "Envelopes that wait in mailboxes",
            totals.envelopes,
        ),
        one("mailbox_bytes", "Bytes of these envelopes", totals.bytes),
        one(
            "mailbox_bytes_max",
            "The maximum of these bytes",
            totals.bytes_max,
        ),
    ]
}

fn process_metrics(process: Process) -> Vec<Metric> {
    let Process {
        resident_bytes,
        cpu_seconds,
        open_fds,
        max_fds,
    } = process;
    let one = |name, help, n: Option<u64>| Some(gauge(name, help, Values::One(n?)));
    let cpu = cpu_seconds.map(|seconds| {
        counter(
            "process_cpu_seconds",
            "Processor time in user and system mode",
            Values::Fraction(seconds),
        )
    });
    [
        one(
            "process_resident_memory_bytes",
            "Memory that is not swapped out",
            resident_bytes,
        ),
        cpu,
        one("process_open_fds", "Open file descriptors", open_fds),
        one("process_max_fds", "Limit of open file descriptors", max_fds),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn core_counts(counts: &Counts) -> [Metric; 14] {
    let ended = counts
        .ended
        .iter()
        .map(|(code, n)| (close::name(u64::from(*code)), *n))
        .collect();
    let why = vec![
        ("not-here", counts.not_here),
        ("refused", counts.refused),
        ("limit", counts.over_limit),
        ("unsure", counts.unsure),
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
        one("slept", "Times that a peer fell asleep", counts.slept),
        one(
            "woke",
            "Times that a sleeping peer connected again",
            counts.woke,
        ),
        one(
            "wakes",
            "Wakes sent to sleeping peers that another peer wanted",
            counts.wakes,
        ),
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
            "elsewhere",
            "Requests for channels with peers of other relays of the fleet",
            counts.elsewhere,
        ),
        one(
            "dial_backs",
            "Dial-backs that peers asked for and that were made",
            counts.dial_backs,
        ),
    ]
}

fn plane_counts(counted: &Counted) -> [Metric; 6] {
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
            "sleeper_heartbeats",
            "Heartbeats of sleeping peers, and their answers",
            Values::One(counted.beats),
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

type NoExemplars = HashMap<usize, Exemplar<[(&'static str, &'static str); 0], f64>>;

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
                Values::Fraction(n) => ConstCounter::new(*n).encode(family)?,
                Values::Histogram(Latency {
                    buckets,
                    count,
                    sum,
                }) => {
                    let (sum, no_exemplars) = (sum.as_secs_f64(), None::<&NoExemplars>);
                    family.encode_histogram(sum, *count, buckets, no_exemplars)?;
                }
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
    use crate::admission::Bans;

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
        encode_registry(&mut text, &registry).unwrap();
        for line in [
            "hobnob_relay_not_opened_total{why=\"not-here\"} 3",
            "hobnob_relay_dial_backs_total 2",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}: {text}");
        }
    }

    fn sources<'a>(
        table: &'a Table,
        counted: &'a Counted,
        newcomers: &'a Newcomers,
    ) -> Sources<'a> {
        Sources {
            table,
            counted,
            newcomers,
            latency: Latency {
                buckets: vec![(0.001, 2), (f64::INFINITY, 1)],
                count: 3,
                sum: std::time::Duration::from_millis(1_500),
            },
            mailboxes: Some(Totals {
                recipients: 3,
                envelopes: 2,
                bytes: 2_048,
                bytes_max: 1 << 30,
            }),
        }
    }

    fn table() -> Table {
        Table {
            peers: Vec::new(),
            asleep: 0,
            peers_max: 500,
            bans: Bans::default(),
            counts: Counts::default(),
            connections: 0,
            channels: 0,
            rooms: 0,
            up: std::time::Duration::from_secs(5),
        }
    }

    /// The rules of the text format (Prometheus, exposition formats): each name has one HELP and one
    /// TYPE before its samples, a counter ends in `_total`, and a sample has a number.
    fn check_format(text: &str) {
        let mut described = BTreeSet::new();
        let mut current = ("", "");
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(!help.is_empty() && described.insert(name), "{line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                current = kind.split_once(' ').unwrap();
                assert!(described.contains(current.0), "{line}");
                assert_eq!(
                    current.1 == "counter",
                    current.0.ends_with("_total"),
                    "{line}"
                );
            } else {
                let (name, value) = line.rsplit_once(' ').unwrap();
                let name = name.split('{').next().unwrap();
                let rest = name.strip_prefix(current.0);
                let parts = ["_bucket", "_sum", "_count"];
                let known = match (current.1, rest) {
                    ("histogram", Some(part)) => parts.contains(&part),
                    (_, rest) => rest == Some(""),
                };
                assert!(known, "{line} after {current:?}");
                value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
            }
        }
    }

    #[test]
    fn the_older_text_format_follows_its_rules() {
        let (table, counted) = (table(), Counted::default());
        let newcomers = Newcomers::default();
        let (media, text) = answer(sources(&table, &counted, &newcomers), "*/*");
        assert!(media.starts_with("text/plain"), "{media}");
        check_format(&text);
        for line in [
            "# TYPE hobnob_relay_left_total counter",
            "hobnob_relay_mailboxes 3",
            "hobnob_relay_mailbox_envelopes 2",
            &format!(
                "hobnob_relay_build_info{{version=\"{}\"}} 1",
                env!("CARGO_PKG_VERSION")
            ),
            "hobnob_relay_peers_max 500",
            "hobnob_relay_forward_seconds_bucket{le=\"0.001\"} 2",
            "hobnob_relay_forward_seconds_bucket{le=\"+Inf\"} 3",
            "hobnob_relay_forward_seconds_sum 1.5",
            "hobnob_relay_forward_seconds_count 3",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}: {text}");
        }
    }

    #[test]
    fn a_scraper_that_asks_for_open_metrics_gets_it() {
        let (table, counted) = (table(), Counted::default());
        let newcomers = Newcomers::default();
        let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.1";
        let (media, text) = answer(sources(&table, &counted, &newcomers), accept);
        assert_eq!(media, OPEN_METRICS);
        assert!(text.ends_with("# EOF\n") && text.contains("# TYPE hobnob_relay_left counter"));
    }
}
