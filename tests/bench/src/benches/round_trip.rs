//! Benchmark of a frame to a peer and back: hobnob's socket, endpoint and session compared with
//! plain quinn.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use hobnob::net::compression::Compressor;
use hobnob::net::endpoint::{Accepted, Endpoint};
use hobnob::net::session::{Session, SessionEvent, SessionEventKind, greet};
use hobnob::net::socket;
use hobnob::protocol::frame::{Digest, Profile};
use hobnob::protocol::{ConversationId, Frame, Hello, SecretKey, VERSION};
use hobnob_core::SessionId;
use hobnob_tests::lab::Stopwatch;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::plan::Plan;
use crate::report::{Aim, Report};
use crate::rivals::bare_quinn::Echo;
use crate::stats::Samples;
use crate::turns::{Contest, alone};

pub(crate) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let (rounds, times) = (plan.pick(4, 12), plan.pick(1000, 3000));
    let digest = Digest {
        hash: [2; 32],
        clock: 3,
    };
    let frame = Frame::Digest(ConversationId::from_bytes([1; 32]), digest).encode();
    let mut pair = Pair::new().await?;
    let mut echo = plan.rival(Echo::new(PREFIX + frame.len())).await;
    let contest = Contest {
        ours: "hobnob sessions, a frame of 70 bytes, answered by another task, p50",
        theirs: "bare quinn stream, the same number of bytes, p50",
        unit: "µs",
        rounds,
        aim: Aim::AtMost(1.5),
    };
    let ours = async || median_us(times, async || pair.echo(&frame).await).await;
    let theirs = echo
        .as_mut()
        .map(|echo| async move || median_us(times, async || echo.round_trip().await).await);
    contest.run(report, ours, theirs).await?;
    let pings = alone(rounds, async || {
        median_us(times, async || pair.ping().await).await
    })
    .await?;
    report.figure(
        "hobnob ping and pong, answered by the session, p50",
        "µs",
        pings,
    );
    Ok(())
}

/// Bytes of the length prefix of a frame.
const PREFIX: usize = 4;

/// Runs `once` this many times. Returns the median time in microseconds.
pub(crate) async fn median_us(
    times: usize,
    mut once: impl AsyncFnMut() -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let mut each = Vec::with_capacity(times);
    for _ in 0..times {
        let begun = Stopwatch::start();
        once().await?;
        each.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(Samples::new(each).context("no times")?.median())
}

/// The two ends of a session. The far end returns every frame from another task, as the engine
/// would.
struct Pair {
    near: Session,
    events: mpsc::Receiver<SessionEvent>,
    _endpoints: [Endpoint; 2],
}

impl Pair {
    async fn new() -> anyhow::Result<Self> {
        let (ann, _, _) = endpoint(1)?;
        let (bob, mut incoming, bound) = endpoint(2)?;
        let (dialed, accepted) = tokio::join!(ann.dial(bound, None, LIMIT), incoming.recv());
        let accepted = accepted.context("bob's endpoint is closed")?;
        let (a, b) = tokio::join!(
            greet(dialed?, true, |_, _| hello(), LIMIT),
            greet(accepted.connection, false, |_, _| hello(), LIMIT)
        );
        let tasks = TaskTracker::new();
        let (near_events, events) = mpsc::channel(256);
        let (far_events, mut far) = mpsc::channel(256);
        let compressor = Compressor::default();
        let near = Session::start(a?, SessionId(1), near_events, &tasks, &compressor);
        let far_session = Session::start(b?, SessionId(2), far_events, &tasks, &compressor);
        // Ends with the session.
        tokio::spawn(async move {
            while let Some(event) = far.recv().await {
                if let SessionEventKind::Frame(frame) = event.kind {
                    far_session.send_control(frame.encode());
                }
            }
        });
        Ok(Self {
            near,
            events,
            _endpoints: [ann, bob],
        })
    }

    async fn echo(&mut self, frame: &Bytes) -> anyhow::Result<()> {
        self.near.send_control(frame.clone());
        self.receive().await.map(drop)
    }

    async fn ping(&mut self) -> anyhow::Result<()> {
        self.near.send_control(Frame::Ping(7).encode());
        self.receive().await.map(drop)
    }

    async fn receive(&mut self) -> anyhow::Result<Frame> {
        loop {
            match self
                .events
                .recv()
                .await
                .context("the session's task has ended")?
                .kind
            {
                SessionEventKind::Frame(frame) => return Ok(frame),
                SessionEventKind::Ended(ended) => bail!("the session ended: {ended}"),
                SessionEventKind::Pinged
                | SessionEventKind::Batch(_)
                | SessionEventKind::Written { .. }
                | SessionEventKind::Content(_)
                | SessionEventKind::MailStream(_)
                | SessionEventKind::Mail(..)
                | SessionEventKind::AppStream(_) => {}
            }
        }
    }
}

const LIMIT: Duration = Duration::from_secs(10);

fn endpoint(
    seed: u8,
) -> anyhow::Result<(Endpoint, mpsc::Receiver<Accepted>, std::net::SocketAddr)> {
    let (bound, _) = socket::bind(Some("127.0.0.1:0".parse()?))?;
    let (endpoint, incoming) = Endpoint::new(&bound, &SecretKey::from_seed([seed; 32]))?;
    Ok((endpoint, incoming, bound.local_addr))
}

fn hello() -> Hello {
    Hello {
        version: VERSION,
        features: 0,
        instance: 1,
        started_at_ms: 2,
        clock_ms: 2,
        profile: Profile::default(),
    }
}
