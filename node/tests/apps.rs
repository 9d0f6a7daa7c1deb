//! Datagrams and streams between programs of two nodes.

use std::path::Path;
use std::time::Duration;

use hobnob::protocol::Body;
use hobnob::protocol::app::{APP_DATAGRAM_MAX, APP_WINDOW};
use hobnob::{App, AppError, AppStream, DeliveryState, Node};
use tokio::time::timeout;

/// Nothing here takes this long unless it hangs.
const LIMIT: Duration = Duration::from_secs(30);

/// Streams of one session, see docs/LIMITS.md.
const STREAMS_MAX: usize = 8;

async fn start(dir: &Path, nick: &str) -> Node {
    let builder = Node::builder(dir.join(nick)).nick(nick.parse().expect("a nickname"));
    builder.loopback().start().await.expect("the node starts")
}

async fn says(node: &Node, to: &Node, text: &str) {
    let ticket = to.status().await.expect("it runs").ticket;
    let sent = node.send(ticket.into(), Body::Text(text.into())).await;
    let sent = sent.expect("the message is stored");
    let delivered = node.wait_for(sent.id, DeliveryState::Delivered);
    let state = timeout(LIMIT, delivered).await.expect("it hangs");
    assert_eq!(state, Ok(DeliveryState::Delivered));
}

/// Ann has written to Bob, so he is her contact, and she is a stranger to him.
async fn met(dir: &Path) -> (Node, Node) {
    let (ann, bob) = (start(dir, "ann").await, start(dir, "bob").await);
    says(&ann, &bob, "hello").await;
    (ann, bob)
}

/// Two nodes that have accepted each other.
async fn contacts(dir: &Path) -> (Node, Node) {
    let (ann, bob) = met(dir).await;
    bob.accept_contact(ann.id()).await.expect("it is stored");
    (ann, bob)
}

fn pong(node: &Node) -> App {
    node.app("pong").expect("the name is free")
}

/// A stream from the first to the second.
async fn stream(from: &App, to: &App, node: &Node) -> (AppStream, AppStream) {
    let both = async { tokio::join!(from.open_stream(node.id()), to.accept_stream()) };
    let (opened, accepted) = timeout(LIMIT, both).await.expect("it hangs");
    (opened.expect("it is open"), accepted.expect("it is open"))
}

/// Sends until something arrives, since datagrams may be lost.
async fn arrives(from: &App, to: &App, node: &Node, bytes: &[u8]) -> Vec<u8> {
    let repeated = async {
        loop {
            from.send_datagram(node.id(), bytes)
                .expect("they are connected");
            let next = timeout(Duration::from_millis(200), to.recv_datagram());
            if let Ok(datagram) = next.await {
                return datagram.expect("the node runs");
            }
        }
    };
    let datagram = timeout(LIMIT, repeated).await.expect("nothing arrives");
    datagram.bytes.to_vec()
}

fn content(len: usize) -> Vec<u8> {
    (0u8..=250).cycle().take(len).collect()
}

async fn read_all(mut stream: AppStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(bytes) = stream.read().await.expect("the stream is open") {
        all.extend_from_slice(&bytes);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_of_contacts_exchange_datagrams() {
    let dir = tempfile::tempdir().expect("a folder");
    let (ann, bob) = contacts(dir.path()).await;
    let (at_ann, at_bob) = (pong(&ann), pong(&bob));
    let longest = content(APP_DATAGRAM_MAX);
    assert_eq!(arrives(&at_ann, &at_bob, &bob, &longest).await, longest);
    assert_eq!(arrives(&at_bob, &at_ann, &ann, b"").await, b"");
    assert_eq!(
        at_ann.send_datagram(bob.id(), &content(APP_DATAGRAM_MAX + 1)),
        Err(AppError::TooLong(APP_DATAGRAM_MAX + 1))
    );
    let stranger = hobnob::PersonId::from_bytes([7; 32]);
    assert_eq!(
        at_ann.send_datagram(stranger, b"hi"),
        Err(AppError::NotConnected)
    );

    // Another program at the other end gets nothing of this one.
    let draw = bob.app("draw").expect("the name is free");
    at_ann
        .send_datagram(bob.id(), b"for pong")
        .expect("it is sent");
    let other = ann.app("draw").expect("the name is free");
    assert_eq!(arrives(&other, &draw, &bob, b"for draw").await, b"for draw");

    let too_fast = (0..100_000).map(|_| at_ann.send_datagram(bob.id(), b"x"));
    let refused = too_fast.filter(|sent| *sent == Err(AppError::TooFast));
    assert!(refused.count() > 0, "a burst has a limit");

    bob.shutdown().await;
    assert_eq!(at_bob.recv_datagram().await, Err(AppError::Stopped));
    assert_eq!(bob.app("late").map(|_| ()), Err(AppError::Stopped));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_reaches_no_program() {
    let dir = tempfile::tempdir().expect("a folder");
    let (ann, bob) = met(dir.path()).await;
    let (at_ann, at_bob) = (pong(&ann), pong(&bob));
    for n in 0..20 {
        let early = format!("early {n}");
        at_ann
            .send_datagram(bob.id(), early.as_bytes())
            .expect("he is her contact");
    }
    let opened = at_ann.open_stream(bob.id()).await.map(|_| ());
    assert_eq!(opened, Err(AppError::NotRunning));
    for refused in [
        at_bob.send_datagram(ann.id(), b"hi"),
        at_bob.open_stream(ann.id()).await.map(|_| ()),
    ] {
        assert_eq!(refused, Err(AppError::NotAContact));
    }
    // What is sent after this on the same connection arrives after it.
    says(&ann, &bob, "please accept me").await;

    bob.accept_contact(ann.id()).await.expect("it is stored");
    assert_eq!(arrives(&at_ann, &at_bob, &bob, b"now").await, b"now");

    bob.remove_contact(ann.id()).await.expect("it is stored");
    let opened = at_ann.open_stream(bob.id()).await.map(|_| ());
    assert_eq!(opened, Err(AppError::NotRunning));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_carry_all_bytes_in_order_in_both_directions() {
    let dir = tempfile::tempdir().expect("a folder");
    let (ann, bob) = contacts(dir.path()).await;
    let (at_ann, at_bob) = (pong(&ann), pong(&bob));
    let (there, back) = stream(&at_ann, &at_bob, &bob).await;
    assert_eq!((there.peer(), back.peer()), (bob.id(), ann.id()));

    // Much more than a window, on both ways at once.
    let sent = content(8 * usize::try_from(APP_WINDOW).expect("it is small"));
    let (mut reads_ann, mut writes_ann) = there.split();
    let (mut reads_bob, mut writes_bob) = back.split();
    let (to_bob, to_ann) = (sent.clone(), sent.clone());
    let writing = tokio::spawn(async move {
        writes_ann.write(&to_bob).await.expect("it is open");
        writes_ann.finish().await;
    });
    let answering = tokio::spawn(async move {
        writes_bob.write(&to_ann).await.expect("it is open");
        // Dropping it ends the bytes, too.
    });
    let read = async |reader: &mut hobnob::AppReader| {
        let mut all = Vec::new();
        while let Some(bytes) = reader.read().await.expect("it is open") {
            all.extend_from_slice(&bytes);
        }
        all
    };
    let both = async { tokio::join!(read(&mut reads_bob), read(&mut reads_ann)) };
    let (at_bob_end, at_ann_end) = timeout(LIMIT, both).await.expect("it hangs");
    assert!(
        at_bob_end == sent && at_ann_end == sent,
        "all bytes, in order"
    );
    writing.await.expect("it has written");
    answering.await.expect("it has written");

    // What was written before the stream was dropped arrives.
    let (mut there, back) = stream(&at_ann, &at_bob, &bob).await;
    there.write(b"goodbye").await.expect("it is open");
    drop(there);
    let rest = timeout(LIMIT, read_all(back)).await.expect("it hangs");
    assert_eq!(rest, b"goodbye");

    // A reader that leaves is noticed by the one that writes.
    let (there, mut back) = stream(&at_ann, &at_bob, &bob).await;
    drop(there);
    let endless = async {
        loop {
            if let Err(error) = back.write(&sent).await {
                return error;
            }
        }
    };
    let error = timeout(LIMIT, endless).await.expect("it hangs");
    assert_eq!(error, AppError::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_never_reads_delays_no_message() {
    let dir = tempfile::tempdir().expect("a folder");
    let (ann, bob) = contacts(dir.path()).await;
    let (at_ann, at_bob) = (pong(&ann), pong(&bob));
    let mut open = Vec::new();
    for _ in 0..STREAMS_MAX {
        let (mut there, back) = stream(&at_ann, &at_bob, &bob).await;
        let window = content(usize::try_from(APP_WINDOW).expect("it is small"));
        let all = timeout(LIMIT, there.write(&window));
        all.await.expect("it hangs").expect("a window has room");
        let mut beyond = Box::pin(async move {
            let written = there.write(b"x").await;
            (there, written)
        });
        tokio::select! {
            biased;
            _ = &mut beyond => panic!("more than a window was taken"),
            () = tokio::task::yield_now() => {}
        }
        open.push((beyond, back));
    }
    says(&ann, &bob, "still here").await;
    says(&bob, &ann, "so am I").await;

    let busy = at_ann.open_stream(bob.id()).await.map(|_| ());
    assert_eq!(busy, Err(AppError::Busy), "one more than allowed");

    // As soon as the program reads, the other end goes on.
    let (beyond, back) = open.pop().expect("there are some");
    let reading = tokio::spawn(read_all(back));
    let (there, written) = timeout(LIMIT, beyond).await.expect("it hangs");
    written.expect("there is room again");
    drop(there);
    let all = timeout(LIMIT, reading).await.expect("it hangs");
    let window = usize::try_from(APP_WINDOW).expect("it is small");
    assert_eq!(all.expect("it has read").len(), window + 1);

    // Its place is free again, as soon as both ends have noticed.
    let again = async {
        loop {
            match at_ann.open_stream(bob.id()).await {
                Err(AppError::Busy) => tokio::task::yield_now().await,
                other => return other.map(|_| ()),
            }
        }
    };
    let (opened, accepted) = timeout(LIMIT, async { tokio::join!(again, at_bob.accept_stream()) })
        .await
        .expect("it hangs");
    assert_eq!((opened, accepted.map(|_| ())), (Ok(()), Ok(())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_needs_a_program_at_the_other_end_and_ends_with_the_contact() {
    let dir = tempfile::tempdir().expect("a folder");
    let (ann, bob) = contacts(dir.path()).await;
    let at_ann = pong(&ann);
    let nobody = at_ann.open_stream(bob.id()).await.map(|_| ());
    assert_eq!(nobody, Err(AppError::NotRunning));

    let at_bob = pong(&bob);
    assert_eq!(
        bob.app("pong").map(|_| ()),
        Err(AppError::Taken("pong".parse().expect("a name")))
    );
    let (mut there, mut back) = stream(&at_ann, &at_bob, &bob).await;
    ann.remove_contact(bob.id()).await.expect("it is stored");
    assert_eq!(there.read().await, Err(AppError::Lost));
    let ended = timeout(LIMIT, back.read()).await.expect("it hangs");
    assert_eq!(ended.map(|_| ()), Err(AppError::NotRunning));

    // An ignored contact is treated as a stranger, and the end of a node ends its streams.
    ann.accept_contact(bob.id()).await.expect("it is stored");
    ann.ignore(bob.id()).await.expect("it is stored");
    let ignored = at_bob.open_stream(ann.id()).await.map(|_| ());
    assert_eq!(ignored, Err(AppError::NotRunning));
    ann.unignore(bob.id()).await.expect("it is stored");
    let (mut there, mut back) = stream(&at_ann, &at_bob, &bob).await;
    ann.shutdown().await;
    assert_eq!(there.read().await, Err(AppError::Lost));
    let ended = timeout(LIMIT, back.read()).await.expect("it hangs");
    assert!(
        matches!(ended, Err(AppError::Lost | AppError::NotRunning)),
        "{ended:?}"
    );
}
