//! The orderly end of connections.
//!
//! quinn keeps a closed connection for three probe time-outs (RFC 9000 section 10.2), and does not
//! report whether the other end has received the close. But the other end answers with a close
//! (section 10.2.2), and this module waits for that answer.

use std::time::Duration;

use quinn::{Connection, ConnectionError, VarInt};
use tokio::time::{interval, timeout};

use super::congestion;

/// How long the other ends have to confirm a close. An end that missed it notices the silence later.
const CONFIRM_LIMIT: Duration = Duration::from_secs(1);

/// How often the confirmations are checked.
const CHECK_EVERY: Duration = Duration::from_millis(2);

/// Closes a connection of [`super::endpoint`] with this code. The close is sent even while data waits
/// for acknowledgements; quinn's own `close` may not send it then. A reason that does not fit into a
/// packet is cut.
pub fn hang_up(connection: &Connection, code: u32, reason: &str) {
    congestion::lift(connection);
    connection.close(VarInt::from_u32(code), reason.as_bytes());
}

/// Closes connections with this code, and waits at most a second until the other ends have confirmed.
/// Connections that are closed already are left alone.
pub async fn say_goodbye(connections: &[Connection], code: u32, reason: &str) {
    let open: Vec<_> = connections
        .iter()
        .filter(|connection| connection.close_reason().is_none())
        .collect();
    for connection in &open {
        hang_up(connection, code, reason);
    }
    let mut checks = interval(CHECK_EVERY);
    let all = async {
        while !open.iter().all(|connection| is_confirmed(connection)) {
            checks.tick().await;
        }
    };
    if timeout(CONFIRM_LIMIT, all).await.is_err() {
        tracing::debug!("some peers did not confirm the goodbye");
    }
}

/// Whether the other end has closed the connection, too, or the connection is lost.
fn is_confirmed(connection: &Connection) -> bool {
    connection.stats().frame_rx.connection_close > 0
        || connection
            .close_reason()
            .is_some_and(|reason| reason != ConnectionError::LocallyClosed)
}
