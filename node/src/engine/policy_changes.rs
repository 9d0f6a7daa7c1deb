//! What the user decides about peers, carried out: sessions ended and refused, decisions kept; and
//! the other end of that, where a peer wants no session with this node.

use hobnob_core::policy::DenyReason;
use hobnob_core::{paths, replica};
use hobnob_protocol::{Nickname, PeerId};
use tokio::sync::oneshot;

use super::command::PolicyChange;
use super::state::Engine;
use crate::api::{Event, PeerInfo};
use crate::error::PolicyError;
use crate::store::StoreError;

impl Engine {
    /// What earlier runs decided holds again. Whoever is marked can be named, and so unmarked.
    pub(super) fn restore_policies(&mut self) {
        for peer in self.policy.policies.decided().collect::<Vec<_>>() {
            self.make_known(peer);
        }
        for peer in self.policy.policies.blocked().collect::<Vec<_>>() {
            self.tell_replica(replica::Input::Block(peer));
        }
    }

    pub(super) fn change_policy(
        &mut self,
        peer: PeerId,
        change: PolicyChange,
        reply: oneshot::Sender<Result<PeerInfo, PolicyError>>,
    ) {
        if peer == self.me {
            return drop(reply.send(Err(PolicyError::Myself)));
        }
        let after = self.policy.after(peer, change, || self.nick_or_id(peer));
        if !self.policy.policies.set(peer, after.clone()) {
            return drop(reply.send(Err(PolicyError::TooMany)));
        }
        self.make_known(peer);
        match change {
            PolicyChange::Ignore | PolicyChange::Unignore | PolicyChange::Unverify => {}
            PolicyChange::Block => {
                self.tell_replica(replica::Input::Block(peer));
                self.part_with(peer, DenyReason::Blocked);
            }
            PolicyChange::Unblock | PolicyChange::Verify => {
                self.policy.policies.pardon(peer);
                self.tell_replica(replica::Input::Unblock(peer));
                let addrs = self.paths.addrs(peer);
                self.paths.handle(
                    self.clock.now(),
                    paths::Input::Found {
                        peer,
                        addrs,
                        alive: true,
                    },
                );
            }
            PolicyChange::Kick => {
                self.policy.policies.kick(peer, self.clock.now());
                self.part_with(peer, DenyReason::Kicked);
            }
        }
        let info = self.peer_info(peer);
        self.reports.event(Event::Peer(info.clone()));
        if change == PolicyChange::Kick {
            return drop(reply.send(Ok(info)));
        }
        let stored = self.store.set_policy(peer, after);
        self.tasks.spawn(async move {
            let stored = stored.await.unwrap_or(Err(StoreError::Closed));
            let _ = reply.send(
                stored
                    .map(|()| info)
                    .map_err(|error| PolicyError::Store(error.to_string())),
            );
        });
    }

    fn nick_or_id(&self, peer: PeerId) -> Nickname {
        let short = || Nickname::new(&peer.short()).expect("eight letters are a nickname");
        self.peers.nick(peer).cloned().unwrap_or_else(short)
    }

    /// Whether a peer gives itself the name of somebody whom the user has verified with another
    /// key. Then the user is told what that may mean, once, and there is no session with it.
    pub(super) fn has_taken_name(&mut self, peer: PeerId, nick: &str) -> bool {
        let Some(nick) = Nickname::cleaned(nick) else {
            return false;
        };
        let Some(verified) = self.policy.name_taken_from(peer, &nick, &self.peers) else {
            return false;
        };
        if self.policy.policies.note_name_taken(peer) {
            let (name, short, id) = (nick.as_str(), verified.short(), peer.short());
            let text = format!(
                "Somebody else calls themselves {name}, whom you have verified with the key {short}. Their key is {id}: they are kept \
                 out, and nothing was sent to them. If {name} has a new key, compare words with them over the telephone (`hobnob \
                 verify {id}`), then `hobnob verify {id} --confirm`."
            );
            self.reports.notice("verified-name", text, Some(peer));
        }
        true
    }

    fn make_known(&mut self, peer: PeerId) {
        if !self.peers.knows(peer) {
            self.peers.learn(peer, None);
        }
    }

    /// Ends every session with a peer. For the rooms it is as if it had said goodbye: what is said
    /// from now on is not for it.
    pub(super) fn part_with(&mut self, peer: PeerId, reason: DenyReason) {
        let (code, words) = reason.code();
        for id in self.sessions.ids_with(peer) {
            let Some(link) = self.sessions.live.remove(&id) else {
                continue;
            };
            link.session.close(code, words);
            self.paths.handle(
                self.clock.now(),
                paths::Input::Down {
                    session: id,
                    goodbye: true,
                    unwelcome: false,
                },
            );
            self.session_gone(id, &link, true, false);
        }
    }

    /// A peer wants no session with this node: it is left alone for a while, and the user told
    /// once.
    pub(super) fn refused_by(&mut self, peer: PeerId, reason: DenyReason) {
        if !self.policy.note_refused_by(peer, reason) {
            return;
        }
        let name = self.peers.name(peer);
        let text = match reason {
            DenyReason::Blocked => {
                format!(
                    "{name} has blocked this node. What you write to them stays queued here, in case they unblock it."
                )
            }
            DenyReason::NameTaken => format!(
                "{name} has verified somebody else by this node's nickname, and takes no session with it: take another nickname, or \
                 compare words with them (`hobnob verify`)."
            ),
            DenyReason::Kicked => format!(
                "{name} has shown this node out for a while. What you write to them stays queued until then."
            ),
        };
        self.reports.notice("turned-away", text, Some(peer));
    }
}
