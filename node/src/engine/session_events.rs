//! Begins and ends sessions, and passes on what happens in them.

use hobnob_core::paths;
use hobnob_core::policy::DenyReason;
use hobnob_core::presence::Output as PresenceOutput;
use hobnob_core::{SessionId, rendezvous, replica};
use hobnob_protocol::{Frame, close};
use tracing::{info, warn};

use super::mail::HolderAt;
use super::session_state::SessionState;
use super::sessions::Roles;
use super::state::Engine;
use crate::api::{CopyEvidence, Event};
use crate::invariants;
use crate::net::session::{Ended, Greeted, SessionEvent, SessionEventKind, StreamKind};
use crate::transfers::messages::ToTransfers;

impl Engine {
    /// Begins the session on a greeted connection. `by_user`: the user named the address.
    pub(super) fn begin_session(&mut self, id: SessionId, greeted: Greeted, by_user: bool) {
        let (peer, hello, now) = (greeted.peer, greeted.hello.clone(), self.clock.now());
        // The peer was online before, by a session or by one that this session replaces. If it
        // is reached by the same path as then, users learn nothing new.
        let replaced = self.sessions.other_arrived(peer);
        let before = self.sessions.with(peer);
        let before = before.filter(|state| !state.responses.is_suspect());
        let before = before.map(|state| self.network.path_kind(state.remote_addr()));
        let on_link = self
            .network
            .is_on_own_link(greeted.connection.remote_address());
        let roles = Roles {
            goes_first: greeted.dialed && (by_user || on_link),
            pings_first: self.device < peer,
        };
        let tasks = self.tasks.tracker();
        let state = self.sessions.begin(id, greeted, roles, now, tasks);
        let remote = state.remote_addr();
        self.files
            .session_up(id, peer, state.features(), state.content());
        let accepted = self.policy.may_run_programs(peer.person());
        self.apps
            .session_up(id, peer, state.features(), state.connection(), accepted);
        match self.relay_of(remote) {
            Some(relay) => info!(?peer, %relay, "session up, through a relay"),
            None => info!(?peer, addr = %remote, "session up"),
        }
        self.policy.forget_refused_by(peer.person());
        self.lost.remove(peer.person());
        // What the peer refused on an earlier session is sent again on this one.
        self.outbox.note_awaits_consent(peer.person(), false);
        let network = self.network.network_of(remote);
        let source = self.network.source_network(remote);
        self.tell_replica(replica::Input::SessionUp(id, peer, network, source));
        self.records.begin(id, peer.person());
        self.begin_pictures(id);
        // The peer introduces itself again to a user who has forgotten it.
        self.forgotten.remove(peer.person());
        let record = self.checked_record(peer.person(), hello.profile.record.clone());
        let record = record.expect("the connection was greeted with a checked record");
        let is_news = self.learn_profile(id, hello.profile, record);
        let name = self.peers.name(peer.person());
        self.reports
            .compare_clocks(peer.person(), &name, hello.clock_ms, now.wall_ms);
        // What changed since this node's Hello was made, if anything did.
        self.send_profile(id);
        self.send_contact_record(id);
        self.send_mailbox(id);
        self.mail_not_needed(peer);
        self.mail_session_up(id, peer);
        self.update_direct_path(id);
        self.ask_for_invitation(id);
        self.peers_changed();
        let same_path = before.or(replaced) == Some(self.network.path_kind(remote));
        if is_news || !same_path {
            self.reports
                .event(Event::Peer(self.peer_info(peer.person())));
        }
    }

    /// A session is over, and `state` is what was kept for it. `duplicate`: the peer closed it in
    /// favour of another connection.
    pub(super) fn session_gone(
        &mut self,
        id: SessionId,
        state: &SessionState,
        goodbye: bool,
        duplicate: bool,
    ) {
        let peer = state.peer();
        self.records.end(id, self.clock.now().mono);
        if self.profile_pictures.end(id) {
            self.request_pictures_of_all();
        }
        let is_last = self.sessions.with(peer).is_none();
        self.activities.session_gone(id, peer.person(), is_last);
        self.tell_rendezvous(rendezvous::Input::Down(id));
        self.invitation_session_down(id);
        self.files.send(ToTransfers::SessionDown(id));
        self.apps.session_down(id);
        self.tell_replica(replica::Input::SessionDown {
            session: id,
            goodbye,
        });
        self.mail_session_down(id, peer);
        if self.sessions.with(peer).is_some() {
            // The peer stays online by its other session.
            return;
        }
        if !duplicate {
            self.mail_members_gone(peer, state.membership.shared());
        }
        self.expect_mail(peer);
        if duplicate {
            let path = self.network.path_kind(state.remote_addr());
            self.sessions
                .expect_other(peer, self.clock.now().mono, path);
        } else {
            self.reports
                .event(Event::Peer(self.peer_info(peer.person())));
        }
    }

    /// Reports peers offline whose other connection has not arrived in time.
    pub(super) fn report_offline(&mut self) {
        for peer in self.sessions.take_offline(self.clock.now().mono) {
            self.lost.add(peer.person());
            self.reports
                .event(Event::Peer(self.peer_info(peer.person())));
        }
    }

    pub(super) fn session_event(&mut self, event: SessionEvent) {
        let (id, now) = (event.session, self.clock.now());
        // Events that were queued when the engine ended the session mean nothing any more.
        let Some(state) = self.sessions.get(id) else {
            return;
        };
        let peer = state.peer();
        match event.kind {
            SessionEventKind::Frame(Frame::Pong(token)) => self.sessions.pong(id, token, now),
            SessionEventKind::Frame(frame) => {
                self.sessions.heard(id, now);
                if frame.keeps_awake() {
                    self.sessions.active(id, now);
                }
                self.frame(id, frame);
            }
            SessionEventKind::Batch(batch) => {
                self.sessions.heard(id, now);
                self.sessions.active(id, now);
                self.paths.active(peer);
                self.tell_replica(replica::Input::Batch(id, batch));
            }
            SessionEventKind::Content(stream) => {
                self.sessions.active(id, now);
                self.files.send(ToTransfers::ContentStream(id, stream))
            }
            SessionEventKind::MailStream(opened) => {
                self.sessions.active(id, now);
                self.mail_stream_opened(id, opened);
            }
            SessionEventKind::AppStream(opened) => {
                self.sessions.active(id, now);
                self.apps.stream_opened(id, opened);
            }
            SessionEventKind::Mail(stream, frame) => {
                self.sessions.active(id, now);
                self.mail_frame(HolderAt::Session(id), stream, frame);
            }
            SessionEventKind::Written {
                stream: StreamKind::Batch,
                bytes,
            } => self.tell_replica(replica::Input::BatchesWritten(id, bytes)),
            SessionEventKind::Written {
                stream: StreamKind::Control,
                bytes,
            } => {
                self.sessions.written(id, now);
                self.records.written(id, bytes);
                self.profile_pictures.written(id, bytes);
                self.tell_replica(replica::Input::FramesWritten(id, bytes));
            }
            SessionEventKind::Pinged => self.sessions.heard(id, now),
            SessionEventKind::Ended(ended) => self.ended(id, &ended),
        }
    }

    fn frame(&mut self, id: SessionId, frame: Frame) {
        match frame {
            Frame::Profile(profile) => self.profile(id, profile),
            Frame::Candidates(addrs) => self.candidates(id, addrs),
            Frame::Records { answer, records } => self.records(id, answer, records),
            Frame::WantRecords(wanted) => self.want_records(id, wanted),
            Frame::ContactRecord(record) => self.contact_record(id, record),
            Frame::Mailbox { record, tokens } => self.mailbox_frame(id, record, tokens),
            Frame::HoldsMail(holds) => self.holds_mail_frame(id, holds),
            Frame::Offer(offer, word) => self.offer_word(id, offer, word),
            Frame::Invite(step) => self.invite_frame(id, step),
            Frame::Activity(activity) => self.activity(id, activity),
            Frame::WantPicture(picture) => self.want_picture(id, picture),
            Frame::Picture(picture, bytes) => self.picture(id, picture, bytes),
            Frame::DialBack(token) => self.dial_back(id, token),
            Frame::DialedBack(token) => self.dial_backs.peer_reports(&token),
            frame @ (Frame::Digest(..)
            | Frame::Heads { .. }
            | Frame::Have(..)
            | Frame::Want { .. }
            | Frame::Prune(..)
            | Frame::Conflict(_)
            | Frame::Waiting(_)) => self.tell_replica(replica::Input::Frame(id, frame)),
            // Over a connection contents have streams of their own, and rooms need no other seal.
            Frame::Content { .. } | Frame::Room(_) => {}
            Frame::Hello(_)
            | Frame::Ping(_)
            | Frame::Pong(_)
            | Frame::Batch(_)
            | Frame::Unknown(_) => invariants::broken("a session passed on a frame of its own"),
        }
    }

    fn ended(&mut self, id: SessionId, ended: &Ended) {
        let now = self.clock.now();
        // The other end may notice first that a session did not outlast a sleep.
        if ended.is_silence() && self.sessions.has_slept(id) {
            self.sessions.overslept(id, now);
        }
        let state = self
            .sessions
            .remove(id, now)
            .expect("the callers act on live sessions only");
        let peer = state.peer();
        match ended {
            Ended::Protocol(what) => warn!(?peer, "session ended: it broke the protocol: {what}"),
            Ended::Bye
            | Ended::Closed { .. }
            | Ended::TimedOut
            | Ended::Restarted
            | Ended::Lost(_)
            | Ended::Local => info!(?peer, "session ended: {ended}"),
        }
        let code = match ended {
            Ended::Closed { code, .. } => Some(*code),
            Ended::Bye
            | Ended::TimedOut
            | Ended::Restarted
            | Ended::Protocol(_)
            | Ended::Lost(_)
            | Ended::Local => None,
        };
        let closed_with = |with: u32| code == Some(u64::from(with));
        let goodbye = *ended == Ended::Bye;
        let replaced = closed_with(close::REPLACED);
        if replaced {
            let name = self.peers.name(peer.person());
            self.reports.copied(CopyEvidence::StartedLater { name });
        }
        let denied = code.and_then(DenyReason::of_code);
        self.tell_paths(paths::Input::Down {
            session: id,
            goodbye,
            unwelcome: replaced || denied.is_some(),
        });
        let broke = matches!(ended, Ended::TimedOut | Ended::Restarted | Ended::Lost(_));
        if broke || closed_with(close::SILENT) {
            self.lost.add(peer.person());
        }
        self.session_gone(id, &state, goodbye, closed_with(close::DUPLICATE));
        if broke && self.sessions.with(peer).is_none() {
            // The contact may have moved to another of its relays.
            self.reach_at_relays_of(peer.person());
        }
        if let Some(reason) = denied {
            self.refused_by(peer.person(), reason);
        }
    }

    pub(super) fn presence_output(&mut self, output: PresenceOutput) {
        match output {
            PresenceOutput::Ping(id, token) => self.sessions.send(id, &Frame::Ping(token)),
            // `Sessions` has noted what it needs.
            PresenceOutput::Expect(_) => {}
            PresenceOutput::Suspect(id) => self.set_suspect(id, true),
            PresenceOutput::Recovered(id) => self.set_suspect(id, false),
            PresenceOutput::Rtt(id, rtt) => {
                if let Some(state) = self.sessions.get_mut(id) {
                    state.responses.measured(rtt);
                }
            }
            PresenceOutput::Confirmed(id) => {
                let state = self.sessions.get(id);
                let network = state.and_then(|state| self.network.network_of(state.remote_addr()));
                self.tell_replica(replica::Input::Confirmed(id, network));
            }
            PresenceOutput::Overslept(id) => self.sessions.overslept(id, self.clock.now()),
            PresenceOutput::Lost(id) => {
                // The session may have ended in the burst of events that led to this output.
                if let Some(state) = self.sessions.get(id) {
                    state.close(close::SILENT, "no answer to pings");
                    self.ended(id, &Ended::TimedOut);
                }
            }
        }
    }

    fn set_suspect(&mut self, id: SessionId, is_suspect: bool) {
        // The session may have ended in the burst of events that led to this output.
        let Some(state) = self.sessions.get_mut(id) else {
            return;
        };
        state.responses.set_suspect(is_suspect);
        let (peer, remote) = (state.peer(), state.remote_addr());
        if is_suspect {
            self.relays.beat();
            self.tell_paths(paths::Input::Suspect(id, remote));
        }
        self.reports
            .event(Event::Peer(self.peer_info(peer.person())));
    }
}
