//! Carries out decisions: of the user about peers, and of peers about this node.

use std::net::SocketAddr;

use hobnob_core::policy::DenyReason;
use hobnob_core::{paths, replica};
use hobnob_protocol::{Nickname, PersonId};
use hobnob_transport::addr::canonical;
use tokio::sync::oneshot;

use super::command::PolicyChange;
use super::state::Engine;
use crate::api::{Event, NoticeReason, PeerInfo};
use crate::error::PolicyError;
use crate::store::StoreError;

impl Engine {
    /// Restores the decisions of earlier runs. A user can name the peers concerned, to undo them.
    pub(super) fn restore_policies(&mut self) {
        for peer in self.policy.decided() {
            self.make_known(peer);
        }
        for peer in self.policy.contacts() {
            self.tell_replica(replica::Input::Accept(peer));
        }
        for peer in self.policy.blocked() {
            self.tell_replica(replica::Input::Block(peer));
        }
        self.admitted_contacts_changed();
    }

    pub(super) fn change_policy(
        &mut self,
        peer: PersonId,
        change: PolicyChange,
        reply: oneshot::Sender<Result<PeerInfo, PolicyError>>,
    ) {
        if peer == self.me {
            return drop(reply.send(Err(PolicyError::Myself)));
        }
        let name = || nick_or_id(self.peers.nick(peer), peer);
        let changed = self.policy.change(peer, change, name, self.clock.now());
        let policy = match changed {
            Ok(policy) => policy,
            Err(error) => return drop(reply.send(Err(error))),
        };
        self.make_known(peer);
        match change {
            PolicyChange::Ignore | PolicyChange::Unignore | PolicyChange::Unverify => {}
            PolicyChange::Accept => self.tell_replica(replica::Input::Accept(peer)),
            PolicyChange::Remove => self.tell_replica(replica::Input::Unaccept(peer)),
            PolicyChange::Block => {
                self.tell_replica(replica::Input::Block(peer));
                self.part_with(peer, DenyReason::Blocked);
            }
            PolicyChange::Unblock | PolicyChange::Verify | PolicyChange::VerifyByCode => {
                self.tell_replica(replica::Input::Unblock(peer));
                if change != PolicyChange::Unblock {
                    self.tell_replica(replica::Input::Accept(peer));
                }
                self.tell_paths(paths::Input::Wanted(peer.only_device()));
            }
            PolicyChange::Kick => self.part_with(peer, DenyReason::Kicked),
        }
        self.paths
            .protect(peer.only_device(), self.policy.is_contact(peer));
        self.update_direct_paths_with(peer);
        self.send_new_proofs_with(peer);
        self.contact_changed(peer);
        if self.policy.is_contact(peer) {
            self.introductions_accepted(peer);
        } else {
            self.introductions_forget(peer);
        }
        let info = self.peer_info(peer);
        self.reports.event(Event::Peer(info.clone()));
        if change == PolicyChange::Kick {
            // A kick ends by itself, so it is not stored.
            return drop(reply.send(Ok(info)));
        }
        let stored = self.store.set_policy(peer, policy);
        self.tasks.spawn(async move {
            let stored = stored.await.unwrap_or(Err(StoreError::Closed));
            let _ = reply.send(
                stored
                    .map(|()| info)
                    .map_err(|error| PolicyError::Store(error.to_string())),
            );
        });
    }

    /// The user forgets a peer, which becomes a stranger. Its name, addresses and relays are dropped.
    /// In this run only the peer itself can bring its name back, by a new session or a message. It
    /// stays blocked or ignored.
    pub(super) fn forget(&mut self, peer: PersonId) {
        self.forgotten.add(peer);
        self.tell_paths(paths::Input::Forget(peer.only_device()));
        if self.policy.is_contact(peer) {
            // Nobody waits for the disk: if it does not take the change, it fails for all to see.
            let (reply, _) = oneshot::channel();
            self.change_policy(peer, PolicyChange::Remove, reply);
        }
        // Last, because a change of the policy makes the peer known.
        self.peers.forget(peer);
        self.known_relays.forget(peer);
        self.forget_shared_relay(peer);
        self.past_names.forget(peer);
        self.store.forget_peer(peer);
        self.remove_unnamed_pictures();
    }

    /// A peer has written. If the user has forgotten it, it is known again, so that the user can
    /// answer, ignore or block it. Its name follows with its record.
    pub(super) fn known_again(&mut self, peer: PersonId) {
        if self.forgotten.contains(peer) {
            self.forgotten.remove(peer);
            self.make_known(peer);
            self.store_peer(peer);
            self.reports.event(Event::Peer(self.peer_info(peer)));
        }
    }

    /// The user removes an address of a peer. Returns whether it was there.
    pub(super) fn forget_address(&mut self, peer: PersonId, addr: SocketAddr) -> bool {
        let was_there = self.paths.forget_addr(peer.only_device(), canonical(addr));
        if was_there {
            self.store_peer(peer);
        }
        was_there
    }

    /// The user has written to a peer, which makes it a contact. The store takes this before the
    /// message, because it writes in order.
    pub(super) fn accepted_by_writing(&mut self, peer: PersonId) {
        let name = || nick_or_id(self.peers.nick(peer), peer);
        let now = self.clock.now();
        let accepted = self.policy.change(peer, PolicyChange::Accept, name, now);
        // With as many policies as there can be, the peer is a contact until the node stops.
        if let Ok(policy) = accepted {
            // If the disk does not take it, it does not take the message either.
            drop(self.store.set_policy(peer, policy));
        }
        self.paths
            .protect(peer.only_device(), self.policy.is_contact(peer));
        self.update_direct_paths_with(peer);
        self.send_new_proofs_with(peer);
        self.contact_changed(peer);
        self.introductions_accepted(peer);
        self.reports.event(Event::Peer(self.peer_info(peer)));
    }

    /// Whether a peer uses the name of another one that the user has verified. Then there is no
    /// session with it, and the user is notified once of what that may mean.
    pub(super) fn has_taken_name(&mut self, peer: PersonId, nick: &Nickname) -> bool {
        let Some(verified) = self.policy.name_taken_from(peer, nick, &self.peers) else {
            return false;
        };
        if self.policy.note_name_taken(peer) {
            let name = nick.as_str().to_owned();
            self.reports
                .notice(NoticeReason::VerifiedName { name, verified }, Some(peer));
        }
        true
    }

    fn make_known(&mut self, peer: PersonId) {
        self.peers.keep(peer);
    }

    /// Ends every session with a peer. To the rooms the peer has said goodbye: messages written from
    /// now on are not for it.
    pub(super) fn part_with(&mut self, peer: PersonId, reason: DenyReason) {
        let (code, words) = reason.code();
        for id in self.sessions.ids_with(peer.only_device()) {
            let state = self.sessions.remove(id, self.clock.now());
            let state = state.expect("it was listed just now");
            state.close(code, words);
            self.tell_paths(paths::Input::Down {
                session: id,
                goodbye: true,
                unwelcome: false,
            });
            self.session_gone(id, &state, true, false);
        }
    }

    /// A peer refuses sessions with this node. `paths` leaves it alone for a while, and the user is
    /// notified once.
    pub(super) fn refused_by(&mut self, peer: PersonId, reason: DenyReason) {
        if !self.policy.note_refused_by(peer, reason) {
            return;
        }
        let name = self.peers.name(peer);
        self.reports
            .notice(NoticeReason::TurnedAway { name, reason }, Some(peer));
    }
}

/// The name under which to verify a peer.
fn nick_or_id(nick: Option<&Nickname>, peer: PersonId) -> Nickname {
    let short = || Nickname::new(&peer.short()).expect("eight letters are a nickname");
    nick.cloned().unwrap_or_else(short)
}
