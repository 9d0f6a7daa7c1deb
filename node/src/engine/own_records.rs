//! This node's own records: what it signs about itself.
//!
//! A record keeps its number while it says the same. A restored backup or a copied home may sign a
//! number that another version has. The node that sees the other version signs one above it.

use std::sync::Arc;

use hobnob_protocol::record::{BORROWED_MAX, RECORD_RELAYS_MAX, next_number};
use hobnob_protocol::{
    Checked, ContactRecord, ContentHash, DeviceId, Nickname, PublicRecord, RelayAddr, SecretKey,
    SignedRecord,
};

/// The relays at which contacts find this node. Those without an identity are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OwnRelayAddrs {
    /// Those that the user named.
    pub(super) relays: Vec<RelayAddr>,
    /// The one that the user runs for contacts.
    pub(super) lends: Option<RelayAddr>,
    /// The identities of those that contacts lend.
    pub(super) borrows: Vec<DeviceId>,
}

impl OwnRelayAddrs {
    fn of(record: &ContactRecord) -> Self {
        Self {
            relays: record.relays.clone(),
            lends: record.lends.clone(),
            borrows: record.borrows.clone(),
        }
    }

    /// As much as a record has room for.
    fn cut(mut self) -> Self {
        self.relays.retain(|relay| relay.id.is_some());
        // The longest addresses of all would not fit.
        let lends = usize::from(self.lends.is_some());
        self.relays.truncate(RECORD_RELAYS_MAX - lends);
        self.borrows.truncate(BORROWED_MAX);
        self
    }
}

/// The newest records of this node.
#[derive(Debug)]
pub(crate) struct OwnRecords {
    key: Arc<SecretKey>,
    public: Checked<PublicRecord>,
    /// There is none before the node has had a relay.
    contact: Option<Checked<ContactRecord>>,
}

impl OwnRecords {
    /// Continues with the records of the last run, which may say something else now. `has_picture`:
    /// whether the picture with this hash is on disk.
    pub(crate) fn restore(
        key: Arc<SecretKey>,
        public: Option<SignedRecord>,
        contact: Option<SignedRecord>,
        nick: Nickname,
        has_picture: impl Fn(ContentHash) -> bool,
        wall_ms: u64,
    ) -> Self {
        let id = key.id();
        // Damaged records count for nothing. If others have newer ones, they send them.
        let public = public.and_then(|record| record.check::<PublicRecord>(id.person()).ok());
        let contact = contact.and_then(|record| record.check::<ContactRecord>(id.person()).ok());
        let last = public.as_ref().map_or(0, |held| held.record().number);
        let picture = public.as_ref().and_then(|held| held.record().picture);
        let picture = picture.filter(|picture| has_picture(*picture));
        let public = match public {
            Some(held) if says(held.record(), &nick, picture, id) => held,
            Some(_) | None => sign_public(&key, nick, picture, next_number(last, wall_ms)),
        };
        Self {
            key,
            public,
            contact,
        }
    }

    pub(super) fn public(&self) -> &Checked<PublicRecord> {
        &self.public
    }

    pub(crate) fn contact(&self) -> Option<&Checked<ContactRecord>> {
        self.contact.as_ref()
    }

    /// The user has changed the nickname.
    pub(super) fn set_nick(&mut self, nick: Nickname, wall_ms: u64) {
        self.set_public(nick, self.public.record().picture, wall_ms);
    }

    /// The user has chosen another picture, which is on disk, or none.
    pub(super) fn set_picture(&mut self, picture: Option<ContentHash>, wall_ms: u64) {
        self.set_public(self.nick(), picture, wall_ms);
    }

    fn set_public(&mut self, nick: Nickname, picture: Option<ContentHash>, wall_ms: u64) {
        let own = self.public.record();
        if !says(own, &nick, picture, self.key.id()) {
            let number = next_number(own.number, wall_ms);
            self.public = sign_public(&self.key, nick, picture, number);
        }
    }

    fn nick(&self) -> Nickname {
        let nick = self.public.record().nick.clone();
        nick.expect("this node signed its nickname")
    }

    /// The picture of this node.
    pub(super) fn picture(&self) -> Option<ContentHash> {
        self.public.record().picture
    }

    /// The relays at which peers find this node. Returns whether there is a new record.
    pub(super) fn set_relays(&mut self, relays: OwnRelayAddrs, wall_ms: u64) -> bool {
        let relays = relays.cut();
        let before = self.contact.as_ref().map(Checked::record);
        let last = before.map_or(0, |before| before.number);
        let is_news = before.map(OwnRelayAddrs::of).unwrap_or_default() != relays;
        if is_news {
            self.sign_contact(relays, next_number(last, wall_ms));
        }
        is_news
    }

    /// A peer has a public record of this node. Returns whether there is a new one, because the
    /// peer's is not older and says something else.
    pub(super) fn seen_public(&mut self, other: &Checked<PublicRecord>, wall_ms: u64) -> bool {
        let (own, seen) = (self.public.record(), other.record().number);
        let surpassed = seen >= own.number && other.signed() != self.public.signed();
        if surpassed {
            let number = next_number(seen, wall_ms);
            self.public = sign_public(&self.key, self.nick(), self.picture(), number);
        }
        surpassed
    }

    /// As [`OwnRecords::seen_public`], for a contact record.
    pub(super) fn seen_contact(&mut self, other: &Checked<ContactRecord>, wall_ms: u64) -> bool {
        let seen = other.record().number;
        let own = self.contact.as_ref();
        let surpassed =
            own.is_none_or(|own| seen >= own.record().number && other.signed() != own.signed());
        if surpassed {
            let relays = own.map(|own| OwnRelayAddrs::of(own.record()));
            let relays = relays.unwrap_or_default();
            self.sign_contact(relays, next_number(seen, wall_ms));
        }
        surpassed
    }

    fn sign_contact(&mut self, relays: OwnRelayAddrs, number: u64) {
        let OwnRelayAddrs {
            relays,
            lends,
            borrows,
        } = relays;
        let record = ContactRecord {
            number,
            relays,
            lends,
            borrows,
            needs_newer_version: false,
        };
        self.contact = Some(Checked::sign(record, &self.key));
    }
}

fn says(
    record: &PublicRecord,
    nick: &Nickname,
    picture: Option<ContentHash>,
    id: DeviceId,
) -> bool {
    record.nick.as_ref() == Some(nick) && record.devices == [id] && record.picture == picture
}

fn sign_public(
    key: &SecretKey,
    nick: Nickname,
    picture: Option<ContentHash>,
    number: u64,
) -> Checked<PublicRecord> {
    let record = PublicRecord {
        number,
        nick: Some(nick),
        devices: vec![key.id()],
        picture,
        needs_newer_version: false,
    };
    Checked::sign(record, key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL_MS: u64 = 1_000;

    fn nick(name: &str) -> Nickname {
        Nickname::new(name).expect("a nickname")
    }

    fn restored(public: Option<&Checked<PublicRecord>>, name: &str, wall_ms: u64) -> OwnRecords {
        let key = Arc::new(SecretKey::from_seed([1; 32]));
        let public = public.map(|record| record.signed().clone());
        OwnRecords::restore(key, public, None, nick(name), |_| true, wall_ms)
    }

    fn relay(n: u8) -> RelayAddr {
        RelayAddr {
            id: Some(DeviceId::from_bytes([n; 32])),
            at: format!("r{n}.example:4627").parse().expect("an address"),
        }
    }

    #[test]
    fn a_record_keeps_its_number_while_it_says_the_same() {
        let first = restored(None, "ann", WALL_MS);
        assert_eq!(first.public().record().number, WALL_MS);
        let mut second = restored(Some(first.public()), "ann", 2 * WALL_MS);
        assert_eq!(second.public(), first.public());
        second.set_nick(nick("anna"), 2 * WALL_MS);
        assert_eq!(second.public().record().number, 2 * WALL_MS);
        // The clock went back.
        let third = restored(Some(second.public()), "ann", 10);
        assert_eq!(third.public().record().number, 2 * WALL_MS + 1);
    }

    #[test]
    fn a_picture_stays_until_it_is_replaced_or_lost() {
        let (one, other) = (ContentHash([1; 32]), ContentHash([2; 32]));
        let mut own = restored(None, "ann", WALL_MS);
        own.set_picture(Some(one), WALL_MS);
        assert_eq!(own.public().record().number, WALL_MS + 1);
        own.set_picture(Some(one), 2 * WALL_MS);
        assert_eq!(own.public().record().number, WALL_MS + 1, "it is the same");
        own.set_nick(nick("anna"), WALL_MS);
        assert_eq!(own.picture(), Some(one));
        assert_eq!(restored(Some(own.public()), "ann", 9).picture(), Some(one));
        own.set_picture(Some(other), WALL_MS);
        own.set_picture(None, WALL_MS);
        assert_eq!((own.picture(), own.public().record().number), (None, 1_004));
        // The picture is not on this disk.
        own.set_picture(Some(one), WALL_MS);
        let (key, signed) = (own.key.clone(), own.public().signed().clone());
        let lost = OwnRecords::restore(key, Some(signed), None, nick("anna"), |_| false, WALL_MS);
        assert_eq!(
            (lost.picture(), lost.public().record().number),
            (None, 1_006)
        );
    }

    #[test]
    fn damaged_records_are_signed_again() {
        let key = Arc::new(SecretKey::from_seed([1; 32]));
        let damaged = Some(SignedRecord::from_bytes(vec![7; 99]));
        let own = OwnRecords::restore(
            key,
            damaged.clone(),
            damaged,
            nick("ann"),
            |_| true,
            WALL_MS,
        );
        assert_eq!(own.public().record().number, WALL_MS);
        assert_eq!(own.contact(), None);
    }

    #[test]
    fn a_restored_backup_signs_above_what_others_have() {
        let backup = restored(None, "ann", WALL_MS);
        let later = restored(Some(backup.public()), "anna", 9 * WALL_MS);
        let mut own = restored(Some(backup.public()), "ann", 2 * WALL_MS);
        assert!(own.seen_public(later.public(), 2 * WALL_MS));
        let record = own.public().record();
        assert_eq!(
            (record.number, &record.nick),
            (9 * WALL_MS + 1, &Some(nick("ann")))
        );
        assert!(
            !own.seen_public(later.public(), 2 * WALL_MS),
            "that is older now"
        );
        let same = own.public().clone();
        assert!(!own.seen_public(&same, 2 * WALL_MS));
    }

    #[test]
    fn of_two_copies_with_one_number_the_one_that_sees_the_other_signs() {
        let (mut one, other) = (
            restored(None, "ann", WALL_MS),
            restored(None, "anna", WALL_MS),
        );
        assert!(one.seen_public(other.public(), WALL_MS));
        assert_eq!(one.public().record().number, WALL_MS + 1);
    }

    #[test]
    fn a_contact_record_is_signed_when_the_relays_change() {
        let mut own = restored(None, "ann", WALL_MS);
        let relays = |relays: Vec<RelayAddr>| OwnRelayAddrs {
            relays,
            ..OwnRelayAddrs::default()
        };
        let none = OwnRelayAddrs::default;
        assert!(!own.set_relays(none(), WALL_MS), "there was none");
        let unproved = RelayAddr {
            id: None,
            ..relay(1)
        };
        assert!(!own.set_relays(relays(vec![unproved]), WALL_MS));
        assert!(own.set_relays(relays(vec![relay(1)]), WALL_MS));
        assert!(!own.set_relays(relays(vec![relay(1)]), 2 * WALL_MS));
        assert!(own.set_relays(relays((1..=9).map(relay).collect()), WALL_MS));
        let contact = own.contact().expect("signed").clone();
        assert_eq!(contact.record().number, WALL_MS + 1);
        assert_eq!(contact.record().relays.len(), RECORD_RELAYS_MAX);
        assert!(own.set_relays(none(), WALL_MS), "contacts must learn that");
        assert!(!own.seen_contact(&contact, WALL_MS));
        let mut restored = restored(None, "ann", WALL_MS);
        assert!(restored.seen_contact(&contact, WALL_MS));
        let contact = restored.contact().expect("signed").record();
        assert_eq!((contact.number, contact.relays.len()), (WALL_MS + 2, 0));
    }

    #[test]
    fn a_contact_record_names_lent_and_borrowed_relays() {
        let mut own = restored(None, "ann", WALL_MS);
        let relays = OwnRelayAddrs {
            relays: (1..=9).map(relay).collect(),
            lends: Some(relay(20)),
            borrows: (30..40).map(|n| DeviceId::from_bytes([n; 32])).collect(),
        };
        assert!(own.set_relays(relays.clone(), WALL_MS));
        assert!(!own.set_relays(relays, WALL_MS));
        let contact = own.contact().expect("signed").record();
        assert_eq!(contact.relays.len(), RECORD_RELAYS_MAX - 1);
        assert_eq!(contact.lends, Some(relay(20)));
        assert_eq!(contact.borrows.len(), BORROWED_MAX);
        let seen = own.contact().expect("signed").clone();
        assert!(own.set_relays(OwnRelayAddrs::default(), WALL_MS));
        assert!(!own.seen_contact(&seen, WALL_MS));
    }
}
