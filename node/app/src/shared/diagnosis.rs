//! The words for the findings of a diagnosis: a sentence for each, and advice for each problem.

use hobnob::protocol::text::visible;
use hobnob::{
    Filtering, Finding, LONG_HELD_DAYS, MachineFinding, MailFinding, Mapping, MdnsFault,
    NetworkFinding, PeerFinding, ReachFinding, RelayFinding, Verdict,
};
use hobnob_control::wire::{CheckLine, Diagnosis, FindingFields};

use super::mail_refusal;
use super::values::time_span;
use super::wording::{count, rtt, size};

/// How many checks found a problem.
pub(crate) fn problems(diagnosis: &Diagnosis) -> usize {
    diagnosis
        .checks
        .iter()
        .filter(|check| check.verdict == Verdict::Problem)
        .count()
}

/// One line for each check, with its advice below; the total at the end.
pub(crate) fn lines(diagnosis: &Diagnosis) -> Vec<String> {
    let mut lines: Vec<String> = diagnosis.checks.iter().flat_map(check_lines).collect();
    let unknown = diagnosis
        .checks
        .iter()
        .filter(|check| check.verdict == Verdict::Unknown)
        .count();
    lines.push(match problems(diagnosis) {
        0 if unknown == 0 => "No problem was found.".to_owned(),
        0 => format!(
            "No problem was found; {} could not be checked.",
            count(unknown, "thing")
        ),
        n => format!("{} to solve.", count(n, "problem")),
    });
    lines
}

fn check_lines(check: &CheckLine) -> impl Iterator<Item = String> + use<> {
    let sign = match check.verdict {
        Verdict::Fine => "ok     ",
        Verdict::Note => "note   ",
        Verdict::Problem => "PROBLEM",
        Verdict::Unknown => "unknown",
    };
    let (sentence, advice) = match &check.finding {
        FindingFields::Known(finding) => (sentence(finding), advice(finding)),
        FindingFields::Newer { code } => (
            format!("{code}: only a newer version of hobnob can explain this"),
            None,
        ),
    };
    let first = format!(
        "{sign}  {:10}  {}",
        visible(&check.check),
        visible(&sentence)
    );
    let second = advice.map(|advice| format!("                     -> {advice}"));
    [first].into_iter().chain(second)
}

/// The finding in one sentence.
fn sentence(finding: &Finding) -> String {
    match finding {
        Finding::Machine(finding) => of_machine(finding),
        Finding::Network(finding) => of_network(finding),
        Finding::Reach(finding) => of_reach(finding),
        Finding::Relay(finding) => of_relay(finding),
        Finding::Mail(finding) => of_mail(finding),
        Finding::Peer(finding) => of_peer(finding),
    }
}

/// The advice about a problem.
fn advice(finding: &Finding) -> Option<&'static str> {
    match finding {
        Finding::Machine(finding) => for_machine(finding),
        Finding::Network(finding) => for_network(finding),
        Finding::Reach(finding) => for_reach(finding),
        Finding::Relay(finding) => for_relay(finding),
        Finding::Mail(finding) => for_mail(finding),
        Finding::Peer(finding) => for_peer(finding),
    }
}

fn of_machine(finding: &MachineFinding) -> String {
    match finding {
        MachineFinding::PortOpen { port } => format!("listens on UDP port {port}"),
        MachineFinding::PortTaken { port, usual } => format!(
            "another program uses UDP port {usual}, so this node listens on {port}: connecting to this machine without a port number will \
             fail"
        ),
        MachineFinding::ClockUntested {} => "nobody is connected to compare clocks with".to_owned(),
        MachineFinding::ClockAgrees { all: true } => {
            "agrees with the clocks of all peers".to_owned()
        }
        MachineFinding::ClockAgrees { all: false } => {
            "agrees with the clocks of most peers".to_owned()
        }
        MachineFinding::ClockUnclear {} => {
            "differs from the clock of the only peer: one of the two is wrong".to_owned()
        }
        // If the others are ahead, this machine is behind.
        MachineFinding::Clock { ahead_ms } => format!(
            "this machine's clock is {} {} the others'",
            time_span(ahead_ms.unsigned_abs()),
            if *ahead_ms > 0 { "behind" } else { "ahead of" }
        ),
        MachineFinding::Disk { free_bytes: None } => "messages cannot be stored now".to_owned(),
        MachineFinding::Disk {
            free_bytes: Some(free),
        } => format!(
            "the disk of the messages is nearly full: {} are left",
            mebibytes(*free)
        ),
        MachineFinding::DiskFree { free_bytes } => format!("{} are free", mebibytes(*free_bytes)),
        MachineFinding::DiskUnknown {} => "the system does not report the free space".to_owned(),
        MachineFinding::DatabaseDamaged {} => "a part of the database is damaged".to_owned(),
        MachineFinding::DatabaseRepaired { lost } => format!(
            "the database was damaged: the start dropped {}",
            count_of(*lost, "message", "messages")
        ),
        MachineFinding::BackupFailed { why } => {
            format!("the last automatic backup failed: {}", visible(why))
        }
        MachineFinding::Requests { strangers, bytes } => format!(
            "strangers who wrote to you and are not accepted: {strangers}, with {} on disk",
            size(*bytes)
        ),
        MachineFinding::RequestsFull { strangers, bytes } => format!(
            "messages of {strangers} strangers take {} on disk, so further strangers may be refused",
            size(*bytes)
        ),
        MachineFinding::PlacesFull { refused } => format!(
            "all places for sessions were taken: {} of peers that are not contacts",
            count_of(
                *refused,
                "connection was refused",
                "connections were refused"
            )
        ),
        MachineFinding::RoomFull { room, lost } => format!(
            "the room {room} is full: {} for lack of room",
            count_of(
                *lost,
                "log was dropped or refused",
                "logs were dropped or refused"
            )
        ),
        MachineFinding::ChecksWaiting { addresses } => format!(
            "{addresses} addresses that others named wait to be checked, so new peers may be found later"
        ),
        MachineFinding::ProbesHeldBack { probes } => format!(
            "peers named more addresses for direct paths than this node may probe, so some may stay relayed: {} left out",
            count_of(*probes, "probe was", "probes were")
        ),
        MachineFinding::AudiencesForgotten { audiences } => format!(
            "so many peers came to open rooms and left that this node forgot early who was there ({}): who has been away since then misses messages of open rooms",
            count_of(*audiences, "time", "times")
        ),
        MachineFinding::PeersForgotten { peers } => format!(
            "so many peers were met that {} with their names, contacts last",
            count_of(*peers, "was forgotten", "were forgotten")
        ),
        MachineFinding::InternalFaults { count } => {
            format!("this program has found faults of its own since it started: {count}")
        }
    }
}

/// A number with the words for one or for several.
fn count_of(n: u64, one: &str, several: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { several })
}

fn for_machine(finding: &MachineFinding) -> Option<&'static str> {
    match finding {
        MachineFinding::PortTaken { .. } => Some(
            "stop the other program (another hobnob?) and restart this node, or give people the ticket of `hobnob id`, which contains the port",
        ),
        MachineFinding::Clock { .. } => Some(
            "set this machine's clock and let the system keep it right (timedatectl set-ntp true); messages keep their order meanwhile",
        ),
        MachineFinding::Disk { .. } => Some(
            "free space on that disk; nothing is acknowledged before it is stored, so nothing is lost meanwhile",
        ),
        MachineFinding::DatabaseDamaged {} => Some(
            "restart the node: it drops what is damaged, and peers send it again; then check the disk",
        ),
        MachineFinding::DatabaseRepaired { .. } => Some(
            "peers that have these messages send them again; check the disk, and make a backup",
        ),
        MachineFinding::BackupFailed { .. } => Some(
            "remove the cause; the node tries again every ten minutes, or make one with `hobnob backup FILE`",
        ),
        MachineFinding::Requests { .. } | MachineFinding::RequestsFull { .. } => {
            Some("`hobnob contacts` lists them; accept, ignore, delete or block each")
        }
        MachineFinding::PlacesFull { .. } => {
            Some("contacts always get a place: `hobnob contacts accept NAME` makes one of a peer")
        }
        MachineFinding::AudiencesForgotten { .. } => Some(
            "a room with a key gives its whole history to members who return (`hobnob room create NAME`)",
        ),
        MachineFinding::RoomFull { .. } => Some(
            "anybody can write in an open room; a room with a key keeps others out (`hobnob room create NAME`), and has room for your contacts",
        ),
        MachineFinding::InternalFaults { .. } => Some(
            "restart this node, and report the fault with the node's log, where each fault is an error",
        ),
        MachineFinding::PortOpen { .. }
        | MachineFinding::ClockUntested {}
        | MachineFinding::ClockAgrees { .. }
        | MachineFinding::ClockUnclear {}
        | MachineFinding::DiskFree { .. }
        | MachineFinding::DiskUnknown {}
        | MachineFinding::ChecksWaiting { .. }
        | MachineFinding::ProbesHeldBack { .. }
        | MachineFinding::PeersForgotten { .. } => None,
    }
}

fn of_network(finding: &NetworkFinding) -> String {
    match finding {
        NetworkFinding::NoNetwork {} => "no network interface but loopback is up".to_owned(),
        NetworkFinding::Vpn { interface } => format!(
            "packets to the internet leave through {interface}, which looks like a VPN: peers elsewhere see the VPN's address, and may reach \
             this node only through a relay"
        ),
        NetworkFinding::SeveralNetworks { interfaces } => format!(
            "this machine is on {} networks ({}): peers on one of them do not see those on the others, and this node forwards messages of \
             shared rooms",
            interfaces.len(),
            interfaces.join(", ")
        ),
        NetworkFinding::OneNetwork {
            interface: Some(interface),
        } => format!("one network, on {interface}"),
        NetworkFinding::OneNetwork { interface: None } => "only a VPN".to_owned(),
        NetworkFinding::UdpWorks {} => "datagrams leave and arrive".to_owned(),
        NetworkFinding::UdpBlocked { relay } => format!(
            "{relay} answers over TCP but not over UDP, and nothing else has arrived over UDP: something on the way drops UDP"
        ),
        NetworkFinding::SendRefused { to } => format!(
            "this machine refuses to send datagrams to {to}: a firewall or VPN on it drops them"
        ),
        NetworkFinding::ProxyOnly {} => {
            "beyond its own links, this node uses only the proxy (proxy-only)".to_owned()
        }
        NetworkFinding::UdpUntested {} => {
            "no peer has connected and no relay has answered: start hobnob on a second machine of this network, and check again".to_owned()
        }
        NetworkFinding::MdnsOff {} => {
            "mDNS discovery is off: --mdns turns it on, as does mdns = true in the file that `hobnob config --path` names".to_owned()
        }
        NetworkFinding::MdnsFailed { reason } => match reason {
            MdnsFault::NoInterface => {
                "no network interface can multicast, so mDNS finds no peers (it is tried again)"
                    .to_owned()
            }
            MdnsFault::PortHeld => {
                "another program holds UDP port 5353 and does not share it, so mDNS finds no peers (it is tried again)".to_owned()
            }
            MdnsFault::Thread => {
                "mDNS cannot start, so it finds no peers (it is tried again)".to_owned()
            }
        },
        NetworkFinding::MulticastUntested {} => {
            "no peer is known to be on this network: if one should be, write to it by address once (`hobnob send ADDRESS hi`; `hobnob id` \
             shows the address there), and check again"
                .to_owned()
        }
        NetworkFinding::MulticastHeard { interface, peer } => {
            format!("on {interface}, mDNS found {peer}")
        }
        NetworkFinding::MulticastUnanswered { interface, peer } => format!(
            "{peer} is on the network of {interface} and announces itself, but mDNS did not find it: something drops multicast there"
        ),
        NetworkFinding::SilentNeighbour { peer, addr } => format!(
            "{peer} announces itself at {addr}, but nothing answers there"
        ),
        NetworkFinding::Isolated { peer } => format!(
            "{peer} is on the same network as this machine, but the two can connect only through a relay"
        ),
    }
}

fn for_network(finding: &NetworkFinding) -> Option<&'static str> {
    match finding {
        NetworkFinding::NoNetwork {} => {
            Some("connect this machine to a network: by cable or Wi-Fi")
        }
        NetworkFinding::UdpBlocked { .. } => Some(
            "let UDP out through the firewalls of this machine and of your network; until then, relays that accept TCP connect this node with \
             its peers, and nothing else does",
        ),
        NetworkFinding::SendRefused { .. } => Some(
            "allow outgoing UDP for hobnob in this machine's firewall, or in the VPN's settings (\"kill switch\", \"allow LAN\")",
        ),
        NetworkFinding::MulticastUnanswered { .. } => Some(
            "let UDP port 5353 (mDNS) through this machine's firewall (`sudo ufw allow 5353/udp`, or `sudo firewall-cmd --permanent \
             --add-service=mdns` and `sudo firewall-cmd --reload`); on Wi-Fi, turn off \"AP isolation\" or \"multicast filtering\" at the \
             access point; until then, reach peers by address or ticket",
        ),
        NetworkFinding::MdnsFailed {
            reason: MdnsFault::PortHeld,
        } => Some(
            "end the program that holds the port (`sudo ss -ulpn 'sport = 5353'` names it), or let it share the port; until then, reach \
             peers by address or ticket",
        ),
        NetworkFinding::MdnsFailed { .. } => Some("until then, reach peers by address or ticket"),
        NetworkFinding::SilentNeighbour { .. } => Some(
            "if hobnob runs there, let incoming UDP through that machine's firewall at its port (`sudo ufw allow 4626/udp`); on Wi-Fi, turn off \
             \"AP isolation\" at the access point",
        ),
        NetworkFinding::Isolated { .. } => Some(
            "the network isolates its machines, as guest Wi-Fi does: turn off \"AP isolation\" or \"client isolation\" at the access point, or \
             keep using the relay",
        ),
        NetworkFinding::Vpn { .. }
        | NetworkFinding::SeveralNetworks { .. }
        | NetworkFinding::OneNetwork { .. }
        | NetworkFinding::UdpWorks {}
        | NetworkFinding::ProxyOnly {}
        | NetworkFinding::UdpUntested {}
        | NetworkFinding::MdnsOff {}
        | NetworkFinding::MulticastUntested {}
        | NetworkFinding::MulticastHeard { .. } => None,
    }
}

fn of_reach(finding: &ReachFinding) -> String {
    match finding {
        ReachFinding::DialBackArrived { relay: None } => {
            "a packet from a new socket of a peer arrived".to_owned()
        }
        ReachFinding::DialBackArrived { relay: Some(relay) } => {
            format!("a packet from a new port of the relay at {relay} arrived")
        }
        ReachFinding::DialBackBlocked {
            relay: Some(relay),
            near: true,
        } => format!(
            "packets from strangers arrive from this network, but not from elsewhere: a packet from a new port of the relay at {relay} did \
             not arrive; a firewall between this network and the internet lets only answers in"
        ),
        ReachFinding::DialBackBlocked {
            relay: Some(relay),
            near: false,
        } => format!(
            "a packet from a new port of the relay at {relay} did not arrive: a firewall here lets only answers in"
        ),
        ReachFinding::DialBackBlocked { relay: None, .. } => {
            "a packet from a new socket of a peer did not arrive: a firewall here lets only answers in".to_owned()
        }
        ReachFinding::DialBackUntested {} => {
            "no peer or relay is connected that could test it".to_owned()
        }
        ReachFinding::DialBackBehindNat {} => {
            "no packet from a new socket arrived, and the NAT may have dropped it, as most do: a peer on this network could show more".to_owned()
        }
        ReachFinding::DialBackLost {} => {
            "no packet from a new socket arrived, and its sender did not answer: it may have been lost".to_owned()
        }
        ReachFinding::NatUnseen {} => {
            "no relay is connected that could show how this node looks from outside".to_owned()
        }
        ReachFinding::NatRelayNear {} => {
            "the relay is on this machine's own network, and cannot show how this node looks from outside".to_owned()
        }
        ReachFinding::NatOpen { kind }
        | ReachFinding::NatDependent { kind }
        | ReachFinding::NatUnclear { kind } => of_mapping(*kind),
        ReachFinding::Filtering { kind } => of_filtering(*kind).to_owned(),
        ReachFinding::PortMapped { protocol, external } => format!(
            "the router leads {external} to this node ({}), so peers elsewhere can reach it directly",
            protocol.as_str()
        ),
        ReachFinding::RouterNotPublic { protocol, external } => format!(
            "the router maps a port ({}), but its own address {} is not public: it is behind another NAT",
            protocol.as_str(),
            external.ip()
        ),
        ReachFinding::PortRefused { protocol, reason } => format!(
            "the router refuses to map a port for this node ({}, reason {reason})",
            protocol.as_str()
        ),
        ReachFinding::NoPortMapping {} => {
            "the router answers neither PCP nor NAT-PMP nor UPnP, so it maps no port to this node".to_owned()
        }
    }
}

fn of_mapping(kind: Mapping) -> String {
    let name = kind.as_str().replace("-or-", " or ");
    match kind {
        Mapping::None => {
            "no NAT: relays see this machine's own address, so peers can reach it directly if no firewall drops their packets".to_owned()
        }
        Mapping::EndpointIndependent => format!(
            "behind a NAT with {name} mapping (RFC 5780): peers can usually reach this node directly, once a relay has introduced them"
        ),
        Mapping::EndpointIndependentOrAddressDependent => format!(
            "behind a NAT with {name} mapping (RFC 5780; a second relay on another machine would show which): with most such NATs, peers can \
             reach this node directly, once a relay has introduced them"
        ),
        Mapping::AddressDependent
        | Mapping::AddressAndPortDependent
        | Mapping::AddressDependentOrAddressAndPortDependent => format!(
            "behind a NAT with {name} mapping (RFC 5780, \"symmetric\"): each peer sees this node at another port, so peers behind NATs usually \
             reach it only through a relay"
        ),
        Mapping::Unknown => {
            "behind a NAT whose kind the relay cannot show: it did not answer from a second port (an older version?); a second relay on another \
             machine would help"
                .to_owned()
        }
    }
}

fn of_filtering(kind: Filtering) -> &'static str {
    match kind {
        Filtering::EndpointIndependentOrAddressDependent => {
            "the NAT's filtering is endpoint-independent or address-dependent (RFC 5780): it lets in packets from ports that this node has not \
             written to, so even peers behind \"symmetric\" NATs can usually reach it directly"
        }
        Filtering::AddressAndPortDependent => {
            "the NAT's filtering is address-and-port-dependent (RFC 5780), as most are: it lets in packets only from where this node has \
             written to, so peers connect directly if a relay makes both write at once; those behind \"symmetric\" NATs cannot"
        }
        Filtering::Unknown => {
            "the NAT's filtering (RFC 5780) is not known: no relay here could send from a second port and be answered there"
        }
    }
}

fn for_reach(finding: &ReachFinding) -> Option<&'static str> {
    match finding {
        ReachFinding::DialBackBlocked { .. } => Some(
            "let UDP port 4626 (or the one that `hobnob id` shows) in through the firewall: on Linux `sudo ufw allow 4626/udp`, or `sudo \
             firewall-cmd --permanent --add-port=4626/udp` and `sudo firewall-cmd --reload`; otherwise two machines with such firewalls \
             connect only if a relay introduces them",
        ),
        ReachFinding::PortRefused { .. } => Some(
            "allow port mapping in the router's settings, or forward a UDP port there and name it in the setting external-port",
        ),
        ReachFinding::NoPortMapping {} => Some(
            "for direct paths, turn on UPnP or NAT-PMP in the router's settings, or forward a UDP port there and name it in the setting \
             external-port",
        ),
        ReachFinding::RouterNotPublic { .. }
        | ReachFinding::PortMapped { .. }
        | ReachFinding::DialBackArrived { .. }
        | ReachFinding::DialBackUntested {}
        | ReachFinding::DialBackBehindNat {}
        | ReachFinding::DialBackLost {}
        | ReachFinding::NatUnseen {}
        | ReachFinding::NatRelayNear {}
        | ReachFinding::NatOpen { .. }
        | ReachFinding::NatDependent { .. }
        | ReachFinding::NatUnclear { .. }
        | ReachFinding::Filtering { .. } => None,
    }
}

fn of_relay(finding: &RelayFinding) -> String {
    match finding {
        RelayFinding::RelayUp { relay } => format!("registered at {relay}"),
        RelayFinding::RelayByTcp { relay } => {
            format!("registered at {relay} over TCP")
        }
        RelayFinding::RelayConnecting { relay } => format!("{relay} has not answered yet"),
        RelayFinding::RelayName { relay, why } => {
            format!("the name of the relay at {relay} cannot be looked up: {why}")
        }
        RelayFinding::RelayIdentity { relay } => format!(
            "another identity than the known one answers at {relay}: nothing was sent to it"
        ),
        RelayFinding::RelayRefuses { relay, why } => {
            format!("the relay at {relay} does not admit this node: {why}")
        }
        RelayFinding::RelayDown { relay } => {
            format!("the machine at {relay} is up, but no relay listens on that port")
        }
        RelayFinding::RelayFiltered { relay } => format!(
            "the machine at {relay} is up, but its UDP port does not answer, while UDP works elsewhere"
        ),
        RelayFinding::RelayUntested { relay } => {
            format!("{relay} cannot be tested while UDP is blocked")
        }
        RelayFinding::RelayAnswers { relay } => {
            format!("{relay} answers, but there is no connection with it yet")
        }
        RelayFinding::RelaySilent { relay } => format!(
            "{relay} answers neither over UDP nor over TCP: it is off, or a firewall drops everything"
        ),
        RelayFinding::RelayForContacts {
            relay,
            contacts,
            contacts_max,
            bytes,
        } => format!(
            "this node is a relay for its contacts at {relay}: {contacts} of at most {contacts_max} are there, {} forwarded",
            size(*bytes)
        ),
        RelayFinding::RelayForContactsHidden { listens } => format!(
            "this node is a relay for its contacts on {listens}, but this machine has no public address, so contacts do not learn of it"
        ),
    }
}

fn for_relay(finding: &RelayFinding) -> Option<&'static str> {
    match finding {
        RelayFinding::RelayName { .. } => Some(
            "check the spelling, and whether DNS works on this machine; an IP address works without DNS",
        ),
        RelayFinding::RelayIdentity { .. } => Some(
            "ask its operator; if the relay has a new key, name it as --relay NEW-ID@HOST:PORT",
        ),
        RelayFinding::RelayRefuses { .. } => Some(
            "ask its operator to admit this node; if you have a token for it, name its file with --relay-token-file",
        ),
        RelayFinding::RelayDown { .. } => {
            Some("start the relay there (`hobnob relay`), or correct the port")
        }
        RelayFinding::RelayFiltered { .. } => {
            Some("open the relay's UDP port in the firewall of its machine")
        }
        RelayFinding::RelayForContactsHidden { .. } => Some(
            "forward the port at your router, for UDP and TCP, and name its public name or address with --relay-name or the setting relay-name",
        ),
        RelayFinding::RelayUp { .. }
        | RelayFinding::RelayByTcp { .. }
        | RelayFinding::RelayConnecting { .. }
        | RelayFinding::RelayUntested { .. }
        | RelayFinding::RelayAnswers { .. }
        | RelayFinding::RelaySilent { .. }
        | RelayFinding::RelayForContacts { .. } => None,
    }
}

fn of_mail(finding: &MailFinding) -> String {
    match finding {
        MailFinding::NoHolder { away, contacts } => format!(
            "nobody holds mail for this node, and {away} of {} away: messages arrive only while both are connected",
            match contacts {
                1 => "1 contact is".to_owned(),
                contacts => format!("{contacts} contacts are"),
            }
        ),
        MailFinding::MailHolders { connected } => format!(
            "{} mail for this node while it is off",
            count_of(*connected, "relay or node holds", "relays and nodes hold")
        ),
        MailFinding::HolderAway { holder, days } => format!(
            "{}, which holds mail for this node, has not been connected for {}",
            visible(holder),
            count_of(*days, "day", "days")
        ),
        MailFinding::MailHeld {
            messages,
            peers,
            days,
        } => format!(
            "{} at holders for {}, the oldest for {}",
            count_of(*messages, "message waits", "messages wait"),
            count_of(*peers, "peer that is away", "peers that are away"),
            count_of(*days, "day", "days")
        ),
        MailFinding::FilesWait { files } => format!(
            "{} until a mailbox has room, or the recipient is connected",
            count_of(*files, "small file waits", "small files wait")
        ),
        MailFinding::HoldingFull { bytes, bytes_max } => format!(
            "the mail that this node holds for others takes {} of {}, so further messages may be refused",
            size(*bytes),
            size(*bytes_max)
        ),
    }
}

fn for_mail(finding: &MailFinding) -> Option<&'static str> {
    match finding {
        MailFinding::NoHolder { .. } => Some(
            "use a relay that holds mail, or ask a contact whose node is always on to set `hold-for`; `hobnob mailbox` shows who holds yours",
        ),
        MailFinding::HolderAway { .. } => Some(
            "ask its owner whether it still runs; mail for you may wait there, and your contacts still have all of it",
        ),
        MailFinding::MailHeld { days, .. } if *days >= LONG_HELD_DAYS => Some(
            "a holder drops mail after 30 days, and your node deposits it again: keep your node running now and then",
        ),
        MailFinding::HoldingFull { .. } => {
            Some("set `hold-max` to more, or wait until the recipients fetch their mail")
        }
        MailFinding::MailHolders { .. }
        | MailFinding::MailHeld { .. }
        | MailFinding::FilesWait { .. } => None,
    }
}

fn of_peer(finding: &PeerFinding) -> String {
    match finding {
        PeerFinding::YouBlocked { peer } => format!("you have blocked {peer}"),
        PeerFinding::YouKicked { peer } => {
            format!("you have kicked {peer} within the last minutes")
        }
        PeerFinding::AwaitsConsent { peer } => {
            format!("{peer} has not accepted you: further direct messages wait until they do")
        }
        PeerFinding::MailRefused { peer, reason } => mail_refusal::reason(peer, *reason),
        PeerFinding::YouIgnore { peer } => {
            format!("you ignore {peer}: their messages arrive and are hidden")
        }
        PeerFinding::NameTaken { peer } => format!(
            "{peer} uses the name of somebody else, whom you have verified with another key"
        ),
        PeerFinding::BlockedYou { peer } => format!("{peer} has blocked this node"),
        PeerFinding::KickedYou { peer } => format!("{peer} has kicked this node for a while"),
        PeerFinding::YourNameTaken { peer } => {
            format!("{peer} has verified somebody else who uses this node's nickname")
        }
        PeerFinding::Connected { peer, path, rtt_ms } => {
            format!("{peer} is connected ({path}, {})", rtt(*rtt_ms))
        }
        PeerFinding::ClockDiffers { peer, ahead_ms } => format!(
            "{peer}'s clock is {} {} this machine's: one of the two is wrong",
            time_span(ahead_ms.unsigned_abs()),
            if *ahead_ms > 0 { "ahead of" } else { "behind" }
        ),
        PeerFinding::KeyMismatch { peer, addr, found } => format!(
            "another key ({}) answers at {addr}, where {peer} was",
            found.chars().take(SHORT_ID).collect::<String>()
        ),
        PeerFinding::OtherVersion { peer, addr } => format!(
            "another major version of hobnob, or another program, answers at {addr}{}",
            where_was(peer.as_deref())
        ),
        PeerFinding::NotRunning { peer, addr } => format!(
            "the machine at {addr} is up, but no hobnob listens on that port{}",
            where_was(peer.as_deref())
        ),
        PeerFinding::Refused { peer, addr, why } => {
            format!(
                "{} at {addr} refuses a session: {why}",
                peer.as_deref().unwrap_or("the node")
            )
        }
        PeerFinding::NoAddress { peer } => {
            format!("no address of {peer} is known: use an address or a ticket")
        }
        PeerFinding::Silent {
            peer,
            addrs,
            relays,
        } => silent(peer.as_deref(), addrs, relays),
    }
}

/// `, where bob was`
fn where_was(peer: Option<&str>) -> String {
    peer.map(|peer| format!(", where {peer} was"))
        .unwrap_or_default()
}

fn silent(peer: Option<&str>, addrs: &[String], relays: &[String]) -> String {
    let Some(peer) = peer else {
        return format!(
            "nobody answers at {}: that machine is off or elsewhere, or a firewall there drops this UDP port; run `hobnob id` and `hobnob \
             doctor` there",
            addrs.join(", ")
        );
    };
    let addrs = addrs.iter().map(|addr| format!("nobody answers at {addr}"));
    let relays = relays
        .iter()
        .map(|relay| format!("not at the relay {relay}"));
    let tried: Vec<String> = addrs.chain(relays).collect();
    format!(
        "{peer} is off, elsewhere or behind a firewall ({}): your messages stay queued",
        tried.join("; ")
    )
}

fn for_peer(finding: &PeerFinding) -> Option<&'static str> {
    match finding {
        PeerFinding::YouBlocked { .. } => {
            Some("`hobnob unblock NAME`, or /unblock NAME in the chat, undoes it")
        }
        PeerFinding::YouKicked { .. } => {
            Some("wait, or undo it with `hobnob unblock NAME`, or /unblock NAME in the chat")
        }
        PeerFinding::NameTaken { .. } => Some(
            "compare the safety number with them (`hobnob verify`), and confirm if it is equal",
        ),
        PeerFinding::BlockedYou { .. } => Some("only they can undo it; your messages stay queued"),
        PeerFinding::KickedYou { .. } => Some("wait some minutes; your messages stay queued"),
        PeerFinding::YourNameTaken { .. } => Some(
            "use another nickname, or ask them to compare safety numbers with you (`hobnob verify`)",
        ),
        PeerFinding::KeyMismatch { .. } => Some(
            "if they have a new machine or lost their key, compare safety numbers (`hobnob verify`) and use the new id; otherwise somebody else \
             has that address now",
        ),
        PeerFinding::OtherVersion { .. } => {
            Some("update the older of the two; name a relay with --relay instead")
        }
        PeerFinding::NotRunning { .. } => Some(
            "start hobnob there (`hobnob up`), or use the port that `hobnob id` shows there; your messages stay queued",
        ),
        PeerFinding::Refused { .. } => {
            Some("ask them, or try again later; your messages stay queued")
        }
        PeerFinding::MailRefused { .. } => Some(
            "your messages stay queued, and are offered again every minute while your node runs",
        ),
        PeerFinding::AwaitsConsent { .. }
        | PeerFinding::YouIgnore { .. }
        | PeerFinding::Connected { .. }
        | PeerFinding::ClockDiffers { .. }
        | PeerFinding::NoAddress { .. }
        | PeerFinding::Silent { .. } => None,
    }
}

/// Characters of an id that people see.
const SHORT_ID: usize = 8;

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes / 1024 / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(finding: impl Into<Finding>) -> CheckLine {
        CheckLine::from(finding.into())
    }

    #[test]
    fn a_problem_has_advice_below_it_and_peers_words_are_safe_to_print() {
        let diagnosis = Diagnosis {
            checks: vec![
                check(NetworkFinding::UdpWorks {}),
                check(RelayFinding::RelayRefuses {
                    relay: "10.0.0.1:4627".into(),
                    why: "no token\u{1b}".into(),
                }),
                check(MachineFinding::ClockUntested {}),
            ],
        };
        assert_eq!(
            lines(&diagnosis),
            [
                "ok       udp         datagrams leave and arrive",
                "PROBLEM  relay       the relay at 10.0.0.1:4627 does not admit this node: no token␛",
                "                     -> ask its operator to admit this node; if you have a token for it, name its file with --relay-token-file",
                "unknown  clock       nobody is connected to compare clocks with",
                "1 problem to solve.",
            ]
        );
    }

    #[test]
    fn a_limit_that_was_reached_is_named_with_the_loss() {
        let finding = MachineFinding::RoomFull {
            room: "lobby".into(),
            lost: 1,
        };
        let diagnosis = Diagnosis {
            checks: vec![
                check(finding),
                check(MachineFinding::PlacesFull { refused: 7 }),
                check(MachineFinding::PeersForgotten { peers: 2 }),
            ],
        };
        let shown = lines(&diagnosis);
        assert_eq!(
            shown[0],
            "note     limits      the room lobby is full: 1 log was dropped or refused for lack of room"
        );
        assert_eq!(
            shown[2],
            "note     limits      all places for sessions were taken: 7 connections were refused of peers that are not contacts"
        );
        assert_eq!(
            shown[4],
            "note     limits      so many peers were met that 2 were forgotten with their names, contacts last"
        );
    }

    #[test]
    fn the_total_says_what_could_not_be_checked() {
        let last = |checks| lines(&Diagnosis { checks }).pop().unwrap();
        let fine = || check(NetworkFinding::UdpWorks {});
        assert_eq!(last(vec![fine()]), "No problem was found.");
        assert_eq!(
            last(vec![fine(), check(NetworkFinding::UdpUntested {})]),
            "No problem was found; 1 thing could not be checked."
        );
    }

    #[test]
    fn a_finding_of_a_newer_version_is_shown_by_its_code() {
        let line = r#"{"check":"teapot","verdict":"note","code":"short-and-stout","spout":1}"#;
        let check: CheckLine = serde_json::from_str(line).unwrap();
        let shown = lines(&Diagnosis {
            checks: vec![check],
        });
        assert!(
            shown[0].starts_with("note     teapot      short-and-stout: "),
            "{shown:?}"
        );
    }

    #[test]
    fn a_clock_is_behind_if_the_others_are_ahead() {
        let of = |ahead_ms| sentence(&MachineFinding::Clock { ahead_ms }.into());
        assert_eq!(
            of(7_200_000),
            "this machine's clock is 2 hours behind the others'"
        );
        assert_eq!(
            of(-180_000),
            "this machine's clock is 3 minutes ahead of the others'"
        );
    }

    #[test]
    fn silence_lists_what_was_tried() {
        let silent = PeerFinding::Silent {
            peer: Some("bob".into()),
            addrs: vec!["10.0.0.2:4626".into()],
            relays: vec!["relay.example:4627".into()],
        };
        assert_eq!(
            sentence(&silent.into()),
            "bob is off, elsewhere or behind a firewall (nobody answers at 10.0.0.2:4626; not at the relay relay.example:4627): your messages \
             stay queued"
        );
    }
}
