//! The addresses at which a peer may be dialed, and why each of them may be.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::synthetic::is_synthetic;

/// Maximum addresses stored per peer. One more replaces the least recently reported one, those that
/// the user named last.
pub const ADDRS_PER_PEER_MAX: usize = 16;

/// Failed dials after which an address is dropped at which no session has ever been.
pub const FAILURES_MAX: u32 = 3;

/// Why an address may be dialed. The later in this list, the longer it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The peer answered a check of the address. It is dropped after [`FAILURES_MAX`] failed dials
    /// and never stored.
    Checked,
    /// It stands for the peer at a relay: a synthetic address has no other origin.
    Relayed,
    /// There was a session with the peer at this address.
    Answered,
    /// The user typed it, or it is part of a ticket. It is kept until the user removes the peer.
    Named,
}

/// The addresses of one peer.
#[derive(Debug, Default)]
pub struct KnownAddrs {
    /// Most recently reported first.
    list: VecDeque<KnownAddr>,
}

#[derive(Debug, Clone, Copy)]
struct KnownAddr {
    addr: SocketAddr,
    origin: Origin,
    failures: u32,
}

impl KnownAddrs {
    /// Stores reported addresses, the first in front. Returns whether any of them is new.
    pub fn report(&mut self, addrs: Vec<SocketAddr>, origin: Origin) -> bool {
        let mut is_news = false;
        for addr in addrs.into_iter().rev() {
            let is_relayed = is_synthetic(addr.ip());
            let origin = if is_relayed { Origin::Relayed } else { origin };
            let before = self.list.iter().position(|known| known.addr == addr);
            let before = before.and_then(|at| self.list.remove(at));
            is_news |= before.is_none();
            self.list.push_front(KnownAddr {
                addr,
                origin: before.map_or(origin, |before| before.origin.max(origin)),
                failures: 0,
            });
        }
        while self.list.len() > ADDRS_PER_PEER_MAX {
            let other = |known: &KnownAddr| known.origin != Origin::Named;
            let last = self.list.iter().rposition(other);
            self.list.remove(last.unwrap_or(ADDRS_PER_PEER_MAX));
        }
        is_news
    }

    /// A dial of all addresses failed.
    pub fn failed(&mut self) {
        self.list.retain_mut(|known| {
            known.failures += 1;
            known.origin != Origin::Checked || known.failures < FAILURES_MAX
        });
    }

    /// The user removes an address. Returns whether it was there.
    pub fn remove(&mut self, addr: SocketAddr) -> bool {
        let before = self.list.len();
        self.list.retain(|known| known.addr != addr);
        self.list.len() < before
    }

    /// Another peer is at this address. An address that the user named stays.
    pub fn wrong(&mut self, addr: SocketAddr) {
        self.list
            .retain(|known| known.addr != addr || known.origin == Origin::Named);
    }

    /// All addresses, most recently reported first.
    pub fn iter(&self) -> impl Iterator<Item = SocketAddr> {
        self.list.iter().map(|known| known.addr)
    }

    /// The addresses to store: those with a session, and those that the user named.
    pub fn lasting(&self) -> impl Iterator<Item = SocketAddr> {
        let lasts = |known: &&KnownAddr| known.origin >= Origin::Answered;
        self.list.iter().filter(lasts).map(|known| known.addr)
    }

    /// The addresses that the user named.
    pub fn named(&self) -> impl Iterator<Item = SocketAddr> {
        let is_named = |known: &&KnownAddr| known.origin == Origin::Named;
        self.list.iter().filter(is_named).map(|known| known.addr)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether the user named one of them.
    pub fn has_named(&self) -> bool {
        self.named().next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_removes_an_address_whoever_named_it() {
        let mut addrs = KnownAddrs::default();
        let (typed, met): (SocketAddr, SocketAddr) =
            (([10, 0, 0, 1], 1).into(), ([10, 0, 0, 2], 2).into());
        addrs.report(vec![typed], Origin::Named);
        addrs.report(vec![met], Origin::Answered);
        assert!(addrs.remove(typed) && !addrs.remove(typed));
        assert_eq!(addrs.iter().collect::<Vec<_>>(), [met]);
        assert!(!addrs.has_named());
    }

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    fn ports(addrs: &KnownAddrs) -> Vec<u16> {
        addrs.iter().map(|addr| addr.port()).collect()
    }

    #[test]
    fn the_address_that_was_reported_last_comes_first() {
        let mut addrs = KnownAddrs::default();
        assert!(addrs.report(vec![addr(1), addr(2)], Origin::Answered));
        assert!(!addrs.report(vec![addr(2)], Origin::Answered), "no news");
        assert_eq!(ports(&addrs), [2, 1]);
    }

    #[test]
    fn an_address_without_a_session_is_dropped_after_three_failures_and_others_are_kept() {
        let mut addrs = KnownAddrs::default();
        addrs.report(vec![addr(1), addr(2)], Origin::Checked);
        addrs.report(vec![addr(2)], Origin::Answered);
        addrs.report(vec![addr(3)], Origin::Named);
        for _ in 1..FAILURES_MAX {
            addrs.failed();
        }
        assert_eq!(ports(&addrs), [3, 2, 1]);
        assert!(addrs.lasting().eq([addr(3), addr(2)]));
        assert!(addrs.named().eq([addr(3)]));
        addrs.failed();
        assert_eq!(ports(&addrs), [3, 2]);
        for _ in 0..1_000 {
            addrs.failed();
        }
        assert_eq!(ports(&addrs), [3, 2]);
    }

    #[test]
    fn an_address_of_another_peer_is_dropped_unless_the_user_named_it() {
        let mut addrs = KnownAddrs::default();
        addrs.report(vec![addr(1)], Origin::Answered);
        addrs.report(vec![addr(2)], Origin::Named);
        addrs.wrong(addr(1));
        addrs.wrong(addr(2));
        assert_eq!(ports(&addrs), [2]);
    }

    #[test]
    fn many_reports_do_not_push_out_what_the_user_named() {
        let mut addrs = KnownAddrs::default();
        addrs.report(vec![addr(1)], Origin::Named);
        for port in 2..100 {
            addrs.report(vec![addr(port)], Origin::Answered);
        }
        assert_eq!(addrs.iter().count(), ADDRS_PER_PEER_MAX);
        assert!(addrs.has_named());
        assert_eq!(ports(&addrs)[0], 99);
        for port in 200..300 {
            addrs.report(vec![addr(port)], Origin::Named);
        }
        assert_eq!(addrs.iter().count(), ADDRS_PER_PEER_MAX);
    }
}
