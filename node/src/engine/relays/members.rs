//! The members of fleets: the links to them, and what follows from their events.
//!
//! At which member this node registers is decided in `fleet`.

use hobnob_protocol::fleet::FleetList;
use hobnob_protocol::record::{Checked, Record};
use hobnob_protocol::{DeviceId, RelayAddr, RelayAt};
use tokio::sync::mpsc;

use super::fleet::{Fleet, FleetStep};
use super::openings::OpenFailed;
use super::relay::{Relay, Usage};
use super::{ChannelOpenings, Elsewhere, NewLink, NotUsable, Relays, Removed, location_of};
use crate::net::channels::RelayId;
use crate::net::relay::LinkConfig;

impl Relays {
    /// Begins to use a fleet whose list has arrived, or adopts a newer list. Returns what follows.
    pub(in crate::engine) fn join_fleet(
        &mut self,
        me: DeviceId,
        fleet: DeviceId,
        list: Checked<FleetList>,
        (at, usage): (RelayAt, Usage),
    ) -> Vec<FleetStep> {
        let now = self.clock.now().mono;
        if let Some(known) = self.fleets.get_mut(&fleet) {
            let steps = known.at_time(now).update(list);
            if steps.is_some() {
                self.locate_members(fleet);
            }
            return steps.unwrap_or_default();
        }
        // A relay that has left the fleet may show an older list than that of an earlier run.
        let list = match self.lists.get(&fleet) {
            Some(known) if list.record().number() <= known.record().number() => known.clone(),
            Some(_) | None => list,
        };
        let mut new = Fleet::new(me, list, at, usage);
        let steps = new.at_time(now).start();
        self.fleets.insert(fleet, new);
        steps
    }

    /// The links of a fleet's members learn the addresses on a new list.
    fn locate_members(&mut self, fleet: DeviceId) {
        let Some(of) = self.fleets.get(&fleet) else {
            return;
        };
        let only_remote = of.usage == Usage::Contact;
        let members = self.list.values_mut();
        for relay in members.filter(|relay| relay.fleet() == Some(fleet)) {
            let id = relay.relay_addr().id;
            if let Some(addr) = id.and_then(|id| of.member(id))
                && !relay.is_at(&addr.at)
            {
                relay.moved_to(addr.at.clone());
                let location = location_of(&self.proxy, addr.at.clone(), only_remote);
                relay.locate(location, None);
            }
        }
    }

    /// The list of a fleet from an earlier run, and whether it names a relay at this address.
    pub(in crate::engine) fn known_list(
        &self,
        addr: &RelayAddr,
    ) -> Option<(Checked<FleetList>, bool)> {
        let list = self.lists.get(&addr.id?)?;
        let mut relays = list.record().relays().iter();
        let is_on_it = relays.any(|relay| relay.at == addr.at);
        Some((list.clone(), is_on_it))
    }

    /// The fleet in use whose list names a relay of this identity, for a relay that is named for
    /// this reason. A relay does not have to agree to be on a list. So a fleet that was named for a
    /// weaker reason is left out: it could lead away from the user's own relays.
    pub(in crate::engine) fn fleet_naming(
        &self,
        member: DeviceId,
        usage: Usage,
    ) -> Option<DeviceId> {
        let mut all = self.fleets.iter();
        all.find(|(_, fleet)| fleet.usage <= usage && fleet.member(member).is_some())
            .map(|(id, _)| *id)
    }

    /// Why a fleet is used.
    pub(in crate::engine) fn fleet_usage(&self, fleet: DeviceId) -> Option<Usage> {
        self.fleets.get(&fleet).map(|fleet| fleet.usage)
    }

    /// Why a relay is used: for a member of a fleet, why the fleet is.
    pub(super) fn reason(&self, relay: RelayId) -> Usage {
        let relay = self.relay(relay);
        let fleet = relay.fleet().and_then(|fleet| self.fleet_usage(fleet));
        fleet.unwrap_or(relay.usage())
    }

    /// The link to the relay of this identity, if it is used for a weaker reason than this one. The
    /// members of `except` are left out.
    pub(in crate::engine) fn used_for_less(
        &self,
        relay: DeviceId,
        usage: Usage,
        except: Option<DeviceId>,
    ) -> Option<RelayId> {
        let known = self.with_identity(relay)?;
        let is_excepted = except.is_some() && self.relay(known).fleet() == except;
        (!is_excepted && usage < self.reason(known)).then_some(known)
    }

    /// Whether the links `from` and `into`, which lead to one relay, belong to different fleets or
    /// to none, and the reason for `into` is weaker.
    pub(in crate::engine) fn outranks(&self, from: RelayId, into: RelayId) -> bool {
        let fleets = [from, into].map(|relay| self.relay(relay).fleet());
        fleets[0] != fleets[1] && self.reason(from) < self.reason(into)
    }

    /// The user names a fleet again, perhaps for a stronger reason. Returns whether it is stronger.
    /// Then its links may prove the user's token, and use addresses that nobody else may name.
    pub(in crate::engine) fn name_fleet_again(
        &mut self,
        fleet: DeviceId,
        at: RelayAt,
        usage: Usage,
    ) -> bool {
        let Some(known) = self.fleets.get_mut(&fleet).filter(|it| usage < it.usage) else {
            return false;
        };
        (known.usage, known.at) = (usage, at);
        let token = self.tokens.of(Some(fleet), usage == Usage::Rooms);
        let members = self.list.values_mut();
        for relay in members.filter(|relay| relay.fleet() == Some(fleet)) {
            let location = location_of(&self.proxy, relay.at().clone(), usage == Usage::Contact);
            relay.locate(location, token.clone());
            if !relay.is_resting() && relay.usage() != Usage::Visit {
                relay.use_for(usage);
            }
        }
        true
    }

    /// The number of the list that this node has of a fleet.
    pub(in crate::engine) fn list_number(&self, fleet: DeviceId) -> u64 {
        let known = self.fleets.get(&fleet);
        known.map_or(0, |fleet| fleet.list().record().number())
    }

    /// The list of a fleet.
    pub(in crate::engine) fn list_of(&self, fleet: DeviceId) -> Option<&Checked<FleetList>> {
        self.fleets.get(&fleet).map(Fleet::list)
    }

    /// The fleet of a relay that this node uses as a member of one, and its identity.
    pub(in crate::engine) fn membership(&self, relay: RelayId) -> Option<(DeviceId, DeviceId)> {
        let relay = self.list.get(&relay)?;
        Some((relay.fleet()?, relay.relay_addr().id?))
    }

    /// The link to a member of a fleet, if the relay is used as one.
    pub(in crate::engine) fn member_link(
        &self,
        fleet: DeviceId,
        member: DeviceId,
    ) -> Option<RelayId> {
        let link = self.with_identity(member)?;
        (self.relay(link).fleet() == Some(fleet)).then_some(link)
    }

    /// The relay of a fleet at which peers find this node, or will.
    pub(in crate::engine) fn home_of(&self, fleet: DeviceId) -> Option<RelayId> {
        self.with_identity(self.fleets.get(&fleet)?.home()?)
    }

    /// The home relay of the fleet of a member that this node does not need.
    pub(in crate::engine) fn home_instead_of(&self, resting: RelayId) -> Option<RelayId> {
        let (fleet, _) = self.membership(resting)?;
        self.home_of(fleet).filter(|home| *home != resting)
    }

    /// A member of a fleet has registered this node.
    pub(in crate::engine) fn member_up(&mut self, relay: RelayId) -> Vec<FleetStep> {
        self.of_member(relay, Fleet::up)
    }

    /// There is no connection with a member of a fleet. `is_needed`: sessions go through it.
    pub(in crate::engine) fn member_down(
        &mut self,
        relay: RelayId,
        is_needed: bool,
    ) -> Vec<FleetStep> {
        self.of_member(relay, |fleet, member| fleet.down(member, is_needed))
    }

    /// A member of a fleet has another registration of this identity. `is_needed`: sessions go
    /// through it.
    pub(in crate::engine) fn member_replaced(
        &mut self,
        relay: RelayId,
        is_needed: bool,
    ) -> Vec<FleetStep> {
        self.of_member(relay, |fleet, member| fleet.replaced(member, is_needed))
    }

    /// A member of a fleet does not answer at the moment, or answers again.
    pub(in crate::engine) fn member_suspect(
        &mut self,
        relay: RelayId,
        is_suspect: bool,
    ) -> Vec<FleetStep> {
        self.of_member(relay, |fleet, member| fleet.suspect(member, is_suspect))
    }

    /// A member of a fleet cannot be used as one.
    pub(in crate::engine) fn member_unusable(
        &mut self,
        fleet: DeviceId,
        member: DeviceId,
    ) -> Vec<FleetStep> {
        self.of_fleet(fleet, |fleet| fleet.down(member, false))
    }

    /// A peer is at this member of a fleet.
    pub(in crate::engine) fn visit(&mut self, fleet: DeviceId, member: DeviceId) -> Vec<FleetStep> {
        self.of_fleet(fleet, |fleet| fleet.visit(member))
    }

    /// A relay reports that a peer is at another member of its fleet. Nothing if nobody has asked
    /// for the peer there: a relay could name any number of peers. `has_session`: a session with
    /// the peer goes through the relay.
    pub(in crate::engine) fn found_elsewhere(
        &mut self,
        (from, peer): (RelayId, DeviceId),
        member: DeviceId,
        has_session: bool,
    ) -> Option<Elsewhere> {
        let is_dialed = self.is_dialed(from, peer);
        if !is_dialed && !has_session {
            return None;
        }
        self.opening_done(from, peer, Err(OpenFailed::Elsewhere));
        let (fleet, _) = self.membership(from)?;
        let known = self.with_identity(member);
        Some(Elsewhere {
            fleet,
            is_dialed,
            was_in_use: known.is_some_and(|known| !self.is_resting(known)),
            steps: self.visit(fleet, member),
        })
    }

    fn of_fleet(
        &mut self,
        fleet: DeviceId,
        event: impl FnOnce(&mut Fleet) -> Vec<FleetStep>,
    ) -> Vec<FleetStep> {
        let now = self.clock.now().mono;
        let fleet = self.fleets.get_mut(&fleet);
        fleet.map_or_else(Vec::new, |fleet| event(fleet.at_time(now)))
    }

    fn of_member(
        &mut self,
        relay: RelayId,
        event: impl FnOnce(&mut Fleet, DeviceId) -> Vec<FleetStep>,
    ) -> Vec<FleetStep> {
        let Some((fleet, member)) = self.membership(relay) else {
            return Vec::new();
        };
        self.of_fleet(fleet, |fleet| event(fleet, member))
    }

    /// Uses a member of a fleet: to register there, or to visit it. The caller starts the link, if
    /// it is new.
    ///
    /// # Errors
    ///
    /// The list does not name it, or the user named it as a single relay.
    pub(in crate::engine) fn use_member(
        &mut self,
        fleet: DeviceId,
        member: DeviceId,
        visits: bool,
        seed: u64,
    ) -> Result<(RelayId, Option<NewLink>), NotUsable> {
        let of = self.fleets.get(&fleet).ok_or(NotUsable)?;
        let addr = of.member(member).ok_or(NotUsable)?.clone();
        let usage = if visits { Usage::Visit } else { of.usage };
        let only_remote = of.usage == Usage::Contact;
        if let Some(known) = self.with_identity(member) {
            let relay = Self::relay_mut(&mut self.list, known);
            if relay.fleet() != Some(fleet) {
                return Err(NotUsable);
            }
            // The list may have another address than before.
            if !relay.is_at(&addr.at) {
                relay.moved_to(addr.at.clone());
                relay.locate(location_of(&self.proxy, addr.at, only_remote), None);
            }
            relay.use_for(usage);
            return Ok((known, None));
        }
        // A token is shared for the whole fleet.
        let token = self.tokens.of(Some(fleet), of.usage == Usage::Rooms);
        let (link, commands) = mpsc::unbounded_channel();
        let relay = Relay::new(addr.at.clone(), Some(member), Some(member), usage, link);
        let relay = self.insert(relay.in_fleet(fleet));
        let config = LinkConfig {
            relay,
            location: location_of(&self.proxy, addr.at, only_remote),
            expected: Some(member),
            proxy_only: self.proxy.only,
            token,
            identities: self.identities.clone(),
            guest: self.guest.clone(),
            fleet: Some(fleet),
            may_be_fleet: false,
            visiting: visits,
            clock: self.clock,
            seed,
        };
        Ok((relay, Some(self.new_link(config, commands))))
    }

    /// A member of a fleet is not needed any more.
    pub(in crate::engine) fn rest(&mut self, member: DeviceId) {
        let mut of_fleets = self
            .list
            .values_mut()
            .filter(|relay| relay.fleet().is_some());
        if let Some(relay) = of_fleets.find(|relay| relay.relay_addr().id == Some(member)) {
            relay.rest();
        }
    }

    /// A link has shown that its relay is a member of a fleet, and has ended.
    pub(in crate::engine) fn remove_for_fleet(&mut self, relay: RelayId) -> Option<Removed> {
        let gone = self.list.remove(&relay)?;
        let (fleet, usage) = (gone.relay_addr().id?, gone.usage());
        let (at, openings) = gone.into_openings();
        Some(Removed {
            fleet,
            named_as: (at, usage),
            openings: ChannelOpenings(openings),
        })
    }

    /// The link of a member of a fleet has ended for good.
    pub(in crate::engine) fn forget_member(
        &mut self,
        fleet: DeviceId,
        member: DeviceId,
    ) -> Vec<FleetStep> {
        self.of_fleet(fleet, |fleet| fleet.forget(member))
    }

    /// Whether this node does not need a member of a fleet at the moment.
    pub(in crate::engine) fn is_resting(&self, relay: RelayId) -> bool {
        self.list.get(&relay).is_some_and(Relay::is_resting)
    }

    /// Whether this node only visits a relay, or does not need it at the moment.
    pub(in crate::engine) fn is_visited(&self, relay: RelayId) -> bool {
        let relay = self.list.get(&relay);
        relay.is_some_and(|relay| relay.usage() == Usage::Visit)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hobnob_core::carrier::Carrier;
    use hobnob_protocol::SecretKey;

    use super::super::tests::{addr, list, named, no_relays, peer, tokens, welcome};
    use super::*;
    use crate::api::{ProxyConfig, RELAYS_MAX};
    use crate::clock::Clock;
    use crate::net::relay::LinkCommand;

    #[test]
    fn a_relay_that_has_left_the_fleet_cannot_bring_back_an_old_list_after_a_restart() {
        let fleet = peer(50);
        let with_lists = |lists| {
            Relays::new(
                BTreeMap::new(),
                BTreeMap::from([(fleet, lists)]),
                tokens(None),
                ProxyConfig::default(),
                Clock::start(),
            )
        };
        let addr = |at: &str| RelayAddr {
            id: Some(fleet),
            at: named(at).at,
        };
        let mut relays = with_lists(list(9, &[1, 2]));
        // An alias, or the address of a relay that has left: the fleet is known all the same.
        let left = addr("relay3.example:4627");
        assert_eq!(relays.known_list(&left), Some((list(9, &[1, 2]), false)));
        let on_it = addr("relay1.example:4627");
        assert_eq!(relays.known_list(&on_it), Some((list(9, &[1, 2]), true)));
        let join = |relays: &mut Relays, list| {
            relays.join_fleet(peer(100), fleet, list, (left.at.clone(), Usage::Rooms))
        };
        join(&mut relays, list(5, &[1, 2, 3]));
        assert_eq!(relays.list_number(fleet), 9);
        assert_eq!(relays.fleet_naming(peer(2), Usage::Rooms), Some(fleet));
        assert_eq!(relays.fleet_naming(peer(3), Usage::Rooms), None);
        // A newer one is used at once.
        let mut relays = with_lists(list(9, &[1, 2]));
        join(&mut relays, list(10, &[3]));
        assert_eq!(relays.list_number(fleet), 10);
        join(&mut relays, list(9, &[1, 2]));
        assert_eq!(relays.list_number(fleet), 10);
    }

    #[test]
    fn a_member_whose_address_is_new_on_the_list_is_dialed_there() {
        let fleet = peer(50);
        let mut relays = no_relays();
        let at = named("fleet.example:4627").at;
        let named_at = (at, Usage::Rooms);
        relays.join_fleet(peer(100), fleet, list(1, &[1]), named_at.clone());
        let used = relays.use_member(fleet, peer(1), false, 1);
        let (_, link) = used.expect("on the list");
        let mut commands = link.expect("a new link").commands;
        let moved = RelayAddr {
            id: Some(peer(1)),
            at: named("elsewhere.example:4627").at,
        };
        let newer = FleetList::new(2, vec![moved.clone()]).expect("few");
        let newer = Checked::sign(newer, &SecretKey::from_seed([1; 32]));
        relays.join_fleet(peer(100), fleet, newer, named_at);
        let learned = commands.try_recv();
        assert!(
            matches!(learned, Ok(LinkCommand::Locate(location, None)) if location.at == moved.at)
        );
        let link = relays.with_identity(peer(1)).expect("a member");
        assert_eq!(relays.at(link), &moved.at, "notices name it");
        assert!(!relays.relay(link).is_at(&named("relay1.example:4627").at));
    }

    #[test]
    fn a_fleet_that_the_user_names_gets_the_token_on_the_links_that_exist() {
        let mut relays = no_relays();
        relays.tokens.own = Some(b"token".to_vec().into());
        let (fleet, home, mut link) = with_fleet(&mut relays, Usage::Contact);
        assert!(link.config.token.is_none() && link.config.location.only_remote);
        let at = named("ours.example:4627").at;
        assert!(!relays.name_fleet_again(fleet, at.clone(), Usage::Contact));
        assert!(link.commands.try_recv().is_err(), "that is no news");
        assert!(relays.name_fleet_again(fleet, at.clone(), Usage::Rooms));
        let learned = link.commands.try_recv();
        assert!(
            matches!(&learned, Ok(LinkCommand::Locate(location, Some(_))) if !location.only_remote),
            "{learned:?}"
        );
        let used = link.commands.try_recv();
        assert!(matches!(used, Ok(LinkCommand::Use { visiting: false })));
        assert!(relays.is_in_rooms(home));
        let id = Some(fleet);
        assert_eq!(relays.addrs(), [RelayAddr { id, at }]);
    }

    #[test]
    fn a_list_pins_no_other_relay_at_the_address_of_a_member() {
        let mut relays = no_relays();
        let (_, home, _link) = with_fleet(&mut relays, Usage::Contact);
        let (_, member) = relays.membership(home).expect("a member");
        let at = relays.at(home).clone();
        let way = (addr("192.0.2.1:4627"), Carrier::Udp);
        let went_up = relays.went_up(home, member, way, &welcome());
        assert!(!went_up.is_new_identity, "it is not stored");
        let by_name = RelayAddr { id: None, at };
        let link = relays.add(by_name, Usage::Rooms, 1).expect("room");
        assert_eq!(link.config.expected, None, "anybody may be there");
        let names = relays.known.clone();
        relays.merge(home, link.config.relay, member);
        assert_eq!(relays.known, names);
    }

    /// A fleet with two members whose home is the first one of them, and the number of its link.
    fn with_fleet(relays: &mut Relays, usage: Usage) -> (DeviceId, RelayId, NewLink) {
        let fleet = peer(50);
        let at = named("fleet.example:4627").at;
        let steps = relays.join_fleet(peer(100), fleet, list(1, &[1, 2]), (at, usage));
        let [FleetStep::Register(home)] = steps[..] else {
            panic!("{steps:?}")
        };
        let used = relays.use_member(fleet, home, false, 1);
        let (relay, link) = used.expect("on the list");
        let way = (addr("192.0.2.1:4627"), Carrier::Udp);
        relays.went_up(relay, home, way, &welcome());
        relays.member_up(relay);
        (fleet, relay, link.expect("a new link"))
    }

    #[test]
    fn a_relay_leads_this_node_only_to_peers_that_it_has_sought() {
        let mut relays = no_relays();
        let (fleet, home, _link) = with_fleet(&mut relays, Usage::Rooms);
        let (_, me) = relays.membership(home).expect("a member");
        let other = [peer(1), peer(2)].into_iter().find(|it| *it != me);
        let other = other.expect("two members");
        let found = relays.found_elsewhere((home, peer(7)), other, false);
        assert_eq!(found, None, "nobody has asked");
        let mut dial = relays.open_channel(home, peer(7), false);
        let found = relays.found_elsewhere((home, peer(7)), other, false);
        let visit = Elsewhere {
            fleet,
            steps: vec![FleetStep::Visit(other)],
            is_dialed: true,
            was_in_use: false,
        };
        assert_eq!(found.as_ref(), Some(&visit));
        assert_eq!(dial.answered(), Some(Err(OpenFailed::Elsewhere)));
        drop(dial);
        // A session needs the peer, too.
        let found = relays.found_elsewhere((home, peer(7)), other, true);
        let found = found.expect("a session goes there");
        assert!(!found.is_dialed);
    }

    #[test]
    fn a_member_that_is_needed_again_learns_its_address_only_if_it_is_new() {
        let mut relays = no_relays();
        let (fleet, home, mut link) = with_fleet(&mut relays, Usage::Rooms);
        let (_, me) = relays.membership(home).expect("a member");
        relays.use_member(fleet, me, false, 1).expect("on the list");
        let mut sent = std::iter::from_fn(|| link.commands.try_recv().ok());
        assert!(
            !sent.any(|command| matches!(command, LinkCommand::Locate(..))),
            "it would end the pause after a refusal"
        );
    }

    #[test]
    fn fleets_count_as_relays_and_a_link_that_is_gone_answers_nothing() {
        let mut relays = no_relays();
        let (_, home, _link) = with_fleet(&mut relays, Usage::Rooms);
        for n in 1..RELAYS_MAX {
            assert!(!relays.is_full());
            let at = named(&format!("r{n}.example:1"));
            relays.add(at, Usage::Rooms, 1).expect("room");
        }
        assert!(relays.is_full());
        let mut dial = relays.open_channel(home, peer(7), false);
        relays.remove(home);
        assert!(!relays.is_dialed(home, peer(7)));
        assert_eq!(relays.addr_of(home), None);
        assert_eq!(dial.answered(), None);
    }

    #[test]
    fn the_fleet_of_a_contact_does_not_capture_a_relay_of_the_user() {
        let mut relays = no_relays();
        let (theirs, link, _commands) = with_fleet(&mut relays, Usage::Contact);
        let (_, member) = relays.membership(link).expect("a member");
        // The user names the relay by itself. The contact has put it on the list.
        assert_eq!(relays.fleet_naming(member, Usage::Rooms), None);
        assert_eq!(relays.fleet_naming(member, Usage::OnePeer), None);
        assert_eq!(relays.fleet_naming(member, Usage::Contact), Some(theirs));
        assert_eq!(relays.used_for_less(member, Usage::Rooms, None), Some(link));
        assert_eq!(relays.used_for_less(member, Usage::Contact, None), None);
        let own = Some(theirs);
        assert_eq!(relays.used_for_less(member, Usage::Rooms, own), None);
        let at = named("relay.example:4627").at;
        assert!(!relays.name_again(link, at, Usage::Rooms));
        assert_eq!(relays.fleet_usage(theirs), Some(Usage::Contact));
        assert_eq!(relays.addrs(), [], "no ticket names that fleet");
        // By another name, too.
        let by_name = relays.add(named("192.0.2.1:4627"), Usage::Rooms, 1);
        let by_name = by_name.expect("room").config.relay;
        assert!(relays.outranks(by_name, link));
        assert!(!relays.outranks(link, by_name));
        // Nor do two names of a relay without a fleet.
        let other = relays.add(named("other.example:1"), Usage::Contact, 1);
        let other = other.expect("room").config.relay;
        assert!(!relays.outranks(by_name, other), "they are merged");
        assert_eq!(
            relays.identities.claim(member, link),
            Ok(()),
            "it has proved its identity"
        );
        assert_eq!(relays.member_link(theirs, member), Some(link));
        relays.remove(link);
        assert_eq!(relays.member_link(theirs, member), None);
        assert_eq!(relays.identities.claim(member, by_name), Ok(()));
    }

    #[test]
    fn a_relay_that_a_contact_named_becomes_a_member_of_the_users_fleet() {
        let mut relays = no_relays();
        let addr = |n: u8| RelayAddr {
            id: Some(peer(n)),
            at: named(&format!("other{n}.example:1")).at,
        };
        let theirs = relays.add(addr(1), Usage::Contact, 1).expect("room");
        let ours = relays.add(addr(2), Usage::Rooms, 1).expect("room");
        let (theirs, ours) = (theirs.config.relay, ours.config.relay);
        let fleet = Some(peer(50));
        assert_eq!(
            relays.used_for_less(peer(1), Usage::Rooms, fleet),
            Some(theirs)
        );
        assert_eq!(relays.used_for_less(peer(2), Usage::Rooms, fleet), None);
        assert!(relays.has(ours));
    }

    #[test]
    fn for_peers_of_a_resting_member_the_home_relay_is_asked() {
        let mut relays = no_relays();
        let (fleet, home, _link) = with_fleet(&mut relays, Usage::OnePeer);
        let (_, me) = relays.membership(home).expect("a member");
        let other = [peer(1), peer(2)].into_iter().find(|it| *it != me);
        let other = other.expect("two members");
        let (visited, _link) = relays
            .use_member(fleet, other, true, 1)
            .expect("on the list");
        let mut dial = relays.open_channel(visited, peer(7), false);
        relays.rest(other);
        assert!(relays.is_resting(visited));
        assert_eq!(dial.answered(), Some(Err(OpenFailed::Elsewhere)));
        assert_eq!(relays.home_instead_of(visited), Some(home));
        assert_eq!(relays.home_instead_of(home), None);
    }
}
