//! One WebSocket: a client that sends its token, and then JSON lines.
//!
//! The lines pass to a connection to the node's control socket, and back. Each direction has its own
//! loop, so that a client that sends without reading is slowed down and nothing waits in a circle.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hobnob_control::client;
use hobnob_control::wire::{
    Admitted, Answer, Done, Failure, Outcome, REQUEST_BYTES_MAX, TokenLine, parse_request, to_line,
};
use hobnob_local::line::{Line, Lines};
use serde::Serialize;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::response::HttpError;
use crate::rights;
use crate::shared::Shared;
use crate::tokens::Token;

/// How long a client may take to send its token.
pub(crate) const TOKEN_WITHIN: Duration = Duration::from_secs(5);

/// How often the server checks whether the token of a connection was revoked or has expired. Each
/// request checks it, too.
pub(crate) const CHECK_EVERY: Duration = Duration::from_secs(30);

/// Maximum number of refusals that wait to be written. The next one waits.
const REFUSALS_MAX: usize = 16;

/// How long the last message to a client may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Close codes. Those of 4000 and more are for the application (RFC 6455 section 7.4.2).
mod code {
    /// The server or the node stops.
    pub(super) const RESTART: u16 = 1012;
    /// The node does not run.
    pub(super) const TRY_AGAIN: u16 = 1013;
    /// The token is missing, wrong, expired or revoked.
    pub(super) const FORBIDDEN: u16 = 4401;
}

/// Accepts a WebSocket. `guard` has checked `Host` and `Origin`.
pub(crate) async fn upgrade(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let Ok(place) = Arc::clone(&shared.websockets).try_acquire_owned() else {
        let failure = Failure::fault("too many WebSockets are open: close one");
        return HttpError::new(StatusCode::SERVICE_UNAVAILABLE, failure).into_response();
    };
    let from_page = headers.contains_key(ORIGIN);
    let tasks = shared.tasks.clone();
    upgrade
        .max_message_size(REQUEST_BYTES_MAX)
        .max_frame_size(REQUEST_BYTES_MAX)
        .on_upgrade(move |socket| {
            tasks.track_future(async move {
                serve(socket, &shared, from_page).await;
                drop(place);
            })
        })
}

async fn serve(mut socket: WebSocket, shared: &Shared, from_page: bool) {
    let first = tokio::select! {
        first = tokio::time::timeout(TOKEN_WITHIN, socket.recv()) => first,
        () = shared.stop.cancelled() => return,
    };
    let first = match first {
        Ok(Some(Ok(Message::Text(text)))) => Some(text),
        Ok(Some(Ok(_)) | Some(Err(_)) | None) | Err(_) => None,
    };
    let admitted = first.map_or_else(
        || Err("the first message must be {\"token\":\"…\"}, within 5 s".to_owned()),
        |text| admit(shared, text.as_str(), from_page),
    );
    let token = match admitted {
        Ok(token) => token,
        Err(why) => return refuse(socket, code::FORBIDDEN, &Failure::forbidden(why)).await,
    };
    match client::open(&shared.home).await {
        Ok((lines, requests)) => carry(socket, shared, token, lines, requests).await,
        Err(error) => refuse(socket, code::TRY_AGAIN, &Failure::fault(error)).await,
    }
}

/// The token of the first message, or the reason why it is not valid.
fn admit(shared: &Shared, text: &str, from_page: bool) -> Result<Token, String> {
    let line: TokenLine = serde_json::from_str(text)
        .map_err(|error| format!("the first message must be {{\"token\":\"…\"}}: {error}"))?;
    let now = clock::now_ms();
    let token = shared.tokens.admit(&line.token, now);
    let token = token.map_err(|error| error.to_string())?;
    // A browser always names the origin, and another one was refused. So a page's token that comes
    // without an origin was copied out of the browser.
    let token = token.filter(|token| from_page || !token.page);
    let token = token.ok_or(
        "this token is wrong, expired or revoked: run `hobnob web` or `hobnob token create`",
    )?;
    if token.page {
        let prolonged = shared.tokens.prolong(&token, now);
        prolonged.map_err(|error| error.to_string())?;
    }
    Ok(token)
}

async fn refuse(mut socket: WebSocket, code: u16, failure: &Failure) {
    let line = answer::<Done>(Outcome::Error(failure.clone()));
    let last = async {
        socket.send(Message::text(line)).await?;
        socket.send(closing(code, &failure.text)).await
    };
    // A client that does not read this has gone.
    let _gone = tokio::time::timeout(CLOSE_WITHIN, last).await;
}

fn answer<T: Serialize>(outcome: Outcome<T>) -> String {
    let line = to_line(&Answer { id: None, outcome });
    line.trim_end().to_owned()
}

/// A close message. Its reason has at most 123 bytes (RFC 6455 section 5.5).
fn closing(code: u16, reason: &str) -> Message {
    let fits = (0..=reason.len().min(120)).rev();
    let end = fits.into_iter().find(|at| reason.is_char_boundary(*at));
    let reason = &reason[..end.expect("0 is a boundary")];
    Message::Close(Some(CloseFrame {
        code,
        reason: reason.into(),
    }))
}

async fn carry(
    socket: WebSocket,
    shared: &Shared,
    token: Token,
    lines: Lines<BufReader<OwnedReadHalf>>,
    requests: OwnedWriteHalf,
) {
    let (mut to_client, from_client) = socket.split();
    let welcome = answer(Outcome::Ok(Admitted {
        rights: token.rights.clone(),
    }));
    if to_client.send(Message::text(welcome)).await.is_err() {
        return;
    }
    // The node runs, so it can say which uploads are over.
    shared.kept_uploads.look_again();
    let (refusals, refused) = mpsc::channel(REFUSALS_MAX);
    let over = shared.stop.child_token();
    let reading = Reading {
        shared,
        token: &token,
        requests,
        refusals,
    };
    let writing = Writing {
        shared,
        token: &token,
        to_client,
        over: over.clone(),
    };
    // Whichever direction ends first ends the other. What was read until then is answered.
    let read = async {
        tokio::select! {
            () = reading.run(from_client) => {}
            () = over.cancelled() => {}
        }
        over.cancel();
    };
    tokio::join!(read, writing.run(lines, refused));
}

/// The direction from the client to the node.
struct Reading<'a> {
    shared: &'a Shared,
    token: &'a Token,
    requests: OwnedWriteHalf,
    refusals: mpsc::Sender<String>,
}

impl Reading<'_> {
    async fn run(mut self, mut from_client: SplitStream<WebSocket>) {
        while let Some(Ok(message)) = from_client.next().await {
            let going_on = match message {
                Message::Text(text) => self.pass(text.as_str()).await,
                Message::Binary(_) => {
                    let failure = Failure::usage("a request is a text message");
                    self.say(answer::<Done>(Outcome::Error(failure))).await
                }
                // The library answers a ping.
                Message::Ping(_) | Message::Pong(_) => true,
                Message::Close(_) => false,
            };
            if !going_on {
                return;
            }
        }
    }

    /// Passes one request on. False if the connection is over.
    async fn pass(&mut self, text: &str) -> bool {
        let line = match parse_request(text.as_bytes()) {
            Ok(line) => line,
            Err(answer) => return self.say(to_line(&answer)).await,
        };
        let now = clock::now_ms();
        if !self.shared.tokens.still_admits(self.token, now) {
            return false;
        }
        let right = rights::needed(&line.request);
        if !self.token.rights.contains(&right) {
            let why = format!("this token does not have the right `{}`", right.as_str());
            let refusal: Answer<Done> = Answer {
                id: Some(line.id),
                outcome: Outcome::Error(Failure::forbidden(why)),
            };
            return self.say(to_line(&refusal)).await;
        }
        // Written again, because the text may contain line feeds.
        let line = to_line(&line);
        self.requests.write_all(line.as_bytes()).await.is_ok()
    }

    async fn say(&self, line: String) -> bool {
        self.refusals.send(line).await.is_ok()
    }
}

/// The direction from the node to the client.
struct Writing<'a> {
    shared: &'a Shared,
    token: &'a Token,
    to_client: SplitSink<WebSocket, Message>,
    over: CancellationToken,
}

impl Writing<'_> {
    async fn run(
        mut self,
        mut lines: Lines<BufReader<OwnedReadHalf>>,
        mut refused: mpsc::Receiver<String>,
    ) {
        let mut check = tokio::time::interval(CHECK_EVERY);
        let (code, reason) = loop {
            let line = tokio::select! {
                () = self.over.cancelled() => break self.end(),
                Some(line) = refused.recv() => line,
                line = lines.next() => match line {
                    Ok(Line::Whole(line)) => String::from_utf8_lossy(line).into_owned(),
                    Ok(Line::TooLong | Line::End) | Err(_) => {
                        break (code::RESTART, "the node has ended");
                    }
                },
                _ = check.tick() => match self.is_valid() {
                    true => continue,
                    false => break (code::FORBIDDEN, "the token was revoked or has expired"),
                },
            };
            let message = Message::text(line.trim_end());
            let sent = tokio::select! {
                sent = self.to_client.send(message) => sent.is_ok(),
                () = self.over.cancelled() => break self.end(),
            };
            if !sent {
                break (code::RESTART, "the client has gone");
            }
        };
        self.over.cancel();
        let last = self.to_client.send(closing(code, reason));
        // A client that does not read this has gone.
        let _gone = tokio::time::timeout(CLOSE_WITHIN, last).await;
    }

    /// Why the other direction has ended.
    fn end(&self) -> (u16, &'static str) {
        if self.is_valid() {
            (code::RESTART, "the connection ends")
        } else {
            (code::FORBIDDEN, "the token was revoked or has expired")
        }
    }

    fn is_valid(&self) -> bool {
        self.shared.tokens.still_admits(self.token, clock::now_ms())
    }
}
