//! The status page: the liveness table and the counters as HTML. [`Text`] escapes all text from
//! outside.

use std::fmt::{self, Display, Formatter, Write};
use std::net::SocketAddr;
use std::time::Duration;

use hobnob_protocol::DeviceId;

use super::metrics::{dropped, peers};
use crate::core::State;
use crate::mailbox::Totals;
use crate::plane::Counted;
use crate::server::{PeerStatus, Table};

/// The page's style sheet.
pub(super) const STYLE: &str = include_str!("status.css");

/// The script that updates the page.
pub(super) const SCRIPT: &str = include_str!("status.js");

/// Maximum peers on the page. It counts further ones; `hobnob relay peers` lists all.
const ROWS_MAX: usize = 1_000;

/// The content of the page. Its `Display` is the HTML.
pub(super) struct Page<'a> {
    pub(super) relay: DeviceId,
    pub(super) addrs: &'a [SocketAddr],
    pub(super) table: &'a Table,
    pub(super) counted: &'a Counted,
    /// What the mailboxes hold, if there are any.
    pub(super) mailboxes: Option<Totals>,
}

impl Display for Page<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let alive = peers(self.table, State::Alive);
        write!(
            f,
            r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>hobnob relay: {alive} alive</title>
<link rel="stylesheet" href="/status.css">
<script src="/status.js" defer></script>
<noscript><meta http-equiv="refresh" content="10"></noscript>
</head>
<body>
"#
        )?;
        self.header(f)?;
        self.totals(f)?;
        self.peers(f)?;
        self.drops(f)?;
        f.write_str(FOOTER)
    }
}

const FOOTER: &str = r#"<footer>For Prometheus: <a href="/metrics">/metrics</a>. For a supervisor: <a href="/healthz">/healthz</a>.
A relay cannot read what it forwards: names and messages are encrypted between the two ends.</footer>
</body>
</html>
"#;

impl Page<'_> {
    fn header(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (id, up) = (Text(self.relay), Text(span(self.table.up)));
        write!(
            f,
            "<header><h1>hobnob relay</h1><p><code>{id}</code></p><p class=\"soft\">at UDP"
        )?;
        for addr in self.addrs {
            write!(f, " <code>{}</code>", Text(addr))?;
        }
        writeln!(
            f,
            ", up for <span id=\"up\" data-live>{up}</span></p></header>"
        )?;
        writeln!(f, "<p id=\"lost\" role=\"status\" hidden></p>")
    }

    fn totals(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (table, counted) = (self.table, self.counted);
        let lost: u64 = dropped(counted).iter().map(|(_, n, _)| n).sum();
        let here = |state| peers(table, state);
        // A colour marks only states that a peer has.
        let marked = |state: State| if here(state) > 0 { state.name() } else { "" };
        let totals = [
            (marked(State::Alive), "alive", grouped(here(State::Alive))),
            (
                marked(State::Suspect),
                "suspect",
                grouped(here(State::Suspect)),
            ),
            ("", "asleep", grouped(here(State::Asleep))),
            ("", "gone", grouped(here(State::Gone))),
            ("", "banned", grouped(table.bans.len() as u64)),
            ("", "rooms", grouped(table.rooms as u64)),
            ("", "channels", grouped(table.channels as u64)),
            ("", "frames forwarded", grouped(counted.frames)),
            ("", "bytes forwarded", bytes(counted.bytes)),
            ("", "dropped", grouped(lost)),
        ];
        let mail = self.mailboxes.into_iter().flat_map(|held| {
            let of = format!("{} of {}", bytes(held.bytes), bytes(held.bytes_max));
            [
                ("", "mailboxes", grouped(held.recipients)),
                ("", "envelopes held", grouped(held.envelopes)),
                ("", "mail held", of),
            ]
        });
        f.write_str("<dl id=\"totals\" data-live>")?;
        for (class, name, value) in totals.into_iter().chain(mail) {
            write!(
                f,
                "<div><dt>{name}</dt><dd class=\"{class}\">{}</dd></div>",
                Text(value)
            )?;
        }
        f.write_str("</dl>\n")
    }

    fn peers(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(PEERS_HEAD)?;
        let mut peers: Vec<&PeerStatus> = self.table.peers.iter().collect();
        // Connected peers come first, and among them those with a label.
        peers.sort_by_key(|peer| {
            (
                peer.row.state == State::Gone,
                peer.label.is_none(),
                peer.label.as_deref(),
                peer.row.peer,
            )
        });
        for peer in peers.iter().take(ROWS_MAX) {
            row(f, peer, self.table.up)?;
        }
        let is_asleep = |peer: &&&PeerStatus| peer.row.state == State::Asleep;
        let unlisted = self
            .table
            .asleep
            .saturating_sub(peers.iter().filter(is_asleep).count());
        let more = unlisted + peers.len().saturating_sub(ROWS_MAX);
        if peers.is_empty() {
            f.write_str("<tr><td colspan=\"12\" class=\"none\">No peer is connected or was within the last hour.</td></tr>\n")?;
        } else if more > 0 {
            let more = grouped(more as u64);
            let note = format!("and {more} more: hobnob relay peers lists all");
            writeln!(
                f,
                "<tr><td colspan=\"12\" class=\"none\">{}</td></tr>",
                Text(note)
            )?;
        }
        f.write_str("</tbody></table></div>\n")
    }

    fn drops(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("<h2>Dropped, by cause</h2>\n<div class=\"scroll\"><table><tbody id=\"drops\" data-live>\n")?;
        for (cause, n, why) in dropped(self.counted) {
            writeln!(
                f,
                "<tr><td>{cause}</td><td class=\"n\">{}</td><td class=\"why\">{why}</td></tr>",
                Text(grouped(n))
            )?;
        }
        f.write_str("</tbody></table></div>\n")
    }
}

const PEERS_HEAD: &str = r#"<h2>Peers</h2>
<div class="scroll"><table><thead><tr><th>state</th><th>peer</th><th>address</th><th class="n">connected</th><th class="n">last heard</th>
<th class="n">round trip</th><th class="n">missed</th><th class="n">rooms</th><th class="n">channels</th><th class="n">frames</th>
<th class="n">bytes</th><th>dropped</th></tr></thead><tbody id="peers" data-live>
"#;

fn row(f: &mut Formatter<'_>, peer: &PeerStatus, up: Duration) -> fmt::Result {
    let PeerStatus {
        row,
        label,
        heard_ago,
        ..
    } = peer;
    let (state, left) = (
        row.state.name(),
        if row.state == State::Gone { "left" } else { "" },
    );
    write!(
        f,
        "<tr class=\"{left}\"><td><span class=\"state {state}\">{state}</span></td><td class=\"who\">"
    )?;
    if let Some(label) = label {
        // `bdi` keeps a right-to-left label from reordering its neighbours.
        write!(f, "<b><bdi>{}</bdi></b>", Text(label))?;
    }
    write!(
        f,
        "<code>{}</code></td><td>{}</td>",
        Text(row.peer),
        Text(row.addr)
    )?;
    let connected = if row.state == State::Gone {
        String::new()
    } else {
        span(up.saturating_sub(row.since))
    };
    let rtt = row.rtt.map(millis).unwrap_or_default();
    let heard = match row.state {
        // Heartbeats of a sleeper do not change its row.
        State::Asleep => "within 75 s".to_owned(),
        State::Alive | State::Suspect | State::Gone => format!("{} ago", span(*heard_ago)),
    };
    let counts = [
        row.missed.into(),
        row.rooms as u64,
        row.channels as u64,
        row.metered.frames,
    ]
    .map(grouped);
    for cell in [connected, heard, rtt]
        .iter()
        .chain(&counts)
        .chain([&bytes(row.metered.bytes)])
    {
        write!(f, "<td class=\"n\">{}</td>", Text(cell))?;
    }
    writeln!(f, "<td class=\"drops\">{}</td></tr>", Text(drops(peer)))
}

fn drops(peer: &PeerStatus) -> String {
    let metered = &peer.row.metered;
    let causes = [
        ("over rate", metered.over_rate),
        ("wrong sender", metered.wrong_sender),
        ("unsent", metered.unsent),
    ];
    let some = causes.into_iter().filter(|(_, n)| *n > 0);
    some.map(|(cause, n)| format!("{} {cause}", grouped(n)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Any text, escaped for HTML.
struct Text<T>(T);

impl<T: Display> Display for Text<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(Escape(f), "{}", self.0)
    }
}

struct Escape<'a, 'b>(&'a mut Formatter<'b>);

impl Write for Escape<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            match char {
                '<' => self.0.write_str("&lt;")?,
                '>' => self.0.write_str("&gt;")?,
                '&' => self.0.write_str("&amp;")?,
                '"' => self.0.write_str("&quot;")?,
                '\'' => self.0.write_str("&#39;")?,
                plain => self.0.write_char(plain)?,
            }
        }
        Ok(())
    }
}

/// `12 s`, `3 min 20 s`, `5 h 2 min`, `4 d 3 h`.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {} min", minutes % 60),
        (..) => format!("{days} d {} h", hours % 24),
    }
}

fn millis(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1_000.0;
    if ms < 10.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{ms:.0} ms")
    }
}

/// `1 234 567`, with narrow spaces that do not break.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let space = |i: usize| i > 0 && (digits.len() - i).is_multiple_of(3);
    digits
        .char_indices()
        .flat_map(|(i, digit)| space(i).then_some('\u{202f}').into_iter().chain([digit]))
        .collect()
}

/// `999 B`, `1.2 MiB`.
fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let unit = (usize::try_from(n.ilog2() / 10).expect("at most 6") - 1).min(UNITS.len() - 1);
    // One digit after the point, rounded down.
    let tenths = u128::from(n) * 10 / (1 << (10 * (unit + 1)));
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let label = r#"</b><script>alert('x & y')</script><img src=x onerror="alert(1)">"#;
        let escaped = Text(label).to_string();
        assert!(!escaped.contains(['<', '>', '"', '\'']), "{escaped}");
        assert_eq!(Text("a & <b>").to_string(), "a &amp; &lt;b&gt;");
    }

    #[test]
    fn numbers_are_readable() {
        let spaced = |n: u64| grouped(n).replace('\u{202f}', " ");
        assert_eq!(
            [0, 12, 999, 1_000, 1_234_567].map(spaced),
            ["0", "12", "999", "1 000", "1 234 567"]
        );
        let sizes = [0, 1_023, 1_024, 1_290_000, 5 << 40, u64::MAX].map(bytes);
        assert_eq!(
            sizes,
            [
                "0 B",
                "1023 B",
                "1.0 KiB",
                "1.2 MiB",
                "5.0 TiB",
                "16383.9 PiB"
            ]
        );
        let spans = [0, 59, 200, 7_320, 360_000].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(spans, ["0 s", "59 s", "3 min 20 s", "2 h 2 min", "4 d 4 h"]);
        assert_eq!(
            [200, 12_345].map(|micros| millis(Duration::from_micros(micros))),
            ["0.2 ms", "12 ms"]
        );
    }
}
