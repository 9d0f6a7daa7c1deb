//! Carries out what [`lending`](super::lending) decides: relays that contacts lend, and the one that
//! this node's user lends.

use std::collections::BTreeSet;

use hobnob_protocol::{PersonId, RelayAddr};
use tracing::debug;

use super::lending::{self, Offers, Step};
use super::state::Engine;
use crate::api::{LentRelay, RelayInfo};
use crate::net::channels::RelayId;

impl Engine {
    /// The contacts that are not blocked. A relay for contacts admits them, and nobody else.
    pub(super) fn admitted_contacts(&self) -> BTreeSet<PersonId> {
        let contacts = self.policy.contacts().into_iter();
        contacts
            .filter(|peer| !self.policy.of(*peer).blocked)
            .collect()
    }

    /// The user has accepted, removed, blocked or unblocked somebody.
    pub(super) fn admitted_contacts_changed(&self) {
        let admitted = self.admitted_contacts();
        self.contacts.send_if_modified(|known| {
            let is_news = *known != admitted;
            *known = admitted;
            is_news
        });
    }

    /// The user runs a relay for contacts on this machine. This node registers there, so that contacts
    /// find it even if nothing else of this machine can be reached.
    pub(super) fn lend_relay(&mut self, relay: LentRelay) {
        let LentRelay { id, at, local } = relay;
        self.relays.serve(id);
        let id = Some(id);
        self.lending.lend(at.map(|at| RelayAddr { id, at }));
        let at = hobnob_protocol::HostPort::from(local).into();
        if self.add_relay(RelayAddr { id, at }, false).is_none() {
            debug!("this node uses too many relays to use its own");
        }
        self.own_relays_changed();
    }

    /// Decides which relays of contacts to use, and uses them.
    pub(crate) fn choose_lent_relays(&mut self) {
        let own = self.relays.own_relays();
        let offers = self.offers_of_contacts();
        let is_up = |id| self.relays.is_up(id);
        let now = self.clock.now().mono;
        let steps = self.lending.choose(now, own, &offers, is_up);
        if steps.is_empty() {
            return;
        }
        for step in steps {
            match step {
                Step::Borrow(id, addrs) => {
                    for addr in addrs {
                        if self.add_contact_relay(addr).is_none() {
                            debug!(relay = ?id, "not used: too many relays");
                        }
                    }
                    // If it is not up, that follows when it is.
                    let relay = self.relays.with_identity(id);
                    if let Some(relay) = relay.filter(|_| self.relays.is_up(id)) {
                        self.ask_for_known_peers(relay);
                    }
                }
                Step::Return(id) => {
                    let relay = self.relays.with_identity(id);
                    if let Some(relay) = relay.filter(|it| self.relays.is_of_contact(*it)) {
                        self.leave_relay(relay);
                        self.end_link(relay);
                        self.network.channels().forget(relay);
                    }
                }
            }
        }
        self.own_relays_changed();
    }

    /// The relays that contacts lend.
    fn offers_of_contacts(&self) -> Offers {
        let contacts = self.admitted_contacts().into_iter();
        let lent = contacts.filter_map(|peer| self.known_relays.lent_by(peer));
        lending::offers(lent, self.relays.served())
    }

    /// The relays at which a contact may be found: those in its contact record, the one that it lends,
    /// and those that contacts of this node, or its user, lend to it. Others would not admit this node.
    pub(super) fn relays_of_contact(&self, peer: PersonId) -> Vec<RelayAddr> {
        let mut relays = self.known_relays.of_contact(peer).to_vec();
        relays.extend(self.known_relays.lent_by(peer).cloned());
        let borrowed = self.known_relays.borrowed_by(peer);
        if borrowed.is_empty() {
            return relays;
        }
        let offers = self.offers_of_contacts();
        for id in borrowed {
            relays.extend(offers.get(id).into_iter().flatten().cloned());
            let own = self.relays.served().filter(|own| own == id);
            let own = own.and_then(|own| self.relays.with_identity(own));
            relays.extend(own.map(|own| RelayAddr {
                id: Some(*id),
                at: self.relays.at(own).clone(),
            }));
        }
        relays
    }

    /// Whether a relay is borrowed, or lent by this node's user: all contacts are sought there.
    pub(super) fn is_lent(&self, relay: RelayId) -> bool {
        let served = self.relays.served().into_iter();
        let mut lent = served.chain(self.lending.borrowed());
        lent.any(|id| self.relays.with_identity(id) == Some(relay))
    }

    /// Looks for a contact at the borrowed relays, and at the own one, unless there is a session.
    pub(super) fn seek_at_lent_relays(&mut self, peer: PersonId) {
        let (device, policy) = (peer.only_device(), self.policy.of(peer));
        let is_admitted = policy.contact && !policy.blocked;
        if !is_admitted || self.paths.session(device).is_some() {
            return;
        }
        let served = self.relays.served().into_iter();
        let lent: Vec<_> = served.chain(self.lending.borrowed()).collect();
        for id in lent {
            if let Some(relay) = self.relays.with_identity(id) {
                self.found_at(relay, device);
            }
        }
    }

    /// The relays of this node, for the user.
    pub(super) fn relay_infos(&self) -> Vec<RelayInfo> {
        let mut infos = self.relays.infos();
        for info in &mut infos {
            let id = info.id;
            info.borrowed = self.lending.borrowed().any(|borrowed| Some(borrowed) == id);
        }
        infos
    }
}
