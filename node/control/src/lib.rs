//! The local socket by which commands, user interfaces and scripts speak to the one node of a home.
//!
//! [`home`] says which folder and which process, [`wire`] what the lines say, [`server`] answers
//! them, [`client`] asks, [`attach`] finds the node of a home or becomes it, and [`pipe`] is the
//! same through a pair of pipes. `docs/PROTOCOL.md` describes the lines, for programs in any
//! language. A program that embeds a [`Node`](crate::Node) needs none of this.
//!
//! Only processes of the same user are heard. The relay's command uses [`home`], [`socket`] and
//! [`mod@line`] for a socket of its own.

pub mod attach;
pub mod client;
pub mod pipe;
pub mod server;
pub mod wire;

pub use attach::{AttachError, Attached, Host};
pub use client::{Client, ClientError, Subscription};
pub use hobnob_local::{Claim, Claimed, Home, HomeError};
pub use server::Server;
