//! The operator's desk: answers the relay's local socket, to processes of the same user only.

use std::time::Duration;

use hobnob::protocol::PeerId;
use hobnob_control::wire::{Failure, Text, to_line};
use hobnob_local::line::{Line as Read, Lines};
use hobnob_local::socket::{Listener, is_same_user};
use hobnob_relay::server::{OperatorError, Server};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::lines::{End, Event, Line, Request, Row, failure};

/// Longest request, in bytes; a longer one is answered with an error.
const REQUEST_BYTES_MAX: usize = 4 * 1024;

/// Requests that are answered at once; a further connection is closed without a word.
const CONNECTIONS_MAX: usize = 32;

/// How long one request may take, the reading of its answer included.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// How long to leave the socket alone when the system has no file descriptor for another
/// connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Answers until `end`.
pub(super) async fn serve(listener: Listener, server: Server, end: CancellationToken) {
    let requests = TaskTracker::new();
    loop {
        let came = tokio::select! {
            came = listener.accept() => came,
            () = end.cancelled() => break,
        };
        match came {
            Ok(stream) if requests.len() < CONNECTIONS_MAX => {
                requests.spawn(
                    end.clone()
                        .run_until_cancelled_owned(one(stream, server.clone())),
                );
            }
            Ok(_) => tracing::warn!(
                "{CONNECTIONS_MAX} requests of the operator's are under way: refused another"
            ),
            Err(error) => {
                tracing::warn!(%error, "a connection to the control socket could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    requests.close();
    requests.wait().await;
}

async fn one(stream: UnixStream, server: Server) {
    match is_same_user(&stream) {
        Ok(true) => {}
        Ok(false) | Err(_) => {
            return tracing::warn!("refused a control connection of another user");
        }
    }
    match timeout(REQUEST_LIMIT, answer(stream, &server)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an operator's request was not answered"),
        Err(_) => tracing::debug!("an operator's request was not read or answered in time"),
    }
}

async fn answer(mut stream: UnixStream, server: &Server) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut lines = Lines::new(BufReader::new(reader), REQUEST_BYTES_MAX);
    let request = match lines.next().await? {
        Read::Whole(line) => serde_json::from_slice(line)
            .map_err(|error| Failure::usage(format!("this is no request: {error}"))),
        Read::TooLong => Err(Failure::usage(format!(
            "a request has at most {REQUEST_BYTES_MAX} bytes"
        ))),
        Read::End => return Ok(()),
    };
    let (events, end) = match request {
        Ok(request) => carry_out(request, server).await.map_or_else(
            |e| (Vec::new(), End::Error(failure(&e))),
            |e| (e, End::Done(true)),
        ),
        Err(failure) => (Vec::new(), End::Error(failure)),
    };
    for event in events {
        writer
            .write_all(to_line(&Line::from(event)).as_bytes())
            .await?;
    }
    writer.write_all(to_line(&end).as_bytes()).await
}

async fn carry_out(request: Request, server: &Server) -> Result<Vec<Event>, OperatorError> {
    let one = |event: fn(Text<PeerId>) -> Event, peer| vec![event(Text(peer))];
    Ok(match request {
        Request::Peers => {
            let table = server.table().await?;
            let peers = table
                .peers
                .into_iter()
                .map(|peer| Event::RelayPeer(Row::from(peer)));
            peers
                .chain(
                    table
                        .banned
                        .into_iter()
                        .map(|peer| Event::Banned { peer: Text(peer) }),
                )
                .collect()
        }
        Request::Kick { target } => one(|peer| Event::Kicked { peer }, server.kick(&target).await?),
        Request::Ban { target } => one(|peer| Event::Banned { peer }, server.ban(&target).await?),
        Request::Unban { target } => one(
            |peer| Event::Unbanned { peer },
            server.unban(&target).await?,
        ),
    })
}
