//! Profile pictures and earlier names between real nodes.

use std::path::Path;
use std::time::Duration;

use hobnob::protocol::picture::{PICTURE_BYTES_MAX, PictureError};
use hobnob::protocol::{Nickname, RoomName};
use hobnob::{
    ConversationRef, DeliveryState, HistoryQuery, Node, PersonId, ProfileError, ProfilePicture,
};

const LIMIT: Duration = Duration::from_secs(30);

async fn start(dir: &Path, nick: &str) -> Node {
    let builder = Node::builder(dir.join(nick)).nick(name(nick));
    builder.loopback().start().await.expect("the node starts")
}

fn name(nick: &str) -> Nickname {
    nick.parse().expect("a nickname")
}

/// A file that begins like a PNG, of this many bytes.
fn picture(first: u8, bytes: usize) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    file.resize(bytes, first);
    file
}

async fn chooses(node: &Node, file: &[u8]) {
    let set = node.set_picture(Some(file.to_vec())).await;
    set.expect("the disk takes it");
}

/// The picture of a peer that a node has.
async fn picture_at(node: &Node, of: PersonId) -> Option<Vec<u8>> {
    let found = node.picture(of).await.expect("the node runs");
    found.map(|ProfilePicture { bytes, .. }| bytes)
}

/// Waits until a node has this picture of a peer.
async fn gets(node: &Node, of: PersonId, file: Option<&[u8]>) {
    let got = async {
        while picture_at(node, of).await.as_deref() != file {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let got = tokio::time::timeout(LIMIT, got).await;
    assert!(got.is_ok(), "{:?} in time", file.map(<[u8]>::len));
}

/// A message that arrives, which makes the recipient a contact of the author.
async fn writes(author: &Node, to: &Node, text: &str) {
    let ticket = to.status().await.expect("the node runs").ticket;
    let sent = author.send(ticket.into(), text.into()).await;
    let id = sent.expect("it is stored").id;
    let delivered = author.wait_for(id, DeliveryState::Delivered);
    let state = tokio::time::timeout(LIMIT, delivered).await;
    assert_eq!(state.expect("in time"), Ok(DeliveryState::Delivered));
}

async fn are_contacts(one: &Node, other: &Node) {
    writes(one, other, "hello").await;
    writes(other, one, "hello").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_get_a_picture_its_replacement_and_its_removal() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (ann, bob) = (
        start(dir.path(), "ann").await,
        start(dir.path(), "bob").await,
    );
    let (first, second) = (picture(1, PICTURE_BYTES_MAX), picture(2, 900));
    chooses(&ann, &first).await;
    assert_eq!(picture_at(&ann, ann.id()).await.as_ref(), Some(&first));
    are_contacts(&ann, &bob).await;
    gets(&bob, ann.id(), Some(&first)).await;
    let info = bob.peer(ann.id()).await.expect("the node runs");
    let named = info.expect("ann is known").picture;
    assert_eq!(named, ann.status().await.expect("the node runs").picture);
    assert!(named.is_some());

    // Replaced while bob is away.
    bob.shutdown().await;
    chooses(&ann, &second).await;
    let bob = start(dir.path(), "bob").await;
    assert_eq!(picture_at(&bob, ann.id()).await.as_ref(), Some(&first));
    writes(&ann, &bob, "look").await;
    gets(&bob, ann.id(), Some(&second)).await;

    // Both keep it over a restart, and one that is removed is gone on both.
    bob.shutdown().await;
    ann.shutdown().await;
    let (ann, bob) = (
        start(dir.path(), "ann").await,
        start(dir.path(), "bob").await,
    );
    assert_eq!(picture_at(&bob, ann.id()).await.as_ref(), Some(&second));
    assert_eq!(picture_at(&ann, ann.id()).await.as_ref(), Some(&second));
    ann.set_picture(None).await.expect("the node runs");
    writes(&ann, &bob, "it is gone").await;
    gets(&bob, ann.id(), None).await;
    assert_eq!(picture_at(&ann, ann.id()).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_no_picture_until_it_is_accepted() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (ann, bob) = (
        start(dir.path(), "ann").await,
        start(dir.path(), "bob").await,
    );
    let file = picture(1, 900);
    chooses(&ann, &file).await;
    // Bob knows ann, and asks for the picture. Ann has not accepted bob. Both are in the lobby.
    writes(&bob, &ann, "who are you?").await;
    writes(&bob, &ann, "may I see you?").await;
    assert_eq!(picture_at(&bob, ann.id()).await, None);
    ann.accept_contact(bob.id())
        .await
        .expect("the disk takes it");
    gets(&bob, ann.id(), Some(&file)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_room_with_a_key_get_pictures_also_from_each_other() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let [ann, bob, carl] = ["ann", "bob", "carl"].map(|nick| start(dir.path(), nick));
    let (ann, bob, carl) = (ann.await, bob.await, carl.await);
    let ops: RoomName = "ops".parse().expect("a room");
    ann.create_room(ops.clone()).await.expect("it is stored");
    let ticket = ann.room_ticket(ops.clone()).await.expect("it has a key");
    for node in [&bob, &carl] {
        let joined = node.join_with_ticket(ticket.clone()).await;
        joined.expect("it is stored");
    }
    let file = picture(1, 900);
    chooses(&ann, &file).await;
    // Ann and carl know bob only. Nobody is a contact of anybody.
    for node in [&ann, &carl] {
        let ticket = bob.status().await.expect("the node runs").ticket;
        let met = node.resolve(ticket.into()).await;
        assert_eq!(met.expect("bob answers"), bob.id());
    }
    gets(&bob, ann.id(), Some(&file)).await;
    ann.broadcast(ops, "I am ann".into())
        .await
        .expect("it is stored");
    gets(&carl, ann.id(), Some(&file)).await;
    // A member may ask bob for it, although ann is away.
    ann.shutdown().await;
    carl.shutdown().await;
    let carl = start(dir.path(), "carl").await;
    assert_eq!(picture_at(&carl, ann.id()).await, Some(file));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_too_large_or_no_picture_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let ann = start(dir.path(), "ann").await;
    let large = PICTURE_BYTES_MAX + 1;
    let refused = ann.set_picture(Some(picture(1, large))).await;
    let error = ProfileError::Picture(PictureError::TooLarge(large));
    assert_eq!(refused, Err(error));
    let refused = ann.set_picture(Some(b"hello".to_vec())).await;
    assert_eq!(refused, Err(ProfileError::Picture(PictureError::Kind)));
    assert_eq!(picture_at(&ann, ann.id()).await, None);
}

/// The names that a node shows for the authors of all its messages with a peer.
async fn names_of(node: &Node, peer: PersonId) -> Vec<(String, String)> {
    let query = HistoryQuery {
        conversation: Some(ConversationRef::Direct(peer)),
        ..HistoryQuery::default()
    };
    let history = node.history(query).await.expect("the node runs");
    let row = |message: hobnob::Message| (message.name, format!("{:?}", message.body));
    history.into_iter().map(row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_messages_keep_the_name_of_their_time() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (ann, bob) = (
        start(dir.path(), "ann").await,
        start(dir.path(), "bob").await,
    );
    writes(&ann, &bob, "one").await;
    ann.set_nick(name("anna")).await.expect("the node runs");
    let renamed = async {
        loop {
            let known = bob.peer(ann.id()).await.expect("the node runs");
            let known = known.expect("ann is known");
            if known.name == "anna" {
                return known;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let known = tokio::time::timeout(LIMIT, renamed).await;
    let known = known.expect("the name arrives");
    assert_eq!(known.formerly.as_deref(), Some("ann"));
    writes(&ann, &bob, "two").await;
    let expected = [("ann", "Text(\"one\")"), ("anna", "Text(\"two\")")];
    let expected = expected.map(|(name, body)| (name.to_owned(), body.to_owned()));
    assert_eq!(names_of(&bob, ann.id()).await, expected);
    bob.shutdown().await;
    let bob = start(dir.path(), "bob").await;
    assert_eq!(names_of(&bob, ann.id()).await, expected);
    let known = bob.peer(ann.id()).await.expect("the node runs");
    assert_eq!(
        known.expect("ann is known").formerly.as_deref(),
        Some("ann")
    );
    // Ann's own lines, too.
    assert_eq!(names_of(&ann, bob.id()).await, expected);
    // Somebody else has the earlier name now, but it was never shown with a part of the id.
    bob.set_nick(name("ann")).await.expect("the node runs");
    let known = bob.peer(ann.id()).await.expect("the node runs");
    assert_eq!(
        known.expect("ann is known").formerly.as_deref(),
        Some("ann")
    );
}
