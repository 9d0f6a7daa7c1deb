//! One control connection: reads requests, carries them out side by side, writes answers as they
//! are ready.
//!
//! At most [`IN_FLIGHT_MAX`] requests are carried out at once. Further lines stay in the socket,
//! which slows down a client that asks too fast. Requests that change something get a ticket in the
//! order of their lines; waiting for a delivery is not part of it.

use std::sync::Arc;
use std::time::Duration;

use rustix::net::SendFlags;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::order::Order;
use super::programs::Programs;
use super::{Serving, requests};
use crate::wire::{
    Answer, AnyRequest, Done, EventLine, Outcome, REQUEST_BYTES_MAX, RequestLine, Subscribe,
    WireEvent, parse_request, to_line, too_long,
};
use hobnob::{Events, Lagged};
use hobnob_local::line::{Line, Lines};

/// Maximum number of requests of one connection that are carried out at once.
const IN_FLIGHT_MAX: usize = 64;

/// Maximum number of lines that wait to be written to one connection. Whatever produces the next
/// one waits.
const LINES_MAX: usize = 64;

/// How long a client may stay connected after the goodbye without a request under way.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// Serves `stream` until the client disconnects or the server ends.
pub(super) async fn run(stream: UnixStream, serving: Serving) {
    let (reader, writer) = stream.into_split();
    let (out, lines) = mpsc::channel(LINES_MAX);
    let over = serving.ends.now.child_token();
    let tasks = TaskTracker::new();
    let programs_end = over.child_token();
    let programs = Programs::new(
        serving.node.clone(),
        out.clone(),
        tasks.clone(),
        programs_end.clone(),
    );
    let mut connection = Connection {
        serving: serving.clone(),
        out,
        over: over.clone(),
        in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
        tasks,
        order: Order::default(),
        programs,
    };
    let read_and_answer = async {
        connection.read(reader).await;
        programs_end.cancel();
        connection.tasks.close();
        connection.tasks.wait().await;
        drop(connection);
    };
    tokio::join!(read_and_answer, write(writer, lines, serving, over));
}

struct Connection {
    serving: Serving,
    out: mpsc::Sender<String>,
    /// The client has disconnected, or the server ends now: all waiting ends.
    over: CancellationToken,
    in_flight: Arc<Semaphore>,
    tasks: TaskTracker,
    order: Order,
    programs: Arc<Programs>,
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
                () = self.client_stays_idle() => break,
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

    /// Waits for room for one more request. None when the connection is over.
    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            permit = Arc::clone(&self.in_flight).acquire_owned() => permit.ok(),
            () = self.over.cancelled() => None,
        }
    }

    /// Resolves when the server is about to end and this client has no request under way but stays
    /// connected.
    async fn client_stays_idle(&self) {
        leave_time_over(&self.serving).await;
        // All but the one permit that the reader itself holds.
        let others = u32::try_from(IN_FLIGHT_MAX - 1).expect("a small constant");
        let _all = self.in_flight.acquire_many(others).await;
    }

    async fn start(
        &mut self,
        request: Result<RequestLine, Answer<Done>>,
        permit: OwnedSemaphorePermit,
        subscriptions: &mut CancellationToken,
    ) {
        match request {
            Err(answer) => self.put(to_line(&answer)).await,
            Ok(RequestLine {
                id,
                request: AnyRequest::Subscribe(Subscribe {}),
            }) => {
                // A second subscription replaces the first, so that no line comes twice.
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
                let ticket = request.request.changes().then(|| self.order.next());
                let (serving, out, over) =
                    (self.serving.clone(), self.out.clone(), self.over.clone());
                let programs = self.programs.clone();
                self.tasks.spawn(async move {
                    let line = requests::answer(&serving, &programs, request, ticket, &over).await;
                    drop(permit);
                    // An error means that the writer has ended.
                    let _gone = out.send(line).await;
                });
            }
        }
    }

    async fn put(&self, line: String) {
        tokio::select! {
            sent = self.out.send(line) => drop(sent),
            () = self.over.cancelled() => {}
        }
    }
}

/// Writes events as lines until the subscription or the server ends. A slow reader loses events; the
/// node does not store more of them for it.
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

/// Writes lines until there are no more or the client has stopped reading.
async fn write(
    mut writer: OwnedWriteHalf,
    mut lines: mpsc::Receiver<String>,
    serving: Serving,
    over: CancellationToken,
) {
    while let Some(line) = lines.recv().await {
        let written = tokio::select! {
            written = writer.write_all(line.as_bytes()) => written.is_ok(),
            () = leave_time_over(&serving) => false,
        };
        if !written {
            return over.cancel();
        }
    }
}

/// Resolves [`LEAVE_WITHIN`] after the server was asked to end.
async fn leave_time_over(serving: &Serving) {
    serving.ends.when_idle.cancelled().await;
    tokio::time::sleep(LEAVE_WITHIN).await;
}

/// Whether the client has closed both directions, rather than only its requests: sending nothing is
/// an error then.
fn has_gone(reader: &OwnedReadHalf) -> bool {
    let stream: &UnixStream = reader.as_ref();
    rustix::net::send(stream, &[], SendFlags::DONTWAIT | SendFlags::NOSIGNAL).is_err()
}
