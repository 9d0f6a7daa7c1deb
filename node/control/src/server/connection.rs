//! One control connection: reads requests, carries them out side by side, writes answers as they
//! are ready.
//!
//! At most [`IN_FLIGHT_MAX`] requests are being carried out; further lines stay in the socket, so a
//! client that asks too fast is slowed down. Commands that change something get a [`Turn`] in the
//! order of their lines; waiting for a delivery is not part of it.

use std::sync::Arc;
use std::time::Duration;

use rustix::net::SendFlags;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Serving, requests};
use crate::wire::{
    Answer, Command, Done, EventLine, Outcome, REQUEST_BYTES_MAX, Request, WireEvent,
    parse_request, to_line, too_long,
};
use hobnob::{Events, Lagged};
use hobnob_local::line::{Line, Lines};

/// Requests of one connection that are carried out at once.
const IN_FLIGHT_MAX: usize = 64;

/// Lines that wait to be written to one connection; then whoever has the next one waits.
const LINES_MAX: usize = 64;

/// How long a client may stay after the goodbye with nothing asked.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// Serves `stream` until the client has left, or the server ends.
pub(super) async fn run(stream: UnixStream, serving: Serving) {
    let (reader, writer) = stream.into_split();
    let (out, lines) = mpsc::channel(LINES_MAX);
    let over = serving.ends.now.child_token();
    let mut connection = Connection {
        serving: serving.clone(),
        out,
        over: over.clone(),
        in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
        tasks: TaskTracker::new(),
        last_turn: None,
    };
    let read_and_answer = async {
        connection.read(reader).await;
        connection.tasks.close();
        connection.tasks.wait().await;
        drop(connection);
    };
    tokio::join!(read_and_answer, write(writer, lines, serving, over));
}

struct Connection {
    serving: Serving,
    out: mpsc::Sender<String>,
    /// The client has gone, or the server ends now: nobody waits for anything any more.
    over: CancellationToken,
    in_flight: Arc<Semaphore>,
    tasks: TaskTracker,
    /// Ends when the last command that changes something has had its turn.
    last_turn: Option<oneshot::Receiver<()>>,
}

/// A place in the order of commands that change something. Dropping it lets the next one go ahead.
pub(super) struct Turn {
    before: Option<oneshot::Receiver<()>>,
    _done: oneshot::Sender<()>,
}

impl Turn {
    /// Waits until all that came earlier have had their turn.
    pub(super) async fn come(&mut self) {
        if let Some(before) = self.before.take() {
            // The error is the signal: it comes when the one before is dropped.
            let _ended = before.await;
        }
    }
}

impl Connection {
    async fn read(&mut self, reader: OwnedReadHalf) {
        let mut lines = Lines::new(BufReader::new(reader), REQUEST_BYTES_MAX);
        let mut subscriptions = CancellationToken::new();
        loop {
            let Some(permit) = self.permit().await else {
                break;
            };
            let line = tokio::select! {
                line = lines.next() => line,
                () = self.outstayed() => break,
                () = self.over.cancelled() => break,
            };
            match line {
                Ok(Line::Whole(line)) => {
                    self.start(parse_request(line), permit, &mut subscriptions)
                        .await
                }
                Ok(Line::TooLong) => self.put(to_line(&too_long())).await,
                Ok(Line::End) | Err(_) => break,
            }
        }
        subscriptions.cancel();
        if has_gone(lines.reader().get_ref()) {
            self.over.cancel();
        }
    }

    /// Room for one more request. None when the connection is over.
    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            permit = Arc::clone(&self.in_flight).acquire_owned() => permit.ok(),
            () = self.over.cancelled() => None,
        }
    }

    /// Resolves when the server is to end, and this client neither asks nor goes.
    async fn outstayed(&self) {
        late(&self.serving).await;
        // All but the one permit that the reader itself holds.
        let others = u32::try_from(IN_FLIGHT_MAX - 1).expect("a small constant");
        let _all = self.in_flight.acquire_many(others).await;
    }

    async fn start(
        &mut self,
        request: Result<Request, Answer<Done>>,
        permit: OwnedSemaphorePermit,
        subscriptions: &mut CancellationToken,
    ) {
        match request {
            Err(answer) => self.put(to_line(&answer)).await,
            Ok(Request {
                id,
                command: Command::Subscribe,
            }) => {
                // A second subscription takes the place of the first: no line comes twice.
                subscriptions.cancel();
                *subscriptions = self.over.child_token();
                let events = self.serving.node.events();
                self.put(to_line(&Answer {
                    id: Some(id),
                    outcome: Outcome::Ok(Done {}),
                }))
                .await;
                let end = self.serving.ends.when_idle.clone();
                self.tasks.spawn(forward(
                    events,
                    self.out.clone(),
                    subscriptions.clone(),
                    end,
                ));
            }
            Ok(request) => {
                let turn = self.turn(&request.command);
                let (serving, out, over) =
                    (self.serving.clone(), self.out.clone(), self.over.clone());
                self.tasks.spawn(async move {
                    let line = requests::answer(&serving, request, turn, &over).await;
                    drop(permit);
                    // An error means that nobody reads any more.
                    let _gone = out.send(line).await;
                });
            }
        }
    }

    fn turn(&mut self, command: &Command) -> Option<Turn> {
        let changes = match command {
            Command::Send { .. }
            | Command::Offer { .. }
            | Command::Accept { .. }
            | Command::Decline { .. }
            | Command::Broadcast { .. }
            | Command::Join { .. }
            | Command::Part { .. }
            | Command::Nick { .. }
            | Command::Ignore { .. }
            | Command::Unignore { .. }
            | Command::Block { .. }
            | Command::Unblock { .. }
            | Command::Kick { .. }
            | Command::Verify {
                confirm: Some(_), ..
            } => true,
            Command::Ping
            | Command::Status
            | Command::Peers { .. }
            | Command::History(_)
            | Command::Rooms
            | Command::Files
            | Command::Subscribe
            | Command::Verify { confirm: None, .. }
            | Command::Doctor
            | Command::Why { .. }
            | Command::Resolve { .. } => false,
        };
        changes.then(|| {
            let (done, next) = oneshot::channel();
            Turn {
                before: self.last_turn.replace(next),
                _done: done,
            }
        })
    }

    async fn put(&self, line: String) {
        tokio::select! {
            sent = self.out.send(line) => drop(sent),
            () = self.over.cancelled() => {}
        }
    }
}

/// Writes events as lines until the subscription or the server ends. A reader that is slow makes
/// the node's events fall behind, which costs it events, never the node memory.
async fn forward(
    mut events: Events,
    out: mpsc::Sender<String>,
    unsubscribed: CancellationToken,
    end: CancellationToken,
) {
    loop {
        let event = tokio::select! {
            biased;
            () = unsubscribed.cancelled(), if !end.is_cancelled() => return,
            () = end.cancelled() => WireEvent::Goodbye,
            event = events.next() => match event {
                Ok(event) => event.into(),
                Err(Lagged::Behind(missed)) => WireEvent::Lagged { missed },
                Err(Lagged::Stopped) => WireEvent::Goodbye,
            },
        };
        let last = event == WireEvent::Goodbye;
        if out.send(to_line(&EventLine::from(event))).await.is_err() || last {
            return;
        }
    }
}

/// Writes lines until there are no more, or the client takes none.
async fn write(
    mut writer: OwnedWriteHalf,
    mut lines: mpsc::Receiver<String>,
    serving: Serving,
    over: CancellationToken,
) {
    while let Some(line) = lines.recv().await {
        let written = tokio::select! {
            written = writer.write_all(line.as_bytes()) => written.is_ok(),
            () = late(&serving) => false,
        };
        if !written {
            return over.cancel();
        }
    }
}

/// Resolves some time after the server was told to end.
async fn late(serving: &Serving) {
    serving.ends.when_idle.cancelled().await;
    tokio::time::sleep(LEAVE_WITHIN).await;
}

/// Whether the other end is closed in both directions, rather than only done with asking: then
/// sending nothing is an error.
fn has_gone(reader: &OwnedReadHalf) -> bool {
    let stream: &UnixStream = reader.as_ref();
    rustix::net::send(stream, &[], SendFlags::DONTWAIT | SendFlags::NOSIGNAL).is_err()
}
