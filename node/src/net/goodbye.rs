//! The orderly end of connections.
//!
//! quinn keeps a connection that it has closed for three probe time-outs, whatever comes (RFC 9000
//! section 10.2), and does not say whether the other end has heard. But who hears a close answers
//! with one (section 10.2.2), and that is seen here.

use std::time::Duration;

use quinn::{Connection, ConnectionError, VarInt};
use tokio::time::{interval, timeout};

use super::congestion;

/// How long the other ends have to confirm that they heard. One that did not hear will find out by
/// itself.
const CONFIRM_LIMIT: Duration = Duration::from_secs(1);

/// How often it is looked whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Ends a connection of [`super::endpoint`]'s with this code, and is heard also while data waits
/// for acknowledgements, as after quinn's own `close` it may not be. Words that do not fit into a
/// packet are cut.
pub fn hang_up(connection: &Connection, code: u32, reason: &str) {
    congestion::lift(connection);
    connection.close(VarInt::from_u32(code), reason.as_bytes());
}

/// Ends connections with this code, and waits until the other ends have confirmed that, or a
/// second. Those that are over already are left alone.
pub async fn say_goodbye(connections: &[Connection], code: u32, reason: &str) {
    let open: Vec<_> = connections
        .iter()
        .filter(|connection| connection.close_reason().is_none())
        .collect();
    for connection in &open {
        hang_up(connection, code, reason);
    }
    let mut look = interval(LOOK_EVERY);
    let all = async {
        while !open.iter().all(|connection| is_confirmed(connection)) {
            look.tick().await;
        }
    };
    if timeout(CONFIRM_LIMIT, all).await.is_err() {
        tracing::debug!("some did not confirm our goodbye");
    }
}

/// Whether the other end has closed the connection, too, or there is no other end any more.
fn is_confirmed(connection: &Connection) -> bool {
    connection.stats().frame_rx.connection_close > 0
        || connection
            .close_reason()
            .is_some_and(|reason| reason != ConnectionError::LocallyClosed)
}
