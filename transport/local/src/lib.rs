//! What the programs with a home folder on this machine share.
//!
//! [`home`] finds the folder and claims it for one process. [`socket`] binds and reaches its Unix
//! socket, which only processes of the same user may use. [`line`](mod@line) reads lines of bounded
//! length from such a socket, and [`json`] defines how values are written in them. [`output`] and
//! [`signals`] are the program's own standard streams and stop signals.

pub mod home;
pub mod json;
pub mod line;
pub mod output;
pub mod signals;
pub mod socket;

pub use home::{Claim, Claimed, Home, HomeError};
