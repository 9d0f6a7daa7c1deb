//! Typing, read markers and status texts between real nodes: who sees them, and who does not.

use std::path::Path;
use std::time::Duration;

use hobnob::protocol::{Body, RoomName, Target};
use hobnob::{ActivityInfo, ActivityKind, Config, ConfigureError, ConversationRef, Event, Events};
use hobnob::{DeliveryState, LiveConfig, MessageId, Node, ShareWith, Sharing};

const LIMIT: Duration = Duration::from_secs(30);

/// Time for a report that must not come. The other node sends it before the message that the test
/// waits for, so this only covers the way to the events.
const QUIET: Duration = Duration::from_millis(200);

async fn start(dir: &Path, nick: &str, sharing: Sharing) -> Node {
    let builder = Node::builder(dir.join(nick)).nick(nick.parse().expect("a nickname"));
    let node = builder.sharing(sharing).loopback().start().await;
    node.expect("the node starts")
}

async fn ticket(node: &Node) -> Target {
    node.status().await.expect("the node runs").ticket.into()
}

/// Ann and Bob, who are contacts, and a message from Ann that Bob has.
async fn contacts(dir: &Path, sharing: Sharing) -> (Node, Node, MessageId) {
    let ann = start(dir, "ann", Sharing::default()).await;
    let bob = start(dir, "bob", sharing).await;
    let hello = says(&ann, &bob, "hello").await;
    bob.accept_contact(ann.id())
        .await
        .expect("the disk takes it");
    (ann, bob, hello)
}

async fn says(node: &Node, to: &Node, text: &str) -> MessageId {
    let sent = node.send(ticket(to).await, Body::Text(text.into())).await;
    let sent = sent.expect("the message is stored");
    let state = node.wait_for(sent.id, DeliveryState::Delivered).await;
    assert_eq!(state, Ok(DeliveryState::Delivered));
    sent.id
}

/// The next report of what another user does.
async fn next(events: &mut Events) -> ActivityKind {
    let report = async {
        loop {
            if let Event::Activity(ActivityInfo { kind, .. }) =
                events.next().await.expect("it runs")
            {
                break kind;
            }
        }
    };
    let report = tokio::time::timeout(LIMIT, report).await;
    report.expect("the report comes in time")
}

/// Whether no report comes.
async fn is_quiet(events: &mut Events) -> bool {
    tokio::time::timeout(QUIET, next(events)).await.is_err()
}

fn away(text: &str) -> ActivityKind {
    ActivityKind::Status {
        away: true,
        text: text.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_learns_what_was_read_who_types_and_who_is_away() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (ann, bob, hello) = contacts(dir.path(), Sharing::default()).await;
    let mut events = ann.events();
    let with_bob = ConversationRef::Direct(bob.id());

    bob.mark_read(hello).await.expect("the node runs");
    let read = ActivityKind::Read {
        conversation: with_bob.clone(),
        id: hello,
    };
    assert_eq!(next(&mut events).await, read);
    // What is known already, or concerns a message of this node, is no news.
    bob.mark_read(hello).await.expect("the node runs");
    ann.mark_read(hello).await.expect("the node runs");

    let with_ann = ConversationRef::Direct(ann.id());
    bob.typing(with_ann, true).await.expect("the node runs");
    let typing = ActivityKind::Typing {
        conversation: with_bob,
        on: true,
    };
    assert_eq!(next(&mut events).await, typing);

    bob.set_status(true, "lunch").await.expect("the node runs");
    assert_eq!(next(&mut events).await, away("lunch"));
    let of_bob = ann.peer(bob.id()).await.expect("the node runs");
    let of_bob = of_bob.expect("ann knows bob");
    assert_eq!((of_bob.away, of_bob.status.as_str()), (true, "lunch"));
    let known = ann.activity().await.expect("the node runs");
    let known: Vec<_> = known.into_iter().map(|info| info.kind).collect();
    assert_eq!(known, [read, away("lunch")]);

    bob.set_status(false, "").await.expect("the node runs");
    let back = ActivityKind::Status {
        away: false,
        text: String::new(),
    };
    assert_eq!(next(&mut events).await, back);
    bob.shutdown().await;
    ann.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_setting_keeps_one_thing_private() {
    let nobody = Sharing {
        typing: ShareWith::Nobody,
        read: ShareWith::Nobody,
        status: ShareWith::Nobody,
    };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (ann, bob, hello) = contacts(dir.path(), nobody).await;
    let mut events = ann.events();
    let with_ann = ConversationRef::Direct(ann.id());
    bob.mark_read(hello).await.expect("the node runs");
    bob.typing(with_ann, true).await.expect("the node runs");
    bob.set_status(true, "lunch").await.expect("the node runs");
    says(&bob, &ann, "that was all").await;
    assert!(is_quiet(&mut events).await);
    bob.shutdown().await;
    ann.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_learn_nothing_until_they_are_accepted() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let bob = start(dir.path(), "bob", Sharing::default()).await;
    let ann = start(dir.path(), "ann", Sharing::default()).await;
    // Bob is a contact of Ann's, because she writes to him. She is none of his.
    let hello = says(&ann, &bob, "hello").await;
    let (mut of_ann, mut of_bob) = (ann.events(), bob.events());
    bob.mark_read(hello).await.expect("the node runs");
    let with_ann = ConversationRef::Direct(ann.id());
    bob.typing(with_ann, true).await.expect("the node runs");
    bob.set_status(true, "lunch").await.expect("the node runs");
    ann.set_status(true, "skiing").await.expect("the node runs");
    says(&ann, &bob, "are you there?").await;
    assert!(is_quiet(&mut of_ann).await && is_quiet(&mut of_bob).await);

    bob.accept_contact(ann.id())
        .await
        .expect("the disk takes it");
    assert_eq!(next(&mut of_ann).await, away("lunch"));
    let of_ann = bob.peer(ann.id()).await.expect("the node runs");
    assert_eq!(of_ann.expect("bob knows ann").status, "skiing");
    bob.shutdown().await;
    ann.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_room_with_a_key_see_the_status_and_an_open_room_shows_nothing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let bob = start(dir.path(), "bob", Sharing::default()).await;
    let everything = Sharing {
        typing: ShareWith::Members,
        read: ShareWith::Members,
        status: ShareWith::Members,
    };
    let cat = start(dir.path(), "cat", everything).await;
    let ops: RoomName = "ops".parse().expect("a room");
    let lobby = RoomName::lobby();
    for node in [&bob, &cat] {
        let joined = node
            .join(ops.clone(), Some(b"correct-horse-battery-staple".to_vec()))
            .await;
        joined.expect("the room is new");
    }
    let mut events = cat.events();
    let there = bob.resolve(ticket(&cat).await).await;
    assert_eq!(there, Ok(cat.id()));
    let there = cat.resolve(ticket(&bob).await).await;
    assert_eq!(there, Ok(bob.id()));
    let said = async |node: &Node, room: &RoomName| {
        let sent = node.broadcast(room.clone(), "hi".into()).await;
        let sent = sent.expect("the message is stored");
        let state = node.wait_for(sent.id, DeliveryState::Delivered).await;
        assert_eq!(state, Ok(DeliveryState::Delivered));
        sent.id
    };
    let [in_ops, in_lobby] = [said(&cat, &ops).await, said(&cat, &lobby).await];
    // By default members see the status, and neither typing nor read markers.
    for (room, read) in [(&ops, in_ops), (&lobby, in_lobby)] {
        let room = ConversationRef::Room(room.clone());
        bob.typing(room, true).await.expect("the node runs");
        bob.mark_read(read).await.expect("the node runs");
    }
    bob.set_status(true, "lunch").await.expect("the node runs");
    assert_eq!(next(&mut events).await, away("lunch"));

    // Cat shows more to members. Nobody shows anything in the lobby.
    let mut events = bob.events();
    let [in_ops, in_lobby] = [said(&bob, &ops).await, said(&bob, &lobby).await];
    for (room, read) in [(&lobby, in_lobby), (&ops, in_ops)] {
        let room = ConversationRef::Room(room.clone());
        cat.mark_read(read).await.expect("the node runs");
        cat.typing(room, true).await.expect("the node runs");
    }
    let conversation = ConversationRef::Room(ops);
    let read = ActivityKind::Read {
        conversation: conversation.clone(),
        id: in_ops,
    };
    assert_eq!(next(&mut events).await, read);
    let on = true;
    assert_eq!(
        next(&mut events).await,
        ActivityKind::Typing { conversation, on }
    );
    bob.shutdown().await;
    cat.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_connects_later_learns_what_it_has_missed() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (ann, bob, hello) = contacts(dir.path(), Sharing::default()).await;
    ann.shutdown().await;
    bob.mark_read(hello).await.expect("the node runs");
    bob.set_status(true, "lunch").await.expect("the node runs");
    let ann = start(dir.path(), "ann", Sharing::default()).await;
    let mut events = ann.events();
    let there = ann.resolve(ticket(&bob).await).await;
    assert_eq!(there, Ok(bob.id()));
    let mut kinds = [next(&mut events).await, next(&mut events).await];
    kinds.sort_by_key(|kind| matches!(kind, ActivityKind::Status { .. }));
    let conversation = ConversationRef::Direct(bob.id());
    let id = hello;
    assert_eq!(
        kinds,
        [ActivityKind::Read { conversation, id }, away("lunch")]
    );
    bob.shutdown().await;
    // Nobody knows whether a user who is offline is away.
    while ann
        .peer(bob.id())
        .await
        .expect("it runs")
        .expect("known")
        .away
    {
        events.next().await.expect("the node runs");
    }
    ann.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_setting_shows_and_hides_the_status_at_once() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let status = |with| Sharing {
        status: with,
        ..Sharing::default()
    };
    let (ann, bob, _) = contacts(dir.path(), status(ShareWith::Nobody)).await;
    let mut events = ann.events();
    bob.set_status(true, "lunch").await.expect("the node runs");
    let shares_with = |with| {
        let config = Config::new(dir.path().join("bob"));
        LiveConfig {
            sharing: status(with),
            ..LiveConfig::from(config)
        }
    };
    let changed = bob.configure(shares_with(ShareWith::Contacts)).await;
    changed.expect("the node runs");
    assert_eq!(next(&mut events).await, away("lunch"));
    let changed = bob.configure(shares_with(ShareWith::Nobody)).await;
    changed.expect("the node runs");
    let back = ActivityKind::Status {
        away: false,
        text: String::new(),
    };
    assert_eq!(next(&mut events).await, back);
    // A setting beyond its limit changes nothing.
    let too_much = LiveConfig {
        highlights: vec!["word".to_owned(); 65],
        ..shares_with(ShareWith::Contacts)
    };
    let refused = bob.configure(too_much).await;
    assert!(matches!(
        refused,
        Err(ConfigureError::TooMuch { given: 65, .. })
    ));
    says(&bob, &ann, "that was all").await;
    assert!(is_quiet(&mut events).await);
    bob.shutdown().await;
    ann.shutdown().await;
}
