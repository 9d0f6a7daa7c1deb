//! Findings about the reachability of this node: whether dial-backs arrive, and the kind of NAT in the
//! terms of RFC 5780, section 4.
//!
//! *Mapping* is the public port that a NAT gives to a socket: one for all destinations
//! (endpoint-independent), one per destination address (address-dependent), or one per address and
//! port. *Filtering* decides which packets the NAT lets in at that port: all packets, those from
//! any port of an address that the socket has written to, or only those from the exact ports. A
//! relay has one address, so some questions need a second relay, and some cannot be answered. This
//! module never guesses.

use super::findings::ReachFinding;
use super::nat::{Filtering, Mapping};
use super::{Evidence, PeerDialBack, Relay, RelayDialBack, RelayState};
use crate::scope::{is_link_local, is_public};
use std::net::SocketAddr;

/// Runs these checks.
pub(super) fn judge(evidence: &Evidence) -> Vec<ReachFinding> {
    let outside = Outside::of(evidence);
    let mut findings = vec![dial_backs(evidence, &outside), nat(&outside)];
    if let Outside::Nat(views) = &outside {
        findings.push(filtering(views));
    }
    findings.extend(evidence.port_mapping.judge());
    findings
}

/// How one relay sees this node.
#[derive(Debug, Clone, Copy)]
struct View<'a> {
    name: &'a str,
    relay: SocketAddr,
    seen: SocketAddr,
    dial_back: RelayDialBack,
}

/// How this node looks from outside.
#[derive(Debug)]
enum Outside<'a> {
    /// No relay is connected to report it.
    Unknown,
    /// At its own address. `public` if the address is valid beyond its own network.
    Itself { views: Vec<View<'a>>, public: bool },
    /// At another address. A relay on this side of the NAT does not see it, and is not listed.
    Nat(Vec<View<'a>>),
}

impl<'a> Outside<'a> {
    fn of(evidence: &'a Evidence) -> Self {
        let view = |relay: &'a Relay| match relay.state {
            RelayState::Up(at, seen) => Some(View {
                name: &relay.at,
                relay: at,
                seen,
                dial_back: relay.dial_back,
            }),
            RelayState::UpByTcp
            | RelayState::Connecting
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

fn dial_backs(evidence: &Evidence, outside: &Outside<'_>) -> ReachFinding {
    let (views, no_nat) = match outside {
        Outside::Unknown => (&[][..], false),
        Outside::Itself { views, .. } => (&views[..], true),
        Outside::Nat(views) => (&views[..], false),
    };
    // A NAT also drops dial-backs from outside. That is how it works, not a fault. A neighbour's
    // dial-back passes no NAT.
    let kept_out = |dial_back: &PeerDialBack| {
        dial_back.sent && !dial_back.arrived && (dial_back.neighbour || no_nat)
    };
    let relay_kept_out = |view: &&View<'_>| {
        no_nat && view.dial_back.sent && !view.dial_back.arrived && view.dial_back.seen.is_some()
    };
    let arrived = |neighbour| {
        let mut all = evidence.dial_backs.iter();
        all.any(|dial_back| dial_back.arrived && dial_back.neighbour == neighbour)
    };
    let (near, far) = (arrived(true), arrived(false));
    let by_relay = views.iter().find(|view| view.dial_back.arrived);
    let by_no_relay = views.iter().find(relay_kept_out);
    if let Some(view) = by_no_relay.filter(|_| by_relay.is_none() && !far) {
        return ReachFinding::DialBackBlocked {
            relay: Some(view.name.to_owned()),
            near,
        };
    }
    if near || far {
        return ReachFinding::DialBackArrived { relay: None };
    }
    if let Some(view) = by_relay {
        return ReachFinding::DialBackArrived {
            relay: Some(view.name.to_owned()),
        };
    }
    if evidence.dial_backs.iter().any(kept_out) {
        return ReachFinding::DialBackBlocked { relay: None, near };
    }
    let none_was_sent = views.iter().all(|view| !view.dial_back.sent)
        && evidence.dial_backs.iter().all(|dial_back| !dial_back.sent);
    match outside {
        _ if none_was_sent => ReachFinding::DialBackUntested {},
        Outside::Nat(_) => ReachFinding::DialBackBehindNat {},
        Outside::Unknown | Outside::Itself { .. } => ReachFinding::DialBackLost {},
    }
}

/// How the NAT maps sockets to public ports, as far as the relays show it.
fn mapping(views: &[View<'_>]) -> Mapping {
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
    // `Some(true)`: all compared ports are equal. `None`: there is nothing to compare.
    let same = |all: &mut dyn Iterator<Item = bool>| all.reduce(|one, other| one && other);
    let by_address = same(
        &mut pairs()
            .filter(|(a, b)| a.relay.ip() != b.relay.ip())
            .map(|(a, b)| a.seen == b.seen),
    );
    let ports = pairs()
        .filter(|(a, b)| a.relay.ip() == b.relay.ip() && a.relay != b.relay)
        .map(|(a, b)| a.seen == b.seen);
    let other_sockets = views
        .iter()
        .filter_map(|view| Some(view.dial_back.seen? == view.seen));
    match (by_address, same(&mut ports.chain(other_sockets))) {
        (_, Some(false)) => Mapping::AddressAndPortDependent,
        (Some(true), _) => Mapping::EndpointIndependent,
        (Some(false), Some(true)) => Mapping::AddressDependent,
        (Some(false), None) => Mapping::AddressDependentOrAddressAndPortDependent,
        (None, Some(true)) => Mapping::EndpointIndependentOrAddressDependent,
        (None, None) => Mapping::Unknown,
    }
}

fn nat(outside: &Outside<'_>) -> ReachFinding {
    let kind = match outside {
        Outside::Unknown => return ReachFinding::NatUnseen {},
        Outside::Itself { public: false, .. } => return ReachFinding::NatRelayNear {},
        Outside::Itself { public: true, .. } => Mapping::None,
        Outside::Nat(views) => mapping(views),
    };
    match kind {
        Mapping::None | Mapping::EndpointIndependent => ReachFinding::NatOpen { kind },
        Mapping::AddressDependent
        | Mapping::AddressAndPortDependent
        | Mapping::AddressDependentOrAddressAndPortDependent => ReachFinding::NatDependent { kind },
        Mapping::EndpointIndependentOrAddressDependent | Mapping::Unknown => {
            ReachFinding::NatUnclear { kind }
        }
    }
}

/// Judges which packets the NAT, or a firewall next to it, lets in.
fn filtering(views: &[View<'_>]) -> ReachFinding {
    let answered = |view: &View<'_>| view.dial_back.sent && view.dial_back.seen.is_some();
    let kind = if views.iter().any(|view| view.dial_back.arrived) {
        Filtering::EndpointIndependentOrAddressDependent
    } else if views.iter().any(answered) {
        Filtering::AddressAndPortDependent
    } else {
        Filtering::Unknown
    };
    ReachFinding::Filtering { kind }
}

#[cfg(test)]
mod tests;
