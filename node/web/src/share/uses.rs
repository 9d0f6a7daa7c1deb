//! How often the file may still be downloaded.
//!
//! A use begins with the first request for the file from an address. The same address may then
//! continue a download that broke, and ask for parts. The use ends when the last byte of the file was
//! sent to it. The next request from this address is another use.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// The uses of one share.
#[derive(Debug)]
pub(super) struct Uses {
    /// How many may still begin. None: any number.
    left: Option<u32>,
    /// The addresses whose use has begun and not ended. The limit bounds them; without a limit, none
    /// is kept.
    open: BTreeSet<IpAddr>,
}

impl Uses {
    /// This number of uses, or any number.
    pub(super) fn new(times: Option<u32>) -> Uses {
        Uses {
            left: times,
            open: BTreeSet::new(),
        }
    }

    /// Begins a use, or continues one. False if none is left.
    pub(super) fn begin(&mut self, ip: IpAddr) -> bool {
        let Some(left) = &mut self.left else {
            return true;
        };
        if self.open.contains(&ip) {
            return true;
        }
        let Some(fewer) = left.checked_sub(1) else {
            return false;
        };
        *left = fewer;
        self.open.insert(ip);
        true
    }

    /// The last byte was sent to the address.
    pub(super) fn complete(&mut self, ip: IpAddr) {
        self.open.remove(&ip);
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
        uses.complete(ann);
        assert!(uses.are_over());
        assert!(!uses.begin(ann), "that would be a second use");
    }

    #[test]
    fn without_a_limit_it_is_never_over() {
        let ann = "10.0.0.1".parse().unwrap();
        let mut uses = Uses::new(None);
        for _ in 0..3 {
            assert!(uses.begin(ann));
            uses.complete(ann);
        }
        assert_eq!((uses.left(), uses.are_over()), (None, false));
    }
}
