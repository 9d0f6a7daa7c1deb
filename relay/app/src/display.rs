//! How the relay's events are printed, for people and as JSON lines.

use std::io;

use hobnob_local::json::to_line;
use hobnob_local::output::{self, columns, count, join};
use hobnob_protocol::text::visible;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::admin_lines::{PeerRow, RelayEvent, RelayEventLine};

/// Prints events: peers as a table, all others as one line each.
pub(crate) fn print(events: &[RelayEvent], json: bool) -> io::Result<()> {
    if json {
        return events
            .iter()
            .try_for_each(|event| output::raw(&to_line(&RelayEventLine::from(event.clone()))));
    }
    columns(&events.iter().filter_map(peer).collect::<Vec<_>>())
        .iter()
        .try_for_each(|row| output::line(row))?;
    events
        .iter()
        .flat_map(plain)
        .try_for_each(|line| output::line(&line))
}

fn peer(event: &RelayEvent) -> Option<[String; 8]> {
    match event {
        RelayEvent::RelayPeer(row) => Some(cells(row)),
        RelayEvent::Listening { .. }
        | RelayEvent::ReachedAt { .. }
        | RelayEvent::Status { .. }
        | RelayEvent::Kicked { .. }
        | RelayEvent::Banned { .. }
        | RelayEvent::Unbanned { .. }
        | RelayEvent::BannedRange { .. }
        | RelayEvent::UnbannedRange { .. }
        | RelayEvent::Drained { .. }
        | RelayEvent::FleetKey { .. }
        | RelayEvent::NatsUser { .. }
        | RelayEvent::FleetList { .. } => None,
    }
}

fn cells(row: &PeerRow) -> [String; 8] {
    [
        row.label
            .as_deref()
            .map_or_else(|| row.peer.0.short(), |label| visible(label).into_owned()),
        row.state.clone(),
        row.addr.to_string(),
        row.rtt_ms.map_or_else(|| "-".into(), rtt),
        count(row.rooms, "room"),
        count(row.channels, "channel"),
        size(row.bytes),
        row.peer.0.to_string(),
    ]
}

fn plain(event: &RelayEvent) -> Vec<String> {
    match event {
        RelayEvent::Listening {
            relay,
            addrs,
            public,
        } => {
            let now = local_minute();
            let mut lines = vec![format!(
                "{now} relay {} listens on {}",
                relay.0.short(),
                join(addrs)
            )];
            let usage =
                |at: &dyn std::fmt::Display| format!("{now} use it with --relay {}@{at}", relay.0);
            match public {
                Some(public) => lines.push(usage(&public.0)),
                None => lines.extend(addrs.iter().map(|addr| usage(addr))),
            }
            lines
        }
        RelayEvent::ReachedAt { addr } => vec![format!(
            "{} peers reach this relay at {addr}, which is not an address of this machine. If that is its public address, start the relay with --public-name {addr} to print it",
            local_minute()
        )],
        RelayEvent::Status { addr } => vec![format!("{} status at http://{addr}/", local_minute())],
        RelayEvent::RelayPeer(_) => Vec::new(),
        RelayEvent::Kicked { peer } => vec![format!("kicked {}", peer.0)],
        RelayEvent::Banned { peer } => vec![format!("banned {}", peer.0)],
        RelayEvent::Unbanned { peer } => vec![format!("no longer banned {}", peer.0)],
        RelayEvent::BannedRange { range } => vec![format!("banned {}", range.0)],
        RelayEvent::UnbannedRange { range } => vec![format!("no longer banned {}", range.0)],
        RelayEvent::Drained { peers } => vec![format!(
            "disconnected {}; the relay refuses all until it starts again",
            count(*peers, "peer")
        )],
        RelayEvent::FleetKey { fleet } => vec![format!("fleet {}", fleet.0)],
        RelayEvent::NatsUser { user } => vec![format!("user {user}")],
        RelayEvent::FleetList {
            fleet,
            number,
            relays,
        } => {
            let mut lines = vec![format!("fleet {}, list {number}", fleet.0)];
            lines.extend(relays.iter().map(|relay| format!("relay {}", relay.0)));
            lines
        }
    }
}

fn rtt(ms: f64) -> String {
    format!("{ms:.1} ms")
}

/// The current local time to the minute, as log lines start with it.
fn local_minute() -> String {
    Timestamp::now()
        .to_zoned(TimeZone::system())
        .strftime("%Y-%m-%d %H:%M")
        .to_string()
}

/// `0 B`, `999 B`, `1.0 kB`, `12.3 MB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let mut tenths = bytes / 100;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while tenths >= 10_000 {
        let Some(next) = units.next() else { break };
        (tenths, unit) = (tenths / 1_000, next);
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_local::json::{Text, Time};
    use hobnob_protocol::DeviceId;

    #[test]
    fn a_peer_is_a_row() {
        let row = PeerRow {
            peer: Text(DeviceId::from_bytes([1; 32])),
            label: Some("ann\u{1b}".into()),
            state: "alive".into(),
            addr: "192.0.2.7:5".parse().unwrap(),
            since: Time(0),
            heard_ms: 12,
            rtt_ms: Some(1.26),
            missed: 0,
            rooms: 1,
            channels: 2,
            frames: 3,
            bytes: 1_234_567,
            over_rate: 0,
            wrong_sender: 0,
            unsent: 0,
        };
        let shown = cells(&row);
        assert_eq!(
            shown[..7],
            [
                "ann␛",
                "alive",
                "192.0.2.7:5",
                "1.3 ms",
                "1 room",
                "2 channels",
                "1.2 MB"
            ]
        );
        assert_eq!(
            cells(&PeerRow { label: None, ..row })[0],
            DeviceId::from_bytes([1; 32]).short()
        );
    }

    #[test]
    fn a_listening_relay_shows_how_to_use_it() {
        let relay = Text(DeviceId::from_bytes([1; 32]));
        let lines = plain(&RelayEvent::Listening {
            relay,
            addrs: vec!["192.0.2.7:4627".parse().unwrap()],
            public: None,
        });
        assert!(
            lines[1].ends_with(&format!("use it with --relay {}@192.0.2.7:4627", relay.0)),
            "{lines:?}"
        );
        let lines = plain(&RelayEvent::Listening {
            relay,
            addrs: vec!["10.0.0.7:4627".parse().unwrap()],
            public: Some(Text("relay.example:443".parse().unwrap())),
        });
        let usage = format!("use it with --relay {}@relay.example:443", relay.0);
        assert_eq!(lines.len(), 2, "the private address is of no use elsewhere");
        assert!(lines[1].ends_with(&usage), "{lines:?}");
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (999_999, "999.9 kB"),
            (1_000_000, "1.0 MB"),
            (u64::MAX, "18446744.0 TB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
    }
}
