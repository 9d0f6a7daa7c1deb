//! The relay's local socket: answers requests of the operator. It serves processes of the same user,
//! of root, and of the members of `--admin-group`.

use std::io;
use std::time::Duration;

use hobnob_local::json::{Text, to_line};
use hobnob_local::line::{Line, Lines};
use hobnob_local::socket::{Access, Listener};
use hobnob_relay::server::{OperatorError, Server};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin_lines::{AdminEnd, AdminError, AdminRequest, PeerRow, RelayEvent, RelayEventLine};

/// Longest request, in bytes. A longer one is answered with an error.
const REQUEST_BYTES_MAX: usize = 4 * 1024;

/// Maximum concurrent requests. Further connections are closed without an answer.
const CONNECTIONS_MAX: usize = 32;

/// Time limit for one request, including the time to read its answer.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// Pause after a failed accept, for example when no file descriptor is free.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves requests until `stop` is cancelled, then waits for those in progress to end.
pub(crate) async fn serve(
    listener: Listener,
    access: Access,
    server: Server,
    stop: CancellationToken,
) {
    let requests = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok(stream) if requests.len() < CONNECTIONS_MAX => {
                requests.spawn(stop.clone().run_until_cancelled_owned(serve_one(
                    stream,
                    access,
                    server.clone(),
                )));
            }
            Ok(_) => tracing::warn!(
                "rejected a control connection: {CONNECTIONS_MAX} requests are in progress, the maximum"
            ),
            Err(error) => {
                tracing::warn!(%error, "can't accept a control connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    requests.close();
    requests.wait().await;
}

async fn serve_one(stream: UnixStream, access: Access, server: Server) {
    match access.admits(&stream) {
        Ok(true) => {}
        Ok(false) | Err(_) => {
            return tracing::warn!("rejected a control connection of another user");
        }
    }
    match timeout(REQUEST_LIMIT, answer(stream, &server)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a control connection failed"),
        Err(_) => tracing::debug!("a control request timed out"),
    }
}

async fn answer(mut stream: UnixStream, server: &Server) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut lines = Lines::new(BufReader::new(reader), REQUEST_BYTES_MAX);
    let request = match lines.next().await? {
        Line::Whole(line) => serde_json::from_slice(line)
            .map_err(|error| AdminError::usage(format!("invalid request: {error}"))),
        Line::TooLong => Err(AdminError::usage(format!(
            "the request is longer than {REQUEST_BYTES_MAX} bytes"
        ))),
        Line::End => return Ok(()),
    };
    let outcome = match request {
        Ok(request) => execute(request, server)
            .await
            .map_err(|error| AdminError::from(&error)),
        Err(error) => Err(error),
    };
    let (events, end) = match outcome {
        Ok(events) => (events, AdminEnd::Done(true)),
        Err(error) => (Vec::new(), AdminEnd::Error(error)),
    };
    for event in events {
        writer
            .write_all(to_line(&RelayEventLine::from(event)).as_bytes())
            .await?;
    }
    writer.write_all(to_line(&end).as_bytes()).await
}

async fn execute(request: AdminRequest, server: &Server) -> Result<Vec<RelayEvent>, OperatorError> {
    let event = match request {
        AdminRequest::Peers => return peers(server).await,
        AdminRequest::Bans => {
            let table = server.summary().await?;
            return Ok(table.bans.targets().map(RelayEvent::banned).collect());
        }
        AdminRequest::Kick { target } => RelayEvent::Kicked {
            peer: Text(server.kick(&target).await?),
        },
        AdminRequest::Ban { target } => RelayEvent::banned(server.ban(&target).await?),
        AdminRequest::Drain => RelayEvent::Drained {
            peers: server.drain().await?,
        },
        AdminRequest::Unban { target } => RelayEvent::unbanned(server.unban(&target).await?),
    };
    Ok(vec![event])
}

async fn peers(server: &Server) -> Result<Vec<RelayEvent>, OperatorError> {
    let table = server.table().await?;
    let peers = table
        .peers
        .into_iter()
        .map(|peer| RelayEvent::RelayPeer(PeerRow::from(peer)));
    let banned = table.bans.targets().map(RelayEvent::banned);
    Ok(peers.chain(banned).collect())
}
