//! The state of mail, for users.

use std::collections::{BTreeMap, BTreeSet};

use hobnob_core::diagnosis::MailEvidence;
use hobnob_protocol::PersonId;

use super::super::state::Engine;
use super::HolderAt;
use crate::api::{DepositInfo, HolderInfo, MailboxInfo};

/// A day in milliseconds.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

impl Engine {
    /// What `hobnob mailbox` shows.
    pub(in crate::engine) fn mailbox_info(&self) -> MailboxInfo {
        let relays = self.relays.infos();
        let connected = self.mail.holders.iter();
        let nodes = connected.filter(|(at, _)| matches!(at, HolderAt::Session(_)));
        let nodes: BTreeSet<_> = nodes.map(|(_, holder)| holder.id).collect();
        let at = |id| {
            let relay = relays.iter().find(|relay| relay.id == Some(id));
            relay.map(|relay| relay.at.clone())
        };
        let connected = self.mail.holders.values().filter(|holder| holder.is_own);
        let connected = connected.filter_map(|it| Some((it.id, it.holding()?, true)));
        let former = self.mail.former.iter().map(|(id, it)| (*id, it, false));
        let held_by = connected.chain(former);
        MailboxInfo {
            held_by: held_by
                .map(|(id, facts, connected)| HolderInfo {
                    id,
                    at: at(id),
                    name: (facts.is_node || nodes.contains(&id))
                        .then(|| self.peers.name(id.person())),
                    connected,
                    envelopes: facts.waiting.0,
                    bytes: facts.waiting.1,
                    since_ms: facts.since_ms,
                    fetched_at_ms: facts.fetched_at_ms,
                    fetched: facts.fetched,
                })
                .collect(),
            deposited: self.deposit_infos(),
            holding: self.holding.info(),
        }
    }

    /// What a diagnosis says about mail.
    pub(in crate::engine) fn mail_evidence(&self) -> MailEvidence {
        let info = self.mailbox_info();
        let wall_ms = self.clock.now().wall_ms;
        let days = |at_ms: u64| wall_ms.saturating_sub(at_ms) / DAY_MS;
        let contacts = self.policy.contacts();
        let is_away = |peer: &&PersonId| self.sessions.with(peer.only_device()).is_none();
        let connected = info.held_by.iter().filter(|it| it.connected).count();
        let lost = info.held_by.iter().filter(|it| !it.connected);
        let lost_holders = lost.map(|it| {
            let at = it.at.as_ref().map(ToString::to_string);
            let name = it.name.clone().or(at).unwrap_or_else(|| it.id.to_string());
            let lost_at = self.mail.former.get(&it.id).and_then(|it| it.lost_at_ms);
            (name, lost_at.map_or(0, days))
        });
        let held = info.deposited.iter().filter(|it| it.messages > 0);
        let waited = held.clone().filter_map(|it| it.at_ms).map(days);
        let refused = info.deposited.iter();
        let refused = refused.filter_map(|it| Some((it.name.clone(), it.refused?)));
        MailEvidence {
            contacts: contacts.len() as u64,
            contacts_away: contacts.iter().filter(is_away).count() as u64,
            holders_connected: connected as u64,
            lost_holders: lost_holders.collect(),
            refused: refused.collect(),
            held: held.clone().map(|it| it.messages).sum(),
            held_days: waited.max().unwrap_or(0),
            held_for: held.count() as u64,
            files_waiting: info.deposited.iter().map(|it| it.files_waiting).sum(),
            holding: info.holding.map(|it| (it.bytes, it.bytes_max)),
        }
    }

    fn deposit_infos(&self) -> Vec<DepositInfo> {
        let mut infos = BTreeMap::new();
        let info = |peer| DepositInfo {
            peer,
            name: self.peers.name(peer),
            messages: 0,
            files_waiting: 0,
            holder: None,
            at_ms: None,
            refused: self.mail.refusals.why(peer.only_device()),
        };
        for (peer, messages, holder, at_ms) in self.mail.held.counts() {
            let of_peer = infos
                .entry(peer.person())
                .or_insert_with(|| info(peer.person()));
            of_peer.messages += messages;
            if of_peer.at_ms <= Some(at_ms) {
                (of_peer.holder, of_peer.at_ms) = (Some(holder), Some(at_ms));
            }
        }
        for (peer, count) in self.mail.contents.counts() {
            let of_peer = infos
                .entry(peer.person())
                .or_insert_with(|| info(peer.person()));
            of_peer.files_waiting = count;
        }
        for (peer, _) in self.mail.refusals.all() {
            infos
                .entry(peer.person())
                .or_insert_with(|| info(peer.person()));
        }
        infos.into_values().collect()
    }
}
