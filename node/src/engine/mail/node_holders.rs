//! Nodes as holders: finds connected nodes at which this node deposits or fetches mail, and serves
//! nodes for which this one holds mail.

use hobnob_core::SessionId;
use hobnob_protocol::{DeviceId, Frame, close};
use tracing::{debug, warn};

use super::super::state::Engine;
use super::HolderAt;
use crate::net::mail::OpenedByPeer;

impl Engine {
    // Nodes that hold mail for this node.

    /// A peer says whether it holds mail for this node.
    pub(in crate::engine) fn holds_mail_frame(&mut self, id: SessionId, holds: bool) {
        let now = self.clock.now().mono;
        let state = self.sessions.get_mut(id);
        let state = state.expect("the callers act on live sessions only");
        let peer = state.peer();
        if !state.limits.allow_profile(now) {
            warn!(?peer, "refused: a flood of frames about mail");
            return state.close(close::PROTOCOL, "a flood of frames about mail");
        }
        state.holds_mail = holds;
        self.use_as_holder(peer);
    }

    /// Opens a stream about mailboxes to a connected peer, if it holds mail for this node or for a
    /// contact of this node. Only a contact may hold this node's own mail.
    pub(in crate::engine) fn use_as_holder(&mut self, peer: DeviceId) {
        let ids = self.sessions.ids_with(peer);
        let Some(newest) = ids.last().copied() else {
            return;
        };
        let mut states = ids.iter().filter_map(|id| self.sessions.get(*id));
        let is_own = self.policy.is_contact(peer.person()) && states.any(|state| state.holds_mail);
        let known = ids.into_iter().map(HolderAt::Session);
        let known = known
            .into_iter()
            .find(|at| self.mail.holders.contains_key(at));
        let Some(at) = known else {
            if is_own || self.mail.contacts.at(peer).next().is_some() {
                self.mail.streams += 1;
                let state = self.sessions.get(newest).expect("listed above");
                let stream = state.handle().open_mail(self.mail.streams);
                self.holder_up(HolderAt::Session(newest), peer, stream, is_own);
            }
            return;
        };
        let holder = self.mail.holders.get_mut(&at).expect("found above");
        if holder.is_own == is_own {
            return;
        }
        holder.set_own(is_own);
        if is_own {
            holder.fetch();
            return self.hold_at(at);
        }
        if holder.holds_nothing() {
            self.send_mailbox_to_all();
        }
    }

    /// A session with a peer has begun.
    pub(in crate::engine) fn mail_session_up(&mut self, id: SessionId, peer: DeviceId) {
        self.announce_holding(id);
        self.mail.reopening.forget(peer);
        self.use_as_holder(peer);
    }

    /// A session with a peer has ended. There may be another one.
    pub(in crate::engine) fn mail_session_down(&mut self, id: SessionId, peer: DeviceId) {
        self.holder_down(HolderAt::Session(id));
        self.mail.reopening.forget(peer);
        self.use_as_holder(peer);
    }

    // Nodes for which this node holds mail.

    /// Tells the peer of a session whether this node holds its mail, unless it knows.
    fn announce_holding(&mut self, id: SessionId) {
        let state = self.sessions.get_mut(id).expect("listed by the callers");
        let holds = self.holding.agrees(state.person());
        if state.told_holding != holds {
            state.told_holding = holds;
            state.send(&Frame::HoldsMail(holds));
        }
    }

    /// Takes up what the last run held.
    pub(crate) fn start_holding(&mut self) {
        self.update_holding();
        self.holding.expire();
    }

    /// The user's contacts, or their names, may have changed.
    pub(in crate::engine) fn update_holding(&mut self) {
        let mut contacts = self.policy.contacts();
        contacts.retain(|peer| !self.policy.of(*peer).blocked);
        let named = contacts
            .into_iter()
            .map(|peer| (peer, self.peers.nick(peer)));
        if self.holding.update(named) {
            for id in self.sessions.ids() {
                self.announce_holding(id);
            }
        }
    }

    /// A peer has opened a stream about mailboxes. Each session has at most one.
    pub(in crate::engine) fn mail_stream_opened(&mut self, id: SessionId, opened: OpenedByPeer) {
        let state = self.sessions.get(id);
        let state = state.expect("the callers act on live sessions only");
        let peer = state.peer();
        let place = state.mail_place.clone().try_acquire_owned();
        let (Some(service), Ok(place)) = (self.holding.service(), place) else {
            // Dropping the stream ends it, which the peer notices.
            return debug!(?peer, "refused: a stream about mailboxes");
        };
        let connection = state.connection();
        self.tasks.spawn_until_stop(async move {
            if let Err(wrong) = service.serve(opened, peer).await {
                warn!(?peer, "session ended: {wrong}");
                crate::net::close::hang_up(&connection, close::PROTOCOL, &wrong);
            }
            drop(place);
        });
    }
}
