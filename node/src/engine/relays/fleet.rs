//! A fleet: at which of its relays this node registers, and which others it visits, as a pure state
//! machine.
//!
//! A node registers at one relay of a fleet, its home relay. Each node prefers the relays in an
//! order of its own, so nodes spread evenly, and a node returns to the same one after a restart. If
//! the home relay does not answer, the node registers at the next relay, too, and the first of the
//! two that answers is its home relay from then on.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_protocol::fleet::FleetList;
use hobnob_protocol::record::{Checked, Record};
use hobnob_protocol::{DeviceId, RelayAddr, RelayAt};

use super::relay::Usage;

/// How long this node leaves the fleet to another machine with its identity.
const YIELDS: Duration = Duration::from_secs(5 * 60);

/// For how long after this node began to register at another relay it takes the end of its
/// registration for its own doing.
const OWN_MOVE: Duration = Duration::from_secs(10);

/// A fleet that this node uses.
#[derive(Debug)]
pub(super) struct Fleet {
    me: DeviceId,
    list: Checked<FleetList>,
    /// Where the fleet was named.
    pub(super) at: RelayAt,
    /// Why the fleet is used.
    pub(super) usage: Usage,
    /// The members with a link that is in use.
    members: BTreeMap<DeviceId, Member>,
    home: Option<DeviceId>,
    /// From when on another machine with this identity makes this node try another relay.
    yields_until: Duration,
    /// When this node began to register at another member, because its home did not answer.
    own_move_at: Option<Duration>,
    now: Duration,
}

/// The state of a link to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    /// This node registers there.
    Registers {
        /// The link is up and answers.
        is_trusted: bool,
        /// Peers that are registered there need it in any case.
        also_visited: bool,
    },
    /// This node visits it, to reach peers that are registered there.
    Visited,
}

/// What follows from an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FleetStep {
    /// Register at this member.
    Register(DeviceId),
    /// Visit this member.
    Visit(DeviceId),
    /// This member is not needed any more.
    Rest(DeviceId),
    /// This node is found at another member than before.
    Moved {
        /// The home before, if there was one.
        from: Option<DeviceId>,
        /// The home now.
        to: DeviceId,
    },
}

impl Fleet {
    /// A fleet without links. [`Fleet::start`] follows.
    pub(super) fn new(me: DeviceId, list: Checked<FleetList>, at: RelayAt, usage: Usage) -> Self {
        Self {
            me,
            list,
            at,
            usage,
            members: BTreeMap::new(),
            home: None,
            yields_until: Duration::ZERO,
            own_move_at: None,
            now: Duration::ZERO,
        }
    }

    /// The events that follow happen now.
    pub(super) fn at_time(&mut self, now: Duration) -> &mut Self {
        self.now = now;
        self
    }

    /// The list of the fleet's relays.
    pub(super) fn list(&self) -> &Checked<FleetList> {
        &self.list
    }

    /// The address of a member.
    pub(super) fn member(&self, id: DeviceId) -> Option<&RelayAddr> {
        self.list.record().member(id)
    }

    /// The member at which peers find this node, or will.
    pub(super) fn home(&self) -> Option<DeviceId> {
        let registers = |(id, member): (&DeviceId, &Member)| {
            matches!(member, Member::Registers { .. }).then_some(*id)
        };
        self.home
            .filter(|home| self.members.contains_key(home))
            .or_else(|| self.members.iter().find_map(registers))
    }

    /// Begins to register at the member that this node prefers.
    pub(super) fn start(&mut self) -> Vec<FleetStep> {
        self.register_at_next(None)
    }

    /// A member has registered this node.
    pub(super) fn up(&mut self, member: DeviceId) -> Vec<FleetStep> {
        let Some(Member::Registers {
            is_trusted,
            also_visited,
        }) = self.members.get_mut(&member)
        else {
            return Vec::new();
        };
        (*is_trusted, *also_visited) = (true, false);
        // A new registration at one relay of a fleet ends an older one at another.
        let from = self.home.replace(member).filter(|from| *from != member);
        let mut steps = self.rest_others(member);
        steps.push(FleetStep::Moved { from, to: member });
        steps
    }

    /// There is no connection with a member any more, or it could not be made. `is_needed`:
    /// sessions go through it.
    pub(super) fn down(&mut self, member: DeviceId, is_needed: bool) -> Vec<FleetStep> {
        match self.members.get_mut(&member) {
            None => Vec::new(),
            Some(Member::Visited) if is_needed => Vec::new(),
            Some(Member::Visited) => {
                self.members.remove(&member);
                vec![FleetStep::Rest(member)]
            }
            Some(Member::Registers { is_trusted, .. }) => {
                *is_trusted = false;
                self.find_home(member)
            }
        }
    }

    /// A member has ended the connection, because this identity has registered again. That was this
    /// node, at another member, or another machine with this identity. Two such machines must not
    /// chase each other through the fleet, so this node tries another member only once in a while.
    pub(super) fn replaced(&mut self, member: DeviceId, is_needed: bool) -> Vec<FleetStep> {
        let Some(link) = self.members.get_mut(&member) else {
            return Vec::new();
        };
        if self.home == Some(member)
            && let Member::Registers { is_trusted, .. } = link
        {
            *is_trusted = false;
            // One such move explains one end.
            let began = self.own_move_at.take();
            let is_own = began.is_some_and(|at| self.now < at + OWN_MOVE);
            if !is_own && self.now < self.yields_until {
                return Vec::new();
            }
            if !is_own {
                self.yields_until = self.now + YIELDS;
            }
            return self.register_at_next(Some(member));
        }
        match link {
            Member::Visited => self.down(member, is_needed),
            // Its link registers again after a pause.
            Member::Registers { .. } => Vec::new(),
        }
    }

    /// A member does not answer at the moment, or answers again.
    pub(super) fn suspect(&mut self, member: DeviceId, is_suspect: bool) -> Vec<FleetStep> {
        let Some(Member::Registers { is_trusted, .. }) = self.members.get_mut(&member) else {
            return Vec::new();
        };
        *is_trusted = !is_suspect;
        if is_suspect {
            self.find_home(member)
        } else if self.home == Some(member) {
            self.rest_others(member)
        } else {
            Vec::new()
        }
    }

    /// A peer is registered at this member. Nothing follows if there is a link already, or if the
    /// list does not name it.
    pub(super) fn visit(&mut self, member: DeviceId) -> Vec<FleetStep> {
        if self.member(member).is_none() {
            return Vec::new();
        }
        match self.members.get_mut(&member) {
            None => {
                self.members.insert(member, Member::Visited);
                vec![FleetStep::Visit(member)]
            }
            Some(Member::Registers { also_visited, .. }) if self.home != Some(member) => {
                *also_visited = true;
                Vec::new()
            }
            Some(Member::Registers { .. } | Member::Visited) => Vec::new(),
        }
    }

    /// The link of a member has ended for good.
    pub(super) fn forget(&mut self, member: DeviceId) -> Vec<FleetStep> {
        self.members.remove(&member);
        self.home = self.home.filter(|home| *home != member);
        self.find_home(member)
    }

    /// Replaces the list by one with a higher number. `None`: it has none, or needs a newer
    /// version.
    pub(super) fn update(&mut self, list: Checked<FleetList>) -> Option<Vec<FleetStep>> {
        let is_newer = list.record().number() > self.list.record().number();
        if !is_newer || list.record().needs_newer_version() {
            return None;
        }
        self.list = list;
        let gone: Vec<_> = self
            .members
            .keys()
            .copied()
            .filter(|member| self.list.record().member(*member).is_none())
            .collect();
        for member in &gone {
            self.members.remove(member);
        }
        let mut steps: Vec<_> = gone.iter().copied().map(FleetStep::Rest).collect();
        // `home` stays, so that the move to another one names it.
        if let Some(first) = gone.first() {
            steps.extend(self.find_home(*first));
        }
        Some(steps)
    }

    fn is_at_home(&self) -> bool {
        let home = self.home.and_then(|home| self.members.get(&home));
        matches!(
            home,
            Some(Member::Registers {
                is_trusted: true,
                ..
            })
        )
    }

    fn find_home(&mut self, after: DeviceId) -> Vec<FleetStep> {
        if self.is_at_home() {
            return Vec::new();
        }
        let steps = self.register_at_next(Some(after));
        if !steps.is_empty() {
            self.own_move_at = Some(self.now);
        }
        steps
    }

    /// Registers at one more member: the next in this node's order at which it does not register
    /// yet.
    fn register_at_next(&mut self, after: Option<DeviceId>) -> Vec<FleetStep> {
        let order = self.order();
        let start = after
            .and_then(|after| order.iter().position(|id| *id == after))
            .map_or(0, |at| at + 1);
        let (before, behind) = order.split_at(start);
        let is_free =
            |id: &&DeviceId| !matches!(self.members.get(id), Some(Member::Registers { .. }));
        let Some(next) = behind.iter().chain(before).find(is_free).copied() else {
            return Vec::new();
        };
        let registers = Member::Registers {
            is_trusted: false,
            also_visited: self.members.contains_key(&next),
        };
        self.members.insert(next, registers);
        vec![FleetStep::Register(next)]
    }

    /// The members in this node's order.
    fn order(&self) -> Vec<DeviceId> {
        let relays = self.list.record().relays().iter();
        let mut order: Vec<_> = relays.filter_map(|relay| relay.id).collect();
        order.sort_by_cached_key(|relay| {
            let mut rank = blake3::Hasher::new();
            rank.update(self.me.as_bytes()).update(relay.as_bytes());
            *rank.finalize().as_bytes()
        });
        order
    }

    /// Stops registering at all members but this one. Visits continue.
    fn rest_others(&mut self, home: DeviceId) -> Vec<FleetStep> {
        let mut others = Vec::new();
        self.members.retain(|id, member| match member {
            Member::Registers { also_visited, .. } if *id != home => {
                let stays = *also_visited;
                if stays {
                    *member = Member::Visited;
                    others.push(FleetStep::Visit(*id));
                } else {
                    others.push(FleetStep::Rest(*id));
                }
                stays
            }
            Member::Registers { .. } | Member::Visited => true,
        });
        others
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_protocol::SecretKey;

    fn id(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    fn list(number: u64, relays: &[u8]) -> Checked<FleetList> {
        let relay = |n: &u8| RelayAddr {
            id: Some(id(*n)),
            at: format!("relay{n}.example:4627")
                .parse()
                .expect("an address"),
        };
        let list = FleetList::new(number, relays.iter().map(relay).collect());
        Checked::sign(list.expect("few"), &SecretKey::from_seed([1; 32]))
    }

    fn fleet(relays: &[u8]) -> Fleet {
        let at = "fleet.example:4627".parse().expect("an address");
        Fleet::new(id(100), list(1, relays), at, Usage::Rooms)
    }

    /// A fleet of three with its first member as home, and its members in this node's order.
    fn at_home() -> (Fleet, [DeviceId; 3]) {
        let mut fleet = fleet(&[1, 2, 3]);
        let order: [DeviceId; 3] = fleet.order().try_into().expect("three");
        assert_eq!(fleet.start(), [FleetStep::Register(order[0])]);
        let moved = FleetStep::Moved {
            from: None,
            to: order[0],
        };
        assert_eq!(fleet.up(order[0]), [moved]);
        (fleet, order)
    }

    #[test]
    fn a_home_that_does_not_answer_is_replaced_by_the_next_member() {
        let (mut fleet, [first, second, _]) = at_home();
        assert_eq!(fleet.suspect(first, true), [FleetStep::Register(second)]);
        assert_eq!(fleet.home(), Some(first), "until another one answers");
        let moved = FleetStep::Moved {
            from: Some(first),
            to: second,
        };
        assert_eq!(fleet.up(second), [FleetStep::Rest(first), moved]);
        assert_eq!(fleet.home(), Some(second));
        assert_eq!(fleet.down(first, false), []);
    }

    #[test]
    fn a_home_that_answers_again_in_time_stays() {
        let (mut fleet, [first, second, _]) = at_home();
        fleet.suspect(first, true);
        assert_eq!(fleet.suspect(first, false), [FleetStep::Rest(second)]);
        assert_eq!(fleet.up(second), [], "it is not wanted any more");
        assert_eq!(fleet.home(), Some(first));
    }

    #[test]
    fn members_that_are_down_are_tried_one_after_another_and_the_first_wins() {
        let mut fleet = fleet(&[1, 2, 3]);
        let order = fleet.order();
        fleet.start();
        assert_eq!(fleet.down(order[0], false), [FleetStep::Register(order[1])]);
        assert_eq!(fleet.down(order[1], false), [FleetStep::Register(order[2])]);
        assert_eq!(fleet.down(order[2], false), [], "all are dialed");
        let moved = FleetStep::Moved {
            from: None,
            to: order[1],
        };
        let steps = fleet.up(order[1]);
        assert_eq!(steps.len(), 3);
        assert!(steps.contains(&moved));
        assert!(steps.contains(&FleetStep::Rest(order[0])));
    }

    #[test]
    fn a_visited_member_becomes_the_home_if_it_is_the_next() {
        let (mut fleet, [first, second, _]) = at_home();
        assert_eq!(fleet.visit(second), [FleetStep::Visit(second)]);
        assert_eq!(fleet.visit(second), [], "there is a link");
        assert_eq!(fleet.visit(first), [], "there is a link");
        assert_eq!(fleet.visit(id(9)), [], "it is not on the list");
        assert_eq!(fleet.up(second), []);
        assert_eq!(fleet.down(first, true), [FleetStep::Register(second)]);
        assert_eq!(fleet.visit(second), [], "there is a link");
    }

    #[test]
    fn two_machines_with_one_identity_do_not_chase_each_other() {
        let (mut fleet, [first, second, _]) = at_home();
        let now = Duration::from_secs(1_000);
        let steps = fleet.at_time(now).replaced(first, false);
        assert_eq!(steps, [FleetStep::Register(second)]);
        fleet.up(second);
        assert_eq!(fleet.replaced(second, false), [], "at once");
        fleet.up(second);
        let later = now + YIELDS / 2;
        assert_eq!(fleet.at_time(later).replaced(second, false), []);
        // The link has ended: this node is not at home until it is up again.
        assert!(!fleet.is_at_home());
        let steps = fleet.at_time(now + YIELDS).replaced(second, false);
        assert!(matches!(steps[..], [FleetStep::Register(_)]), "{steps:?}");
    }

    #[test]
    fn a_move_of_this_node_is_not_taken_for_another_machine() {
        let (mut fleet, [first, second, third]) = at_home();
        let now = Duration::from_secs(1_000);
        // The home is slow for a moment. The next relay registers this node meanwhile.
        fleet.at_time(now).suspect(first, true);
        assert_eq!(fleet.suspect(first, false), [FleetStep::Rest(second)]);
        let steps = fleet.replaced(first, false);
        assert_eq!(steps, [FleetStep::Register(second)]);
        assert_eq!(fleet.yields_until, Duration::ZERO, "nobody to yield to");
        fleet.up(second);
        // The next end is not explained by that move.
        let steps = fleet.replaced(second, false);
        assert!(matches!(steps[..], [FleetStep::Register(_)]), "{steps:?}");
        assert_eq!(fleet.yields_until, now + YIELDS);
        // The end of a visit says nothing about other machines.
        let (mut fleet, _) = at_home();
        fleet.visit(third);
        assert_eq!(fleet.replaced(third, true), []);
        assert_eq!(fleet.replaced(third, false), [FleetStep::Rest(third)]);
        assert_eq!(fleet.yields_until, Duration::ZERO);
    }

    #[test]
    fn a_visit_outlasts_a_registration_that_is_not_needed_any_more() {
        let (mut fleet, [first, second, _]) = at_home();
        fleet.visit(second);
        assert_eq!(fleet.suspect(first, true), [FleetStep::Register(second)]);
        assert_eq!(fleet.suspect(first, false), [FleetStep::Visit(second)]);
        assert_eq!(fleet.down(second, false), [FleetStep::Rest(second)]);
        // A peer may be found there while this node registers.
        assert_eq!(fleet.suspect(first, true), [FleetStep::Register(second)]);
        assert_eq!(fleet.visit(second), [], "there is a link");
        assert_eq!(fleet.suspect(first, false), [FleetStep::Visit(second)]);
    }

    #[test]
    fn a_visit_ends_when_no_session_needs_it() {
        let (mut fleet, [_, second, _]) = at_home();
        fleet.visit(second);
        assert_eq!(fleet.down(second, true), []);
        assert_eq!(fleet.down(second, false), [FleetStep::Rest(second)]);
        assert_eq!(fleet.visit(second), [FleetStep::Visit(second)]);
    }

    #[test]
    fn a_newer_list_replaces_the_list_and_an_older_one_is_refused() {
        let (mut fleet, [first, second, third]) = at_home();
        let number = |id: DeviceId| id.as_bytes()[0];
        fleet.visit(third);
        let older = list(1, &[7]);
        assert_eq!(fleet.update(older), None, "it has the same number");
        // Also if it was signed twice with one number, and whichever of the two looks greater.
        for n in 1..20 {
            assert_eq!(fleet.update(list(1, &[n])), None, "{n}");
        }
        let newer = list(2, &[number(second)]);
        let steps = fleet.update(newer).expect("it is newer");
        assert_eq!(steps.len(), 3);
        for step in [
            FleetStep::Rest(first),
            FleetStep::Rest(third),
            FleetStep::Register(second),
        ] {
            assert!(steps.contains(&step), "{step:?} in {steps:?}");
        }
        assert_eq!(fleet.update(list(1, &[1, 2, 3])), None);
        assert_eq!(fleet.home(), Some(second));
        // Sessions follow from the relay that is not on the list any more.
        let moved = FleetStep::Moved {
            from: Some(first),
            to: second,
        };
        assert_eq!(fleet.up(second), [moved]);
    }

    #[test]
    fn nodes_spread_over_the_relays() {
        let first = |n: u8| {
            let at = "fleet.example:4627".parse().expect("an address");
            let fleet = Fleet::new(id(n), list(1, &[201, 202, 203]), at, Usage::Rooms);
            fleet.order()[0]
        };
        let mut homes = BTreeMap::new();
        for n in 0..200 {
            *homes.entry(first(n)).or_insert(0) += 1;
        }
        assert!(homes.values().all(|nodes| *nodes > 30), "{homes:?}");
    }
}
