//! Targets: the words by which a person names a peer, as parsed values.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::identity::{DeviceId, PersonId};
use crate::{PORT_NODE, text};

/// The beginning of every ticket of a peer.
pub(crate) const TICKET_PREFIX: &str = "hobnob:";

/// Maximum addresses and relays in one ticket. A ticket with more is rejected.
pub const TICKET_PARTS_MAX: usize = 16;

/// A host (name or IP literal) and a UDP port. An IPv6 literal may have a zone:
/// `[fe80::1%eth0]:4626` (RFC 4007 section 11).
///
/// ```
/// use hobnob_protocol::HostPort;
///
/// let at: HostPort = "[fe80::1%eth0]:4626".parse()?;
/// assert_eq!((at.host.as_str(), at.port), ("fe80::1%eth0", 4626));
/// assert_eq!(HostPort::from(std::net::SocketAddr::from(([10, 0, 0, 5], 4626))).to_string(), "10.0.0.5:4626");
/// # Ok::<(), hobnob_protocol::target::TargetError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// A DNS name, an IPv4 literal, or an IPv6 literal without brackets.
    pub host: String,
    /// UDP port, never 0.
    pub port: u16,
}

/// Where a relay is: `host:port`, or `wss://host[:port]/path`.
///
/// ```
/// use hobnob_protocol::RelayAt;
///
/// let at: RelayAt = "wss://relay.example/hobnob".parse()?;
/// assert_eq!((at.host_port().port, at.path()), (443, Some("/hobnob")));
/// assert_eq!("relay.example:4627".parse::<RelayAt>()?.path(), None);
/// # Ok::<(), hobnob_protocol::target::TargetError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RelayAt {
    /// By UDP at this host and port, or by TCP where UDP is blocked.
    Port(HostPort),
    /// By WebSocket alone, for example behind a reverse proxy.
    Web {
        /// The host and the TCP port.
        at: HostPort,
        /// The path, which starts with a slash.
        path: String,
    },
}

/// A relay, written as `[id@]host:port` or `[id@]wss://host[:port]/path`.
///
/// ```
/// use hobnob_protocol::{DeviceId, RelayAddr};
///
/// let relay: RelayAddr = "relay.example:4627".parse()?;
/// assert_eq!((relay.id, relay.at.host_port().port), (None, 4627));
/// let known = RelayAddr { id: Some(DeviceId::from_bytes([7; 32])), ..relay };
/// assert_eq!(known.to_string().parse(), Ok(known));
/// # Ok::<(), hobnob_protocol::target::TargetError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayAddr {
    /// The identity that the relay must prove, if it is known.
    pub id: Option<DeviceId>,
    /// Where it is.
    pub at: RelayAt,
}

/// All data to reach a peer, as one word that can be mailed: `hobnob:<id>?a=<addr>&r=<relay>`.
///
/// ```
/// use hobnob_protocol::{PersonId, Target, Ticket};
///
/// let id = PersonId::from_bytes([7; 32]);
/// let ticket = Ticket { id, addrs: vec!["10.0.0.5:4626".parse()?], relays: vec!["relay.example:4627".parse()?] };
/// assert_eq!(ticket.to_string().parse(), Ok(Target::Ticket(ticket)));
/// # Ok::<(), hobnob_protocol::target::TargetError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The peer.
    pub id: PersonId,
    /// Addresses that it listens on, best first.
    pub addrs: Vec<HostPort>,
    /// Relays that it registers with.
    pub relays: Vec<RelayAddr>,
}

/// A peer as a user names it.
///
/// ```
/// use hobnob_protocol::{PersonId, Target};
///
/// let id = PersonId::from_bytes([7; 32]);
/// for (word, target) in [
///     ("bob".to_owned(), Target::Name("bob".into())),
///     ("10.0.0.5".to_owned(), Target::Address("10.0.0.5:4626".parse()?)),
///     (id.to_string(), id.into()),
///     (format!("{id}@relay.example:4627"), Target::AtRelay(id, "relay.example:4627".parse()?)),
/// ] {
///     assert_eq!(word.parse(), Ok(target));
/// }
/// # Ok::<(), hobnob_protocol::target::TargetError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `host:port`, or a bare IP literal, which implies [`PORT_NODE`]: the peer that answers there.
    Address(HostPort),
    /// A full peer id.
    Id(PersonId),
    /// `id@relayhost:port`: this peer, through that relay.
    AtRelay(PersonId, RelayAt),
    /// `hobnob:…`.
    Ticket(Ticket),
    /// A nickname, `nickname~1234`, or a prefix of an id, each also with an `@` before it. Only a node that knows peers can resolve
    /// it.
    Name(String),
}

/// Why a word is not a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The word is empty.
    #[error("name a peer: its nickname, id, host:port, or ticket")]
    Empty,
    /// The part before the `@` of `id@relay` is not a full id.
    #[error("before the @ there must be a full peer id of 52 characters")]
    NotAnId,
    /// The part after the colon is not a port.
    #[error("{0:?} has no valid port: write host:port, with a port from 1 to 65535")]
    Port(String),
    /// The part after the host of `wss://host/path` is no path.
    #[error(
        "{0:?} is no address of a WebSocket: write wss://host/path, with letters, digits and -._~/ in the path"
    )]
    Path(String),
    /// The host is neither a name nor an IP literal.
    #[error("{0:?} is no host name or IP address (an IPv6 address goes in brackets: [::1]:4626)")]
    Host(String),
    /// A part of the ticket is invalid.
    #[error("this ticket is damaged at {0:?}: ask for it again, and copy the whole of it")]
    Ticket(String),
    /// The word cannot be a nickname.
    #[error("{0:?} is no nickname, id, address or ticket")]
    Name(String),
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(word: &str) -> Result<Self, TargetError> {
        let word = word.trim();
        if word.is_empty() {
            return Err(TargetError::Empty);
        }
        if let Some(ticket) = word.strip_prefix(TICKET_PREFIX) {
            return parse_ticket(ticket).map(Target::Ticket);
        }
        // As it stands in a history.
        if let Some(shown) = word.strip_prefix('@') {
            let name = shown.parse()?;
            return match name {
                Target::Id(_) | Target::Name(_) => Ok(name),
                Target::Address(_) | Target::AtRelay(..) | Target::Ticket(_) => {
                    Err(TargetError::NotAnId)
                }
            };
        }
        if let Some((id, relay)) = word.split_once('@') {
            return Ok(Target::AtRelay(
                id.parse().map_err(|_| TargetError::NotAnId)?,
                relay.parse()?,
            ));
        }
        if let Ok(id) = word.parse() {
            return Ok(Target::Id(id));
        }
        if let Some(host) = bare_ip(word) {
            return Ok(Target::Address(HostPort {
                host,
                port: PORT_NODE,
            }));
        }
        if word.contains(':') {
            return word.parse().map(Target::Address);
        }
        if text::visible(word) != word || word.chars().count() > text::NICKNAME_CHARS_MAX + 5 {
            return Err(TargetError::Name(text::visible(word).into_owned()));
        }
        Ok(Target::Name(word.to_owned()))
    }
}

impl From<PersonId> for Target {
    fn from(id: PersonId) -> Self {
        Target::Id(id)
    }
}

impl From<Ticket> for Target {
    fn from(ticket: Ticket) -> Self {
        Target::Ticket(ticket)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Address(at) => at.fmt(f),
            Target::Id(id) => id.fmt(f),
            Target::AtRelay(id, relay) => write!(f, "{id}@{relay}"),
            Target::Ticket(ticket) => ticket.fmt(f),
            Target::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TICKET_PREFIX}{}", self.id)?;
        let addrs = self.addrs.iter().map(|a| format!("a={a}"));
        let relays = self.relays.iter().map(|r| format!("r={r}"));
        for (i, part) in addrs.chain(relays).enumerate() {
            write!(f, "{}{part}", if i == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

impl FromStr for RelayAddr {
    type Err = TargetError;

    fn from_str(word: &str) -> Result<Self, TargetError> {
        match word.split_once('@') {
            Some((id, at)) => Ok(Self {
                id: Some(id.parse().map_err(|_| TargetError::NotAnId)?),
                at: at.parse()?,
            }),
            None => Ok(Self {
                id: None,
                at: word.parse()?,
            }),
        }
    }
}

impl fmt::Display for RelayAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "{id}@{}", self.at),
            None => self.at.fmt(f),
        }
    }
}

impl RelayAt {
    /// The host and the port.
    pub fn host_port(&self) -> &HostPort {
        match self {
            Self::Port(at) | Self::Web { at, .. } => at,
        }
    }

    /// The path of a WebSocket.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Port(_) => None,
            Self::Web { path, .. } => Some(path),
        }
    }
}

impl From<HostPort> for RelayAt {
    fn from(at: HostPort) -> Self {
        Self::Port(at)
    }
}

impl FromStr for RelayAt {
    type Err = TargetError;

    fn from_str(word: &str) -> Result<Self, TargetError> {
        let Some(web) = word.strip_prefix(WEB) else {
            return word.parse().map(Self::Port);
        };
        let (host, path) = match web.find('/') {
            Some(at) => web.split_at(at),
            None => (web, "/"),
        };
        if path.len() > PATH_MAX || !path.chars().all(is_in_path) {
            return Err(TargetError::Path(text::visible(word).into_owned()));
        }
        let has_port = host.rfind(':').is_some_and(|at| !host[at..].contains(']'));
        let at = if has_port {
            host.parse()?
        } else {
            format!("{host}:{PORT_WEB}").parse()?
        };
        let path = path.to_owned();
        Ok(Self::Web { at, path })
    }
}

impl fmt::Display for RelayAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(at) => at.fmt(f),
            Self::Web { at, path } => {
                let shown = at.to_string();
                let usual = format!(":{PORT_WEB}");
                write!(
                    f,
                    "{WEB}{}{path}",
                    shown.strip_suffix(&usual).unwrap_or(&shown)
                )
            }
        }
    }
}

/// The scheme of a WebSocket over TLS, and its usual port.
const WEB: &str = "wss://";
const PORT_WEB: u16 = 443;

/// Longest path of a WebSocket, in bytes.
const PATH_MAX: usize = 128;

/// Whether a path may contain this character. Others could end an HTTP head or a part of a ticket.
fn is_in_path(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~/".contains(c)
}

impl FromStr for HostPort {
    type Err = TargetError;

    fn from_str(word: &str) -> Result<Self, TargetError> {
        let (host, port) = word
            .rsplit_once(':')
            .ok_or_else(|| TargetError::Port(word.to_owned()))?;
        let port = match port.parse() {
            Ok(0) | Err(_) => return Err(TargetError::Port(word.to_owned())),
            Ok(port) => port,
        };
        let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(v6) if is_ipv6(v6) => v6,
            None if is_host_name(host) => host,
            Some(_) | None => return Err(TargetError::Host(host.to_owned())),
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl From<SocketAddr> for HostPort {
    /// A scope id becomes the zone, so that the text of a link-local address works on this machine.
    fn from(addr: SocketAddr) -> Self {
        let host = match addr {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            SocketAddr::V4(_) | SocketAddr::V6(_) => addr.ip().to_string(),
        };
        Self {
            host,
            port: addr.port(),
        }
    }
}

fn parse_ticket(ticket: &str) -> Result<Ticket, TargetError> {
    let (id, query) = ticket.split_once('?').unwrap_or((ticket, ""));
    let damaged = |at: &str| TargetError::Ticket(text::visible(at).into_owned());
    let id = id.parse().map_err(|_| damaged(id))?;
    let mut parsed = Ticket {
        id,
        addrs: Vec::new(),
        relays: Vec::new(),
    };
    for part in query.split('&').filter(|p| !p.is_empty()) {
        let (key, value) = part.split_once('=').ok_or_else(|| damaged(part))?;
        match key {
            "a" => parsed.addrs.push(value.parse().map_err(|_| damaged(part))?),
            "r" => parsed
                .relays
                .push(value.parse().map_err(|_| damaged(part))?),
            // A later version may add parts. This version uses the others.
            _ => {}
        }
        if parsed.addrs.len() + parsed.relays.len() > TICKET_PARTS_MAX {
            return Err(damaged(part));
        }
    }
    Ok(parsed)
}

fn bare_ip(word: &str) -> Option<String> {
    let inner = word
        .strip_prefix('[')
        .and_then(|w| w.strip_suffix(']'))
        .unwrap_or(word);
    (inner.parse::<IpAddr>().is_ok() || (inner.contains(':') && is_ipv6(inner)))
        .then(|| inner.to_owned())
}

fn is_ipv6(host: &str) -> bool {
    let (address, zone) = host.split_once('%').unwrap_or((host, "0"));
    let zone_fits = !zone.is_empty()
        && zone.len() <= 15
        && zone
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    zone_fits && address.parse::<Ipv6Addr>().is_ok()
}

fn is_host_name(host: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    host.len() <= 253 && host.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SecretKey;
    use proptest::prelude::*;

    fn id() -> PersonId {
        SecretKey::from_seed([1; 32]).id().person()
    }

    #[test]
    fn every_form_is_told_apart_and_prints_as_it_was_written() {
        let at = |host: &str, port| HostPort {
            host: host.into(),
            port,
        };
        let id = id();
        let ticket = Ticket {
            id,
            addrs: vec![at("10.0.0.2", 4626), at("fe80::1%eth0", 4626)],
            relays: vec![RelayAddr {
                id: Some(id.only_device()),
                at: at("relay.example", 4627).into(),
            }],
        };
        let cases = [
            (
                "10.0.0.2:4626".to_owned(),
                Target::Address(at("10.0.0.2", 4626)),
            ),
            (
                "host.example:99".to_owned(),
                Target::Address(at("host.example", 99)),
            ),
            ("[::1]:4626".to_owned(), Target::Address(at("::1", 4626))),
            (
                "[fe80::1%eth0]:4626".to_owned(),
                Target::Address(at("fe80::1%eth0", 4626)),
            ),
            (id.to_string(), Target::Id(id)),
            (
                format!("{id}@r.example:4627"),
                Target::AtRelay(id, at("r.example", 4627).into()),
            ),
            ("ann".to_owned(), Target::Name("ann".into())),
            ("ann~x4yz".to_owned(), Target::Name("ann~x4yz".into())),
            (id.short(), Target::Name(id.short())),
            (
                format!(
                    "hobnob:{id}?a=10.0.0.2:4626&a=[fe80::1%eth0]:4626&r={id}@relay.example:4627"
                ),
                Target::Ticket(ticket),
            ),
            (
                format!("hobnob:{id}"),
                Target::Ticket(Ticket {
                    id,
                    addrs: vec![],
                    relays: vec![],
                }),
            ),
        ];
        for (word, target) in cases {
            assert_eq!(word.parse(), Ok(target.clone()), "{word}");
            assert_eq!(target.to_string(), word);
        }
    }

    #[test]
    fn a_relay_may_be_a_websocket() {
        for word in [
            "wss://relay.example/hobnob",
            "wss://relay.example:8443/a/b-c_d~e.f",
            "wss://[2001:db8::1]/",
            "wss://192.0.2.1:4627/",
        ] {
            let relay = format!("{}@{word}", id());
            assert_eq!(relay.parse::<RelayAddr>().map(|r| r.to_string()), Ok(relay));
            assert!(word.parse::<RelayAt>().is_ok_and(|at| at.path().is_some()));
        }
        let bare = "wss://relay.example"
            .parse::<RelayAt>()
            .map(|at| at.to_string());
        assert_eq!(bare, Ok("wss://relay.example/".to_owned()));
        for word in [
            "wss://",
            "wss://a/b c",
            "wss://a/?x",
            "wss://a/&r=b",
            "ws://a/",
            "wss://a:0/",
        ] {
            assert!(word.parse::<RelayAt>().is_err(), "{word}");
        }
    }

    #[test]
    fn a_bare_ip_means_the_usual_port() {
        for (word, full) in [
            ("10.0.0.2", "10.0.0.2:4626"),
            ("fe80::1%eth0", "[fe80::1%eth0]:4626"),
            ("[::1]", "[::1]:4626"),
        ] {
            assert_eq!(
                word.parse::<Target>().map(|t| t.to_string()),
                Ok(full.to_owned())
            );
        }
    }

    #[test]
    fn a_name_or_an_id_may_have_the_sign_of_a_direct_conversation() {
        let id = id();
        let name = Ok(Target::Name("ann~x4yz".into()));
        assert_eq!("@ann~x4yz".parse(), name);
        assert_eq!(format!("@{id}").parse(), Ok(Target::Id(id)));
        for word in ["@", "@@", "@10.0.0.2", "@r.example:4627"] {
            assert!(word.parse::<Target>().is_err(), "{word}");
        }
    }

    #[test]
    fn wrong_words_say_what_is_wrong() {
        let cases = [
            ("", "name a peer"),
            ("host:", "no valid port"),
            ("host:0", "no valid port"),
            ("host:65536", "no valid port"),
            ("a b:1", "no host name"),
            ("[zz]:1", "no host name"),
            ("short@relay:1", "full peer id"),
            ("hobnob:abc", "damaged"),
            ("a\x1b[2Jb", "is no nickname"),
        ];
        for (word, says) in cases {
            let error = word.parse::<Target>().expect_err(word).to_string();
            assert!(error.contains(says), "{word:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_word_panics_and_what_parses_prints_and_parses_the_same(word in "[a-z0-9@:?=&.%~\\[\\]-]{0,80}|.{0,40}") {
            if let Ok(target) = word.parse::<Target>() {
                prop_assert_eq!(target.to_string().parse(), Ok(target));
            }
        }
    }
}
