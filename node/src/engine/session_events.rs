//! Begins and ends sessions, and hands on what happens in them.

use hobnob_core::paths::{self, CloseReason};
use hobnob_core::policy::DenyReason;
use hobnob_core::presence::{self, Output as Seen};
use hobnob_core::{SessionId, rendezvous, replica};
use hobnob_protocol::{Frame, close};
use tracing::{info, warn};

use super::handshakes::GreetedConnection;
use super::sessions::{ProfileLimit, Refusals, SessionState};
use super::state::Engine;
use crate::api::Event;
use crate::error::SendError;
use crate::net::goodbye::hang_up;
use crate::net::session::{Ended, Session, SessionEvent, SessionEventKind, StreamKind};
use crate::transfers::messages::ToTransfers;

impl Engine {
    pub(super) fn begin_session(&mut self, id: SessionId) {
        let Some(GreetedConnection { greeted, reply }) = self.handshakes.take_greeted(id) else {
            return;
        };
        let (peer, exporter, hello) = (greeted.peer, greeted.exporter, greeted.hello.clone());
        let session = Session::start(
            *greeted,
            id,
            self.sessions.events.clone(),
            &self.tasks.tracker,
        );
        match self.relay_of(session.remote_addr()) {
            Some(relay) => info!(?peer, %relay, "session up, through a relay"),
            None => info!(?peer, addr = %session.remote_addr(), "session up"),
        }
        self.policy.forget_refused_by(peer);
        self.lost.remove(peer);
        let owed = self.sessions.other_arrived(peer);
        let before = self
            .sessions
            .with(peer)
            .filter(|link| !link.suspect)
            .map(|link| self.network.path_kind(link.session.remote_addr()));
        let shared = self
            .sessions
            .with(peer)
            .map(|link| link.shared.clone())
            .unwrap_or_default();
        let nothing_new = before.or(owed) == Some(self.network.path_kind(session.remote_addr()));
        let now = self.clock.now();
        let link = SessionState {
            peer,
            session,
            exporter,
            proofs: Vec::new(),
            shared,
            profiles: ProfileLimit::new(now.mono),
            refusals: Refusals::default(),
            suspect: false,
            rtt: None,
            since: now.mono,
            features: hello.features,
            clock_ahead_ms: hello
                .clock_ms
                .cast_signed()
                .saturating_sub(now.wall_ms.cast_signed()),
            candidates: Vec::new(),
            dialed_back_at: None,
            pings: Vec::new(),
        };
        self.sessions.live.insert(id, link);
        self.sessions.presence.handle(
            now,
            presence::Input::Up {
                session: id,
                first: self.me < peer,
            },
        );
        self.replica
            .handle(now, replica::Input::SessionUp(id, peer));
        let news = self.learn_profile(id, hello.profile);
        let (name, ours_ms) = (self.peers.name(peer), self.clock.now().wall_ms);
        self.reports
            .compare_clocks(peer, &name, hello.clock_ms, ours_ms);
        if let Some(reply) = reply {
            let _ = reply.send(Ok(peer));
        }
        // What changed since our Hello was made, if anything did.
        self.send_profile(id);
        self.rendezvous_up(id);
        if let Some(link) = self.sessions.live.get(&id) {
            self.files
                .session_up(id, peer, hello.features, || link.session.content());
        }
        self.somebody_changed();
        if news || !nothing_new {
            self.reports.event(Event::Peer(self.peer_info(peer)));
        }
    }

    pub(super) fn close_session(&mut self, id: SessionId, reason: CloseReason) {
        let (code, words) = match reason {
            CloseReason::Duplicate => (close::DUPLICATE, "there is another connection between us"),
            CloseReason::Replaced => (
                close::REPLACED,
                "a newer instance of this identity is connected",
            ),
            CloseReason::Full => (close::FULL, "no room for another session"),
        };
        if let Some(GreetedConnection { greeted, reply }) = self.handshakes.take_greeted(id) {
            hang_up(&greeted.connection, code, words);
            if let Some(reply) = reply {
                let refused = || SendError::Refused {
                    addr: greeted.connection.remote_address().to_string(),
                    why: words.to_owned(),
                };
                let _ = reply.send(if reason == CloseReason::Duplicate {
                    Ok(greeted.peer)
                } else {
                    Err(refused())
                });
            }
        } else if let Some(link) = self.sessions.live.remove(&id) {
            link.session.close(code, words);
            self.session_gone(id, &link, false, reason == CloseReason::Duplicate);
        }
    }

    /// A session is over. Where there is, or is about to be, another one with the peer, nobody need
    /// hear of it.
    pub(super) fn session_gone(
        &mut self,
        id: SessionId,
        link: &SessionState,
        goodbye: bool,
        duplicate: bool,
    ) {
        let peer = link.peer;
        let now = self.clock.now();
        self.sessions
            .presence
            .handle(now, presence::Input::Down(id));
        self.rendezvous.handle(now, rendezvous::Input::Down(id));
        self.files.send(ToTransfers::Down(id));
        self.replica.handle(
            now,
            replica::Input::SessionDown {
                session: id,
                goodbye,
            },
        );
        if self.sessions.with(peer).is_some() {
            return;
        }
        if duplicate {
            let path = self.network.path_kind(link.session.remote_addr());
            self.sessions.expect_other(peer, now.mono, path);
        } else {
            self.reports.event(Event::Peer(self.peer_info(peer)));
        }
    }

    /// The other connection that a peer spoke of has not come.
    pub(super) fn report_offline(&mut self) {
        let now = self.clock.now().mono;
        for peer in self.sessions.take_offline(now) {
            self.lost.add(peer);
            self.reports.event(Event::Peer(self.peer_info(peer)));
        }
    }

    pub(super) fn session_event(&mut self, event: SessionEvent) {
        let id = event.session;
        if !self.sessions.live.contains_key(&id) {
            return;
        }
        let now = self.clock.now();
        match event.kind {
            SessionEventKind::Frame(Frame::Pong(token)) => self
                .sessions
                .presence
                .handle(now, presence::Input::Pong(id, token)),
            SessionEventKind::Frame(Frame::Profile(profile)) => {
                self.sessions
                    .presence
                    .handle(now, presence::Input::Heard(id));
                self.profile(id, profile);
            }
            SessionEventKind::Frame(Frame::Candidates(addrs)) => {
                self.sessions
                    .presence
                    .handle(now, presence::Input::Heard(id));
                self.candidates(id, addrs);
            }
            SessionEventKind::Frame(Frame::Offer(offer, word)) => {
                self.sessions
                    .presence
                    .handle(now, presence::Input::Heard(id));
                self.offer_word(id, offer, word);
            }
            SessionEventKind::Content(stream) => self.files.send(ToTransfers::Stream(id, stream)),
            SessionEventKind::Frame(Frame::DialBack(token)) => {
                self.sessions
                    .presence
                    .handle(now, presence::Input::Heard(id));
                self.dial_back(id, token);
            }
            SessionEventKind::Frame(Frame::DialedBack(token)) => {
                self.sessions
                    .presence
                    .handle(now, presence::Input::Heard(id));
                self.dial_backs.peer_reports(&token);
            }
            SessionEventKind::Frame(frame) => {
                self.sessions
                    .presence
                    .handle(now, presence::Input::Heard(id));
                self.replica.handle(now, replica::Input::Frame(id, frame));
            }
            SessionEventKind::Batch(batch) => {
                self.sessions
                    .presence
                    .handle(now, presence::Input::Heard(id));
                self.replica.handle(now, replica::Input::Batch(id, batch));
            }
            SessionEventKind::Written {
                stream: StreamKind::Batch,
                bytes,
            } => {
                self.replica
                    .handle(now, replica::Input::BatchesWritten(id, bytes));
            }
            SessionEventKind::Written {
                stream: StreamKind::Control,
                bytes,
            } => {
                self.replica
                    .handle(now, replica::Input::FramesWritten(id, bytes));
            }
            SessionEventKind::Pinged => self
                .sessions
                .presence
                .handle(now, presence::Input::Heard(id)),
            SessionEventKind::Ended(ended) => self.ended(id, &ended),
        }
    }

    fn ended(&mut self, id: SessionId, ended: &Ended) {
        let Some(link) = self.sessions.live.remove(&id) else {
            return;
        };
        let peer = link.peer;
        match ended {
            Ended::Protocol(what) => warn!(?peer, "session ended: it broke the protocol: {what}"),
            Ended::Bye
            | Ended::Closed { .. }
            | Ended::TimedOut
            | Ended::Restarted
            | Ended::Lost(_)
            | Ended::Local => {
                info!(?peer, "session ended: {ended}")
            }
        }
        let goodbye = *ended == Ended::Bye;
        let replaced =
            matches!(ended, Ended::Closed { code, .. } if *code == u64::from(close::REPLACED));
        if replaced {
            let name = self.peers.name(peer);
            self.reports.copied(&format!(
                "that was started later and is connected to {name}"
            ));
        }
        let reason = if let Ended::Closed { code, .. } = ended {
            DenyReason::of_code(*code)
        } else {
            None
        };
        let unwelcome = replaced || reason.is_some();
        self.paths.handle(
            self.clock.now(),
            paths::Input::Down {
                session: id,
                goodbye,
                unwelcome,
            },
        );
        let duplicate =
            matches!(ended, Ended::Closed { code, .. } if *code == u64::from(close::DUPLICATE));
        let given_up =
            matches!(ended, Ended::Closed { code, .. } if *code == u64::from(close::SILENT));
        if given_up || matches!(ended, Ended::TimedOut | Ended::Restarted | Ended::Lost(_)) {
            self.lost.add(peer);
        }
        self.session_gone(id, &link, goodbye, duplicate);
        if let Some(reason) = reason {
            self.refused_by(peer, reason);
        }
    }

    pub(super) fn presence_output(&mut self, output: Seen) {
        match output {
            Seen::Ping(id, token) => {
                if let Some(link) = self.sessions.live.get(&id) {
                    link.session.send_control(Frame::Ping(token).encode());
                }
            }
            Seen::Suspect(id) => self.suspect(id, true),
            Seen::Recovered(id) => self.suspect(id, false),
            Seen::Rtt(id, rtt) => {
                if let Some(link) = self.sessions.live.get_mut(&id) {
                    link.rtt = Some(rtt);
                    for waiting in link.pings.drain(..) {
                        let _ = waiting.send(());
                    }
                }
            }
            Seen::Confirmed(id) => self.tell_replica(replica::Input::Confirmed(id)),
            Seen::Lost(id) => {
                if let Some(link) = self.sessions.live.get(&id) {
                    link.session.close(close::SILENT, "no answer to pings");
                }
                self.ended(id, &Ended::TimedOut);
            }
        }
    }

    fn suspect(&mut self, id: SessionId, suspect: bool) {
        let Some(link) = self.sessions.live.get_mut(&id) else {
            return;
        };
        link.suspect = suspect;
        let peer = link.peer;
        if suspect {
            self.paths
                .handle(self.clock.now(), paths::Input::Suspect(id));
        }
        self.reports.event(Event::Peer(self.peer_info(peer)));
    }
}
