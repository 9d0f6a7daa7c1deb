//! The relays at which single peers may be found: those that the user named for a peer, by a ticket,
//! and those in the contact record of a contact.

use std::collections::BTreeMap;

use hobnob_protocol::target::TICKET_PARTS_MAX;
use hobnob_protocol::{Checked, ContactRecord, DeviceId, PersonId, RelayAddr};

/// The relays of peers. Only the user adds peers, by naming a relay or by accepting a contact.
#[derive(Debug, Default)]
pub(super) struct KnownRelays(BTreeMap<PersonId, RelaysOf>);

#[derive(Debug, Default)]
struct RelaysOf {
    /// At most [`TICKET_PARTS_MAX`], the last named first.
    named: Vec<RelayAddr>,
    contact: Option<Checked<ContactRecord>>,
}

impl KnownRelays {
    /// The user names relays of a peer.
    pub(super) fn name(&mut self, peer: PersonId, relays: Vec<RelayAddr>) {
        if relays.is_empty() {
            return;
        }
        let named = &mut self.0.entry(peer).or_default().named;
        for relay in relays.into_iter().rev() {
            named.retain(|known| known.at != relay.at);
            named.insert(0, relay);
        }
        named.truncate(TICKET_PARTS_MAX);
    }

    /// Stores the contact record of a contact, unless there is a newer one. Returns whether it is
    /// news.
    pub(super) fn learn(&mut self, peer: PersonId, record: Checked<ContactRecord>) -> bool {
        let of = self.0.entry(peer).or_default();
        let is_news = of
            .contact
            .as_ref()
            .is_none_or(|held| record.is_newer_than(held));
        if is_news {
            of.contact = Some(record);
        }
        is_news
    }

    /// The relays that the user named for a peer.
    pub(super) fn named(&self, peer: PersonId) -> &[RelayAddr] {
        self.0.get(&peer).map_or(&[], |of| &of.named)
    }

    /// The contact record of a peer.
    pub(super) fn contact(&self, peer: PersonId) -> Option<&Checked<ContactRecord>> {
        self.0.get(&peer)?.contact.as_ref()
    }

    /// The relays in the contact record of a peer.
    pub(super) fn of_contact(&self, peer: PersonId) -> &[RelayAddr] {
        let record = self.contact(peer).map(Checked::record);
        let understood = record.filter(|record| !record.needs_newer_version);
        understood.map_or(&[], |record| &record.relays)
    }

    /// The relay that a contact lends.
    pub(super) fn lent_by(&self, peer: PersonId) -> Option<&RelayAddr> {
        let record = self.contact(peer)?.record();
        record
            .lends
            .as_ref()
            .filter(|_| !record.needs_newer_version)
    }

    /// The identities of the relays that others lend to a contact.
    pub(super) fn borrowed_by(&self, peer: PersonId) -> &[DeviceId] {
        let record = self.contact(peer).map(Checked::record);
        let understood = record.filter(|record| !record.needs_newer_version);
        understood.map_or(&[], |record| &record.borrows)
    }

    /// All peers with relays, those first for which the user named one.
    pub(super) fn peers(&self) -> Vec<PersonId> {
        let mut peers: Vec<_> = self.0.keys().copied().collect();
        peers.sort_by_key(|peer| self.named(*peer).is_empty());
        peers
    }

    /// The peer is no contact any more.
    pub(super) fn forget_contact(&mut self, peer: PersonId) {
        if let Some(of) = self.0.get_mut(&peer) {
            of.contact = None;
        }
    }

    /// The user forgets the peer.
    pub(super) fn forget(&mut self, peer: PersonId) {
        self.0.remove(&peer);
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::SecretKey;

    use super::*;

    fn relay(n: u8) -> RelayAddr {
        RelayAddr {
            id: Some(DeviceId::from_bytes([n; 32])),
            at: format!("r{n}.example:4627").parse().expect("an address"),
        }
    }

    fn record(number: u64, relays: Vec<RelayAddr>) -> Checked<ContactRecord> {
        let record = ContactRecord {
            number,
            relays,
            lends: Some(relay(50)),
            borrows: vec![DeviceId::from_bytes([51; 32])],
            needs_newer_version: false,
        };
        Checked::sign(record, &SecretKey::from_seed([1; 32]))
    }

    #[test]
    fn the_newest_contact_record_counts() {
        let (ann, mut relays) = (PersonId::from_bytes([1; 32]), KnownRelays::default());
        assert!(relays.learn(ann, record(7, vec![relay(1)])));
        assert!(
            !relays.learn(ann, record(6, vec![relay(2)])),
            "an older one"
        );
        assert!(!relays.learn(ann, record(7, vec![relay(1)])), "the same");
        assert_eq!(relays.of_contact(ann), [relay(1)]);
        assert_eq!(relays.lent_by(ann), Some(&relay(50)));
        assert_eq!(relays.borrowed_by(ann), [DeviceId::from_bytes([51; 32])]);
        assert!(relays.learn(ann, record(8, Vec::new())));
        assert_eq!(relays.of_contact(ann), []);
        let mut later = record(9, vec![relay(3)]).record().clone();
        later.needs_newer_version = true;
        let later = Checked::sign(later, &SecretKey::from_seed([1; 32]));
        assert!(relays.learn(ann, later));
        assert_eq!(
            relays.of_contact(ann),
            [],
            "this version does not understand it"
        );
        assert_eq!(
            (relays.lent_by(ann), relays.borrowed_by(ann)),
            (None, &[][..])
        );
    }

    #[test]
    fn named_relays_stay_until_the_peer_is_forgotten() {
        let [ann, bob] = [1, 2].map(|n| PersonId::from_bytes([n; 32]));
        let mut relays = KnownRelays::default();
        relays.name(ann, (1..=20).map(relay).collect());
        relays.name(ann, vec![relay(3)]);
        assert_eq!(relays.named(ann).len(), TICKET_PARTS_MAX);
        assert_eq!(relays.named(ann)[..2], [relay(3), relay(1)]);
        relays.name(bob, Vec::new());
        relays.learn(bob, record(7, vec![relay(1)]));
        assert_eq!(relays.peers(), [ann, bob]);
        relays.forget_contact(ann);
        assert_eq!(relays.named(ann).len(), TICKET_PARTS_MAX);
        relays.forget(ann);
        assert_eq!((relays.named(ann), relays.peers()), (&[][..], vec![bob]));
    }
}
