//! The client of the control socket: sends requests to the node of a home, reads answers and
//! events.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::wire::{
    ANSWER_BYTES_MAX, Answer, Done, EventLine, Failure, HistoryFilter, MessageLine, MessageList,
    Outcome, Ping, REQUEST_BYTES_MAX, Request, RequestLine, Subscribe, WireEvent, to_line,
};
use hobnob_local::home::Home;
use hobnob_local::line::{Line, Lines};
use hobnob_local::socket;

/// How long the process at the other end may take to answer the first `ping`.
const GREETING_WITHIN: Duration = Duration::from_secs(5);

/// Maximum number of requests that wait to be written. [`Client::begin`] waits for room.
const LINES_MAX: usize = 16;

/// A connection to the node of a home. Clones share it, and the last one closes it.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let home = hobnob_control::Home::at(dir.path())?;
/// # let config = || hobnob::Config { listen: "127.0.0.1:0".parse().ok(), mdns: false, ..hobnob::Config::new(dir.path()) };
/// # let running = hobnob_control::attach::attach(&home, config).await?;
/// use hobnob_control::Client;
/// use hobnob_control::wire::{BroadcastMessage, GetStatus, HistoryFilter, Text, WaitOptions};
///
/// let client = Client::connect(&home).await?;
/// let status = client.ask(GetStatus {}).await?;
/// let say = |text: &str| BroadcastMessage {
///     room: Text(hobnob_protocol::RoomName::lobby()),
///     body: hobnob::Body::from(text).into(),
///     client_id: None,
///     options: WaitOptions::ON_DISK,
/// };
/// // The second request is sent before the first is answered.
/// let first = client.begin(say("one")).await?;
/// let second = client.begin(say("two")).await?;
/// let sent = [first.await?, second.await?];
/// let all = client.history(HistoryFilter::default()).await?;
/// assert_eq!((all[0].id, all[1].from), (sent[0].id, status.peer));
/// assert_eq!(all[1].id, sent[1].id);
/// # drop(client);
/// # running.finish().await;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    home: Home,
    lines: mpsc::Sender<String>,
    pending: Arc<Pending>,
    _tasks: Arc<[AbortOnDropHandle<()>; 2]>,
}

/// The reason why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No node of this home runs, or it was about to end. It received no request.
    #[error("no node of {home:?} is running ({error})")]
    NotRunning {
        /// The home.
        home: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// Homes share the folder of the socket, and the node of another home answers.
    #[error(
        "the node of another home, {other:?}, answers for this one, {home:?}: \
         they share a runtime folder, so start one of them with --home DIR"
    )]
    OtherHome {
        /// The home that was asked for.
        home: PathBuf,
        /// The home of the node that answers.
        other: PathBuf,
    },
    /// The socket belongs to another user's process.
    #[error(
        "the control socket {0:?} belongs to another user: choose a folder of your own with --home DIR"
    )]
    OtherUser(PathBuf),
    /// The node answered with a failure.
    #[error(transparent)]
    Refused(#[from] Failure),
    /// The request is longer than the node reads.
    #[error("a request has at most {REQUEST_BYTES_MAX} bytes; this one has {0}: send less at once")]
    TooLong(usize),
    /// The connection ended before the answer.
    #[error(
        "the node ended before it answered: check with `hobnob history` or `hobnob rooms` whether it did what you asked"
    )]
    Lost,
    /// The node's answer can't be read.
    #[error(
        "the node's answer can't be read ({0}): it may be another version of hobnob; restart it"
    )]
    Unreadable(String),
}

impl ClientError {
    /// Whether the node has ended or is about to. To continue, attach again.
    pub fn is_end(&self) -> bool {
        match self {
            ClientError::Lost | ClientError::NotRunning { .. } => true,
            ClientError::OtherHome { .. }
            | ClientError::OtherUser(_)
            | ClientError::Refused(_)
            | ClientError::TooLong(_)
            | ClientError::Unreadable(_) => false,
        }
    }
}

impl Client {
    /// Connects to the running node of `home` and checks that it answers.
    pub async fn connect(home: &Home) -> Result<Client, ClientError> {
        let (reader, writer) = open(home).await?;
        let (lines, requests) = mpsc::channel(LINES_MAX);
        let pending = Arc::new(Pending::default());
        let reads = tokio::spawn(read_answers(reader, Arc::clone(&pending)));
        let writes = tokio::spawn(write_requests(writer, requests));
        let tasks = Arc::new([
            AbortOnDropHandle::new(reads),
            AbortOnDropHandle::new(writes),
        ]);
        let client = Client {
            home: home.clone(),
            lines,
            pending,
            _tasks: tasks,
        };
        client.greet().await?;
        Ok(client)
    }

    /// Sends a request and waits for its answer.
    pub async fn ask<R: Request>(&self, request: R) -> Result<R::Answer, ClientError> {
        self.begin(request).await?.await
    }

    /// Sends a request. The returned future waits for the answer. Requests reach the node in the
    /// order in which they were begun.
    pub async fn begin<R: Request>(
        &self,
        request: R,
    ) -> Result<impl Future<Output = Result<R::Answer, ClientError>> + Send + use<R>, ClientError>
    {
        let (id, answer) = self.pending.add().ok_or(ClientError::Lost)?;
        let line = to_line(&RequestLine {
            id,
            request: request.into(),
        });
        if line.len() > REQUEST_BYTES_MAX {
            return Err(ClientError::TooLong(line.len()));
        }
        self.lines.send(line).await.map_err(|_| ClientError::Lost)?;
        // Keeps the connection open while the answer is awaited.
        let open = self._tasks.clone();
        Ok(async move {
            let outcome = answer.await;
            drop(open);
            match outcome.map_err(|_| ClientError::Lost)? {
                Outcome::Ok(value) => serde_json::from_value(value)
                    .map_err(|e| ClientError::Unreadable(e.to_string())),
                Outcome::Error(failure) => Err(failure.into()),
            }
        })
    }

    /// All messages that match `filter`, oldest first. Asks for as many pages as it takes.
    pub async fn history(
        &self,
        mut filter: HistoryFilter,
    ) -> Result<Vec<MessageLine>, ClientError> {
        let limit = filter.limit.unwrap_or(usize::MAX);
        let mut pages: Vec<Vec<MessageLine>> = Vec::new();
        let mut have = 0;
        loop {
            filter.limit = Some(limit - have);
            let page = self.history_page(filter.clone()).await?;
            have += page.messages.len();
            filter.before = page.messages.first().map(|oldest| oldest.id);
            let more = page.more && filter.before.is_some() && have < limit;
            pages.push(page.messages);
            if !more {
                return Ok(pages.into_iter().rev().flatten().collect());
            }
        }
    }

    /// One page of the messages that match `filter`.
    pub async fn history_page(&self, filter: HistoryFilter) -> Result<MessageList, ClientError> {
        self.ask(filter).await
    }

    /// Subscribes to the events from now on.
    pub async fn events(&self) -> Result<Subscription, ClientError> {
        let (reader, mut writer) = open(&self.home).await?;
        let subscribe = to_line(&RequestLine {
            id: 0,
            request: Subscribe {}.into(),
        });
        writer
            .write_all(subscribe.as_bytes())
            .await
            .map_err(|_| ClientError::Lost)?;
        let mut stream = Subscription {
            lines: reader,
            _writer: writer,
        };
        match stream.lines.next().await {
            Ok(Line::Whole(line)) => read_answer::<Done>(line)?,
            Ok(Line::TooLong | Line::End) | Err(_) => return Err(ClientError::Lost),
        };
        Ok(stream)
    }

    async fn greet(&self) -> Result<(), ClientError> {
        let pong = match tokio::time::timeout(GREETING_WITHIN, self.ask(Ping {})).await {
            Ok(Err(ClientError::Lost)) => {
                return Err(not_running(
                    &self.home,
                    io::ErrorKind::ConnectionReset.into(),
                ));
            }
            Err(_) => return Err(not_running(&self.home, io::ErrorKind::TimedOut.into())),
            Ok(pong) => pong?,
        };
        // A socket within the home belongs to it. Another one may belong to another home by now.
        let elsewhere = |path: &PathBuf| !path.starts_with(self.home.data_dir());
        if self.home.sockets().iter().any(elsewhere) && pong.home != self.home.data_dir() {
            return Err(ClientError::OtherHome {
                home: self.home.data_dir().to_owned(),
                other: pong.home,
            });
        }
        Ok(())
    }
}

/// A subscription to the node's events, on a connection of its own.
#[derive(Debug)]
pub struct Subscription {
    lines: Lines<BufReader<OwnedReadHalf>>,
    /// Closing it would end the subscription.
    _writer: OwnedWriteHalf,
}

impl Subscription {
    /// The next event, or none when the node has ended or is about to. Drop this subscription and
    /// its [`Client`] then, so that the node can end, and attach again to continue. Cancel safe.
    pub async fn next(&mut self) -> Option<WireEvent> {
        loop {
            let line = match self.lines.next().await {
                Ok(Line::Whole(line)) => line,
                Ok(Line::TooLong | Line::End) | Err(_) => return None,
            };
            match serde_json::from_slice::<EventLine>(line).map(|line| line.event) {
                Ok(WireEvent::Goodbye) => return None,
                Ok(WireEvent::Unknown) => {
                    tracing::debug!("skipped an event of a kind that only a newer version knows")
                }
                Ok(event) => return Some(event),
                Err(error) => tracing::warn!(%error, "an event line can't be read"),
            }
        }
    }
}

/// The requests that wait for an answer.
#[derive(Debug, Default)]
struct Pending {
    next_id: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    closed: bool,
    answers: HashMap<u64, oneshot::Sender<Outcome<Value>>>,
}

impl Pending {
    fn add(&self) -> Option<(u64, oneshot::Receiver<Outcome<Value>>)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (answer, receiver) = oneshot::channel();
        if waiting.closed {
            return None;
        }
        waiting.answers.insert(id, answer);
        Some((id, receiver))
    }

    fn answer(&self, answer: Answer<Value>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(asker) = answer.id.and_then(|id| waiting.answers.remove(&id)) else {
            return tracing::warn!(id = answer.id, "the node sent an answer without a request");
        };
        // The caller may have stopped waiting.
        let _dropped = asker.send(answer.outcome);
    }

    fn close(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.closed = true;
        waiting.answers.clear();
    }
}

/// Opens the control socket of the running node of `home`, for a caller that passes lines on
/// itself: the node's lines, and the stream for requests. [`Client`] is for all others.
pub async fn open(
    home: &Home,
) -> Result<(Lines<BufReader<OwnedReadHalf>>, OwnedWriteHalf), ClientError> {
    let mut failed = not_running(home, io::ErrorKind::NotFound.into());
    for path in home.sockets() {
        match socket::connect(&path).await {
            Ok(stream) if socket::is_same_user(&stream).map_err(|e| not_running(home, e))? => {
                let (reader, writer) = stream.into_split();
                return Ok((Lines::new(BufReader::new(reader), ANSWER_BYTES_MAX), writer));
            }
            Ok(_) => return Err(ClientError::OtherUser(path)),
            Err(error) => failed = not_running(home, error),
        }
    }
    Err(failed)
}

fn not_running(home: &Home, error: io::Error) -> ClientError {
    ClientError::NotRunning {
        home: home.data_dir().to_owned(),
        error,
    }
}

fn read_answer<T: DeserializeOwned>(line: &[u8]) -> Result<T, ClientError> {
    let answer: Answer<T> =
        serde_json::from_slice(line).map_err(|e| ClientError::Unreadable(e.to_string()))?;
    match answer.outcome {
        Outcome::Ok(value) => Ok(value),
        Outcome::Error(failure) => Err(failure.into()),
    }
}

async fn read_answers(mut lines: Lines<BufReader<OwnedReadHalf>>, pending: Arc<Pending>) {
    while let Ok(Line::Whole(line)) = lines.next().await {
        match serde_json::from_slice(line) {
            Ok(answer) => pending.answer(answer),
            // Events of programs come on the connection that registered them.
            Err(_) if serde_json::from_slice::<EventLine>(line).is_ok() => {}
            Err(error) => {
                tracing::warn!(%error, "the node's answer can't be read");
                break;
            }
        }
    }
    pending.close();
}

async fn write_requests(mut writer: OwnedWriteHalf, mut lines: mpsc::Receiver<String>) {
    while let Some(line) = lines.recv().await {
        if writer.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}
