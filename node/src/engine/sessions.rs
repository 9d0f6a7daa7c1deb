//! Sessions, as the engine sees them: kept or closed, heard from, ended.

use crate::SendError;
use crate::net::session::SessionEvent;
use hobnob_core::policy::DenyReason;
use hobnob_core::rendezvous;
use std::time::Duration;

use hobnob_protocol::{Frame, close};
use tracing::{info, warn};

use super::Engine;
use super::dialing::GreetedConnection;
use super::messages::Refused;
use crate::Event;
use crate::net::goodbye::hang_up;
use crate::net::session::{Ended, Session, SessionEventKind, StreamKind};
use hobnob_core::SessionId;
use hobnob_core::diagnosis::{CLOCK_DIFFERENCE_MS, span};
use hobnob_core::paths;
use hobnob_core::paths::CloseReason;
use hobnob_core::presence;
use hobnob_core::presence::Output as Seen;
use hobnob_core::replica;
use hobnob_protocol::ConversationId;
use hobnob_protocol::PeerId;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use tokio::sync::oneshot;

/// When a peer closes a connection as a duplicate, the other one should be there within this time.
const OTHER_CONNECTION: Duration = Duration::from_secs(2);

/// A session, as the engine sees it.
#[derive(Debug)]
pub(super) struct SessionState {
    pub(super) peer: PeerId,
    pub(super) session: Session,
    pub(super) exporter: [u8; 32],
    pub(super) proofs: Vec<[u8; 32]>,
    /// The rooms that both ends are in.
    pub(super) shared: BTreeSet<ConversationId>,
    pub(super) profiles: u32,
    pub(super) profiles_since: Duration,
    pub(super) refused: Refused,
    pub(super) suspect: bool,
    pub(super) rtt: Option<Duration>,
    /// Since when it is there.
    pub(super) since: Duration,
    /// Bits of its Hello.
    pub(super) features: u64,
    pub(super) clock_ahead_ms: i64,
    /// Where the peer of a relayed session says that it might be reached.
    pub(super) candidates: Vec<SocketAddr>,
    /// When it was called last, as it had asked.
    pub(super) called_at: Option<Duration>,
    /// Those who wait for its next pong.
    pub(super) asking: Vec<oneshot::Sender<()>>,
}

impl Engine {
    pub(super) fn keep(&mut self, id: SessionId) {
        let Some(GreetedConnection { greeted, reply }) = self.candidates.remove(&id) else {
            return;
        };
        let (peer, exporter, hello) = (greeted.peer, greeted.exporter, greeted.hello.clone());
        let session = Session::start(*greeted, id, self.session_events.clone(), &self.tasks);
        match self.relay_of(session.remote_addr()) {
            Some(relay) => info!(?peer, %relay, "session up, through a relay"),
            None => info!(?peer, addr = %session.remote_addr(), "session up"),
        }
        self.turned_away_told.remove(&peer);
        self.noted.came(peer);
        let owed = self.offline_owed.remove(&peer).map(|(_, path)| path);
        let before = self
            .link_with(peer)
            .filter(|link| !link.suspect)
            .map(|link| self.path_kind(link.session.remote_addr()));
        let shared = self
            .link_with(peer)
            .map(|link| link.shared.clone())
            .unwrap_or_default();
        let nothing_new = before.or(owed) == Some(self.path_kind(session.remote_addr()));
        let now = self.clock.now();
        let (proofs, profiles_since) = (Vec::new(), now.mono);
        let refused = Refused::default();
        let link = SessionState {
            peer,
            session,
            exporter,
            proofs,
            shared,
            profiles: 0,
            profiles_since,
            refused,
            suspect: false,
            rtt: None,
            since: now.mono,
            features: hello.features,
            clock_ahead_ms: hello
                .clock_ms
                .cast_signed()
                .saturating_sub(now.wall_ms.cast_signed()),
            candidates: Vec::new(),
            called_at: None,
            asking: Vec::new(),
        };
        self.links.insert(id, link);
        self.presence.handle(
            now,
            presence::Input::Up {
                session: id,
                first: self.me < peer,
            },
        );
        self.replica
            .handle(now, replica::Input::SessionUp(id, peer));
        let news = self.learn_profile(id, hello.profile);
        self.compare_clocks(peer, hello.clock_ms);
        if let Some(reply) = reply {
            let _ = reply.send(Ok(peer));
        }
        // What changed since our Hello was made, if anything did.
        self.send_profile(id);
        self.rendezvous_up(id);
        self.content_up(id, hello.features);
        self.somebody_changed();
        if news || !nothing_new {
            self.say(Event::Peer(self.peer_info(peer)));
        }
    }

    fn compare_clocks(&mut self, peer: PeerId, theirs_ms: u64) {
        let ours_ms = self.clock.now().wall_ms;
        let differ = theirs_ms.abs_diff(ours_ms);
        if differ < CLOCK_DIFFERENCE_MS || !self.clocks_told.insert(peer) {
            return;
        }
        let name = self.peers.name(peer);
        let way = if theirs_ms > ours_ms {
            "ahead of"
        } else {
            "behind"
        };
        let text = format!(
            "The clock of {name} is {} {way} this machine's: one of the two is wrong. Messages keep their order; the times shown \
             with them can't be trusted.",
            span(differ)
        );
        self.notice("clock", text, Some(peer));
    }

    pub(super) fn close_link(&mut self, id: SessionId, reason: CloseReason) {
        let (code, words) = match reason {
            CloseReason::Duplicate => (close::DUPLICATE, "there is another connection between us"),
            CloseReason::Replaced => (
                close::REPLACED,
                "a newer instance of this identity is connected",
            ),
            CloseReason::Full => (close::FULL, "no room for another session"),
        };
        if let Some(GreetedConnection { greeted, reply }) = self.candidates.remove(&id) {
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
        } else if let Some(link) = self.links.remove(&id) {
            link.session.close(code, words);
            self.link_is_gone(id, &link, false, reason == CloseReason::Duplicate);
        }
    }

    /// A session is over. Where there is, or is about to be, another one with the peer, nobody need
    /// hear of it.
    pub(super) fn link_is_gone(
        &mut self,
        id: SessionId,
        link: &SessionState,
        goodbye: bool,
        duplicate: bool,
    ) {
        let peer = link.peer;
        let now = self.clock.now();
        self.presence.handle(now, presence::Input::Down(id));
        self.rendezvous.handle(now, rendezvous::Input::Down(id));
        self.content_down(id);
        self.replica.handle(
            now,
            replica::Input::SessionDown {
                session: id,
                goodbye,
            },
        );
        if self.link_with(peer).is_some() {
            return;
        }
        if duplicate {
            let path = self.path_kind(link.session.remote_addr());
            self.offline_owed
                .insert(peer, (now.mono + OTHER_CONNECTION, path));
        } else {
            self.say(Event::Peer(self.peer_info(peer)));
        }
    }

    /// The other connection that a peer spoke of has not come.
    pub(super) fn say_owed_offline(&mut self) {
        let now = self.clock.now().mono;
        let due = self.offline_owed.iter().filter(|(_, (at, _))| *at <= now);
        let due: Vec<_> = due.map(|(&peer, _)| peer).collect();
        self.offline_owed.retain(|_, (at, _)| *at > now);
        for peer in due {
            self.noted.lose(peer);
            self.say(Event::Peer(self.peer_info(peer)));
        }
    }

    pub(super) fn session_event(&mut self, event: SessionEvent) {
        let id = event.session;
        if !self.links.contains_key(&id) {
            return;
        }
        let now = self.clock.now();
        match event.kind {
            SessionEventKind::Frame(Frame::Pong(token)) => {
                self.presence.handle(now, presence::Input::Pong(id, token))
            }
            SessionEventKind::Frame(Frame::Profile(profile)) => {
                self.presence.handle(now, presence::Input::Heard(id));
                self.profile(id, profile);
            }
            SessionEventKind::Frame(Frame::Candidates(addrs)) => {
                self.presence.handle(now, presence::Input::Heard(id));
                self.candidates(id, addrs);
            }
            SessionEventKind::Frame(Frame::Offer(offer, word)) => {
                self.presence.handle(now, presence::Input::Heard(id));
                self.offer_word(id, offer, word);
            }
            SessionEventKind::Content(stream) => self.content_stream(id, stream),
            SessionEventKind::Frame(Frame::DialBack(token)) => {
                self.presence.handle(now, presence::Input::Heard(id));
                self.call_me(id, token);
            }
            SessionEventKind::Frame(Frame::Called(token)) => {
                self.presence.handle(now, presence::Input::Heard(id));
                self.call_made(&token);
            }
            SessionEventKind::Frame(frame) => {
                self.presence.handle(now, presence::Input::Heard(id));
                self.replica.handle(now, replica::Input::Frame(id, frame));
            }
            SessionEventKind::Batch(batch) => {
                self.presence.handle(now, presence::Input::Heard(id));
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
            SessionEventKind::Pinged => self.presence.handle(now, presence::Input::Heard(id)),
            SessionEventKind::Ended(ended) => self.ended(id, &ended),
        }
    }

    fn ended(&mut self, id: SessionId, ended: &Ended) {
        let Some(link) = self.links.remove(&id) else {
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
            self.copied(&format!(
                "that was started later and is connected to {name}"
            ));
        }
        let bar = if let Ended::Closed { code, .. } = ended {
            DenyReason::of_code(*code)
        } else {
            None
        };
        let unwelcome = replaced || bar.is_some();
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
            self.noted.lose(peer);
        }
        self.link_is_gone(id, &link, goodbye, duplicate);
        if let Some(bar) = bar {
            self.turned_away(peer, bar);
        }
    }

    pub(super) fn presence_output(&mut self, output: Seen) {
        match output {
            Seen::Ping(id, token) => {
                if let Some(link) = self.links.get(&id) {
                    link.session.send_control(Frame::Ping(token).encode());
                }
            }
            Seen::Suspect(id) => self.suspect(id, true),
            Seen::Recovered(id) => self.suspect(id, false),
            Seen::Rtt(id, rtt) => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.rtt = Some(rtt);
                    for asking in link.asking.drain(..) {
                        let _ = asking.send(());
                    }
                }
            }
            Seen::Confirmed(id) => self.tell_replica(replica::Input::Confirmed(id)),
            Seen::Lost(id) => {
                if let Some(link) = self.links.get(&id) {
                    link.session.close(close::SILENT, "no answer to pings");
                }
                self.ended(id, &Ended::TimedOut);
            }
        }
    }

    fn suspect(&mut self, id: SessionId, suspect: bool) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.suspect = suspect;
        let peer = link.peer;
        if suspect {
            self.paths
                .handle(self.clock.now(), paths::Input::Suspect(id));
        }
        self.say(Event::Peer(self.peer_info(peer)));
    }
}
