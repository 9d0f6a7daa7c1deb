//! One relay: where it is, whether there is a connection with it, and who is there.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use hobnob_core::carrier::Carrier;
use hobnob_core::diagnosis::{self, RelayState};
use hobnob_limits::{Bucket, Pace};
use hobnob_protocol::relay::{ToRelay, close};
use hobnob_protocol::{DeviceId, RelayAddr, RelayAt, RelayToken, RoomKey, RoomTag};
use tokio::sync::mpsc;

use super::openings::{OpenFailed, Openings};
use super::roster::Roster;
use crate::api::{NoticeReason, RelayInfo};
use crate::net::relay::{LOCATIONS_MAX, LinkCommand, LinkDown, Location, tags};
use hobnob_transport::addr::canonical;

/// Why a node uses a relay, the strongest reason first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Usage {
    /// The user named it for all traffic: its peers find this node there.
    Rooms,
    /// The user named it to reach one peer.
    OnePeer,
    /// A contact named it, to be reached there.
    Contact,
    /// This node visits it: a peer is registered there, and this node at another relay of the
    /// fleet.
    Visit,
}

/// The state that the engine keeps for one relay.
pub(super) struct Relay {
    /// The name or address that counts most: where the user named it for the strongest reason.
    at: RelayAt,
    /// Its other names and addresses.
    others: Vec<RelayAt>,
    /// The identity that it has proved, or must prove.
    id: Option<DeviceId>,
    /// The identity that it proved last, in this run or an earlier one.
    proved: Option<DeviceId>,
    /// Why it is used. Its peers see this node in their rooms if the user named it for all traffic.
    usage: Usage,
    /// The fleet that it is a member of, if this node uses it as one.
    fleet: Option<DeviceId>,
    /// Whether this node does not need it at the moment.
    is_resting: bool,
    link: mpsc::UnboundedSender<LinkCommand>,
    state: State,
    pub(super) roster: Roster,
    pub(super) openings: Openings,
    /// The requests for channels.
    opens: Bucket,
    /// Peers that were not there, or refused, when this node last asked for a channel.
    absent: BTreeSet<DeviceId>,
    /// When the link last fell asleep.
    slept_at: Duration,
}

/// How often a node asks one relay for a channel. A relay allows 384 requests at once, then one
/// every 100 ms, and ends the connection of a node that asks more often.
const OPENS: Pace = Pace::new(320, Duration::from_millis(125));

/// As [`OPENS`], for peers without a session that are no contacts. Anybody can make a relay name
/// them, so they leave something to the others.
const OPENS_OF_OTHERS: Pace = Pace::new(256, Duration::from_millis(125));

/// Peers that are known not to be at a relay. Further ones are sought again and again.
const ABSENT_MAX: usize = 4_096;

/// After this much sleep a link is woken for peers that were not there, too. Most of them ask for
/// this node when they come, but one that was never met does not.
const SEEKS_ABSENT_AFTER: Duration = Duration::from_secs(15 * 60);

/// The peers that were not there and are sought when a link wakes.
const SOUGHT_MAX: usize = 64;

/// Whether there is a connection.
enum State {
    /// The first attempt is under way.
    Connecting,
    Up(Up),
    /// It is dialed again and again. The user has seen the reason.
    Down(LinkDown),
}

/// A connection with a relay.
#[derive(Debug, Clone)]
pub(super) struct Up {
    pub(super) addr: SocketAddr,
    pub(super) carrier: Carrier,
    /// The address at which the relay sees this node.
    pub(super) observed: SocketAddr,
    /// Whether the relay dials back at request.
    pub(super) dials_back: bool,
    /// Whether the relay admits this node for a short time only, to accept an invitation.
    pub(super) is_guest: bool,
    /// Whether the user knows that nobody is reached through this relay.
    pub(super) doubt_reported: bool,
    /// Whether the link sleeps. The relay has this node all the same.
    pub(super) sleeps: bool,
}

impl Relay {
    /// `id` must be proved, if it is given. `proved` was proved in an earlier run.
    pub(super) fn new(
        at: RelayAt,
        id: Option<DeviceId>,
        proved: Option<DeviceId>,
        usage: Usage,
        link: mpsc::UnboundedSender<LinkCommand>,
    ) -> Self {
        Self {
            at,
            others: Vec::new(),
            id,
            proved,
            usage,
            fleet: None,
            is_resting: false,
            link,
            state: State::Connecting,
            roster: Roster::default(),
            openings: Openings::default(),
            opens: Bucket::default(),
            absent: BTreeSet::new(),
            slept_at: Duration::ZERO,
        }
    }

    pub(super) fn at(&self) -> &RelayAt {
        &self.at
    }

    /// Whether the relay was named at this name or address.
    pub(super) fn is_at(&self, at: &RelayAt) -> bool {
        self.at == *at || self.others.contains(at)
    }

    /// The relay is named by another name or address, and perhaps for a stronger reason. Returns
    /// whether the reason is stronger.
    pub(super) fn is_also_at(&mut self, at: RelayAt, usage: Usage) -> bool {
        let is_stronger = usage < self.usage;
        if !self.is_at(&at) && self.others.len() + 1 < LOCATIONS_MAX {
            self.others.push(at.clone());
        }
        if is_stronger {
            self.usage = usage;
            self.others.retain(|other| *other != at);
            let before = std::mem::replace(&mut self.at, at);
            if before != self.at {
                self.others.push(before);
            }
        }
        is_stronger
    }

    /// The list of its fleet names this address now.
    pub(super) fn moved_to(&mut self, at: RelayAt) {
        self.at = at;
        self.others.clear();
    }

    /// Where it was named, and the dials that wait for it, when its link has ended.
    pub(super) fn into_openings(self) -> (RelayAt, Openings) {
        (self.at, self.openings)
    }

    pub(super) fn is_in_rooms(&self) -> bool {
        self.usage == Usage::Rooms
    }

    /// This relay, as a member of a fleet.
    pub(super) fn in_fleet(self, fleet: DeviceId) -> Self {
        Self {
            fleet: Some(fleet),
            ..self
        }
    }

    pub(super) fn fleet(&self) -> Option<DeviceId> {
        self.fleet
    }

    pub(super) fn is_resting(&self) -> bool {
        self.is_resting
    }

    /// From now on this member of a fleet is used for this reason.
    pub(super) fn use_for(&mut self, usage: Usage) {
        (self.usage, self.is_resting) = (usage, false);
        let visiting = usage == Usage::Visit;
        self.command(LinkCommand::Use { visiting });
    }

    /// This member of a fleet is not needed until [`Relay::use_for`].
    pub(super) fn rest(&mut self) {
        (self.usage, self.is_resting) = (Usage::Visit, true);
        self.roster = Roster::default();
        // The peer may be at another relay of the fleet. The next dial asks the home relay.
        self.openings.refuse_all(OpenFailed::Elsewhere);
        self.command(LinkCommand::Rest);
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    pub(super) fn relay_addr(&self) -> RelayAddr {
        RelayAddr {
            id: self.id,
            at: self.at.clone(),
        }
    }

    pub(super) fn connection(&self) -> Option<&Up> {
        match &self.state {
            State::Up(up) => Some(up),
            State::Connecting | State::Down(_) => None,
        }
    }

    pub(super) fn connection_mut(&mut self) -> Option<&mut Up> {
        match &mut self.state {
            State::Up(up) => Some(up),
            State::Connecting | State::Down(_) => None,
        }
    }

    /// The relay has registered this node.
    pub(super) fn went_up(&mut self, id: DeviceId, up: Up) {
        (self.id, self.proved) = (Some(id), Some(id));
        self.state = State::Up(up);
        // A relay names everybody again to a node that has just registered.
        self.roster = Roster::default();
        self.absent.clear();
    }

    /// The link sleeps.
    pub(super) fn fell_asleep(&mut self, now: Duration) {
        self.slept_at = now;
        if let Some(up) = self.connection_mut() {
            up.sleeps = true;
        }
    }

    /// The link slept, and is connected again. Returns the peers to seek once more.
    pub(super) fn woke(&mut self, up: Up) -> Vec<DeviceId> {
        let doubt_reported = self.connection().is_some_and(|up| up.doubt_reported);
        self.state = State::Up(Up {
            doubt_reported,
            ..up
        });
        let absent = std::mem::take(&mut self.absent);
        absent.into_iter().take(SOUGHT_MAX).collect()
    }

    /// Notes what the relay has answered when this node asked for a channel with a peer.
    pub(super) fn note_answer(&mut self, peer: DeviceId, answer: Result<(), OpenFailed>) {
        let is_absent = matches!(answer, Err(OpenFailed::NotHere | OpenFailed::Refused));
        if !is_absent {
            self.absent.remove(&peer);
        } else if self.absent.len() < ABSENT_MAX {
            self.absent.insert(peer);
        }
    }

    /// Whether the link sleeps and is not worth waking for this peer, which was sought not long
    /// ago.
    pub(super) fn is_known_absent(&self, peer: DeviceId, now: Duration) -> bool {
        let sleeps = self.connection().is_some_and(|up| up.sleeps);
        sleeps && self.absent.contains(&peer) && now < self.slept_at + SEEKS_ABSENT_AFTER
    }

    /// Whether the sleeping link wakes for a peer.
    pub(super) fn answer_wake(&self, peer: DeviceId, may: bool) {
        self.command(LinkCommand::WakeFor(peer, may));
    }

    /// There is no connection. Returns a notice if the user has not seen this reason yet.
    pub(super) fn went_down(&mut self, down: LinkDown) -> Option<NoticeReason> {
        let is_known = matches!(&self.state, State::Down(known) if *known == down)
            || self.usage == Usage::Visit
            || down == LinkDown::Rested;
        let notice = (!is_known).then(|| down_notice(&self.at, &down, self.proved));
        self.state = State::Down(down);
        notice
    }

    pub(super) fn send(&self, frame: ToRelay) {
        self.command(LinkCommand::Send(frame));
    }

    /// Asks for a channel with a peer, unless this node has asked too often: then the dial that
    /// waits for it fails after a while. `is_close`: there is a session with the peer, or it is a
    /// contact.
    pub(super) fn request_channel(&mut self, peer: DeviceId, is_close: bool, now: Duration) {
        let may_ask = is_close || self.opens.has_one(now, OPENS_OF_OTHERS);
        if may_ask && self.opens.take(now, OPENS) {
            self.send(ToRelay::Open(peer));
        }
    }

    /// The names of rooms at this relay. There are none until it has proved its identity.
    pub(super) fn tags(&self, rooms: &[RoomKey]) -> Vec<RoomTag> {
        let names_rooms = self.fleet.or(self.id);
        names_rooms.map(|id| tags(rooms, id)).unwrap_or_default()
    }

    pub(super) fn set_rooms(&self, rooms: Vec<RoomKey>) {
        self.command(LinkCommand::Rooms(rooms));
    }

    /// The network has changed: the link tests its connection, or dials at once.
    pub(super) fn wake(&self) {
        self.command(LinkCommand::Wake);
    }

    /// The relay learns this node's address by a heartbeat.
    pub(super) fn beat(&self) {
        self.command(LinkCommand::Beat);
    }

    /// The user sends a message, or names a peer: the link dials at once if it has no connection.
    pub(super) fn want(&self) {
        if self.connection().is_none() {
            self.command(LinkCommand::Want);
        }
    }

    /// The link learns another name or address, and a token if the relay may have a proof of one.
    pub(super) fn locate(&self, location: Location, token: Option<RelayToken>) {
        self.command(LinkCommand::Locate(location, token));
    }

    fn command(&self, command: LinkCommand) {
        // The link ends only when the node stops.
        let _ = self.link.send(command);
    }

    pub(super) fn info(&self) -> RelayInfo {
        RelayInfo {
            at: self.at.clone(),
            id: self.id,
            observed: self.connection().map(|up| up.observed),
            carrier: self.connection().map(|up| up.carrier),
            why: match &self.state {
                State::Down(down) => Some(down.to_string()),
                State::Up(_) | State::Connecting => None,
            },
            borrowed: false,
        }
    }

    pub(super) fn evidence(&self, dial_back: diagnosis::RelayDialBack) -> diagnosis::Relay {
        diagnosis::Relay {
            at: self.at.to_string(),
            state: match &self.state {
                State::Up(up) => match up.carrier {
                    Carrier::Udp => RelayState::Up(canonical(up.addr), up.observed),
                    Carrier::Tcp => RelayState::UpByTcp,
                },
                State::Connecting => RelayState::Connecting,
                State::Down(LinkDown::Identity { .. }) => RelayState::OtherIdentity,
                State::Down(LinkDown::NoAddress(why)) => RelayState::NoAddress(why.clone()),
                State::Down(down @ LinkDown::Refused { .. }) if down.is_refusal() => {
                    RelayState::Refused(down.to_string())
                }
                State::Down(down) => RelayState::Down(down.to_string()),
            },
            probe: None,
            dial_back,
        }
    }
}

/// The reason for the notice that a relay cannot be used. `proved` is the identity that it proved
/// last.
fn down_notice(at: &RelayAt, down: &LinkDown, proved: Option<DeviceId>) -> NoticeReason {
    let relay = at.to_string();
    match down {
        LinkDown::Identity { expected, found } => NoticeReason::RelayChanged {
            relay,
            expected: *expected,
            found: *found,
            was_expected: proved == Some(*expected),
        },
        LinkDown::Refused { code, reason }
            if *code != u64::from(close::BYE) && *code != u64::from(close::DRAINING) =>
        {
            NoticeReason::RelayRefused {
                relay,
                kind: close::name(*code).to_owned(),
                why: reason.clone(),
            }
        }
        LinkDown::UdpBlocked { .. } => NoticeReason::UdpBlocked {
            relay,
            why: down.to_string(),
        },
        LinkDown::Refused { .. }
        | LinkDown::NoAddress(_)
        | LinkDown::Unreachable
        | LinkDown::Busy
        | LinkDown::Silent
        | LinkDown::NotRunning { .. }
        | LinkDown::Duplicate { .. }
        | LinkDown::Fleet(_)
        | LinkDown::Rested
        | LinkDown::Restarted
        | LinkDown::Protocol(_)
        | LinkDown::Lost(_) => NoticeReason::RelayDown {
            relay,
            why: down.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay() -> (Relay, mpsc::UnboundedReceiver<LinkCommand>) {
        let (link, commands) = mpsc::unbounded_channel();
        let at = "relay.example:4627"
            .parse::<RelayAddr>()
            .expect("an address")
            .at;
        (Relay::new(at, None, None, Usage::Rooms, link), commands)
    }

    fn up() -> Up {
        Up {
            addr: "192.0.2.1:4627".parse().expect("an address"),
            carrier: Carrier::Udp,
            observed: "198.51.100.7:4626".parse().expect("an address"),
            dials_back: true,
            is_guest: false,
            doubt_reported: false,
            sleeps: false,
        }
    }

    fn code(notice: Option<NoticeReason>) -> Option<&'static str> {
        notice.map(|reason| reason.code())
    }

    #[test]
    fn each_reason_for_a_missing_connection_is_reported_once() {
        let (mut relay, _commands) = relay();
        let blocked = LinkDown::UdpBlocked { port: 4627 };
        assert_eq!(code(relay.went_down(LinkDown::Silent)), Some("relay-down"));
        assert_eq!(code(relay.went_down(LinkDown::Silent)), None);
        assert_eq!(code(relay.went_down(blocked)), Some("udp-blocked"));
        relay.went_up(DeviceId::from_bytes([1; 32]), up());
        assert!(relay.info().why.is_none());
        assert_eq!(code(relay.went_down(LinkDown::Silent)), Some("relay-down"));
    }

    #[test]
    fn a_crowd_at_a_relay_leaves_requests_for_channels_to_contacts() {
        let (mut relay, mut commands) = relay();
        let mut asked = |relay: &mut Relay, is_close, now| {
            for n in 0..500_u32 {
                let mut id = [7; 32];
                id[..4].copy_from_slice(&n.to_be_bytes());
                relay.request_channel(DeviceId::from_bytes(id), is_close, now);
            }
            std::iter::from_fn(|| commands.try_recv().ok()).count()
        };
        let now = Duration::from_secs(100);
        assert_eq!(asked(&mut relay, false, now), 256);
        assert_eq!(asked(&mut relay, true, now), 64);
        assert_eq!(asked(&mut relay, true, now), 0);
        // One more each 125 ms: fewer than a relay allows.
        let later = now + 3 * OPENS.every;
        assert_eq!(asked(&mut relay, false, later), 0);
        assert_eq!(asked(&mut relay, true, later), 3);
    }

    #[test]
    fn an_identity_that_was_never_proved_has_not_changed() {
        let (mut relay, _commands) = relay();
        let [one, other] = [1, 2].map(|n| DeviceId::from_bytes([n; 32]));
        let refused = |expected, found| LinkDown::Identity { expected, found };
        let had_it = |notice| match notice {
            Some(NoticeReason::RelayChanged { was_expected, .. }) => was_expected,
            other => panic!("{other:?}"),
        };
        assert!(!had_it(relay.went_down(refused(one, other))));
        relay.went_up(one, up());
        assert!(had_it(relay.went_down(refused(one, other))));
    }

    #[test]
    fn a_relay_that_drains_is_down_and_one_that_bans_refuses() {
        let at = relay().0.at;
        let refused = |code: u32| LinkDown::Refused {
            code: code.into(),
            reason: "why".to_owned(),
        };
        assert_eq!(
            down_notice(&at, &refused(close::DRAINING), None).code(),
            "relay-down"
        );
        assert_eq!(
            down_notice(&at, &refused(close::BANNED), None).code(),
            "relay-refused"
        );
    }

    #[test]
    fn a_sleeping_link_seeks_absent_peers_after_a_while() {
        let (mut relay, _commands) = relay();
        let ann = DeviceId::from_bytes([1; 32]);
        relay.went_up(DeviceId::from_bytes([2; 32]), up());
        let slept_at = Duration::from_secs(100);
        relay.note_answer(ann, Err(OpenFailed::Refused));
        assert!(!relay.is_known_absent(ann, slept_at), "it is awake");
        relay.fell_asleep(slept_at);
        let later = slept_at + SEEKS_ABSENT_AFTER;
        assert!(relay.is_known_absent(ann, later - Duration::from_secs(1)));
        assert!(!relay.is_known_absent(ann, later));
        for n in 0..2 * SOUGHT_MAX {
            let mut id = [7; 32];
            id[..8].copy_from_slice(&n.to_be_bytes());
            relay.note_answer(DeviceId::from_bytes(id), Err(OpenFailed::NotHere));
        }
        assert_eq!(relay.woke(up()).len(), SOUGHT_MAX);
        relay.fell_asleep(later);
        assert!(!relay.is_known_absent(ann, later), "it is sought once more");
    }

    #[test]
    fn a_relay_that_comes_up_begins_a_new_roster() {
        let (mut relay, _commands) = relay();
        let ann = DeviceId::from_bytes([1; 32]);
        let named = hobnob_protocol::relay::Roster {
            version: 1,
            anew: true,
            changes: vec![hobnob_protocol::relay::RosterChange::Here {
                peer: ann,
                rooms: Vec::new(),
            }],
        };
        relay.roster.update(DeviceId::from_bytes([9; 32]), named);
        assert!(relay.roster.names(ann));
        relay.went_up(DeviceId::from_bytes([2; 32]), up());
        assert!(!relay.roster.names(ann));
    }

    #[test]
    fn a_name_that_the_user_gave_for_all_traffic_counts_most() {
        let (link, _commands) = mpsc::unbounded_channel();
        let at = |name: &str| name.parse::<RelayAddr>().expect("an address").at;
        let [ticket, settings] = ["friend.example:1", "192.0.2.1:1"].map(at);
        let mut relay = Relay::new(ticket.clone(), None, None, Usage::OnePeer, link);
        assert!(!relay.is_also_at(at("other.example:1"), Usage::Contact));
        assert_eq!(relay.at(), &ticket);
        assert!(relay.is_also_at(settings.clone(), Usage::Rooms));
        assert_eq!(relay.at(), &settings);
        assert!(relay.is_in_rooms() && relay.is_at(&ticket) && relay.is_at(&settings));
        for n in 0..9 {
            relay.is_also_at(at(&format!("r{n}.example:1")), Usage::OnePeer);
        }
        assert_eq!(relay.others.len(), LOCATIONS_MAX - 1);
    }

    #[test]
    fn only_a_relay_that_is_down_is_dialed_for_the_user() {
        let (mut relay, mut commands) = relay();
        relay.want();
        assert!(matches!(commands.try_recv(), Ok(LinkCommand::Want)));
        relay.went_up(DeviceId::from_bytes([1; 32]), up());
        relay.want();
        assert!(commands.try_recv().is_err());
    }

    #[test]
    fn the_link_receives_what_is_sent() {
        let (relay, mut commands) = relay();
        relay.send(ToRelay::Heartbeat(7));
        assert!(matches!(
            commands.try_recv(),
            Ok(LinkCommand::Send(ToRelay::Heartbeat(7)))
        ));
    }
}
