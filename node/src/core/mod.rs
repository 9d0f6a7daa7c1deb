//! Pure state machines: what a node decides. No async, no I/O, no clock: time is an argument, randomness is passed in.

pub mod durable;
