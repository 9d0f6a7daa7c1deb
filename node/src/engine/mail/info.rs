//! The state of mail, for users.

use std::collections::{BTreeMap, BTreeSet};

use super::super::state::Engine;
use super::HolderAt;
use crate::api::{DepositInfo, HolderInfo, MailboxInfo};

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
