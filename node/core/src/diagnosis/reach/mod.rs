//! Verdicts about who can reach this node: whether calls come in, and which kind of NAT there is,
//! in the terms of RFC 5780 section 4.
//!
//! *Mapping* is which public port a NAT gives to a socket: one for all it writes to
//! (endpoint-independent), another for each address (address-dependent), or for each address and
//! port. *Filtering* is whom it lets in there: anybody, any port of an address that was written to,
//! or only the very ports. A relay has one address, so some questions need a second relay, and some
//! nobody here can answer; what is not known is not guessed.

use super::Call;
use super::Check;
use super::Evidence;
use super::Relay;
use super::RelayCall;
use super::RelayState;
use crate::scope::is_link_local;
use std::net::IpAddr;
use std::net::SocketAddr;

/// All checks of these.
pub(super) fn judge(evidence: &Evidence) -> Vec<Check> {
    let outside = Outside::of(evidence);
    let mut checks = vec![calls(evidence, &outside), nat(&outside)];
    if let Outside::Nat(views) = &outside {
        checks.push(filtering(views));
    }
    checks
}

/// How one relay sees this node.
#[derive(Debug, Clone, Copy)]
struct View<'a> {
    name: &'a str,
    relay: SocketAddr,
    seen: SocketAddr,
    call: RelayCall,
}

/// How this node looks from outside.
#[derive(Debug)]
enum Outside<'a> {
    /// No relay is there to say so.
    Unknown,
    /// As itself; `public` if that is so beyond its own network, too.
    Itself { views: Vec<View<'a>>, public: bool },
    /// As somebody else. A relay on this side of the NAT does not see it, and is not among these.
    Nat(Vec<View<'a>>),
}

impl<'a> Outside<'a> {
    fn of(evidence: &'a Evidence) -> Self {
        let view = |relay: &'a Relay| match relay.state {
            RelayState::Up(at, seen) => Some(View {
                name: &relay.at,
                relay: at,
                seen,
                call: relay.call,
            }),
            RelayState::Connecting
            | RelayState::NoAddress(_)
            | RelayState::OtherIdentity
            | RelayState::Refused(_)
            | RelayState::Down(_) => None,
        };
        let own = |view: &View<'_>| {
            let ip = view.seen.ip();
            let here = evidence.networks.iter().any(|network| network.ip == ip)
                && view.seen.port() == evidence.port;
            here || ip.is_loopback() || is_link_local(ip)
        };
        let (own, others): (Vec<_>, Vec<_>) =
            evidence.relays.iter().filter_map(view).partition(own);
        match (own.is_empty(), others.is_empty()) {
            (true, true) => Outside::Unknown,
            (false, true) => Outside::Itself {
                public: own.iter().any(|view| is_public(view.seen.ip())),
                views: own,
            },
            (_, false) => Outside::Nat(others),
        }
    }
}

fn calls(evidence: &Evidence, outside: &Outside<'_>) -> Check {
    let (views, no_nat) = match outside {
        Outside::Unknown => (&[][..], false),
        Outside::Itself { views, .. } => (&views[..], true),
        Outside::Nat(views) => (&views[..], false),
    };
    // A NAT keeps out calls from elsewhere, too, which is its kind and no fault; from a neighbour,
    // none stands between.
    let kept_out = |call: &&Call| call.made && !call.came && (call.neighbour || no_nat);
    let relay_kept_out =
        |view: &&View<'_>| no_nat && view.call.made && !view.call.came && view.call.seen.is_some();
    let near = evidence
        .calls
        .iter()
        .any(|call| call.came && call.neighbour);
    let far = evidence
        .calls
        .iter()
        .any(|call| call.came && !call.neighbour);
    let by_relay = views.iter().find(|view| view.call.came);
    let fix = "let UDP port 4626 (or the one that `hobnob id` shows) in through the firewall: on Linux `sudo ufw allow 4626/udp`, or `sudo \
               firewall-cmd --permanent --add-port=4626/udp` and `sudo firewall-cmd --reload`; without that, two machines with such firewalls \
               meet only if a relay introduces them";
    if let Some(view) = views
        .iter()
        .find(relay_kept_out)
        .filter(|_| by_relay.is_none() && !far)
    {
        let text = if near {
            format!(
                "calls come in from this network, and not from elsewhere: the relay at {} called from a port that was new to this node, and was not \
                 heard; a firewall between this network and the internet lets answers in, but no calls",
                view.name
            )
        } else {
            format!(
                "the relay at {} called from a port that was new to this machine, and was not heard: a firewall here lets answers in, but no \
                 calls",
                view.name
            )
        };
        return Check::problem("calls", "calls-blocked", text, fix);
    }
    if near || far {
        return Check::fine("calls", "a peer that was asked to call came through");
    }
    if let Some(view) = by_relay {
        return Check::fine(
            "calls",
            format!(
                "a call of the relay at {}, from a port that was new to this node, came through",
                view.name
            ),
        );
    }
    if evidence.calls.iter().any(|call| kept_out(&call)) {
        let text = "a peer called from a socket that was new to this machine, and was not heard: a firewall here lets answers in, but no calls";
        return Check::problem("calls", "calls-blocked", text, fix);
    }
    let text = match outside {
        _ if views.iter().all(|view| !view.call.made)
            && evidence.calls.iter().all(|call| !call.made) =>
        {
            "nobody who could call is here: a peer on this network, or a relay, makes this known"
        }
        Outside::Nat(_) => {
            "no call came through; that may be the NAT, which keeps calls out as most do: a peer on this network could tell"
        }
        Outside::Unknown | Outside::Itself { .. } => {
            "no call came through, and no answer from where it was made: it may have been lost on the way"
        }
    };
    Check::unknown("calls", text)
}

/// How a NAT maps sockets to public ports, as far as that shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mapping {
    EndpointIndependent,
    AddressDependent,
    AddressAndPortDependent,
    /// Not by port: one of the first two.
    NotByPort,
    /// Not endpoint-independent: one of the other two.
    Dependent,
    Unknown,
}

impl Mapping {
    fn of(views: &[View<'_>]) -> Self {
        let v4 = views.iter().any(|view| view.seen.is_ipv4());
        let views: Vec<_> = views
            .iter()
            .filter(|view| view.seen.is_ipv4() == v4)
            .collect();
        let pairs = || {
            views
                .iter()
                .enumerate()
                .flat_map(|(i, one)| views[i + 1..].iter().map(move |other| (one, other)))
        };
        // The same for all that were compared, another for any, or nothing to compare.
        let same = |all: &mut dyn Iterator<Item = bool>| all.reduce(|one, other| one && other);
        let by_address = same(
            &mut pairs()
                .filter(|(a, b)| a.relay.ip() != b.relay.ip())
                .map(|(a, b)| a.seen == b.seen),
        );
        let ports = pairs()
            .filter(|(a, b)| a.relay.ip() == b.relay.ip() && a.relay != b.relay)
            .map(|(a, b)| a.seen == b.seen);
        let callers = views
            .iter()
            .filter_map(|view| Some(view.call.seen? == view.seen));
        match (by_address, same(&mut ports.chain(callers))) {
            (_, Some(false)) => Mapping::AddressAndPortDependent,
            (Some(true), _) => Mapping::EndpointIndependent,
            (Some(false), Some(true)) => Mapping::AddressDependent,
            (Some(false), None) => Mapping::Dependent,
            (None, Some(true)) => Mapping::NotByPort,
            (None, None) => Mapping::Unknown,
        }
    }

    /// In RFC 5780's words.
    fn name(self) -> &'static str {
        match self {
            Mapping::EndpointIndependent => "endpoint-independent",
            Mapping::AddressDependent => "address-dependent",
            Mapping::AddressAndPortDependent => "address-and-port-dependent",
            Mapping::NotByPort => "endpoint-independent or address-dependent",
            Mapping::Dependent => "address-dependent or address-and-port-dependent",
            Mapping::Unknown => "unknown",
        }
    }

    /// As one word, for programs.
    fn kind(self) -> &'static str {
        match self {
            Mapping::NotByPort => "endpoint-independent-or-address-dependent",
            Mapping::Dependent => "address-dependent-or-address-and-port-dependent",
            Mapping::EndpointIndependent
            | Mapping::AddressDependent
            | Mapping::AddressAndPortDependent
            | Mapping::Unknown => self.name(),
        }
    }
}

fn nat(outside: &Outside<'_>) -> Check {
    let views = match outside {
        Outside::Unknown => {
            return Check::unknown(
                "nat",
                "no relay is there to say how this node looks from outside",
            );
        }
        Outside::Itself { public: true, .. } => {
            let text = "no NAT: relays see this machine's own address, so peers can reach it directly if calls come in";
            return Check::fine("nat", text).of_kind("none");
        }
        Outside::Itself { public: false, .. } => {
            let text = "the relay is on this machine's own network, and can't say how this node looks from outside";
            return Check::unknown("nat", text);
        }
        Outside::Nat(views) => views,
    };
    let mapping = Mapping::of(views);
    let name = mapping.name();
    let check = match mapping {
        Mapping::EndpointIndependent => {
            let text = format!(
                "behind a NAT with {name} mapping (RFC 5780): peers can usually reach this node directly, once a relay has introduced them"
            );
            Check::fine("nat", text)
        }
        Mapping::NotByPort => {
            let text = format!(
                "behind a NAT with {name} mapping (RFC 5780; a second relay, on another machine, would tell which): with most such NATs, peers can \
                 reach this node directly, once a relay has introduced them"
            );
            Check::unknown("nat", text)
        }
        Mapping::AddressDependent | Mapping::AddressAndPortDependent | Mapping::Dependent => {
            let text = format!(
                "behind a NAT with {name} mapping (RFC 5780; \"symmetric\"): whoever it talks with sees it at another port, so peers behind NATs \
                 usually can't reach this node directly, and it talks with them through a relay"
            );
            Check::note("nat", "nat-dependent", text)
        }
        Mapping::Unknown => {
            let text = "behind a NAT, of which kind the relay can't tell: it gave no answer from a second port (is it an older version?); a second \
                        relay, on another machine, would tell";
            Check::unknown("nat", text)
        }
    };
    check.of_kind(mapping.kind())
}

/// Whom a NAT, or a firewall beside it, lets in.
fn filtering(views: &[View<'_>]) -> Check {
    if views.iter().any(|view| view.call.came) {
        let text = "the NAT's filtering is endpoint-independent or address-dependent (RFC 5780): it lets in other ports than those that this node \
                    has written to, so even peers behind \"symmetric\" NATs can usually reach it directly";
        // Which of the two, somebody could tell who has never been written to; a relay has.
        return Check::fine("filtering", text).of_kind("endpoint-independent-or-address-dependent");
    }
    if views
        .iter()
        .any(|view| view.call.made && view.call.seen.is_some())
    {
        let text = "the NAT's filtering is address-and-port-dependent (RFC 5780), as most are: it lets in only whom this node has written to, so peers \
                    reach it directly if both write at once, for which a relay brings them together; those behind \"symmetric\" NATs do not";
        return Check::fine("filtering", text).of_kind("address-and-port-dependent");
    }
    let text = "whom the NAT lets in (its filtering, RFC 5780) can't be told: no relay here could call from a second port and be answered there";
    Check::unknown("filtering", text).of_kind("unknown")
}

/// Whether an address means the same everywhere.
fn is_public(ip: IpAddr) -> bool {
    let private = match ip {
        // The last is what providers use between themselves and their customers (RFC 6598).
        IpAddr::V4(v4) => v4.is_private() || (v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64),
        IpAddr::V6(v6) => v6.is_unique_local(),
    };
    !(private || ip.is_loopback() || is_link_local(ip))
}

#[cfg(test)]
mod tests;
