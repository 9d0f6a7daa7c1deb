//! IRC and plain lines: two interfaces of a hobnob node for the clients that people already have.
//!
//! A [`Server`] listens on loopback addresses. Its sessions speak to the node by the requests and
//! events of [`hobnob_control`] alone, as every other interface does. An IRC client (weechat,
//! irssi) has rooms as channels and direct messages as queries, and shows the home's [`Token`]. A
//! client that sends lines (netcat, telnet) has the lobby.
//!
//! The sessions have no sockets and no clock: `session` is that of IRC, `plain` that of lines, and
//! `connection` drives either. `line` is the only place that makes or reads a line of IRC, `names`
//! maps nicknames.

mod caps;
mod connection;
mod echoes;
mod face;
mod first_bytes;
mod history;
mod input;
mod line;
mod markers;
mod names;
mod offers;
mod plain;
mod refresh;
mod registration;
mod render;
mod roster;
mod server;
mod service;
mod session;
mod token;
mod wording;

pub use server::{Listen, Server, ServerError};
pub use service::COMMANDS;
pub use token::{Token, TokenError};
