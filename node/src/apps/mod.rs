//! Datagrams and streams between application programs of two nodes.
//!
//! - [`App`] (in `handle`) is what a program has: it sends, and waits for what arrives.
//! - `registry` knows the programs of this node and the sessions with contacts, and brings them
//!   together. The engine informs it of sessions and of contacts, and is not involved in the bytes.
//!
//! The bytes of streams are moved by [`crate::net::app_stream`].

mod datagram;
mod error;
mod handle;
mod registry;

pub use self::datagram::AppDatagram;
pub use self::error::AppError;
pub use self::handle::{App, AppReader, AppStream, AppWriter};
pub(crate) use self::registry::Apps;
