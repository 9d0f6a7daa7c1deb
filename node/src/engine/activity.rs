//! Sends what this node's user does to the peers that may see it, and reports what other users do.

use hobnob_core::SessionId;
use hobnob_core::commit::ConversationKind;
use hobnob_core::policy::ShareWith;
use hobnob_protocol::{Activity, ConversationId, Frame, PersonId};

use super::state::Engine;
use crate::api::{ActivityInfo, ActivityKind, ConversationRef, Event, MessageId};

impl Engine {
    /// The user types in a conversation, or has stopped.
    pub(super) fn typing(&self, named: &ConversationRef, on: bool) {
        if let Some(id) = self.conversation_id(named) {
            let share = self.activities.sharing.typing;
            for peer in self.replica.here(id) {
                self.share_in(id, share, peer, &Activity::Typing(id, on));
            }
        }
    }

    /// The user has read a message and those before it in its log. Its author learns of it.
    pub(super) fn read_by_user(&mut self, id: MessageId) {
        let Some(name) = self.replica.find(id.log, id.seq) else {
            return;
        };
        let (conversation, author) = (name.conversation, name.author);
        let own = author == self.me;
        if !own
            && self
                .activities
                .has_read(conversation, author, id.log, id.seq)
        {
            let share = self.activities.sharing.read;
            let read = Activity::Read(conversation, id.log, id.seq);
            self.share_in(conversation, share, author, &read);
        }
    }

    /// The user is away, or back.
    pub(super) fn set_status(&mut self, away: bool, text: String) {
        let status = Activity::Status(away, text.clone());
        self.activities.set_status(away, text);
        for id in self.sessions.ids() {
            self.share_status(id, status.clone());
        }
    }

    /// A session is up: its peer learns what it missed.
    pub(super) fn share_activity(&self, id: SessionId) {
        if let Some(status) = self.activities.status() {
            self.share_status(id, status);
        }
        let state = self
            .sessions
            .get(id)
            .expect("the callers act on live sessions only");
        let peer = state.peer();
        for read in self.activities.read_of(peer.person()) {
            if let Activity::Read(conversation, ..) = read {
                self.share_in(
                    conversation,
                    self.activities.sharing.read,
                    peer.person(),
                    &read,
                );
            }
        }
    }

    pub(super) fn share_status(&self, id: SessionId, status: Activity) {
        let state = self
            .sessions
            .get(id)
            .expect("the callers act on live sessions only");
        let peer = state.peer();
        let (is_contact, is_member) = (
            self.policy.is_contact(peer.person()),
            self.is_member(peer.person()),
        );
        if self.activities.sharing.status.allows(is_contact, is_member) {
            state.send(&Frame::Activity(status));
        }
    }

    /// Sends an activity in a conversation to a peer that may know it.
    fn share_in(
        &self,
        conversation: ConversationId,
        share: ShareWith,
        peer: PersonId,
        activity: &Activity,
    ) {
        if self.shares_in(conversation, share, peer)
            && let Some(state) = self.sessions.with(peer.only_device())
        {
            state.send(&Frame::Activity(activity.clone()));
        }
    }

    /// Whether a peer may know what happens in a conversation. Nobody may in an open room.
    fn shares_in(&self, conversation: ConversationId, share: ShareWith, peer: PersonId) -> bool {
        match self.replica.kind(conversation) {
            Some(ConversationKind::Direct(with)) => {
                *with == peer && share.allows(self.policy.is_contact(peer), false)
            }
            Some(ConversationKind::Room { key, .. }) => {
                !key.is_open() && share == ShareWith::Members
            }
            None => false,
        }
    }

    /// A peer says what its user does.
    pub(super) fn activity(&mut self, id: SessionId, activity: Activity) {
        let peer = self.sessions.get(id).map(|state| state.peer());
        let peer = peer.expect("the callers act on live sessions only");
        let now = self.clock.now().mono;
        if !self.activities.takes(id, now) || !self.policy.shows(peer.person()) {
            return;
        }
        let is_known = self.is_known(peer.person());
        let is_news = match &activity {
            Activity::Typing(..) | Activity::Read(..) if !is_known => false,
            Activity::Typing(conversation, _) => self.is_there(*conversation, peer.person()),
            Activity::Read(conversation, log, seq) => {
                let own = self.replica.own_log(*log);
                let is_held = own.is_some_and(|(name, held)| {
                    name.conversation == *conversation && held.contains(*seq)
                });
                is_held
                    && self.is_there(*conversation, peer.person())
                    && self
                        .activities
                        .was_read(*conversation, peer.person(), *log, *seq)
            }
            // A stranger's status counts once the user accepts it, because it is sent once.
            Activity::Status(away, text) => {
                self.activities.is_away(peer.person(), *away, text.clone()) && is_known
            }
            Activity::Unknown(_) => false,
        };
        if is_news && let Some(info) = self.activity_info(peer.person(), activity) {
            self.reports.event(Event::Activity(info));
        }
    }

    /// Whether the user sees what a peer reports.
    pub(super) fn is_known(&self, peer: PersonId) -> bool {
        self.policy.is_contact(peer) || self.is_member(peer)
    }

    /// Whether a peer shares this conversation, which is not an open room.
    fn is_there(&self, conversation: ConversationId, peer: PersonId) -> bool {
        self.replica.here(conversation).contains(&peer)
            && self.shares_in(conversation, ShareWith::Members, peer)
    }

    /// What other users said last: read markers, and who is away.
    pub(super) fn all_activity(&self) -> Vec<ActivityInfo> {
        let all = self.activities.all();
        all.filter(|(peer, _)| self.is_known(*peer))
            .filter_map(|(peer, activity)| self.activity_info(peer, activity))
            .collect()
    }

    /// The status of a peer, as far as the user sees it.
    pub(super) fn status_of(&self, peer: PersonId) -> (bool, String) {
        let status = self.activities.status_of(peer);
        let status = status.filter(|_| self.is_known(peer));
        status.cloned().unwrap_or_default()
    }

    fn activity_info(&self, peer: PersonId, activity: Activity) -> Option<ActivityInfo> {
        let kind = match activity {
            Activity::Typing(conversation, on) => {
                let conversation = self.conversation_ref(conversation)?;
                ActivityKind::Typing { conversation, on }
            }
            Activity::Read(conversation, log, seq) => {
                let conversation = self.conversation_ref(conversation)?;
                let id = MessageId { log, seq };
                ActivityKind::Read { conversation, id }
            }
            Activity::Status(away, text) => ActivityKind::Status { away, text },
            Activity::Unknown(_) => return None,
        };
        let name = self.peers.name(peer);
        Some(ActivityInfo { peer, name, kind })
    }
}
