//! A home folder on this machine, and the local socket through which its process is driven.
//!
//! [`home`] finds the folder and claims it for one process. [`socket`] binds and reaches its Unix
//! socket, which only processes of the same user may use. [`line`](mod@line) reads lines of bounded
//! length from such a socket.

pub mod home;
pub mod line;
pub mod socket;

pub use home::{Claim, Claimed, Home, HomeError};
