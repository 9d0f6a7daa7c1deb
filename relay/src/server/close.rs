//! Ends a connection in an orderly way: with a close code and a sentence for the peer's user.

use hobnob_protocol::relay::close;
use quinn::{Connection, VarInt};

/// The sentence for peers whose connection ends, or that arrive, while the relay stops.
pub(super) const STOPPING: &str = "this relay is stopping: try again later, or use another relay";

/// Ends a connection with a code of [`close`] and a sentence for the peer's user.
pub(super) fn end(connection: &Connection, code: u32, reason: &str) {
    tracing::debug!(from = %connection.remote_address(), code = close::name(code.into()), reason, "ending a connection");
    connection.close(VarInt::from_u32(code), reason.as_bytes());
}
