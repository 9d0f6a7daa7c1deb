//! The JSON lines by which commands, user interfaces and scripts drive the one node of a home.
//!
//! [`wire`] has the requests, answers and events. [`server`] answers them on the home's local socket,
//! [`client`] asks, and [`pipe`] does the same through standard input and output. [`event_stream`]
//! reads events without gaps. [`attach`] finds the node of a home or becomes it. `docs/PROTOCOL.md`
//! describes the lines, for programs in any language. A program that embeds a
//! [`Node`](hobnob::Node) needs none of this.
//!
//! Homes and their sockets are in [`hobnob_local`]. Only processes of the same user may connect.

pub mod attach;
pub mod client;
pub mod event_stream;
pub mod pipe;
pub mod server;
pub mod wire;

pub use attach::{AttachError, Attached, Host};
pub use client::{Client, ClientError, Subscription};
pub use event_stream::{EventStream, SeenIds};
pub use hobnob_local::{Claim, Claimed, Home, HomeError};
pub use server::Server;

/// The page that describes the lines, `docs/PROTOCOL.md`, in Markdown.
pub const PROTOCOL: &str = include_str!("../PROTOCOL.md");
