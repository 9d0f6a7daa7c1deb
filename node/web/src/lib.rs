//! The web page of a node, and its JSON lines over a WebSocket.
//!
//! [`WebServer`] listens on loopback. It serves the page, whose files are part of the program, and
//! carries the lines of `hobnob-control` over a WebSocket at `/ws`: one line in each text message.
//! Each WebSocket becomes a connection to the node's control socket, so all requests have one
//! implementation. The server may run in the node's process or beside it.
//!
//! A browser also runs pages of strangers, so every request is checked ([`server`]): the exact `Host`
//! and `Origin`, and a token ([`tokens`]) whose rights ([`rights`]) permit the request. The page gets
//! its token in exchange for a one-time token from a file that only the user can read ([`login`]).
//!
//! [`share`] is another server: an https page with one file, for people without hobnob.

pub mod announcement;
mod assets;
mod body;
mod carried;
mod clock;
mod content;
mod folder;
mod home;
mod http_limits;
mod kept_uploads;
mod link_requests;
mod links;
pub mod login;
mod programs;
mod response;
pub mod rights;
pub mod server;
mod session;
mod settings;
pub mod share;
mod shared;
mod tickets;
pub mod tokens;
mod upload;
mod upload_cleaner;

pub use kept_uploads::{BYTES_MAX as UPLOADS_BYTES_MAX, FILES_MAX as UPLOADS_KEPT_MAX};
pub use links::LINKS_MAX;
pub use server::{WebError, WebServer};
pub use shared::{HomeLock, Setting, Words, Work};
pub use upload::UPLOADS_MAX;
