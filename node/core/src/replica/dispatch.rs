//! The replica's interface: what happens goes in, what must be done comes out.

use std::time::Duration;

use super::events::{Input, Output};
use super::state::Replica;
use super::timers::Timer;
use crate::{Now, SessionId};

impl Replica {
    /// Handles something that happened. Then [`Replica::poll_output`] returns what must be done.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.now = now;
        // A session can end while an input for it waits.
        if session_of(&input).is_some_and(|id| !self.sessions.contains(id)) {
            return;
        }
        match input {
            Input::Append {
                token,
                conversation,
                body,
            } => self.append(token, conversation, body),
            Input::NameAppend(token, id) => drop(self.client_ids.insert(token, id)),
            Input::OpenDirect(peer) => self.open_direct(peer).open(),
            Input::Join { token, name, key } => self.join(token, name, key),
            Input::Part(token, conversation) => self.part(token, conversation),
            Input::Erase(token, conversation, what) => self.erase(token, conversation, &what),
            Input::Block(author) => self.block(author),
            Input::Unblock(author) => self.unblock(author),
            Input::Accept(peer) => self.accept_peer(peer),
            Input::Unaccept(peer) => self.part_with(peer),
            Input::SessionUp(session, peer, network, source) => {
                self.session_up(session, peer, network, source);
            }
            Input::MailUp {
                session,
                peer,
                source,
                room,
                held,
                receipts,
            } => self.mail_up(session, peer, source, room, &held, receipts),
            Input::SessionRooms(session, rooms) => self.session_rooms(session, &rooms),
            Input::SessionDown { session, goodbye } => self.session_down(session, goodbye),
            Input::Confirmed(session, network) => self.confirmed(session, network),
            Input::Frame(session, frame) => self.frame(session, frame),
            Input::Batch(session, batch) => self.batch(session, batch),
            Input::BatchesWritten(session, bytes) => self.batches_written(session, bytes),
            Input::FramesWritten(session, bytes) => {
                self.sessions.at_mut(session).frames_written(bytes);
                self.go_on_with_heads(session);
            }
            Input::Committed(commit) => self.committed(commit),
            Input::CommitFailed(commit, why) => self.commit_failed(commit, &why),
            Input::Read(session, name, batches) => self.read(session, name, batches),
            Input::NewcomerCut(session, conversation, cut) => {
                self.newcomer_cut(session, conversation, &cut)
            }
            Input::NetworksChanged(networks) => self.networks_changed(networks),
            Input::Flush => self.save_changes(),
            Input::Timeout => self.timeout(),
        }
    }

    /// The next action. The caller repeats this until it returns `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        // Receipts go last, so that one `Have` covers everything that has just become durable.
        if self.outputs.is_empty() {
            self.flush_receipts();
        }
        self.outputs.pop_front()
    }

    /// When the next [`Input::Timeout`] is due, on the clock of [`Now::mono`].
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.timers.first()
    }

    fn timeout(&mut self) {
        for timer in self.timers.take_due(self.now.mono) {
            match timer {
                Timer::Announce => self.announce(),
                Timer::PullRetry => self.try_next_sources(),
                Timer::AntiEntropy => self.compare_with_random_members(),
                Timer::MoreHeads => self.ask_for_more_heads(),
                Timer::Save => self.save_changes(),
                Timer::Budget => self.release_after_budget(),
                Timer::Alive => self.save_sign_of_life(),
                Timer::ReadAgain => self.read_again(),
            }
        }
    }
}

/// The session that an input came from, which must be up.
fn session_of(input: &Input) -> Option<SessionId> {
    match input {
        Input::SessionRooms(session, _)
        | Input::SessionDown { session, .. }
        | Input::Confirmed(session, _)
        | Input::Frame(session, _)
        | Input::Batch(session, _)
        | Input::BatchesWritten(session, _)
        | Input::FramesWritten(session, _)
        | Input::Read(session, ..)
        | Input::NewcomerCut(session, ..) => Some(*session),
        Input::Append { .. }
        | Input::NameAppend(..)
        | Input::OpenDirect(_)
        | Input::Join { .. }
        | Input::Part(..)
        | Input::Erase(..)
        | Input::Block(_)
        | Input::Unblock(_)
        | Input::Accept(_)
        | Input::Unaccept(_)
        | Input::SessionUp(..)
        | Input::MailUp { .. }
        | Input::Committed(_)
        | Input::CommitFailed(..)
        | Input::NetworksChanged(_)
        | Input::Flush
        | Input::Timeout => None,
    }
}
