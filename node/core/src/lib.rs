//! Pure state machines: what a node decides. There is no async code, no I/O and no clock here. Time
//! and randomness are arguments.
//!
//! Most machines have one shape: call `handle(now, input)`, then `poll_output()` until it returns
//! `None`, then sleep until `poll_timeout()`.

pub mod address_checks;
pub mod carrier;
mod client_id;
pub mod commit;
pub mod diagnosis;
pub mod invitation;
pub mod known_addrs;
pub mod mail_refusal;
mod name_keys;
pub mod overlay;
pub mod past_names;
pub mod paths;
pub mod peers;
pub mod picture_exchange;
pub mod policy;
pub mod presence;
pub mod record_exchange;
pub mod rendezvous;
pub mod replica;
pub mod scope;
pub mod send_budget;
pub mod source_network;
pub mod synthetic;
pub mod transfers;

use std::time::Duration;

pub use client_id::ClientId;

/// Names one connection with a peer. No number is used twice in the life of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// The time on both clocks, as a driver has read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The time since the node started. All waits use this clock, because it does not jump.
    pub mono: Duration,
    /// Milliseconds since the Unix epoch, for people and for everything that outlives the process.
    /// May jump.
    pub wall_ms: u64,
}

/// A small random number generator (SplitMix64) for choices that need no secrecy. The same seed
/// gives the same numbers.
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
