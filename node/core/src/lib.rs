//! Pure state machines: what a node decides. No async, no I/O, no clock: time is an argument,
//! randomness is passed in.
//!
//! Every machine has one shape: `handle(now, input)`, then `poll_output()` until there is none,
//! then sleep until `poll_timeout()`.

pub mod commit;
pub mod diagnosis;
mod name_keys;
pub mod paths;
pub mod peers;
pub mod policy;
pub mod presence;
pub mod rendezvous;
pub mod replica;
pub mod scope;
pub mod synthetic;
pub mod transfers;

use std::time::Duration;

/// Names one connection with a peer for the life of the process; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// What time it is: both clocks, read by a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since the node started: for everything that is waited for.
    pub mono: Duration,
    /// Milliseconds since the Unix epoch: for what people see, and for what must outlive the
    /// process. May jump.
    pub wall_ms: u64,
}

/// A small generator for choices that need no secrecy (SplitMix64): one seed replays one run.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }
}
