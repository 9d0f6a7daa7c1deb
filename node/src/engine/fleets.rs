//! Carries out what follows for fleets: joins them, registers at their relays and visits them.
//!
//! At which relay of a fleet this node registers is decided in `relays`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use data_encoding::BASE64;
use hobnob_core::{SessionId, paths};
use hobnob_protocol::fleet::FleetList;
use hobnob_protocol::record::{Checked, Record, SignedRecord};
use hobnob_protocol::relay::ToRelay;
use hobnob_protocol::{DeviceId, RelayAddr};
use tracing::debug;

use super::mail::HolderAt;
use super::relays::{ChannelOpenings, Elsewhere, FleetStep, Removed, Usage};
use super::state::Engine;
use crate::clock::random;
use crate::net::channels::RelayId;

/// The prefix of the settings that hold the lists of fleets. The fleet's id follows.
const LIST_SETTING: &str = "fleet ";

/// The lists of fleets of earlier runs. Damaged ones are left out: relays have them.
pub(crate) fn restore_lists(
    settings: &BTreeMap<String, String>,
) -> BTreeMap<DeviceId, Checked<FleetList>> {
    let of_fleet = |(name, list): (&String, &String)| {
        let fleet: DeviceId = name.strip_prefix(LIST_SETTING)?.parse().ok()?;
        let list = SignedRecord::from_bytes(BASE64.decode(list.as_bytes()).ok()?);
        Some((fleet, list.check(fleet).ok()?))
    };
    settings.iter().filter_map(of_fleet).collect()
}

impl Engine {
    /// Begins to use a fleet whose list is known from an earlier run. Returns the relay at which this
    /// node registers. Nothing if the list is not known.
    pub(super) fn start_known_fleet(&mut self, addr: &RelayAddr, usage: Usage) -> Option<RelayId> {
        if self.relays.is_full() {
            return None;
        }
        let (list, is_on_it) = self.relays.known_list(addr)?;
        let fleet = addr.id?;
        let steps = self
            .relays
            .join_fleet(self.device, fleet, list, (addr.at.clone(), usage));
        self.fleet_steps(fleet, steps);
        if !is_on_it {
            // The list may be outdated. The relay at this address may have a newer one.
            let is_of_contact = usage == Usage::Contact;
            let usage = if is_of_contact { usage } else { Usage::Visit };
            if let Some(link) = self.relays.add(addr.clone(), usage, random()) {
                self.run_link(link);
            }
        }
        self.relays.find(addr)
    }

    /// A member of a fleet that this node uses is named by its own identity: it is visited. A link of its
    /// own would be another registration. Nothing if it is no such member, or if the fleet is used for a
    /// weaker reason.
    pub(super) fn visit_member(&mut self, addr: &RelayAddr, usage: Usage) -> Option<RelayId> {
        let member = addr.id?;
        let fleet = self.relays.fleet_naming(member, usage)?;
        let steps = self.relays.visit(fleet, member);
        self.fleet_steps(fleet, steps);
        self.relays.with_identity(member)
    }

    /// The user names a relay by itself that is used as a member of a fleet, for a weaker reason: from now
    /// on it is no member.
    pub(super) fn take_from_fleet(
        &mut self,
        link: RelayId,
        addr: RelayAddr,
        usage: Usage,
    ) -> Option<RelayId> {
        let (membership, openings) = self.end_link(link)?;
        let new = self.start_link(addr, usage);
        self.replace_link(link, new, openings);
        self.leave_fleet(membership);
        new
    }

    /// The link `from` has ended, because it leads to the relay of the link `into`. The reason for that one
    /// is weaker, and one of the two is a member of a fleet. So `into` ends, too, and `from` begins anew.
    pub(super) fn take_for(&mut self, from: RelayId, into: RelayId, id: DeviceId) {
        let membership = self.relays.membership(from);
        let Some((left, of_into)) = self.end_link(into) else {
            return;
        };
        let Some((addr, usage, of_from)) = self.relays.remove(from) else {
            return;
        };
        let new = if let Some((fleet, member)) = membership {
            self.use_member(fleet, member, usage == Usage::Visit);
            self.relays.with_identity(member)
        } else {
            let id = Some(id);
            self.start_link(RelayAddr { id, ..addr }, usage)
        };
        self.replace_link(from, new, of_from);
        self.replace_link(into, new, of_into);
        self.leave_fleet(left);
    }

    /// Ends a link. Returns the fleet and the identity if its relay was used as a member, and the dials
    /// that wait.
    pub(super) fn end_link(
        &mut self,
        link: RelayId,
    ) -> Option<(Option<(DeviceId, DeviceId)>, ChannelOpenings)> {
        let membership = self.relays.membership(link);
        let (_, _, openings) = self.relays.remove(link)?;
        self.network.channels().disconnected(link);
        self.holder_down(HolderAt::Relay(link));
        Some((membership, openings))
    }

    /// A relay is no member of a fleet any more, as far as this node is concerned.
    fn leave_fleet(&mut self, membership: Option<(DeviceId, DeviceId)>) {
        if let Some((fleet, member)) = membership {
            let steps = self.relays.forget_member(fleet, member);
            self.fleet_steps(fleet, steps);
        }
    }

    /// A link has ended, because its relay has shown that it is a member of a fleet.
    pub(super) fn fleet_found(&mut self, relay: RelayId, list: Checked<FleetList>) {
        let Some(removed) = self.relays.remove_for_fleet(relay) else {
            return;
        };
        let Removed {
            fleet,
            named_as,
            openings,
        } = removed;
        let at = named_as.0.clone();
        let steps = self.relays.join_fleet(self.device, fleet, list, named_as);
        self.fleet_steps(fleet, steps);
        self.store_list(fleet);
        let home = RelayAddr {
            id: Some(fleet),
            at,
        };
        // A fleet has a home, or is about to have one.
        let home = self.relays.find(&home);
        self.replace_link(relay, home, openings);
        self.own_relays_changed();
    }

    /// The link `from` leads to the relay of the link `into`, which has ended in the meantime: one of
    /// them begins anew.
    pub(super) fn begin_anew(&mut self, from: RelayId) {
        let membership = self.relays.membership(from);
        let Some((addr, usage, openings)) = self.relays.remove(from) else {
            return;
        };
        let new = match membership {
            Some((fleet, member)) => {
                let steps = self.relays.forget_member(fleet, member);
                self.fleet_steps(fleet, steps);
                self.relays.home_of(fleet)
            }
            None => self.start_link(addr, usage),
        };
        self.replace_link(from, new, openings);
    }

    /// The dials that wait at a link that has ended, and its peers, move to another one if there is one.
    fn replace_link(&mut self, gone: RelayId, new: Option<RelayId>, openings: ChannelOpenings) {
        match new {
            Some(new) => {
                self.relays.take_over(new, openings);
                self.peers_move(gone, new);
            }
            None => self.network.channels().forget(gone),
        }
    }

    /// The peers of a link that has ended may be at another relay.
    pub(super) fn peers_move(&mut self, from: RelayId, into: RelayId) {
        for (peer, addr) in self.network.channels().merge(from, into) {
            self.paths.forget_addr(peer, addr);
            self.found_at(into, peer);
        }
    }

    /// A relay has sent the list of its fleet.
    pub(super) fn fleet_list_received(&mut self, relay: RelayId, list: SignedRecord) {
        let Some((fleet, _)) = self.relays.membership(relay) else {
            return;
        };
        let list = match list.check::<FleetList>(fleet) {
            Ok(list) => list,
            Err(error) => return debug!(%error, "a relay sent a wrong list of its fleet"),
        };
        let number = self.relays.list_number(fleet);
        if list.record().number() <= number {
            return;
        }
        let named = (self.relays.at(relay).clone(), Usage::Visit);
        let steps = self.relays.join_fleet(self.device, fleet, list, named);
        self.fleet_steps(fleet, steps);
        self.store_list(fleet);
    }

    /// A member of a fleet has registered this node, or admitted it as a visitor.
    pub(super) fn member_up(&mut self, relay: RelayId, is_visit: bool) {
        let Some((fleet, _)) = self.relays.membership(relay) else {
            return;
        };
        let number = self.relays.list_number(fleet);
        self.relays.send(relay, ToRelay::FleetList(number));
        // A visit that was asked for earlier is no registration.
        if !is_visit {
            let steps = self.relays.member_up(relay);
            self.fleet_steps(fleet, steps);
        }
    }

    /// There is no connection with a relay any more. If it is a member of a fleet, another one takes its
    /// place.
    pub(super) fn member_down(&mut self, relay: RelayId, is_replaced: bool) {
        let Some((fleet, _)) = self.relays.membership(relay) else {
            return;
        };
        let through: Vec<_> = self.peers_through(relay).collect();
        if self.relays.is_visited(relay)
            && let Some(home) = self.relays.home_of(fleet)
        {
            // They may be at another relay by now. The home knows.
            for peer in &through {
                self.heard_of(home, *peer);
                self.follow(self.sessions_through(relay, *peer));
            }
        }
        let steps = if is_replaced {
            self.relays.member_replaced(relay, !through.is_empty())
        } else {
            self.relays.member_down(relay, !through.is_empty())
        };
        self.fleet_steps(fleet, steps);
    }

    /// A member of a fleet does not answer at the moment, or answers again.
    pub(super) fn member_suspect(&mut self, relay: RelayId, is_suspect: bool) {
        let steps = self.relays.member_suspect(relay, is_suspect);
        if let Some((fleet, _)) = self.relays.membership(relay) {
            self.fleet_steps(fleet, steps);
        }
    }

    /// A relay reports that a peer is registered at another relay of the fleet. If a dial or a session
    /// needs the peer, this node visits that relay.
    pub(super) fn found_elsewhere(&mut self, from: RelayId, peer: DeviceId, member: DeviceId) {
        let through = self.sessions_through(from, peer);
        let found = self
            .relays
            .found_elsewhere((from, peer), member, !through.is_empty());
        let Some(Elsewhere {
            fleet,
            steps,
            is_dialed,
            was_in_use,
        }) = found
        else {
            return debug!("a relay reports where a peer is that nobody has sought");
        };
        self.fleet_steps(fleet, steps);
        match self.relays.with_identity(member) {
            Some(at) if at != from => {
                let addr = self.network.relayed_addr(at, peer);
                let was_dialed = was_in_use && self.paths.addrs(peer).contains(&addr);
                self.heard_of(at, peer);
                if is_dialed && !was_dialed {
                    // The dial that has asked may wait for other addresses.
                    self.paths_output(paths::Output::Dial(peer, vec![addr]));
                }
                self.follow(through);
            }
            Some(_) => debug!("a relay reports that a peer is elsewhere, and names itself"),
            None => {
                // The list may have changed.
                let number = self.relays.list_number(fleet);
                self.relays.send(from, ToRelay::FleetList(number));
            }
        }
    }

    /// The peers of these sessions may have moved: they are dialed at their other relays now.
    fn follow(&mut self, sessions: Vec<(SessionId, SocketAddr)>) {
        let now = self.clock.now();
        for (session, addr) in sessions {
            self.sessions.doubt(session, now);
            self.tell_paths(paths::Input::Suspect(session, addr));
        }
    }

    /// A peer may be at a member of a fleet that this node does not need at the moment.
    pub(super) fn visit_again(&mut self, relay: RelayId) {
        let Some((fleet, member)) = self.relays.membership(relay) else {
            return;
        };
        let steps = self.relays.visit(fleet, member);
        self.fleet_steps(fleet, steps);
    }

    /// A link of a fleet's member leads to a relay that the user named by itself.
    pub(super) fn member_unusable(&mut self, fleet: DeviceId, member: DeviceId) {
        let steps = self.relays.member_unusable(fleet, member);
        self.fleet_steps(fleet, steps);
    }

    fn fleet_steps(&mut self, fleet: DeviceId, steps: Vec<FleetStep>) {
        for step in steps {
            match step {
                FleetStep::Register(member) => self.use_member(fleet, member, false),
                FleetStep::Visit(member) => self.use_member(fleet, member, true),
                FleetStep::Rest(member) => self.relays.rest(member),
                FleetStep::Moved { from, to } => self.moved_home(fleet, from, to),
            }
        }
    }

    fn use_member(&mut self, fleet: DeviceId, member: DeviceId, visits: bool) {
        let less = self.relays.fleet_usage(fleet);
        let less = less.and_then(|usage| self.relays.used_for_less(member, usage, Some(fleet)));
        let ended = less.and_then(|less| Some((less, self.end_link(less)?)));
        let Ok((relay, link)) = self.relays.use_member(fleet, member, visits, random()) else {
            // The user named it as a single relay, too. The list has others.
            return self.member_unusable(fleet, member);
        };
        if let Some(link) = link {
            self.run_link(link);
        }
        if let Some((less, (membership, openings))) = ended {
            self.replace_link(less, Some(relay), openings);
            self.leave_fleet(membership);
        }
        if !visits {
            self.send_rooms_to_relays();
        }
    }

    /// Peers find this node at this relay of the fleet from now on. If that was another one before,
    /// sessions through the old one move.
    fn moved_home(&mut self, fleet: DeviceId, from: Option<DeviceId>, to: DeviceId) {
        let relay = |id| self.relays.member_link(fleet, id);
        let (from, Some(to)) = (from.and_then(relay), relay(to)) else {
            return;
        };
        self.ask_for_known_peers(to);
        let Some(from) = from else {
            return;
        };
        let peers: Vec<_> = self.peers_through(from).collect();
        for peer in peers {
            self.heard_of(to, peer);
            self.follow(self.sessions_through(from, peer));
        }
    }

    fn store_list(&self, fleet: DeviceId) {
        if let Some(list) = self.relays.list_of(fleet) {
            let list = BASE64.encode(list.signed().as_bytes());
            self.store
                .set_setting(format!("{LIST_SETTING}{fleet}"), list);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_protocol::SecretKey;

    #[test]
    fn lists_are_restored_unless_they_are_damaged() {
        let key = SecretKey::from_seed([1; 32]);
        let relay = format!("{}@relay.example:4627", SecretKey::from_seed([2; 32]).id());
        let relays = vec![relay.parse().expect("an address")];
        let list = Checked::sign(FleetList::new(7, relays).expect("one"), &key);
        let text = BASE64.encode(list.signed().as_bytes());
        let other = SecretKey::from_seed([3; 32]).id();
        let settings = [
            (format!("{LIST_SETTING}{}", key.id()), text.clone()),
            (format!("{LIST_SETTING}{other}"), text),
            (format!("{LIST_SETTING}nonsense"), String::new()),
            ("relay x".to_owned(), "y".to_owned()),
        ];
        assert_eq!(
            restore_lists(&settings.into()),
            BTreeMap::from([(key.id(), list)])
        );
    }
}
