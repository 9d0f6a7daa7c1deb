//! The clock and the random numbers of this crate.

#![expect(
    clippy::disallowed_methods,
    reason = "a driver: tokens and login files expire by the wall clock"
)]

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand;
use data_encoding::BASE32_NOPAD;

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A text of 256 random bits.
pub(crate) fn random_text() -> String {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).expect("the system has random numbers");
    BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
}
