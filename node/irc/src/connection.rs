//! One connection: finds out what the client speaks, then drives a session.
//!
//! What a client reads too slowly is not stored without limit: while [`OUTPUT_BYTES_MAX`] bytes
//! wait to be sent, neither lines of the client nor events of the node are taken. The node keeps
//! the messages on disk, and they are read back later.

use std::io;
use std::time::Duration;

use hobnob_control::wire::{Failure, Time};
use hobnob_control::{Client, ClientError, EventStream, Home, SeenIds};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::face::{Face, Output};
use crate::first_bytes::{FIRST_BYTES_MAX, Speaks, speaks};
use crate::input::{Input, Next};
use crate::markers::ReadMarkers;
use crate::plain::Plain;
use crate::session::Session;
use crate::token::Token;

/// Bytes that wait to be sent to one client, beyond which nothing more is taken in.
pub(crate) const OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// A client of an address for lines that is silent for this long gets the welcome.
const SILENT_FOR: Duration = Duration::from_millis(300);

/// Time for the first line, at an address for IRC alone.
const FIRST_LINE_WITHIN: Duration = Duration::from_secs(30);

/// Pause between two calls of [`Face::tick`].
const TICK: Duration = Duration::from_millis(500);

/// A client that reads nothing for this many ticks, while bytes wait for it, is disconnected.
const STALLED_TICKS_MAX: u32 = 120;

const NO_IRC: &str = "! This address has no IRC: use that of --irc.\n";

const ONLY_IRC: &str = "ERROR :this address has IRC only: send NICK and USER\r\n";

/// Bytes of one read.
const READ_BYTES: usize = 16 * 1024;

/// What the clients of an address may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub(crate) irc: bool,
    pub(crate) lines: bool,
}

/// Serves one client until it disconnects, or until `over`.
pub(crate) async fn run(
    mut stream: TcpStream,
    home: Home,
    markers: ReadMarkers,
    allowed: Allowed,
    over: CancellationToken,
) {
    let outcome = tokio::select! {
        outcome = serve(&mut stream, &home, markers, allowed, &over) => outcome,
        () = gone(&over) => Ok(()),
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a client's connection ended");
    }
}

/// A client that does not read its last line can't hold up the end.
async fn gone(over: &CancellationToken) {
    over.cancelled().await;
    tokio::time::sleep(TICK).await;
}

async fn serve(
    stream: &mut TcpStream,
    home: &Home,
    markers: ReadMarkers,
    allowed: Allowed,
    over: &CancellationToken,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (first, ended) = first_bytes(stream, allowed).await?;
    let speaks = speaks(&first, ended);
    let face = match speaks {
        Speaks::Refused => return Ok(()),
        Speaks::Irc if allowed.irc => irc(home, markers.clone()),
        Speaks::Irc => Err(NO_IRC.to_owned()),
        Speaks::Lines | Speaks::Undecided if allowed.lines => Ok(lines()),
        Speaks::Lines | Speaks::Undecided => Err(ONLY_IRC.to_owned()),
    };
    let face = match face {
        Ok(face) => face,
        Err(why) => return stream.write_all(why.as_bytes()).await,
    };
    let mut input = Input::default();
    input.push(&first);
    let driver = Driver {
        face,
        stream,
        home,
        markers,
        input,
        output: Vec::new(),
        node: None,
        asks: JoinSet::new(),
        first_line_of: (speaks == Speaks::Undecided).then_some(allowed),
        ended,
        closing: false,
        stalled: 0,
    };
    driver.run(over).await
}

/// Reads until it is clear what the client speaks.
async fn first_bytes(stream: &mut TcpStream, allowed: Allowed) -> io::Result<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; FIRST_BYTES_MAX];
    loop {
        let wait = match allowed.lines {
            true => SILENT_FOR,
            false => FIRST_LINE_WITHIN,
        };
        let Ok(read) = timeout(wait, stream.read(&mut buffer)).await else {
            return Ok((bytes, false));
        };
        let read = read?;
        bytes.extend_from_slice(&buffer[..read]);
        if read == 0 || speaks(&bytes, false) != Speaks::Undecided {
            return Ok((bytes, read == 0));
        }
    }
}

fn irc(home: &Home, markers: ReadMarkers) -> Result<Box<dyn Face>, String> {
    match Token::of_home(home.data_dir(), false) {
        Ok(token) => Ok(Box::new(Session::new(token, markers, now()))),
        Err(error) => {
            tracing::warn!(%error, "an IRC client was refused");
            Err("ERROR :this node can't read its token: see its log\r\n".to_owned())
        }
    }
}

fn lines() -> Box<dyn Face> {
    Box::new(Plain::new(TimeZone::system()))
}

fn now() -> Time {
    Time::from(Timestamp::now())
}

/// The connections to the node.
struct Node {
    client: Client,
    events: EventStream,
    seen: SeenIds,
}

/// A session and what it works with.
struct Driver<'a> {
    face: Box<dyn Face>,
    stream: &'a mut TcpStream,
    home: &'a Home,
    markers: ReadMarkers,
    input: Input,
    output: Vec<u8>,
    node: Option<Node>,
    asks: JoinSet<(u64, Result<Value, Failure>)>,
    /// What the client may speak, while its first line is missing. It was silent, so it was taken
    /// for one that sends lines.
    first_line_of: Option<Allowed>,
    /// The client sends nothing more.
    ended: bool,
    closing: bool,
    stalled: u32,
}

/// What happened next.
enum Happened {
    Read(io::Result<usize>),
    Wrote(io::Result<usize>),
    Answered(u64, Result<Value, Failure>),
    Event(Box<Result<Option<hobnob_control::wire::WireEvent>, ClientError>>),
    Tick,
    Over,
}

impl Driver<'_> {
    async fn run(mut self, over: &CancellationToken) -> io::Result<()> {
        let mut buffer = vec![0; READ_BYTES];
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.perform().await;
            self.take_lines().await;
            let idle = self.ended && self.input.bytes().is_empty() && !self.face.waits();
            if self.output.is_empty() && (self.closing || (idle && self.node.is_some())) {
                return self.stream.shutdown().await;
            }
            match self.next(&mut buffer, &mut ticks, over).await {
                Happened::Read(Ok(0)) => {
                    self.ended = true;
                }
                Happened::Read(Ok(read)) => {
                    self.input.push(&buffer[..read]);
                    self.check_first_line();
                }
                Happened::Wrote(Ok(written)) => {
                    self.stalled = 0;
                    self.output.drain(..written);
                }
                Happened::Read(Err(error)) | Happened::Wrote(Err(error)) => return Err(error),
                Happened::Answered(number, answer) => self.face.answered(now(), number, answer),
                Happened::Event(event) => match *event {
                    Ok(Some(event)) => self.face.event(now(), event),
                    Ok(None) => self.face.detached("the node has stopped"),
                    Err(error) => self.face.detached(&error.to_string()),
                },
                Happened::Tick => {
                    self.face.tick(now());
                    self.stalled += u32::from(!self.output.is_empty());
                    if self.stalled > STALLED_TICKS_MAX {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Happened::Over => self.face.detached("the node stops"),
            }
        }
    }

    async fn next(
        &mut self,
        buffer: &mut [u8],
        ticks: &mut tokio::time::Interval,
        over: &CancellationToken,
    ) -> Happened {
        let has_room = self.output.len() < OUTPUT_BYTES_MAX && !self.closing;
        let reads = has_room && !self.ended && self.face.takes_lines();
        let takes_events = has_room && self.face.takes_events();
        let (mut reader, mut writer) = self.stream.split();
        let event = async {
            match &mut self.node {
                Some(node) => node.events.next(&mut node.seen).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            wrote = writer.write(&self.output), if !self.output.is_empty() => Happened::Wrote(wrote),
            Some(done) = self.asks.join_next() => match done {
                Ok((number, answer)) => Happened::Answered(number, answer),
                Err(error) => {
                    tracing::error!(%error, "a request's task failed");
                    Happened::Over
                }
            },
            event = event, if takes_events => Happened::Event(Box::new(event)),
            read = reader.read(buffer), if reads => Happened::Read(read),
            () = over.cancelled(), if !self.closing => Happened::Over,
            _ = ticks.tick() => Happened::Tick,
        }
    }

    /// Gives the session the lines that have arrived, as far as it takes them.
    async fn take_lines(&mut self) {
        while self.face.takes_lines() && self.output.len() < OUTPUT_BYTES_MAX && !self.closing {
            match self.input.next(self.face.line_bytes_max()) {
                Next::Line(line) => self.face.line(now(), &line),
                Next::TooLong => self.face.too_long(),
                Next::None => {
                    let rest = self.ended.then(|| self.input.rest()).flatten();
                    match rest {
                        Some(line) => self.face.line(now(), &line),
                        None => return,
                    }
                }
            }
            self.perform().await;
        }
    }

    /// Finds out whether a client that was silent at first does send lines.
    fn check_first_line(&mut self) {
        let Some(allowed) = self.first_line_of else {
            return;
        };
        let speaks = speaks(self.input.bytes(), false);
        if speaks != Speaks::Undecided {
            self.first_line_of = None;
        }
        match speaks {
            Speaks::Lines | Speaks::Undecided => {}
            Speaks::Refused => self.closing = true,
            Speaks::Irc if allowed.irc => match irc(self.home, self.markers.clone()) {
                Ok(face) => {
                    self.face = face;
                    self.node = None;
                    self.asks = JoinSet::new();
                }
                Err(why) => self.end_with(&why),
            },
            Speaks::Irc => self.end_with(NO_IRC),
        }
    }

    fn end_with(&mut self, why: &str) {
        self.output.extend_from_slice(why.as_bytes());
        self.closing = true;
    }

    /// Does what the session wants.
    async fn perform(&mut self) {
        while let Some(output) = self.face.poll_output() {
            match output {
                Output::Send(bytes) => self.output.extend_from_slice(&bytes),
                Output::Close => self.closing = true,
                Output::Attach => match attach(self.home).await {
                    Ok(node) => {
                        self.node = Some(node);
                        self.face.attached(now());
                    }
                    Err(error) => self.face.detached(&error.to_string()),
                },
                Output::Ask(number, request) => self.ask(number, *request).await,
            }
        }
    }

    async fn ask(&mut self, number: u64, request: hobnob_control::wire::AnyRequest) {
        let node = self.node.as_ref().expect("a session asks after `attached`");
        match node.client.begin(request).await {
            Ok(answer) => {
                self.asks
                    .spawn(async move { (number, answer.await.map_err(failure)) });
            }
            Err(error) => self.face.answered(now(), number, Err(failure(error))),
        }
    }
}

async fn attach(home: &Home) -> Result<Node, ClientError> {
    let client = Client::connect(home).await?;
    let seen = SeenIds::since(now());
    let events = EventStream::open(&client, &seen).await?;
    Ok(Node {
        client,
        events,
        seen,
    })
}

fn failure(error: ClientError) -> Failure {
    match error {
        ClientError::Refused(failure) => failure,
        other @ (ClientError::NotRunning { .. }
        | ClientError::OtherHome { .. }
        | ClientError::OtherUser(_)
        | ClientError::TooLong(_)
        | ClientError::Lost
        | ClientError::Unreadable(_)) => Failure::fault(other),
    }
}

/// Tells a client that there is no room for it.
pub(crate) async fn refuse(mut stream: TcpStream) {
    let told = timeout(TICK, stream.write_all(b"ERROR :too many clients\r\n")).await;
    if !matches!(told, Ok(Ok(()))) {
        tracing::debug!("a client that was refused did not read why");
    }
}
