//! What the user decides about peers, carried out: sessions ended and refused, decisions kept; and
//! the other end of that, where a peer wants no session with this node.

use super::Engine;
use crate::Event;
use crate::PeerInfo;
use crate::PolicyError;
use crate::store::StoreError;
use hobnob_core::paths;
use hobnob_core::policy::DenyReason;
use hobnob_core::replica;
use hobnob_protocol::Nickname;
use hobnob_protocol::PeerId;
use tokio::sync::oneshot;

/// Something that a user decides about a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PolicyChange {
    Ignore,
    Unignore,
    Block,
    Unblock,
    Kick,
    Verify,
    Unverify,
}

impl Engine {
    /// What earlier runs decided holds again. Whoever is marked can be named, and so unmarked.
    pub(super) fn take_up_marks(&mut self) {
        for peer in self.policies.marked().collect::<Vec<_>>() {
            self.make_known(peer);
        }
        for peer in self.policies.blocked().collect::<Vec<_>>() {
            self.tell_replica(replica::Input::Block(peer));
        }
    }

    pub(super) fn mark(
        &mut self,
        peer: PeerId,
        mark: PolicyChange,
        reply: oneshot::Sender<Result<PeerInfo, PolicyError>>,
    ) {
        if peer == self.me {
            return drop(reply.send(Err(PolicyError::Myself)));
        }
        let mut marks = self.policies.marks(peer);
        match mark {
            PolicyChange::Ignore | PolicyChange::Unignore => {
                marks.ignored = mark == PolicyChange::Ignore
            }
            PolicyChange::Block | PolicyChange::Unblock => {
                marks.blocked = mark == PolicyChange::Block
            }
            PolicyChange::Kick => {}
            PolicyChange::Verify => {
                (marks.verified, marks.blocked) = (Some(self.nick_or_id(peer)), false)
            }
            PolicyChange::Unverify => marks.verified = None,
        }
        if !self.policies.set(peer, marks.clone()) {
            return drop(reply.send(Err(PolicyError::TooMany)));
        }
        self.make_known(peer);
        match mark {
            PolicyChange::Ignore | PolicyChange::Unignore | PolicyChange::Unverify => {}
            PolicyChange::Block => {
                self.tell_replica(replica::Input::Block(peer));
                self.part_with(peer, DenyReason::Blocked);
            }
            PolicyChange::Unblock | PolicyChange::Verify => {
                self.policies.pardon(peer);
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
                self.policies.kick(peer, self.clock.now());
                self.part_with(peer, DenyReason::Kicked);
            }
        }
        let info = self.peer_info(peer);
        self.say(Event::Peer(info.clone()));
        if mark == PolicyChange::Kick {
            return drop(reply.send(Ok(info)));
        }
        let stored = self.store.set_marks(peer, marks);
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
        let Some(verified) = self.policies.whose_name(peer, &nick, &self.peers) else {
            return false;
        };
        if self.policies.note_name_taken(peer) {
            let (name, short, id) = (nick.as_str(), verified.short(), peer.short());
            let text = format!(
                "Somebody else calls themselves {name}, whom you have verified with the key {short}. Their key is {id}: they are kept \
                 out, and nothing was sent to them. If {name} has a new key, compare words with them over the telephone (`hobnob \
                 verify {id}`), then `hobnob verify {id} --confirm`."
            );
            self.notice("verified-name", text, Some(peer));
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
    pub(super) fn part_with(&mut self, peer: PeerId, bar: DenyReason) {
        let (code, words) = bar.code();
        let of_peer: Vec<_> = self
            .links
            .iter()
            .filter(|(_, link)| link.peer == peer)
            .map(|(id, _)| *id)
            .collect();
        for id in of_peer {
            let Some(link) = self.links.remove(&id) else {
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
            self.link_is_gone(id, &link, true, false);
        }
    }

    /// Why there may be no session with a peer now, if so. To be asked once a connection is there:
    /// a resumed one has passed no verifier.
    pub(super) fn bar(&self, peer: PeerId) -> Option<DenyReason> {
        self.policies.bar(peer, self.clock.now())
    }

    /// A peer wants no session with this node: it is left alone for a while, and the user told
    /// once.
    pub(super) fn turned_away(&mut self, peer: PeerId, bar: DenyReason) {
        if self.turned_away_told.insert(peer, bar) == Some(bar) {
            return;
        }
        let name = self.peers.name(peer);
        let text = match bar {
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
        self.notice("turned-away", text, Some(peer));
    }
}
