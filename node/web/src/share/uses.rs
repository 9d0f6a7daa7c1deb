//! How often the file may still be downloaded.
//!
//! A use begins with the first request for the file from an address. The same address may then
//! continue a download that broke, and ask for parts in any order. The use ends when the last byte
//! of the file and as many bytes as the file has were sent to it. The next request from this
//! address is another use.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// The uses of one share.
#[derive(Debug)]
pub(super) struct Uses {
    /// How many may still begin. None: any number.
    left: Option<u32>,
    /// What was sent to the addresses whose use has begun and not ended. The limit bounds them;
    /// without a limit, none is kept.
    open: BTreeMap<IpAddr, Sent>,
}

/// What was sent of a file.
#[derive(Debug, Default)]
struct Sent {
    bytes: u64,
    has_end: bool,
}

impl Uses {
    /// This number of uses, or any number.
    pub(super) fn new(times: Option<u32>) -> Uses {
        Uses {
            left: times,
            open: BTreeMap::new(),
        }
    }

    /// Begins a use, or continues one. False if none is left.
    pub(super) fn begin(&mut self, ip: IpAddr) -> bool {
        let Some(left) = &mut self.left else {
            return true;
        };
        if self.open.contains_key(&ip) {
            return true;
        }
        let Some(fewer) = left.checked_sub(1) else {
            return false;
        };
        *left = fewer;
        self.open.insert(ip, Sent::default());
        true
    }

    /// This many bytes of a file of this size were sent to an address, perhaps those at its end.
    /// Returns whether that ends its use.
    pub(super) fn sent(&mut self, ip: IpAddr, bytes: u64, is_end: bool, size: u64) -> bool {
        if self.left.is_none() {
            return is_end;
        }
        // Two requests of one address may end the same use.
        let Some(sent) = self.open.get_mut(&ip) else {
            return false;
        };
        sent.bytes = sent.bytes.saturating_add(bytes);
        sent.has_end |= is_end;
        let is_whole = sent.has_end && sent.bytes >= size;
        if is_whole {
            self.open.remove(&ip);
        }
        is_whole
    }

    /// How many may still begin. None: any number.
    pub(super) fn left(&self) -> Option<u32> {
        self.left
    }

    /// Whether all uses have begun and ended.
    pub(super) fn are_over(&self) -> bool {
        self.left == Some(0) && self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_continue_what_it_began_and_nobody_gets_more_than_the_limit() {
        let [ann, bob] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
        let mut uses = Uses::new(Some(1));
        assert!(uses.begin(ann));
        assert!(uses.begin(ann), "its download broke");
        assert!(!uses.begin(bob));
        assert!(!uses.are_over());
        assert!(uses.sent(ann, 9, true, 9));
        assert!(uses.are_over());
        assert!(!uses.begin(ann), "that would be a second use");
    }

    #[test]
    fn parts_in_any_order_are_one_use() {
        let ann = "10.0.0.1".parse().unwrap();
        for parts in [[(7, false), (3, true)], [(3, true), (7, false)]] {
            let mut uses = Uses::new(Some(1));
            assert!(uses.begin(ann));
            let ended = parts.map(|(bytes, is_end)| uses.sent(ann, bytes, is_end, 10));
            assert_eq!(ended, [false, true]);
            assert!(uses.are_over());
        }
    }

    #[test]
    fn without_a_limit_it_is_never_over() {
        let ann = "10.0.0.1".parse().unwrap();
        let mut uses = Uses::new(None);
        for _ in 0..3 {
            assert!(uses.begin(ann));
            assert!(uses.sent(ann, 9, true, 9));
        }
        assert_eq!((uses.left(), uses.are_over()), (None, false));
    }
}
