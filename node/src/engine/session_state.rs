//! The state that the engine keeps for one live session.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hobnob_core::Now;
use hobnob_core::synthetic::is_synthetic;
use hobnob_protocol::mailbox::DepositToken;
use hobnob_protocol::{Checked, ContactRecord, DeviceId, Frame, Hello, PersonId, SignedRecord};
use quinn::Connection;
use tokio::sync::{Semaphore, oneshot};

use super::limits::Limits;
use super::membership::Membership;
use super::reach::Reach;
use crate::net::content::ContentOpener;
use crate::net::session::{Session, Traffic};

/// Bytes of UDP payload that an idle session carries at most between two calls of
/// [`SessionState::is_busy`]: a round of pings, and a digest of each end.
const IDLE_BYTES: u64 = 1024;

/// How often a peer is checked because somebody answers for it.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// One live session.
#[derive(Debug)]
pub(super) struct SessionState {
    peer: DeviceId,
    session: Session,
    /// When the session began.
    since: Duration,
    /// The feature bits of the peer's Hello.
    features: u64,
    clock_ahead_ms: i64,
    /// What the connection had carried when [`SessionState::is_busy`] looked last.
    carried: Traffic,
    /// The addresses that the peer of a relayed session named for a direct path.
    candidates: Vec<SocketAddr>,
    /// The contact record of a peer that is no contact. It counts when the user accepts the peer.
    pub(super) contact_record: Option<Checked<ContactRecord>>,
    /// As `contact_record`, for the mailbox. Its signature is not checked yet.
    pub(super) mailbox: Option<(SignedRecord, Vec<(DeviceId, DepositToken)>)>,
    /// Whether the peer holds this node's mail, as it says.
    pub(super) holds_mail: bool,
    /// Whether the peer was told that this node holds its mail.
    pub(super) told_holding: bool,
    /// The place for the stream about mailboxes that the peer may open.
    pub(super) mail_place: Arc<Semaphore>,
    pub(super) membership: Membership,
    pub(super) direct: DirectPath,
    pub(super) reach: Reach,
    /// When a check was made because somebody answered for the peer.
    checked_at: Option<Duration>,
    pub(super) limits: Limits,
    pub(super) responses: Responses,
}

impl SessionState {
    /// A session that begins now.
    pub(super) fn new(
        peer: DeviceId,
        session: Session,
        membership: Membership,
        hello: &Hello,
        now: Now,
    ) -> Self {
        let (theirs_ms, ours_ms) = (hello.clock_ms.cast_signed(), now.wall_ms.cast_signed());
        Self {
            peer,
            session,
            since: now.mono,
            features: hello.features,
            clock_ahead_ms: theirs_ms.saturating_sub(ours_ms),
            carried: Traffic::default(),
            candidates: Vec::new(),
            contact_record: None,
            mailbox: None,
            holds_mail: false,
            told_holding: false,
            mail_place: Arc::new(Semaphore::new(1)),
            membership,
            direct: DirectPath::default(),
            reach: Reach::default(),
            checked_at: None,
            limits: Limits::new(now.mono),
            responses: Responses::default(),
        }
    }

    /// The person at the other end.
    pub(super) fn person(&self) -> PersonId {
        self.peer.person()
    }

    /// The device at the other end.
    pub(super) fn peer(&self) -> DeviceId {
        self.peer
    }

    pub(super) fn remote_addr(&self) -> SocketAddr {
        self.session.remote_addr()
    }

    pub(super) fn is_relayed(&self) -> bool {
        is_synthetic(self.remote_addr().ip())
    }

    pub(super) fn features(&self) -> u64 {
        self.features
    }

    pub(super) fn has_feature(&self, feature: u64) -> bool {
        self.features & feature != 0
    }

    pub(super) fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.since)
    }

    /// How far the peer's clock was ahead of this machine's when the session began.
    pub(super) fn clock_ahead_ms(&self) -> i64 {
        self.clock_ahead_ms
    }

    /// The round trip of the last pong, or QUIC's estimate until a pong has arrived.
    pub(super) fn rtt_ms(&self) -> f64 {
        let rtt = self.responses.rtt.unwrap_or_else(|| self.session.rtt());
        rtt.as_secs_f64() * 1000.0
    }

    /// How often the peer's QUIC has acknowledged something.
    pub(super) fn acks(&self) -> u64 {
        self.session.acks()
    }

    /// Whether the connection carried more than pings and digests since the last call: contents, or
    /// what programs send.
    pub(super) fn is_busy(&mut self) -> bool {
        let traffic = self.session.traffic();
        let before = std::mem::replace(&mut self.carried, traffic);
        let has_begun = self.session.take_begun();
        has_begun
            || traffic.bytes - before.bytes > IDLE_BYTES
            || traffic.datagrams > before.datagrams
    }

    /// Whether to check the peer because somebody answers for it. Anybody on the link can cause that,
    /// so the next time is [`CHECK_EVERY`] later.
    pub(super) fn allow_check(&mut self, now: Duration) -> bool {
        let is_recent = |at: Duration| now.saturating_sub(at) < CHECK_EVERY;
        if self.checked_at.is_some_and(is_recent) {
            return false;
        }
        self.checked_at = Some(now);
        true
    }

    pub(super) fn candidates(&self) -> &[SocketAddr] {
        &self.candidates
    }

    pub(super) fn set_candidates(&mut self, candidates: Vec<SocketAddr>) {
        self.candidates = candidates;
    }

    pub(super) fn send(&self, frame: &Frame) {
        self.session.send_control(frame.encode());
    }

    pub(super) fn handle(&self) -> &Session {
        &self.session
    }

    pub(super) fn content(&self) -> ContentOpener {
        self.session.content()
    }

    pub(super) fn connection(&self) -> Connection {
        self.session.connection()
    }

    pub(super) fn close(&self, code: u32, reason: &str) {
        self.session.close(code, reason);
    }
}

/// Whether the two ends of a relayed session look for a direct path. Both must agree, because each
/// then learns the other's addresses.
#[derive(Debug, Default)]
pub(super) struct DirectPath {
    /// Whether this node agrees, as the peer was informed.
    ours: bool,
    /// Whether the peer agrees.
    theirs: bool,
    /// Whether they look for one.
    looks: bool,
}

/// The consequence when an end agrees, or no longer does.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DirectChange {
    Begin,
    End,
    None,
}

impl DirectPath {
    /// Whether this node agrees, as the peer was informed.
    pub(super) fn ours(&self) -> bool {
        self.ours
    }

    /// The peer is informed whether this node agrees.
    pub(super) fn set_ours(&mut self, agrees: bool) {
        self.ours = agrees;
    }

    pub(super) fn set_theirs(&mut self, agrees: bool) {
        self.theirs = agrees;
    }

    /// Whether addresses of the peer are acted on.
    pub(super) fn looks(&self) -> bool {
        self.looks
    }

    /// The change that is due now.
    pub(super) fn change(&mut self) -> DirectChange {
        let looks = self.ours && self.theirs;
        match (std::mem::replace(&mut self.looks, looks), looks) {
            (false, true) => DirectChange::Begin,
            (true, false) => DirectChange::End,
            (true, true) | (false, false) => DirectChange::None,
        }
    }
}

/// Whether and how fast the peer answers pings.
#[derive(Debug, Default)]
pub(super) struct Responses {
    is_suspect: bool,
    rtt: Option<Duration>,
    /// Callers to notify of the next pong.
    waiting: Vec<oneshot::Sender<()>>,
}

impl Responses {
    /// Whether the peer missed a ping and has not answered since.
    pub(super) fn is_suspect(&self) -> bool {
        self.is_suspect
    }

    pub(super) fn set_suspect(&mut self, is_suspect: bool) {
        self.is_suspect = is_suspect;
    }

    /// Notifies `reply` of the next pong.
    pub(super) fn wait(&mut self, reply: oneshot::Sender<()>) {
        // Callers time out. Without this, a peer that never answers would collect their senders.
        self.waiting.retain(|waiting| !waiting.is_closed());
        self.waiting.push(reply);
    }

    /// A pong arrived.
    pub(super) fn measured(&mut self, rtt: Duration) {
        self.rtt = Some(rtt);
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_must_agree_on_a_direct_path() {
        let mut direct = DirectPath::default();
        direct.set_ours(true);
        assert_eq!(direct.change(), DirectChange::None);
        direct.set_theirs(true);
        assert_eq!(direct.change(), DirectChange::Begin);
        assert_eq!(direct.change(), DirectChange::None);
        assert!(direct.looks());
        direct.set_ours(false);
        assert_eq!(direct.change(), DirectChange::End);
        assert!(!direct.looks());
    }

    #[test]
    fn a_pong_answers_everybody_who_waits_for_it() {
        let mut responses = Responses::default();
        let [(first, mut first_answer), (second, mut second_answer)] =
            [oneshot::channel(), oneshot::channel()];
        responses.wait(first);
        responses.wait(second);
        assert!(first_answer.try_recv().is_err());
        responses.measured(Duration::from_millis(3));
        assert_eq!(first_answer.try_recv(), Ok(()));
        assert_eq!(second_answer.try_recv(), Ok(()));
        assert_eq!(responses.rtt, Some(Duration::from_millis(3)));
    }

    #[test]
    fn callers_that_gave_up_are_not_kept() {
        let mut responses = Responses::default();
        for _ in 0..100 {
            responses.wait(oneshot::channel().0);
        }
        assert_eq!(responses.waiting.len(), 1);
    }
}
