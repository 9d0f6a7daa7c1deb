//! The sleeping peers: their keys and addresses. Verifies heartbeats and answers them.
//!
//! There can be a million sleepers with 40,000 heartbeats a second. So a sleeper is one small entry
//! of a tree, its keys derive from one secret when they are needed, and the silence of sleepers is
//! found by visiting all of them every few seconds. No heartbeat costs an allocation of the relay;
//! the cipher's context is short-lived memory of AWS-LC.
//!
//! Nothing that is not verified changes an entry. The first heartbeat, and one from a new address, is
//! answered with a challenge of the same length. The relay sends wakes only to an address from which a
//! challenge of this sleep was answered, so nobody can turn its datagrams to somebody else. A sleeper
//! moves at most once in a second, and never to a stream, whose address says nothing about its network.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound;
use std::time::Duration;

use hobnob_protocol::DeviceId;
use hobnob_protocol::heartbeat::{
    ANSWERED, Datagram, Handle, Message, ReplayWindow, Reset, SLEEP_MAX, SleepSecret, Wanted,
};
use quinn::udp::{RecvMeta, Transmit};
use tokio::sync::mpsc;

use super::bucket::Rate;
use super::packet_sink::PacketSink;
use super::streams::is_stream;
use crate::sleeper::{CompactAddr, NewSleeper, NewsKind, SleepUpdate, SleeperNews};

/// A sleeper is gone when nothing came from it for this long, in seconds. It is noticed at most
/// [`SWEEP`] later, so within 75 seconds.
pub(super) const SILENT_AFTER: u32 = 70;

/// Time in which all sleepers are visited once. The more there are, the more often the plane looks.
const SWEEP: Duration = Duration::from_secs(4);

/// Sleepers that are visited at each look, so that no look delays packets for long.
const VISITED: usize = 1_024;

/// If the looks paused for this long, the whole relay did. Then nobody is silent until the sleepers
/// have had the time for another heartbeat.
const STALLED: Duration = Duration::from_secs(10);

/// How long nobody is silent after a pause of the relay.
const PARDON: Duration = Duration::from_secs(30);

/// Heartbeats with unknown handles that are answered in a second, for all senders together. After a
/// restart every sleeper sends one, and each answer leads to a handshake.
const RESETS_PER_SECOND: u64 = 2_000;

/// Such heartbeats that are answered at once after a pause.
const RESETS_BURST: u64 = 2_000;

/// Different addresses of the relay that are remembered. The system chooses for further ones.
const LOCAL_MAX: usize = 255;

/// Seconds after [`SLEEP_MAX`] that the relay still knows a sleeper.
const SLEEP_GRACE: u32 = 300;

const NANOS: u64 = 1_000_000_000;

/// The use of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// It was verified and new.
    Accepted,
    /// Its handle is unknown.
    Unknown,
    /// It is forged, replayed or too late.
    Refused,
}

/// A sleeping peer.
#[derive(Debug)]
struct Sleeper {
    peer: DeviceId,
    secret: SleepSecret,
    addr: CompactAddr,
    /// A place in [`Sleepers::local`], where its heartbeats arrive. `u8::MAX`: unknown.
    arrives_at: u8,
    /// Whether it has answered a challenge of this sleep. Then it is at this address, and the core
    /// knows that it sleeps.
    reached: bool,
    /// The lower bits of the second in which it moved last.
    moved_at: u16,
    /// The last counter sent to it.
    sent: u32,
    /// In seconds of the plane's time.
    since: u32,
    heard_at: u32,
    window: ReplayWindow,
}

/// A challenge that a sleeper has not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Challenge {
    to: CompactAddr,
    counter: u64,
}

/// All sleepers.
#[derive(Debug)]
pub(super) struct Sleepers {
    /// Nodes of a tree are half empty at worst, so the sleepers themselves are not in them.
    table: BTreeMap<Handle, Box<Sleeper>>,
    /// The last challenge of each sleeper that has not answered it.
    challenges: BTreeMap<Handle, Challenge>,
    /// The addresses of the relay at which heartbeats arrive.
    local: Vec<IpAddr>,
    /// The key of resets. Without it nothing is reset.
    reset_key: Option<[u8; 32]>,
    reset_rate: Rate,
    resets_paid_until: u64,
    news: Option<mpsc::Sender<SleeperNews>>,
    /// The last sleeper that was visited. The next look continues after it.
    cursor: Option<Handle>,
    looked_at: u64,
    pardon_until: u64,
}

impl Sleepers {
    pub(super) fn new() -> Self {
        Self {
            table: BTreeMap::new(),
            challenges: BTreeMap::new(),
            local: Vec::new(),
            reset_key: None,
            reset_rate: Rate::new(RESETS_PER_SECOND, RESETS_BURST),
            resets_paid_until: 0,
            news: None,
            cursor: None,
            looked_at: 0,
            pardon_until: 0,
        }
    }

    /// Serves sleepers from now on.
    pub(super) fn serve(&mut self, reset_key: [u8; 32], news: mpsc::Sender<SleeperNews>) {
        (self.reset_key, self.news) = (Some(reset_key), Some(news));
    }

    /// Carries out an order of the core.
    pub(super) fn update(&mut self, now: u64, update: SleepUpdate, out: &mut impl PacketSink) {
        match update {
            SleepUpdate::Add(new) => self.add(now, *new),
            SleepUpdate::Wake(handle, peer) => self.wake(handle, peer, out),
            SleepUpdate::Remove { handle, inform } => {
                self.challenges.remove(&handle);
                let removed = self.table.remove(&handle);
                // One that was not reached yet gets its reset as an answer to its next heartbeat.
                let removed = removed.filter(|sleeper| inform && sleeper.reached);
                if let (Some(sleeper), Some(key)) = (removed, &self.reset_key) {
                    let reset = Reset::encode(handle, &Reset::token(key, handle));
                    let at = self.local.get(usize::from(sleeper.arrives_at)).copied();
                    send(&reset, sleeper.addr, at, out);
                }
            }
        }
    }

    fn add(&mut self, now: u64, new: NewSleeper) {
        if self.table.is_empty() {
            // Nobody looked while there was nobody.
            self.looked_at = now;
        }
        let sleeper = Sleeper {
            peer: new.peer,
            secret: new.secret,
            addr: CompactAddr::of(new.addr),
            arrives_at: place(&mut self.local, new.at),
            reached: false,
            moved_at: lower_bits(seconds(now)).wrapping_sub(1),
            sent: 0,
            since: seconds(now),
            heard_at: seconds(now),
            window: ReplayWindow::default(),
        };
        self.table.insert(new.handle, Box::new(sleeper));
    }

    fn wake(&mut self, handle: Handle, peer: DeviceId, out: &mut impl PacketSink) {
        // It may have left meanwhile, or nobody knows yet whether it is there. The core repeats the
        // wake.
        let sleeper = self.table.get_mut(&handle);
        let Some(sleeper) = sleeper.filter(|sleeper| sleeper.reached) else {
            return;
        };
        let message = Message::Wake(peer, Wanted::Channel);
        if let Some((_, datagram)) = sleeper.seal(handle, &message) {
            let at = self.local.get(usize::from(sleeper.arrives_at)).copied();
            send(datagram.as_slice(), sleeper.addr, at, out);
        }
    }

    /// Handles a datagram of class `Heartbeat`.
    pub(super) fn received(
        &mut self,
        now: u64,
        datagram: &[u8],
        meta: &RecvMeta,
        out: &mut impl PacketSink,
    ) -> Use {
        if is_stream(meta.addr) {
            return Use::Refused;
        }
        let Some(handle) = Handle::of(datagram) else {
            return Use::Unknown;
        };
        let Some(sleeper) = self.table.get_mut(&handle) else {
            self.reset(now, handle, datagram.len(), meta, out);
            return Use::Unknown;
        };
        let Some((counter, message)) = sleeper.secret.open(datagram) else {
            return Use::Refused;
        };
        let from = CompactAddr::of(meta.addr);
        let (peer, receiver) = (sleeper.peer, self.news.as_ref());
        let news = |kind| {
            let news = SleeperNews { peer, handle, kind };
            receiver.is_some_and(|to| to.try_send(news).is_ok())
        };
        match message {
            Message::Reached => {
                let answered = Challenge { to: from, counter };
                // If the core is too busy for the news, the next heartbeat leads to another
                // challenge.
                if self.challenges.get(&handle) != Some(&answered)
                    || !sleeper.reached && !news(NewsKind::Began)
                    || from != sleeper.addr && !news(NewsKind::Moved(meta.addr))
                {
                    return Use::Refused;
                }
                self.challenges.remove(&handle);
                if from != sleeper.addr {
                    sleeper.moved_at = lower_bits(seconds(now));
                }
                (sleeper.reached, sleeper.addr) = (true, from);
                sleeper.arrives_at = place(&mut self.local, meta.dst_ip);
                sleeper.heard_at = seconds(now);
            }
            Message::Beat | Message::Leave | Message::Declined(_)
                if !sleeper.window.is_new(counter) =>
            {
                return Use::Refused;
            }
            Message::Beat => {
                sleeper.window.accept(counter);
                sleeper.heard_at = seconds(now);
                let is_there = sleeper.reached && from == sleeper.addr;
                let may_move = sleeper.moved_at != lower_bits(seconds(now));
                let answer = if !is_there && may_move {
                    sleeper
                        .seal(handle, &Message::Challenge)
                        .map(|(counter, challenge)| {
                            let sent = Challenge { to: from, counter };
                            self.challenges.insert(handle, sent);
                            challenge
                        })
                } else if is_there && counter.is_multiple_of(ANSWERED) {
                    sleeper.seal(handle, &Message::Answer).map(|(_, it)| it)
                } else {
                    None
                };
                if is_there {
                    // It is not elsewhere, or not any more.
                    self.challenges.remove(&handle);
                    if meta.dst_ip.is_some() {
                        sleeper.arrives_at = place(&mut self.local, meta.dst_ip);
                    }
                }
                if let Some(answer) = answer {
                    send(answer.as_slice(), from, meta.dst_ip, out);
                }
            }
            Message::Leave => {
                // The node repeats it, so one that finds the core busy is not the last.
                if news(NewsKind::Left) {
                    sleeper.window.accept(counter);
                }
            }
            Message::Declined(peer) => {
                if news(NewsKind::Declined(peer)) {
                    sleeper.window.accept(counter);
                }
            }
            // The relay's own words, sent back.
            Message::Answer | Message::Challenge | Message::Wake(..) => return Use::Refused,
        }
        Use::Accepted
    }

    /// Answers a heartbeat with an unknown handle, at most as often as the rate allows.
    fn reset(
        &mut self,
        now: u64,
        handle: Handle,
        len: usize,
        meta: &RecvMeta,
        out: &mut impl PacketSink,
    ) {
        // An answer is shorter than what it answers, so two relays cannot answer each other.
        let Some(key) = self.reset_key.filter(|_| len > Reset::LEN) else {
            return;
        };
        let (granted, paid_until) = self.reset_rate.grant(self.resets_paid_until, now, 1, 1);
        self.resets_paid_until = paid_until;
        if granted > 0 {
            let reset = Reset::encode(handle, &Reset::token(&key, handle));
            send(&reset, CompactAddr::of(meta.addr), meta.dst_ip, out);
        }
    }

    /// Nanoseconds between two looks: 4 s for a few sleepers, 4 ms for a million.
    fn look_every(&self) -> u64 {
        let (visited, all) = (VISITED as u64, self.table.len().max(VISITED) as u64);
        nanos(SWEEP) / all * visited
    }

    /// How long the plane may wait until [`Sleepers::look`]. `None` if nobody sleeps.
    pub(super) fn look_in(&self, now: u64) -> Option<Duration> {
        let due = self.looked_at.saturating_add(self.look_every());
        (!self.table.is_empty()).then(|| Duration::from_nanos(due.saturating_sub(now)))
    }

    /// Reports silent sleepers among the next few. The core removes them.
    pub(super) fn look(&mut self, now: u64) {
        if self.look_in(now) != Some(Duration::ZERO) {
            return;
        }
        let paused = now.saturating_sub(self.looked_at);
        if paused > nanos(STALLED) {
            self.pardon_until = now.saturating_add(nanos(PARDON));
        }
        self.looked_at = now;
        let (now_seconds, pardoned) = (seconds(now), now < self.pardon_until);
        let cursor = self.cursor.take().filter(|_| self.table.len() > VISITED);
        let after = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.table.range((after, Bound::Unbounded));
        for (handle, sleeper) in next.take(VISITED) {
            self.cursor = Some(*handle);
            let is_silent = now_seconds.saturating_sub(sleeper.heard_at) >= SILENT_AFTER;
            let is_over = now_seconds.saturating_sub(sleeper.since) >= sleep_max();
            if (is_silent && !pardoned || is_over)
                && let Some(news) = &self.news
            {
                let (peer, handle, kind) = (sleeper.peer, *handle, NewsKind::Silent);
                // If the core is too busy, the next visit reports it.
                let _busy = news.try_send(SleeperNews { peer, handle, kind });
            }
        }
        // After the last one, the next look begins anew.
        let last = self.table.last_key_value().map(|(handle, _)| *handle);
        self.cursor.take_if(|cursor| Some(*cursor) == last);
    }
}

impl Sleeper {
    /// Seals a message to the sleeper with a new counter.
    fn seal(&mut self, handle: Handle, message: &Message) -> Option<(u64, Datagram)> {
        self.sent = self.sent.checked_add(1)?;
        let counter = self.sent.into();
        Some((counter, self.secret.seal(handle, counter, message)))
    }
}

fn send(contents: &[u8], to: CompactAddr, from: Option<IpAddr>, out: &mut impl PacketSink) {
    // A datagram that is not sent counts as lost.
    out.send(&Transmit {
        destination: to.socket_addr(),
        ecn: None,
        contents,
        segment_size: None,
        src_ip: from,
    });
}

/// The place of an address of the relay in the list of those that are known.
fn place(local: &mut Vec<IpAddr>, at: Option<IpAddr>) -> u8 {
    let place = at.and_then(|at| {
        local.iter().position(|known| *known == at).or_else(|| {
            (local.len() < LOCAL_MAX).then(|| {
                local.push(at);
                local.len() - 1
            })
        })
    });
    place
        .and_then(|place| u8::try_from(place).ok())
        .unwrap_or(u8::MAX)
}

fn seconds(nanos: u64) -> u32 {
    u32::try_from(nanos / NANOS).unwrap_or(u32::MAX)
}

fn lower_bits(seconds: u32) -> u16 {
    let [_, _, high, low] = seconds.to_be_bytes();
    u16::from_be_bytes([high, low])
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The longest sleep at a relay, in seconds.
fn sleep_max() -> u32 {
    u32::try_from(SLEEP_MAX.as_secs())
        .unwrap_or(u32::MAX)
        .saturating_add(SLEEP_GRACE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plane::packet_sink::Sent;
    use std::net::SocketAddr;

    const HANDLE: Handle = Handle([7; 8]);
    const KEY: [u8; 32] = [3; 32];

    #[derive(Default)]
    struct Out(Vec<(SocketAddr, Vec<u8>, Option<IpAddr>)>);

    impl PacketSink for Out {
        fn segments(&self) -> usize {
            1
        }

        fn send(&mut self, transmit: &Transmit<'_>) -> Sent {
            let contents = transmit.contents.to_vec();
            self.0
                .push((transmit.destination, contents, transmit.src_ip));
            Sent::Taken
        }
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn home() -> SocketAddr {
        addr("[::ffff:192.0.2.1]:4626")
    }

    fn elsewhere() -> SocketAddr {
        addr("[::ffff:198.51.100.9]:999")
    }

    fn relay_ip() -> IpAddr {
        addr("[::ffff:203.0.113.1]:1").ip()
    }

    fn peer(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    fn secret() -> SleepSecret {
        SleepSecret::new([9; 32])
    }

    fn at(seconds: u64) -> u64 {
        seconds * NANOS
    }

    /// A table with one sleeper since second 0, and what the core hears.
    struct Table {
        sleepers: Sleepers,
        out: Out,
        news: mpsc::Receiver<SleeperNews>,
    }

    impl Table {
        /// The sleeper has answered its first challenge.
        fn new() -> Self {
            let mut table = Self::unproved();
            table.hears(home(), 0, &Message::Beat);
            let counter = table.challenged(home());
            let used = table.hears(home(), counter, &Message::Reached);
            assert_eq!((used, table.news()), (Use::Accepted, vec![NewsKind::Began]));
            table
        }

        /// Nothing came from the sleeper yet.
        fn unproved() -> Self {
            let (sender, news) = mpsc::channel(8);
            let mut table = Self {
                sleepers: Sleepers::new(),
                out: Out::default(),
                news,
            };
            table.sleepers.serve(KEY, sender);
            table.order(SleepUpdate::Add(Box::new(NewSleeper {
                handle: HANDLE,
                peer: peer(1),
                secret: secret(),
                addr: home(),
                at: None,
            })));
            table
        }

        fn order(&mut self, update: SleepUpdate) {
            self.sleepers.update(0, update, &mut self.out);
        }

        fn hears_at(&mut self, now: u64, from: SocketAddr, datagram: &[u8]) -> Use {
            let meta = RecvMeta {
                addr: from,
                len: datagram.len(),
                stride: datagram.len(),
                dst_ip: Some(relay_ip()),
                ..RecvMeta::default()
            };
            self.sleepers.received(now, datagram, &meta, &mut self.out)
        }

        fn hears(&mut self, from: SocketAddr, counter: u64, message: &Message) -> Use {
            self.hears_in(0, from, counter, message)
        }

        /// As [`Table::hears`], in this second.
        fn hears_in(
            &mut self,
            second: u64,
            from: SocketAddr,
            counter: u64,
            message: &Message,
        ) -> Use {
            let datagram = secret().seal(HANDLE, counter, message);
            self.hears_at(at(second), from, datagram.as_slice())
        }

        /// What the relay sent since the last call, opened.
        fn sent(&mut self) -> Vec<(SocketAddr, u64, Message)> {
            let sent = std::mem::take(&mut self.out.0).into_iter();
            let open = |(to, bytes, _): (SocketAddr, Vec<u8>, _)| {
                let (counter, message) = secret().open(&bytes).expect("sealed");
                (to, counter, message)
            };
            sent.map(open).collect()
        }

        /// The counter of the one datagram that the relay sent since the last call: a challenge.
        fn challenged(&mut self, at: SocketAddr) -> u64 {
            let [(to, counter, Message::Challenge)] = self.sent()[..] else {
                panic!("one challenge, and nothing else");
            };
            assert_eq!(to, at);
            counter
        }

        fn news(&mut self) -> Vec<NewsKind> {
            std::iter::from_fn(|| self.news.try_recv().ok())
                .map(|news| {
                    assert_eq!((news.peer, news.handle), (peer(1), HANDLE));
                    news.kind
                })
                .collect()
        }

        /// Looks until this second.
        fn looks(&mut self, from: u64, until: u64) {
            for quarter in from * 4..=until * 4 {
                self.sleepers.look(quarter * NANOS / 4);
            }
        }
    }

    #[test]
    fn a_sleep_begins_when_the_sleeper_answers_the_first_challenge() {
        let mut table = Table::unproved();
        assert_eq!(table.hears(home(), 4, &Message::Beat), Use::Accepted);
        let counter = table.challenged(home());
        // Until then the address may be anybody's.
        table.order(SleepUpdate::Wake(HANDLE, peer(2)));
        assert!(table.sent().is_empty() && table.news().is_empty());
        let elsewhere = table.hears(elsewhere(), counter, &Message::Reached);
        assert_eq!(elsewhere, Use::Refused);
        let there = table.hears(home(), counter, &Message::Reached);
        assert_eq!(
            (there, table.news()),
            (Use::Accepted, vec![NewsKind::Began])
        );
        table.order(SleepUpdate::Wake(HANDLE, peer(2)));
        let [(to, _, Message::Wake(by, Wanted::Channel))] = table.sent()[..] else {
            panic!("one wake");
        };
        assert_eq!((to, by), (home(), peer(2)));
    }

    #[test]
    fn a_sleep_that_begins_behind_another_address_begins_there() {
        let mut table = Table::unproved();
        table.hears(elsewhere(), 4, &Message::Beat);
        let counter = table.challenged(elsewhere());
        assert_eq!(
            table.hears(elsewhere(), counter, &Message::Reached),
            Use::Accepted
        );
        assert_eq!(
            table.news(),
            [NewsKind::Began, NewsKind::Moved(elsewhere())]
        );
    }

    #[test]
    fn every_fourth_heartbeat_is_answered() {
        let mut table = Table::new();
        for counter in 1..=8 {
            assert_eq!(table.hears(home(), counter, &Message::Beat), Use::Accepted);
        }
        assert_eq!(
            table.sent(),
            [(home(), 2, Message::Answer), (home(), 3, Message::Answer)]
        );
        assert_eq!(table.news(), []);
    }

    #[test]
    fn forged_replayed_and_reflected_datagrams_change_nothing() {
        let mut table = Table::new();
        table.hears(home(), 100, &Message::Beat);
        table.sent();
        table.news();
        let mut forged = secret()
            .seal(HANDLE, 104, &Message::Leave)
            .as_slice()
            .to_vec();
        forged[32] ^= 1;
        assert_eq!(table.hears_at(0, home(), &forged), Use::Refused);
        let other = SleepSecret::new([8; 32]).seal(HANDLE, 104, &Message::Leave);
        assert_eq!(table.hears_at(0, home(), other.as_slice()), Use::Refused);
        for (counter, message) in [
            (100, Message::Beat),
            (100, Message::Leave),
            (36, Message::Beat),
            (104, Message::Answer),
            (104, Message::Challenge),
            (104, Message::Wake(peer(2), Wanted::Channel)),
            (104, Message::Reached),
        ] {
            for from in [home(), elsewhere()] {
                let used = table.hears(from, counter, &message);
                assert_eq!(used, Use::Refused, "{counter} {message:?}");
            }
        }
        assert!(table.sent().is_empty() && table.news().is_empty());
        // One that was overtaken is accepted.
        assert_eq!(table.hears(home(), 99, &Message::Beat), Use::Accepted);
    }

    #[test]
    fn a_sleeper_moves_when_it_answers_a_challenge_from_its_new_address() {
        let mut table = Table::new();
        table.hears(home(), 1, &Message::Beat);
        table.sent();
        table.news();
        table.hears_in(25, elsewhere(), 4, &Message::Beat);
        let counter = table.challenged(elsewhere());
        // Until then it is woken at its old address.
        table.order(SleepUpdate::Wake(HANDLE, peer(2)));
        assert_eq!(table.sent()[0].0, home());
        let third = addr("[::ffff:192.0.2.77]:1");
        assert_eq!(table.hears(third, counter, &Message::Reached), Use::Refused);
        let wrong = table.hears(elsewhere(), counter + 1, &Message::Reached);
        assert_eq!(wrong, Use::Refused);
        let right = table.hears(elsewhere(), counter, &Message::Reached);
        assert_eq!(right, Use::Accepted);
        assert_eq!(table.news(), [NewsKind::Moved(elsewhere())]);
        let again = table.hears(elsewhere(), counter, &Message::Reached);
        assert_eq!(again, Use::Refused, "it was answered");
        table.order(SleepUpdate::Wake(HANDLE, peer(2)));
        let (to, _, src) = table.out.0.remove(0);
        assert_eq!((to, src), (elsewhere(), Some(relay_ip())));
    }

    #[test]
    fn a_sleeper_moves_once_in_a_second_and_not_to_a_stream() {
        let mut table = Table::new();
        table.hears_in(1, elsewhere(), 1, &Message::Beat);
        let counter = table.challenged(elsewhere());
        let moved = table.hears_in(1, elsewhere(), counter, &Message::Reached);
        assert_eq!(moved, Use::Accepted);
        let challenged_at_home = |table: &mut Table, second, counter| {
            table.hears_in(second, home(), counter, &Message::Beat);
            !table.sent().is_empty()
        };
        assert!(!challenged_at_home(&mut table, 1, 2));
        assert!(challenged_at_home(&mut table, 2, 3));
        let stream = addr("[fd68:6f62:6e72::1]:1");
        let used = table.hears_in(3, stream, 5, &Message::Beat);
        assert_eq!(used, Use::Refused);
        assert!(table.sent().is_empty());
    }

    #[test]
    fn a_challenge_is_void_when_the_sleeper_is_at_its_old_address() {
        let mut table = Table::new();
        table.hears_in(1, elsewhere(), 1, &Message::Beat);
        let counter = table.challenged(elsewhere());
        table.hears_in(2, home(), 2, &Message::Beat);
        let late = table.hears_in(3, elsewhere(), counter, &Message::Reached);
        assert_eq!(late, Use::Refused);
    }

    #[test]
    fn a_silent_sleeper_is_reported_within_75_seconds() {
        let mut table = Table::new();
        table.looks(0, 69);
        assert_eq!(table.news(), []);
        let beat = secret().seal(HANDLE, 1, &Message::Beat);
        table.hears_at(at(60), home(), beat.as_slice());
        table.news();
        table.looks(69, 129);
        assert_eq!(table.news(), []);
        table.looks(129, 135);
        assert_eq!(table.news().first(), Some(&NewsKind::Silent));
    }

    #[test]
    fn all_of_many_silent_sleepers_are_reported_within_75_seconds() {
        let (sender, mut news) = mpsc::channel(2_000);
        let (mut sleepers, mut out) = (Sleepers::new(), Out::default());
        sleepers.serve(KEY, sender);
        for n in 0..2_000_u64 {
            let new = NewSleeper {
                handle: Handle((n * 7_919).to_be_bytes()),
                peer: peer(1),
                secret: secret(),
                addr: home(),
                at: None,
            };
            sleepers.update(0, SleepUpdate::Add(Box::new(new)), &mut out);
        }
        let mut gone = std::collections::BTreeSet::new();
        for quarter in 1..=75 * 4 {
            sleepers.look(quarter * NANOS / 4);
            while let Ok(it) = news.try_recv() {
                assert!(quarter >= u64::from(SILENT_AFTER) * 4);
                gone.insert(it.handle);
            }
        }
        assert_eq!(gone.len(), 2_000);
    }

    #[test]
    fn a_relay_that_was_stopped_loses_no_sleeper() {
        let mut table = Table::new();
        table.looks(0, 10);
        table.looks(500, 500 + 29);
        assert_eq!(table.news(), []);
        table.looks(529, 540);
        assert_eq!(table.news().first(), Some(&NewsKind::Silent));
    }

    #[test]
    fn a_sleep_ends_after_a_day() {
        let mut table = Table::new();
        let day = SLEEP_MAX.as_secs();
        for (n, second) in (0..day + 600).step_by(50).enumerate() {
            let counter = u64::try_from(n).expect("few") + 1;
            let beat = secret().seal(HANDLE, counter, &Message::Beat);
            table.hears_at(at(second), home(), beat.as_slice());
            table.out.0.clear();
            table.looks(second, second + 50);
            let news = table.news();
            let is_over = news.contains(&NewsKind::Silent);
            assert_eq!(
                is_over,
                second + 50 >= day + u64::from(SLEEP_GRACE),
                "{second}"
            );
            if is_over {
                return;
            }
        }
        panic!("it never ended");
    }

    #[test]
    fn an_unknown_handle_is_reset_with_a_shorter_datagram() {
        let mut table = Table::new();
        table.order(SleepUpdate::Remove {
            handle: HANDLE,
            inform: false,
        });
        assert_eq!(table.hears(elsewhere(), 1, &Message::Beat), Use::Unknown);
        let (to, reset, _) = table.out.0.remove(0);
        assert_eq!(to, elsewhere());
        assert!(Reset::is(&reset, HANDLE, &Reset::token(&KEY, HANDLE)));
        assert_eq!(table.hears_at(0, elsewhere(), &reset), Use::Unknown);
        assert!(table.out.0.is_empty(), "a reset is not answered");
        for _ in 0..2 * RESETS_BURST {
            table.hears(elsewhere(), 1, &Message::Beat);
        }
        let answered = u64::try_from(table.out.0.len()).expect("few");
        assert_eq!(answered, RESETS_BURST - 1);
    }

    #[test]
    fn a_sleeper_that_the_relay_removes_is_told_at_its_address() {
        let mut table = Table::new();
        table.order(SleepUpdate::Remove {
            handle: HANDLE,
            inform: true,
        });
        let (to, reset, _) = table.out.0.remove(0);
        assert_eq!(to, home());
        assert!(Reset::is(&reset, HANDLE, &Reset::token(&KEY, HANDLE)));
    }

    #[test]
    fn news_that_the_core_has_no_room_for_are_reported_again() {
        let mut table = Table::unproved();
        let (sender, news) = mpsc::channel(1);
        let other = SleeperNews {
            peer: peer(1),
            handle: HANDLE,
            kind: NewsKind::Began,
        };
        sender.try_send(other).expect("room for one");
        table.sleepers.serve(KEY, sender);
        table.news = news;
        let mut reached = |second, used| {
            table.hears_in(second, home(), second, &Message::Beat);
            let counter = table.challenged(home());
            assert_eq!(
                table.hears_in(second, home(), counter, &Message::Reached),
                used
            );
            assert_eq!(table.news().len(), 1);
        };
        reached(1, Use::Refused);
        reached(2, Use::Accepted);
        table.hears(home(), 3, &Message::Leave);
        table.hears(home(), 4, &Message::Declined(peer(2)));
        assert_eq!(table.news(), [NewsKind::Left]);
        table.hears(home(), 4, &Message::Declined(peer(2)));
        assert_eq!(table.news(), [NewsKind::Declined(peer(2))]);
    }
}
