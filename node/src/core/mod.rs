//! Pure state machines: what a node decides. No async, no I/O, no clock: time is an argument, randomness is passed in.

pub mod durable;

/// Names one connection with a peer for the life of the process; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);
