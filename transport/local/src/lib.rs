//! What the programs with a home folder on this machine share.
//!
//! [`home`] finds the folder and claims it for one process. [`socket`] binds and connects to its
//! Unix socket, which only processes of the same user may use. [`line`](mod@line) reads lines of
//! bounded length from such a socket, and [`json`] defines the form of values in them. [`output`],
//! [`log`] and [`signals`] are the program's standard streams, its log and its stop signals.

pub mod home;
pub mod json;
pub mod line;
pub mod log;
pub mod memory;
pub mod output;
pub mod private_file;
pub mod signals;
pub mod socket;

pub use home::{Claim, Claimed, Home, HomeError};
