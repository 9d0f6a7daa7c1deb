//! Connections: dialed, accepted, greeted, kept or closed; and what their peers say of themselves.

use std::net::SocketAddr;
use std::sync::Weak;
use std::time::Duration;

use hobnob_protocol::{Frame, Hello, close, frame::HELLO_ADDRS_MAX};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::messages::Refused;
use super::*;
use crate::core::paths::CloseReason;
use crate::core::presence::Output as Seen;
use crate::net::endpoint::DialError;
use crate::net::session::{Ended, Greeted, Session, SessionEventKind, StreamKind, greet};

/// How long a dial may take, Hello included, when somebody waits for it.
const DIAL_LIMIT: Duration = Duration::from_secs(5);

/// Of several addresses, the next is tried as well when the one before has not answered for so long (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(150);

/// Connections that peers dialed and that have not said Hello yet, at once. For one more, the oldest is closed with `full`: who means
/// it says Hello at once, and who does not can keep nobody out.
const GREETINGS_MAX: usize = 64;

/// Profiles that a session may send in a burst, and how long it takes to earn another one; who sends more loses the session.
const PROFILES_BURST: u32 = 32;
const PROFILE_EVERY: Duration = Duration::from_secs(1);

/// When a peer closes a connection as a duplicate, the other one should be there within this time.
const OTHER_CONNECTION: Duration = Duration::from_secs(2);

/// A clock that differs by more than this is worth a word.
const CLOCK_DIFFERENCE_MS: u64 = 2 * 60 * 1000;

/// A session, as the engine sees it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: PeerId,
    pub(super) session: Session,
    exporter: [u8; 32],
    proofs: Vec<[u8; 32]>,
    profiles: u32,
    profiles_since: Duration,
    pub(super) refused: Refused,
    pub(super) suspect: bool,
    pub(super) rtt: Option<Duration>,
}

/// A connection that a peer dialed and that has not said Hello yet.
pub(super) struct Greeting {
    connection: quinn::Connection,
    /// Gone once the greeting is over, one way or the other.
    under_way: Weak<()>,
}

/// Whoever waits for a dial.
type DialReply = oneshot::Sender<Result<PeerId, SendError>>;

/// A connection that has said Hello, or a dial for a user that came to nothing.
#[derive(Debug)]
pub(crate) enum Met {
    /// Both Hellos were exchanged.
    Greeted { greeted: Box<Greeted>, reply: Option<DialReply> },
    /// The dial that a user waited for failed.
    Failed { addr: SocketAddr, error: SendError, reply: DialReply },
}

/// A greeted connection that waits for the verdict of `paths`.
pub(super) struct Candidate {
    greeted: Box<Greeted>,
    reply: Option<DialReply>,
}

impl Engine {
    // Dialing and accepting.

    pub(super) fn paths_output(&mut self, output: paths::Output) {
        match output {
            paths::Output::Dial(peer, addrs) => self.dial(peer, addrs),
            paths::Output::Keep(session) => self.keep(session),
            paths::Output::Close(session, reason) => self.close_link(session, reason),
            paths::Output::Copied(peer) => {
                let name = self.peers.name(peer);
                let text = format!("{name} runs in two places at once; this node talks to the one that was started last.");
                self.notice("identity-copied", text, Some(peer));
            }
        }
    }

    /// Dials all addresses of a peer, one a moment after the other; the first that leads to it wins.
    fn dial(&mut self, peer: PeerId, addrs: Vec<SocketAddr>) {
        let (endpoint, internal, hello) = (self.endpoint.clone(), self.internal.clone(), self.hello_maker());
        self.spawn(async move {
            let mut attempts = JoinSet::new();
            for (i, addr) in (0u32..).zip(addrs) {
                let (endpoint, hello) = (endpoint.clone(), hello.clone());
                attempts.spawn(async move {
                    tokio::time::sleep(STAGGER * i).await;
                    connect(&endpoint, addr, Some(peer), hello).await
                });
            }
            while let Some(attempt) = attempts.join_next().await {
                if let Ok(Ok(greeted)) = attempt {
                    let _ = internal.send(Internal::Met(Met::Greeted { greeted: Box::new(greeted), reply: None }));
                    return;
                }
            }
            let _ = internal.send(Internal::DialFailed(peer));
        });
    }

    /// Dials an address that a user named, unless there is a session with it.
    pub(super) fn dial_for_user(&mut self, addr: SocketAddr, expected: Option<PeerId>, reply: DialReply) {
        let there = self.links.values().find(|link| link.session.remote_addr() == addr).map(|link| link.peer);
        if let Some(found) = there {
            let answer = match expected {
                Some(expected) if expected != found => {
                    Err(SendError::IdentityMismatch { addr: addr.to_string(), expected, found })
                }
                Some(_) | None => Ok(found),
            };
            let _ = reply.send(answer);
            return;
        }
        let (endpoint, internal, hello) = (self.endpoint.clone(), self.internal.clone(), self.hello_maker());
        self.spawn(async move {
            let met = match connect(&endpoint, addr, expected, hello).await {
                Ok(greeted) => Met::Greeted { greeted: Box::new(greeted), reply: Some(reply) },
                Err(error) => Met::Failed { addr, error, reply },
            };
            let _ = internal.send(Internal::Met(met));
        });
    }

    pub(super) fn greet_accepted(&mut self, accepted: Accepted) {
        self.greetings.retain(|greeting| greeting.under_way.strong_count() > 0);
        if self.greetings.len() >= GREETINGS_MAX
            && let Some(oldest) = self.greetings.pop_front()
        {
            oldest.connection.close(close::FULL.into(), b"too many connections that have not said Hello");
        }
        let under_way = Arc::new(());
        let greeting = Greeting { connection: accepted.connection.clone(), under_way: Arc::downgrade(&under_way) };
        self.greetings.push_back(greeting);
        let (internal, hello) = (self.internal.clone(), self.hello_maker());
        self.spawn(async move {
            let _under_way = under_way;
            match greet(accepted.connection, false, hello, DIAL_LIMIT).await {
                Ok(greeted) => drop(internal.send(Internal::Met(Met::Greeted { greeted: Box::new(greeted), reply: None }))),
                Err(error) => info!(peer = ?accepted.peer, "a connection came to nothing: {error}"),
            }
        });
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.stopping.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = stopping.cancelled() => {}
            }
        });
    }

    /// Makes our Hello for a connection, as things stand now; what changes until it is through is told afterwards.
    fn hello_maker(&self) -> impl FnOnce(&[u8; 32]) -> Hello + Clone + Send + 'static {
        let (instance, clock, me) = (self.instance, self.clock, self.me);
        let (nick, addrs) = (self.peers.own().to_string(), self.listening_addrs());
        let keys: Vec<_> = self.replica.rooms().map(|(_, _, key, _)| *key).collect();
        move |exporter| Hello {
            version: hobnob_protocol::VERSION,
            features: 0,
            instance: instance.number,
            started_at_ms: instance.started_at_ms,
            clock_ms: clock.now().wall_ms,
            profile: Profile { nick, addrs, proofs: keys.iter().map(|key| key.proof(exporter, me)).collect() },
        }
    }

    pub(super) fn met(&mut self, met: Met) {
        let (greeted, reply) = match met {
            Met::Greeted { greeted, reply } => (greeted, reply),
            Met::Failed { addr, error, reply } => {
                let error = self.peer_last_at(addr, error);
                let _ = reply.send(error);
                return;
            }
        };
        let instance = Instance { started_at_ms: greeted.hello.started_at_ms, number: greeted.hello.instance };
        let (peer, dialed) = (greeted.peer, greeted.dialed);
        if peer == self.me {
            self.met_myself(&greeted, instance, reply);
            return;
        }
        let session = SessionId(self.next_session);
        self.next_session += 1;
        self.candidates.insert(session, Candidate { greeted, reply });
        self.paths.handle(self.clock.now(), paths::Input::Connected { session, peer, dialed, instance });
    }

    /// Nobody answers at an address where a known peer was last: that peer is meant, and is away.
    fn peer_last_at(&self, addr: SocketAddr, error: SendError) -> Result<PeerId, SendError> {
        let mut there = self.peers.all().filter(|peer| self.paths.addrs(*peer).first() == Some(&addr));
        match (there.next(), there.next(), &error) {
            (Some(peer), None, SendError::Unreachable { .. }) => Ok(peer),
            (_, _, _) => Err(error),
        }
    }

    fn met_myself(&mut self, greeted: &Greeted, instance: Instance, reply: Option<DialReply>) {
        if let Some(reply) = reply {
            let _ = reply.send(Err(SendError::Myself));
        }
        greeted.connection.close(close::SELF.into(), b"this is the same identity");
        if instance != self.instance && self.copies_told.insert(instance) {
            let at = greeted.connection.remote_address();
            self.copied(&format!("at {at}"));
        }
    }

    /// Somebody announces our own id: unless it is a trace of ourselves, see who answers there.
    pub(super) fn look_for_copy(&self, addrs: &[SocketAddr]) {
        let own = self.listening_addrs();
        let Some(&addr) = addrs.iter().find(|addr| !own.contains(addr)) else { return };
        let (endpoint, internal, hello, me) = (self.endpoint.clone(), self.internal.clone(), self.hello_maker(), self.me);
        self.spawn(async move {
            if let Ok(greeted) = connect(&endpoint, addr, Some(me), hello).await {
                let _ = internal.send(Internal::Met(Met::Greeted { greeted: Box::new(greeted), reply: None }));
            }
        });
    }

    fn copied(&mut self, wher: &str) {
        let text = format!(
            "This identity is in use by another running node {wher}. Messages may reach either of the two: stop one, and give it \
             a home folder of its own."
        );
        self.notice("identity-copied", text, None);
    }

    // Sessions.

    fn keep(&mut self, id: SessionId) {
        let Some(Candidate { greeted, reply }) = self.candidates.remove(&id) else { return };
        let (peer, exporter, hello) = (greeted.peer, greeted.exporter, greeted.hello.clone());
        let session = Session::start(*greeted, id, self.session_events.clone(), &self.tasks);
        info!(?peer, addr = %session.remote_addr(), "session up");
        let was_here = self.offline_owed.remove(&peer).is_some() || self.link_with(peer).is_some_and(|link| !link.suspect);
        let now = self.clock.now();
        let (proofs, profiles_since) = (Vec::new(), now.mono);
        let refused = Refused::default();
        let link = Link { peer, session, exporter, proofs, profiles: 0, profiles_since, refused, suspect: false, rtt: None };
        self.links.insert(id, link);
        self.presence.handle(now, presence::Input::Up { session: id, first: self.me < peer });
        self.replica.handle(now, replica::Input::SessionUp(id, peer));
        self.learn_profile(id, hello.profile);
        self.compare_clocks(peer, hello.clock_ms);
        if let Some(reply) = reply {
            let _ = reply.send(Ok(peer));
        }
        // What changed since our Hello was made, if anything did.
        self.send_profile(id);
        self.somebody_changed();
        if !was_here {
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
        let way = if theirs_ms > ours_ms { "ahead of" } else { "behind" };
        let text = format!(
            "The clock of {name} is {} {way} this machine's: one of the two is wrong. Messages keep their order; the times shown \
             with them can't be trusted.",
            span(differ)
        );
        self.notice("clock", text, Some(peer));
    }

    fn close_link(&mut self, id: SessionId, reason: CloseReason) {
        let (code, words) = match reason {
            CloseReason::Duplicate => (close::DUPLICATE, "there is another connection between us"),
            CloseReason::Replaced => (close::REPLACED, "a newer instance of this identity is connected"),
            CloseReason::Full => (close::FULL, "no room for another session"),
        };
        if let Some(Candidate { greeted, reply }) = self.candidates.remove(&id) {
            greeted.connection.close(code.into(), words.as_bytes());
            if let Some(reply) = reply {
                let refused =
                    || SendError::Refused { addr: greeted.connection.remote_address().to_string(), why: words.to_owned() };
                let _ = reply.send(if reason == CloseReason::Duplicate { Ok(greeted.peer) } else { Err(refused()) });
            }
        } else if let Some(link) = self.links.remove(&id) {
            link.session.close(code, words);
            self.link_is_gone(id, link.peer, false, reason == CloseReason::Duplicate);
        }
    }

    /// A session is over. Where there is, or is about to be, another one with the peer, nobody need hear of it.
    fn link_is_gone(&mut self, id: SessionId, peer: PeerId, goodbye: bool, duplicate: bool) {
        let now = self.clock.now();
        self.presence.handle(now, presence::Input::Down(id));
        self.replica.handle(now, replica::Input::SessionDown { session: id, goodbye });
        if self.link_with(peer).is_some() {
            return;
        }
        if duplicate {
            self.offline_owed.insert(peer, now.mono + OTHER_CONNECTION);
        } else {
            self.say(Event::Peer(self.peer_info(peer)));
        }
    }

    /// The other connection that a peer spoke of has not come.
    pub(super) fn say_owed_offline(&mut self) {
        let now = self.clock.now().mono;
        let due: Vec<_> = self.offline_owed.extract_if(.., |_, at| *at <= now).map(|(peer, _)| peer).collect();
        for peer in due {
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
            SessionEventKind::Frame(Frame::Pong(token)) => self.presence.handle(now, presence::Input::Pong(id, token)),
            SessionEventKind::Frame(Frame::Profile(profile)) => {
                self.presence.handle(now, presence::Input::Heard(id));
                self.profile(id, profile);
            }
            SessionEventKind::Frame(frame) => {
                self.presence.handle(now, presence::Input::Heard(id));
                self.replica.handle(now, replica::Input::Frame(id, frame));
            }
            SessionEventKind::Batch(batch) => {
                self.presence.handle(now, presence::Input::Heard(id));
                self.replica.handle(now, replica::Input::Batch(id, batch));
            }
            SessionEventKind::Written { stream: StreamKind::Batch, bytes } => {
                self.replica.handle(now, replica::Input::BatchesWritten(id, bytes));
            }
            SessionEventKind::Written { stream: StreamKind::Control, bytes } => {
                self.replica.handle(now, replica::Input::FramesWritten(id, bytes));
            }
            SessionEventKind::Pinged => self.presence.handle(now, presence::Input::Heard(id)),
            SessionEventKind::Ended(ended) => self.ended(id, &ended),
        }
    }

    fn ended(&mut self, id: SessionId, ended: &Ended) {
        let Some(link) = self.links.remove(&id) else { return };
        let peer = link.peer;
        match ended {
            Ended::Protocol(what) => warn!(?peer, "session ended: it broke the protocol: {what}"),
            Ended::Bye | Ended::Closed { .. } | Ended::TimedOut | Ended::Restarted | Ended::Lost(_) | Ended::Local => {
                info!(?peer, "session ended: {ended}")
            }
        }
        let goodbye = *ended == Ended::Bye;
        let replaced = matches!(ended, Ended::Closed { code, .. } if *code == u64::from(close::REPLACED));
        if replaced {
            let name = self.peers.name(peer);
            self.copied(&format!("that was started later and is connected to {name}"));
        }
        self.paths.handle(self.clock.now(), paths::Input::Down { session: id, goodbye, replaced });
        let duplicate = matches!(ended, Ended::Closed { code, .. } if *code == u64::from(close::DUPLICATE));
        self.link_is_gone(id, peer, goodbye, duplicate);
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
        let Some(link) = self.links.get_mut(&id) else { return };
        link.suspect = suspect;
        let peer = link.peer;
        self.say(Event::Peer(self.peer_info(peer)));
    }

    // Profiles.

    fn profile(&mut self, id: SessionId, profile: Profile) {
        if !self.may_send_profile(id) {
            if let Some(link) = self.links.get(&id) {
                warn!(peer = ?link.peer, "refused: a flood of profiles");
                link.session.close(close::PROTOCOL, "a flood of profiles");
            }
            return;
        }
        if self.learn_profile(id, profile)
            && let Some(link) = self.links.get(&id)
        {
            self.somebody_changed();
            self.say(Event::Peer(self.peer_info(link.peer)));
        }
    }

    fn may_send_profile(&mut self, id: SessionId) -> bool {
        let now = self.clock.now().mono;
        let Some(link) = self.links.get_mut(&id) else { return false };
        let earned = (now - link.profiles_since).as_secs() / PROFILE_EVERY.as_secs();
        if earned > 0 {
            link.profiles = link.profiles.saturating_sub(u32::try_from(earned).unwrap_or(u32::MAX));
            link.profiles_since = now;
        }
        link.profiles += 1;
        link.profiles <= PROFILES_BURST
    }

    /// A peer says who it is, where it listens, and which rooms it can prove to be in. Whether its name is news.
    fn learn_profile(&mut self, id: SessionId, profile: Profile) -> bool {
        let Some(link) = self.links.get_mut(&id) else { return false };
        let (peer, remote) = (link.peer, link.session.remote_addr());
        link.proofs = profile.proofs;
        let nick = Nickname::cleaned(&profile.nick);
        let mut addrs = vec![remote];
        let interfaces = &self.interfaces;
        addrs.extend(profile.addrs.into_iter().filter(|addr| *addr != remote && may_be_dialed(*addr, remote, interfaces)));
        addrs.truncate(HELLO_ADDRS_MAX);
        let known = KnownPeer {
            peer,
            nick: nick.as_ref().map(ToString::to_string),
            addrs: addrs.clone(),
            seen_at_ms: self.clock.now().wall_ms,
        };
        self.store.remember_peer(known);
        self.paths.handle(self.clock.now(), paths::Input::Found { peer, addrs, alive: false });
        let news = self.peers.learn(peer, nick);
        self.compare_rooms(id);
        news
    }

    /// The rooms of which both ends have shown that they are members.
    pub(super) fn compare_rooms(&mut self, id: SessionId) {
        let Some(link) = self.links.get(&id) else { return };
        let proved = |key: &hobnob_protocol::RoomKey| link.proofs.contains(&key.proof(&link.exporter, link.peer));
        let shared = self.replica.rooms().filter(|(_, _, key, _)| proved(key)).map(|(id, ..)| id).collect();
        self.tell_replica(replica::Input::SessionRooms(id, shared));
    }

    fn send_profile(&self, id: SessionId) {
        let Some(link) = self.links.get(&id) else { return };
        let hello = self.hello_maker()(&link.exporter);
        link.session.send_control(Frame::Profile(hello.profile).encode());
    }

    /// Tells all sessions what has changed about us.
    pub(super) fn tell_profile(&mut self) {
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            self.send_profile(id);
        }
    }

    /// The session with a peer: the latest, for the moment in which there are two.
    fn link_with(&self, peer: PeerId) -> Option<&Link> {
        self.links.values().rev().find(|link| link.peer == peer)
    }

    pub(super) fn peer_info(&self, peer: PeerId) -> PeerInfo {
        let link = self.link_with(peer);
        let addr = link.map(|link| link.session.remote_addr());
        PeerInfo {
            peer,
            nick: self.peers.nick(peer).cloned(),
            name: self.peers.name(peer),
            state: match link {
                Some(link) if link.suspect => PeerState::Suspect,
                Some(_) => PeerState::Online,
                None => PeerState::Offline,
            },
            path: addr.map(|addr| if self.interfaces.is_on_link(addr.ip()) { PathKind::Lan } else { PathKind::Direct }),
            addr: addr.or_else(|| self.paths.addrs(peer).first().copied()),
            rtt_ms: link.map(|link| link.rtt.unwrap_or_else(|| link.session.rtt()).as_secs_f64() * 1000.0),
        }
    }
}

async fn connect(
    endpoint: &Endpoint,
    addr: SocketAddr,
    expected: Option<PeerId>,
    hello: impl FnOnce(&[u8; 32]) -> Hello,
) -> Result<Greeted, SendError> {
    let failed = |error: DialError| SendError::dial(addr.to_string(), error);
    let connection = endpoint.dial(addr, expected, DIAL_LIMIT).await.map_err(failed)?;
    let refused = |error: crate::net::session::GreetError| SendError::Refused { addr: addr.to_string(), why: error.to_string() };
    greet(connection, true, hello, DIAL_LIMIT).await.map_err(refused)
}

/// Whether an address that a peer names may be dialed: nobody can make us knock at our own machine, at no machine or at many, or at
/// hosts of a private network that isn't ours, where whoever has the address is somebody else.
fn may_be_dialed(addr: SocketAddr, remote: SocketAddr, interfaces: &Interfaces) -> bool {
    let ip = addr.ip().to_canonical();
    let private = match ip {
        std::net::IpAddr::V4(v4) => v4.is_private(),
        std::net::IpAddr::V6(v6) => v6.is_unique_local(),
    };
    let private_elsewhere = private && ip != remote.ip().to_canonical() && !interfaces.is_on_link(ip);
    let link_local = match ip {
        std::net::IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        // Without its zone a link-local address leads nowhere; the address that the peer came from has it.
        std::net::IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let loopback_elsewhere = ip.is_loopback() && !remote.ip().to_canonical().is_loopback();
    addr.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !link_local && !loopback_elsewhere && !private_elsewhere
}

/// A span of time in words, to the unit that matters.
fn span(ms: u64) -> String {
    let minutes = ms / 60_000;
    match minutes {
        0..=119 => format!("{minutes} minutes"),
        120..=2879 => format!("{} hours", minutes / 60),
        2880..=1_051_199 => format!("{} days", minutes / 1440),
        _ => format!("{} years", minutes / 525_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::interfaces::OwnAddr;

    #[test]
    fn a_peer_can_name_only_addresses_whose_dialing_harms_nobody_else() {
        let own = |ip: &str, prefix| OwnAddr { interface: "eth0".into(), ip: ip.parse().expect("an address"), prefix };
        let ours = Interfaces::of([own("192.168.7.2", 24), own("fd00:7::2", 64)]);
        let may = |addr: &str, remote: &str| {
            may_be_dialed(addr.parse().expect("an address"), remote.parse().expect("an address"), &ours)
        };
        for good in ["192.168.7.9:1", "[fd00:7::9]:1", "203.0.113.9:1", "[2001:db8::9]:1", "10.1.2.3:77"] {
            assert!(may(good, "10.1.2.3:4"), "{good}");
        }
        let bad = [
            "192.168.8.9:1",
            "10.1.2.4:1",
            "172.16.0.1:1",
            "[fd00:8::9]:1",
            "[::ffff:10.1.2.4]:1",
            "127.0.0.1:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
            "0.0.0.0:1",
            "[::]:1",
            "224.0.0.251:1",
            "[ff02::fb]:1",
            "255.255.255.255:1",
            "169.254.1.1:1",
            "[fe80::1%2]:1",
            "203.0.113.9:0",
        ];
        for bad in bad {
            assert!(!may(bad, "10.1.2.3:4"), "{bad}");
        }
        assert!(may("127.0.0.1:1", "127.0.0.1:2"), "who is on this machine can name it");
    }
}
