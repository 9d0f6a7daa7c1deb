//! Sessions between nodes that keep the rules, and with those that do not.

use bytes::Bytes;
use hobnob_protocol::frame::{Digest, FRAME_MAX};
use hobnob_protocol::{Batch, ConversationId, EntryHash, Frame, LogId, LogName, Signature, close};
use quinn::{RecvStream, SendStream};
use tokio_util::task::TaskTracker;

use super::*;
use crate::net::compression::Compressor;
use crate::net::session::{
    BATCHES_IN_ENGINE, Ended, Session, SessionEvent, SessionEventKind, StreamKind,
};
use hobnob_core::SessionId;

/// One end of a running session.
struct End {
    session: Session,
    events: mpsc::Receiver<SessionEvent>,
    tasks: TaskTracker,
}

fn start(greeted: Greeted) -> End {
    start_with(greeted, 256)
}

fn start_with(greeted: Greeted, events_max: usize) -> End {
    let tasks = TaskTracker::new();
    let (out, events) = mpsc::channel(events_max);
    let session = Session::start(greeted, SessionId(1), out, &tasks, &Compressor::default());
    tasks.close();
    End {
        session,
        events,
        tasks,
    }
}

impl End {
    async fn next(&mut self) -> SessionEventKind {
        within(self.events.recv())
            .await
            .expect("the session goes on")
            .kind
    }

    /// The next thing that the peer says.
    async fn hears(&mut self) -> Frame {
        loop {
            match self.next().await {
                SessionEventKind::Frame(frame) => return frame,
                SessionEventKind::Batch(batch) => return Frame::Batch(batch),
                SessionEventKind::Pinged
                | SessionEventKind::Written { .. }
                | SessionEventKind::Content(_)
                | SessionEventKind::MailStream(_)
                | SessionEventKind::AppStream(_)
                | SessionEventKind::Mail(..) => {}
                SessionEventKind::Ended(ended) => panic!("ended: {ended}"),
            }
        }
    }

    /// How it ends, once; then nothing is left of it.
    async fn ends(mut self) -> Ended {
        loop {
            if let SessionEventKind::Ended(ended) = self.next().await {
                drop(self.session);
                within(self.tasks.wait()).await;
                assert!(self.events.recv().await.is_none());
                return ended;
            }
        }
    }
}

async fn sessions() -> (End, End, (Node, Node)) {
    let (ann, mut bob) = (node(1), node(2));
    let (a, b) = meet(&ann, &mut bob).await;
    (start(a), start(b), (ann, bob))
}

fn batch(bytes: usize) -> Frame {
    let name = LogName {
        conversation: ConversationId::from_bytes([1; 32]),
        author: DeviceId::from_bytes([2; 32]).person(),
        device: DeviceId::from_bytes([2; 32]),
        log: LogId(3),
    };
    let entries = Bytes::from(vec![7; bytes]);
    Frame::Batch(Batch {
        name,
        first: 1,
        prev: EntryHash::from_bytes([4; 32]),
        entries,
        signature: Signature::from_bytes([5; 64]),
    })
}

fn digest(n: u8) -> Frame {
    Frame::Digest(
        ConversationId::from_bytes([n; 32]),
        Digest {
            hash: [n; 32],
            clock: n.into(),
        },
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_know_each_other_and_share_a_secret() {
    let (ann, mut bob) = (node(1), node(2));
    let (a, b) = meet(&ann, &mut bob).await;
    assert_eq!((a.peer, b.peer), (bob.id, ann.id));
    assert_eq!((a.hello, b.hello), (hello("acceptor"), hello("dialer")));
    assert_eq!((a.dialed, b.dialed), (true, false));
    assert_eq!(a.exporter, b.exporter);
    let (again, _) = meet(&ann, &mut bob).await;
    assert_ne!(a.exporter, again.exporter);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_go_both_ways_at_once() {
    let (mut a, mut b, _nodes) = sessions().await;
    for end in [&a, &b] {
        for n in 0..100 {
            end.session.send_control(digest(n).encode());
        }
        end.session.send_batch(batch(60_000).encode());
    }
    for end in [&mut a, &mut b] {
        let mut heard = Vec::new();
        while heard.len() < 101 {
            heard.push(end.hears().await);
        }
        let batches = heard
            .iter()
            .filter(|frame| matches!(frame, Frame::Batch(_)))
            .count();
        heard.retain(|frame| !matches!(frame, Frame::Batch(_)));
        assert_eq!((batches, heard), (1, (0..100).map(digest).collect()));
    }
    assert!(a.session.remote_addr().ip().is_loopback() && a.session.remote_addr().is_ipv4());
    assert!(a.session.rtt() < LIMIT);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_reported_by_stream_as_it_was_given() {
    let (mut a, _b, _nodes) = sessions().await;
    let (control, batches) = (digest(1).encode(), batch(50_000).encode());
    for _ in 0..5 {
        a.session.send_control(control.clone());
        a.session.send_batch(batches.clone());
    }
    let (mut control_left, mut batches_left) = (5 * control.len(), 5 * batches.len());
    while control_left + batches_left > 0 {
        let SessionEventKind::Written { stream, bytes } = a.next().await else {
            panic!("nothing else happens")
        };
        match stream {
            StreamKind::Control => control_left -= bytes,
            StreamKind::Batch => batches_left -= bytes,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_end_begins_is_told_once_and_pings_and_digests_are_not() {
    let (a, mut b, _nodes) = sessions().await;
    for frame in [Frame::Ping(7), digest(1), Frame::DialBack([7; 16])] {
        a.session.send_control(frame.encode());
        assert!(!a.session.take_begun(), "{frame:?}");
    }
    a.session.send_control(Frame::HoldsMail(true).encode());
    assert!(a.session.take_begun());
    assert!(!a.session.take_begun(), "it is told once");
    while b.hears().await != Frame::HoldsMail(true) {}
    assert!(!b.session.take_begun(), "the other end has begun nothing");
    let stream = a.session.content().stream();
    assert!(!a.session.take_begun(), "it is not open");
    stream.open().await.expect("the session is live");
    assert!(a.session.take_begun());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_is_answered_even_if_the_engine_is_busy() {
    let (ann, mut bob) = (node(1), node(2));
    let (a, b) = meet(&ann, &mut bob).await;
    let (mut a, b) = (start(a), start_with(b, 1));
    // More pings than are answered at once, and pings of a peer that has answers yet to read, may
    // go without.
    for token in 1..11 {
        a.session.send_control(Frame::Ping(token).encode());
        assert_eq!(a.hears().await, Frame::Pong(token));
    }
    assert_eq!(b.events.len(), 1, "a busy engine is not waited for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_once_with_its_cause_at_both_ends() {
    let (a, b, _nodes) = sessions().await;
    a.session.close(close::BYE, "");
    assert_eq!((a.ends().await, b.ends().await), (Ended::Local, Ended::Bye));
    let (a, b, _nodes) = sessions().await;
    b.session.close(close::DUPLICATE, "two\x1b[2Jtimes");
    let seen = Ended::Closed {
        code: close::DUPLICATE.into(),
        reason: "two\u{241b}[2Jtimes".into(),
    };
    assert_eq!((a.ends().await, b.ends().await), (seen, Ended::Local));
    let (a, mut b, (_ann, bob)) = sessions().await;
    let dropped = b.session;
    drop(dropped);
    b.events.close();
    assert_eq!(a.ends().await, Ended::Bye);
    within(b.tasks.wait()).await;
    within(bob.endpoint.close(close::BYE, "")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_peer_can_fill_no_more_than_its_share_of_batches() {
    let (mut a, mut b, _nodes) = sessions().await;
    let sent = 2 * BATCHES_IN_ENGINE;
    let encoded = batch(1_000).encode();
    for _ in 0..sent {
        a.session.send_batch(encoded.clone());
    }
    let mut left = sent * encoded.len();
    while left > 0 {
        if let SessionEventKind::Written { bytes, .. } = a.next().await {
            left -= bytes;
        }
    }
    for _ in 0..BATCHES_IN_ENGINE {
        assert!(matches!(b.hears().await, Frame::Batch(_)));
    }
    // What comes now was said after all batches, and stands before the next of them.
    a.session.send_control(digest(1).encode());
    assert_eq!(b.hears().await, digest(1));
    b.session.release(3);
    for _ in 0..3 {
        assert!(matches!(b.hears().await, Frame::Batch(_)));
    }
    a.session.send_control(digest(2).encode());
    assert_eq!(b.hears().await, digest(2));
}

/// A peer of bob's that writes and reads its control stream by hand.
struct Raw {
    connection: Connection,
    send: SendStream,
    _recv: RecvStream,
    _node: Node,
}

fn framed(frame: &[u8]) -> Vec<u8> {
    [
        &u32::try_from(frame.len()).unwrap().to_be_bytes()[..],
        frame,
    ]
    .concat()
}

/// Connects to bob; the first bytes open the control stream.
async fn raw(bob: &mut Node, first: &[u8]) -> (Raw, Connection) {
    let carl = node(3);
    let (connection, accepted) = carl.dials(bob).await;
    let (mut send, recv) = connection.open_bi().await.unwrap();
    send.write_all(first).await.unwrap();
    (
        Raw {
            connection,
            send,
            _recv: recv,
            _node: carl,
        },
        accepted.connection,
    )
}

async fn raw_session(bob: &mut Node) -> (Raw, End) {
    let (raw, accepted) = raw(bob, &framed(&Frame::Hello(hello("carl")).encode())).await;
    (raw, start(greeted(accepted, false, "bob").await.unwrap()))
}

/// The code and the words with which the other end closed.
async fn closed(raw: &Raw) -> (u32, String) {
    let ended = Ended::from(within(raw.connection.closed()).await);
    let Ended::Closed { code, reason } = ended else {
        panic!("{ended:?}")
    };
    (u32::try_from(code).unwrap(), reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_breaks_the_rules_is_told_which() {
    let mut bob = node(2);
    let too_large = u32::try_from(FRAME_MAX + 1).unwrap().to_be_bytes();
    let second_hello = framed(&Frame::Hello(hello("carl")).encode());
    let stray_batch = framed(&batch(10).encode());
    let cases: [(&[u8], u32, &str); 7] = [
        (&too_large, close::FRAME_TOO_LARGE, "more than 65536 bytes"),
        (
            &u32::MAX.to_be_bytes(),
            close::FRAME_TOO_LARGE,
            "more than 65536 bytes",
        ),
        (&framed(&[2]), close::PROTOCOL, "frame of kind 2"),
        (&framed(b""), close::PROTOCOL, "empty frame"),
        (&second_hello, close::PROTOCOL, "second Hello"),
        (&stray_batch, close::PROTOCOL, "batch on the control stream"),
        (&[0, 0, 0, 9, 2], close::PROTOCOL, "ended within a frame"),
    ];
    for (bytes, code, words) in cases {
        let (mut carl, end) = raw_session(&mut bob).await;
        carl.send.write_all(bytes).await.unwrap();
        carl.send.finish().unwrap();
        let (seen, reason) = closed(&carl).await;
        assert!(
            seen == code && reason.contains(words),
            "{words}: {seen} {reason}"
        );
        assert_eq!(end.ends().await, Ended::Protocol(reason));
    }
    let (carl, end) = raw_session(&mut bob).await;
    let mut stream = carl.connection.open_uni().await.unwrap();
    stream
        .write_all(&framed(&digest(1).encode()))
        .await
        .unwrap();
    assert_eq!(closed(&carl).await.0, close::PROTOCOL);
    assert!(matches!(end.ends().await, Ended::Protocol(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_from_the_future_are_skipped_on_both_streams() {
    let mut bob = node(2);
    let (mut carl, mut end) = raw_session(&mut bob).await;
    let future = framed(&[200, 1, 2, 3]);
    carl.send
        .write_all(&[future.clone(), framed(&digest(1).encode())].concat())
        .await
        .unwrap();
    assert_eq!(end.hears().await, digest(1));
    let mut stream = carl.connection.open_uni().await.unwrap();
    stream
        .write_all(&[future, framed(&batch(5).encode())].concat())
        .await
        .unwrap();
    assert_eq!(end.hears().await, batch(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_say_hello_first_gets_no_session() {
    let mut bob = node(2);
    let later = Hello {
        version: (VERSION.0 + 1, 0),
        ..hello("carl")
    };
    let version = GreetError::Version {
        theirs: later.version,
    };
    let cases = [
        (
            framed(&Frame::Hello(later).encode()),
            close::VERSION,
            Some(version),
        ),
        (
            framed(&Frame::Ping(1).encode()),
            close::VERSION,
            Some(GreetError::NoHello),
        ),
        (framed(&[1, 2, 3]), close::PROTOCOL, None),
        (vec![0xff; 100], close::FRAME_TOO_LARGE, None),
    ];
    for (bytes, code, expected) in cases {
        let (carl, accepted) = raw(&mut bob, &bytes).await;
        let error = greeted(accepted, false, "bob").await.unwrap_err();
        assert_eq!(closed(&carl).await.0, code, "{error}");
        match expected {
            Some(expected) => assert_eq!(error, expected),
            None => assert!(
                matches!(error, GreetError::Ended(Ended::Protocol(_))),
                "{error:?}"
            ),
        }
    }
    let (carl, accepted) = raw(&mut bob, &[]).await;
    let error = greet(
        accepted,
        false,
        |_, _| hello("bob"),
        Duration::from_millis(50),
    )
    .await
    .unwrap_err();
    assert_eq!(
        (error, closed(&carl).await.0),
        (GreetError::Timeout, close::SILENT)
    );
}

/// The name that [`hello`] was given.
fn nick_in(hello: &Hello) -> String {
    String::from_utf8(hello.profile.record.as_bytes().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_accepting_end_answers_the_hello_of_the_dialing_end() {
    let (ann, mut bob) = (node(1), node(2));
    let (dialed, accepted) = ann.dials(&mut bob).await;
    let first = |_: &[u8; 32], theirs: Option<&Hello>| {
        assert_eq!(theirs, None);
        hello("ann")
    };
    let answer = |_: &[u8; 32], theirs: Option<&Hello>| {
        hello(&format!("{}'s friend", nick_in(theirs.unwrap())))
    };
    let (a, b) = tokio::join!(
        greet(dialed, true, first, LIMIT),
        greet(accepted.connection, false, answer, LIMIT)
    );
    assert_eq!(nick_in(&a.unwrap().hello), "ann's friend");
    assert_eq!(nick_in(&b.unwrap().hello), "ann");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_never_reads_fills_its_own_queue_and_no_other() {
    let (ann, mut bob) = (node(1), node(2));
    let (_carl, mut stuck) = raw_session(&mut bob).await;
    let (a, b) = meet(&ann, &mut bob).await;
    let (mut a, b) = (start(a), start(b));
    let encoded = batch(60_000).encode();
    let count = 100;
    for _ in 0..count {
        stuck.session.send_batch(encoded.clone());
        b.session.send_batch(encoded.clone());
    }
    for _ in 0..count {
        assert!(matches!(a.hears().await, Frame::Batch(_)));
        a.session.release(1);
    }
    let mut written = 0;
    while let Ok(event) = stuck.events.try_recv() {
        let SessionEventKind::Written { bytes, .. } = event.kind else {
            panic!("{event:?}")
        };
        written += bytes;
    }
    assert!(
        written <= 1024 * 1024 && written < count * encoded.len(),
        "{written}"
    );
    stuck.session.close(close::BYE, "");
    assert_eq!(stuck.ends().await, Ended::Local);
}

/// A batch of text, and the frame that carries it compressed.
fn compressed_text() -> (Frame, Bytes) {
    let Frame::Batch(batch) = batch(0) else {
        unreachable!("batch() returns a batch")
    };
    let entries = Bytes::from_static(include_bytes!("../../../../docs/GUIDE.md"));
    let text = Frame::Batch(Batch { entries, ..batch });
    let compressed = Compressor::default().batch(text.encode());
    assert_ne!(compressed, text.encode());
    (text, compressed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_batch_arrives_as_it_was() {
    let mut bob = node(2);
    let (carl, mut end) = raw_session(&mut bob).await;
    let (text, compressed) = compressed_text();
    let mut stream = carl.connection.open_uni().await.unwrap();
    stream.write_all(&framed(&compressed)).await.unwrap();
    stream.write_all(&framed(&batch(5).encode())).await.unwrap();
    assert_eq!(end.hears().await, text);
    assert_eq!(end.hears().await, batch(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_compressed_batch_ends_the_session() {
    let (_, compressed) = compressed_text();
    let flipped = |at: usize| {
        let mut bytes = compressed.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let magic = compressed
        .windows(4)
        .position(|bytes| bytes == [0x28, 0xb5, 0x2f, 0xfd]);
    let cases = [
        // The announced length.
        (flipped(2), "not as long as announced"),
        (flipped(magic.expect("a frame of Zstandard")), "damaged"),
        (compressed[..1_000].to_vec(), "frame of kind 29"),
        (vec![29], "frame of kind 29"),
    ];
    for (bytes, words) in cases {
        let mut bob = node(2);
        let (carl, end) = raw_session(&mut bob).await;
        let mut stream = carl.connection.open_uni().await.unwrap();
        stream.write_all(&framed(&bytes)).await.unwrap();
        let (code, reason) = closed(&carl).await;
        assert_eq!(code, close::PROTOCOL, "{words}: {reason}");
        assert!(reason.contains(words), "{words}: {reason}");
        assert_eq!(end.ends().await, Ended::Protocol(reason));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_batch_on_the_control_stream_is_skipped() {
    let mut bob = node(2);
    let (mut carl, mut end) = raw_session(&mut bob).await;
    let (_, compressed) = compressed_text();
    let frames = [framed(&compressed), framed(&digest(1).encode())];
    carl.send.write_all(&frames.concat()).await.unwrap();
    assert_eq!(end.hears().await, digest(1));
}
