//! The mail that this node holds for others, if its user wants that.
//!
//! Not here: the database and the quotas, which are in `hobnob_mailbox`; sessions with those others,
//! which are in `mail::node_holders`.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use hobnob_mailbox::Mailboxes;
use hobnob_protocol::{DeviceId, Nickname, PersonId};

use crate::api::{HoldFor, HoldingInfo};
use crate::net::mail::OpenedByPeer;

/// The peers for which this node holds mail. The tasks that serve streams read it.
type Agreed = Arc<RwLock<BTreeSet<PersonId>>>;

/// The mail that this node holds.
#[derive(Debug)]
pub(crate) struct Holding {
    hold_for: HoldFor,
    /// `None`: it holds nothing.
    mailboxes: Option<Mailboxes>,
    agreed: Agreed,
}

/// Serves one stream.
pub(super) struct Service {
    mailboxes: Mailboxes,
    agreed: Agreed,
}

impl Service {
    /// Serves a stream until it ends, or violates the protocol. The text says how.
    pub(super) async fn serve(self, opened: OpenedByPeer, peer: DeviceId) -> Result<(), String> {
        let Self { mailboxes, agreed } = self;
        let OpenedByPeer { send, receive } = opened;
        let holds_for = |recipient: DeviceId| read(&agreed).contains(&recipient.person());
        hobnob_mailbox::serve(send, receive, peer, &mailboxes, holds_for).await
    }
}

fn read(agreed: &Agreed) -> std::sync::RwLockReadGuard<'_, BTreeSet<PersonId>> {
    agreed.read().unwrap_or_else(PoisonError::into_inner)
}

impl Holding {
    pub(crate) fn new(hold_for: HoldFor, mailboxes: Option<Mailboxes>) -> Self {
        Self {
            hold_for,
            mailboxes,
            agreed: Agreed::default(),
        }
    }

    /// Whether this node holds mail for a peer.
    pub(super) fn agrees(&self, peer: PersonId) -> bool {
        self.mailboxes.is_some() && read(&self.agreed).contains(&peer)
    }

    /// The contacts, with their names, are these now. Returns whether this node holds mail for others
    /// than before.
    pub(super) fn update<'a>(
        &self,
        contacts: impl Iterator<Item = (PersonId, Option<&'a Nickname>)>,
    ) -> bool {
        let agrees =
            |(peer, nick): &(PersonId, Option<&Nickname>)| self.hold_for.names(*peer, *nick);
        let now: BTreeSet<_> = contacts.filter(agrees).map(|(peer, _)| peer).collect();
        let mut agreed = self.agreed.write().unwrap_or_else(PoisonError::into_inner);
        let is_news = *agreed != now;
        *agreed = now;
        is_news
    }

    /// Serves a stream of a peer. `None`: this node holds nothing. A peer for which it does not hold
    /// mail may deposit for one for which it does.
    pub(super) fn service(&self) -> Option<Service> {
        Some(Service {
            mailboxes: self.mailboxes.clone()?,
            agreed: self.agreed.clone(),
        })
    }

    /// Removes mail that nobody fetched in time.
    pub(super) fn expire(&self) {
        if let Some(mailboxes) = &self.mailboxes {
            mailboxes.expire();
        }
    }

    /// How much this node holds.
    pub(super) fn info(&self) -> Option<HoldingInfo> {
        let totals = self.mailboxes.as_ref()?.totals();
        Some(HoldingInfo {
            recipients: totals.recipients,
            envelopes: totals.envelopes,
            bytes: totals.bytes,
            bytes_max: totals.bytes_max,
        })
    }

    /// Waits until all that was asked for is on disk. Blocks.
    pub(super) fn close(self) {
        if let Some(mailboxes) = self.mailboxes {
            mailboxes.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    const BOB: PersonId = PersonId::from_bytes([2; 32]);
    const CAT: PersonId = PersonId::from_bytes([3; 32]);

    fn holding(hold_for: &str) -> Holding {
        let conn = Connection::open_in_memory().expect("memory");
        let opened = Mailboxes::open(conn, "memory".as_ref(), 1 << 20, || 0);
        let hold_for = hold_for.parse().expect("a setting");
        Holding::new(hold_for, Some(opened.expect("a database")))
    }

    fn update(holding: &Holding, contacts: &[(PersonId, &str)]) -> bool {
        let nick = |name: &str| Nickname::new(name).expect("a nickname");
        let named: Vec<_> = contacts
            .iter()
            .map(|(id, name)| (*id, nick(name)))
            .collect();
        holding.update(named.iter().map(|(id, nick)| (*id, Some(nick))))
    }

    #[test]
    fn only_contacts_that_the_user_named_are_served() {
        let contacts = [(BOB, "bob"), (CAT, "cat")];
        let all = holding("contacts");
        assert!(!all.agrees(BOB), "no contact yet");
        assert!(update(&all, &contacts));
        assert!(!update(&all, &contacts), "no news");
        assert!(all.agrees(BOB) && all.agrees(CAT));
        update(&all, &contacts[..1]);
        assert!(all.agrees(BOB) && !all.agrees(CAT));
        for name in ["cat".to_owned(), CAT.to_string()] {
            let one = holding(&name);
            update(&one, &contacts);
            assert!(!one.agrees(BOB) && one.agrees(CAT), "{name}");
        }
    }

    #[test]
    fn a_node_that_holds_nothing_serves_nobody() {
        let nothing = Holding::new(HoldFor::Contacts, None);
        update(&nothing, &[(BOB, "bob")]);
        assert!(!nothing.agrees(BOB));
        assert!(nothing.service().is_none() && nothing.info().is_none());
    }
}
