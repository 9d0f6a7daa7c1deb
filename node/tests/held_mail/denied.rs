//! No mail passes between peers of whom one has blocked, kicked or removed the other, and nothing of
//! a room is held for somebody who has left it.

use std::collections::BTreeMap;
use std::path::Path;

use hobnob::protocol::PersonId;
use hobnob::{DeliveryState, Node};
use tokio::time::timeout;

use super::net::{
    LIMIT, both_held, finds, mailbox, meet, start, start_carol, texts, three, ticket, until,
};
use super::rooms::{in_room, of_room, ops, says};

/// Starts a contact of Ann's whose mail Carol holds.
async fn contact(dir: &Path, nick: &str, [ann, carol]: [&Node; 2]) -> Node {
    let node = start(dir, nick).await;
    meet(&node, carol).await;
    mailbox(&node, "carol holds its mail", |info| {
        info.held_by.iter().any(|it| it.fetched_at_ms.is_some())
    })
    .await;
    meet(ann, &node).await;
    node
}

/// How many messages are held for each peer.
async fn held_for(node: &Node) -> BTreeMap<PersonId, u64> {
    let deposited = node.mailbox().await.expect("the node runs").deposited;
    let held = deposited.into_iter().filter(|it| it.messages > 0);
    held.map(|it| (it.peer, it.messages)).collect()
}

async fn waits_until_held(node: &Node, to: PersonId, text: &str) {
    let sent = node.send(to.into(), text.into()).await;
    let id = sent.expect("it is stored").id;
    let held = timeout(LIMIT, node.wait_for(id, DeliveryState::Held)).await;
    held.expect("in time").expect("carol holds it");
}

#[tokio::test]
async fn nothing_of_a_room_is_held_for_blocked_kicked_or_removed_members() {
    let dir = tempfile::tempdir().expect("a folder");
    let [ann, bob, carol] = three(dir.path(), 64 << 20).await;
    let mut members = vec![bob];
    for nick in ["dave", "erin", "fred"] {
        members.push(contact(dir.path(), nick, [&ann, &carol]).await);
    }
    // They meet Ann only, not each other.
    ann.create_room(ops()).await.expect("it is new");
    let ticket = ann.room_ticket(ops()).await.expect("it has a key");
    for member in &members {
        let joined = member.join_with_ticket(ticket.clone()).await;
        joined.expect("it is new here");
    }
    until("all are in the room", async || {
        let rooms = ann.rooms().await.expect("the node runs");
        let room = rooms.iter().find(|room| room.name == ops());
        room.is_some_and(|room| room.here.len() == members.len())
    })
    .await;
    let ids: Vec<PersonId> = members.iter().map(Node::id).collect();
    let [bob, dave, erin, fred] = ids[..] else {
        panic!("four members")
    };
    for member in members {
        member.shutdown().await;
    }
    says(&ann, "one").await;
    let every = BTreeMap::from([(bob, 1), (dave, 1), (erin, 1), (fred, 1)]);
    until("it is held for all", async || held_for(&ann).await == every).await;

    ann.block(bob).await.expect("he is known");
    ann.kick(dave).await.expect("he is known");
    ann.remove_contact(erin).await.expect("she is known");
    assert_eq!(held_for(&ann).await, [(fred, 1)].into());
    assert_eq!(of_room(&ann).await[0].state, Some(DeliveryState::Held));
    says(&ann, "two").await;
    until("fred gets it", async || held_for(&ann).await[&fred] == 2).await;
    // What else was deposited for the others would have been answered before this.
    waits_until_held(&ann, fred, "to you alone").await;
    assert_eq!(held_for(&ann).await, [(fred, 3)].into());
    ann.block(fred).await.expect("he is known");
    let states = of_room(&ann).await.into_iter().map(|message| message.state);
    let states: Vec<_> = states.collect();
    assert_eq!(states, [Some(DeliveryState::Queued); 2], "nobody has them");
    ann.shutdown().await;
    carol.shutdown().await;
}

#[tokio::test]
async fn nothing_is_held_for_a_member_that_comes_back_without_the_room() {
    let dir = tempfile::tempdir().expect("a folder");
    let [ann, bob, carol] = both_held(dir.path()).await;
    in_room(&[&ann, &bob]).await;
    let id = bob.id();
    bob.shutdown().await;
    says(&ann, "for members").await;
    until("it is held", async || {
        held_for(&ann).await == [(id, 1)].into()
    })
    .await;
    carol.shutdown().await;

    let bob = start(dir.path(), "bob").await;
    bob.part(ops()).await.expect("he was in it");
    finds(&ann, ticket(&bob).await).await;
    // While both are connected.
    let state = async || of_room(&ann).await[0].state;
    until("it is not held", async || {
        state().await == Some(DeliveryState::Queued)
    })
    .await;
    assert!(held_for(&ann).await.is_empty());
    // The other way round: in a session, he has left.
    let again = ann.room_ticket(ops()).await.expect("it has a key");
    bob.join_with_ticket(again).await.expect("it is new here");
    until("he has it", async || {
        state().await == Some(DeliveryState::Delivered)
    })
    .await;
    for node in [ann, bob] {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn mail_for_a_contact_waits_while_it_is_blocked() {
    let dir = tempfile::tempdir().expect("a folder");
    let [ann, bob, carol] = three(dir.path(), 64 << 20).await;
    let dave = contact(dir.path(), "dave", [&ann, &carol]).await;
    let (to_bob, to_dave) = (bob.id(), dave.id());
    bob.shutdown().await;
    dave.shutdown().await;
    carol.shutdown().await;
    for to in [to_bob, to_dave] {
        let sent = ann.send(to.into(), "nobody holds this yet".into()).await;
        sent.expect("it is stored");
    }
    ann.block(to_bob).await.expect("he is known");
    let carol = start_carol(dir.path(), 64 << 20).await;
    finds(&ann, ticket(&carol).await).await;
    // Deposits for both are due at the same moment, and answered before the second one.
    until("dave gets it", async || {
        held_for(&ann).await == [(to_dave, 1)].into()
    })
    .await;
    waits_until_held(&ann, to_dave, "and this").await;
    assert_eq!(held_for(&ann).await, [(to_dave, 2)].into());
    ann.unblock(to_bob).await.expect("he is known");
    until("bob gets it", async || {
        held_for(&ann).await == [(to_bob, 1), (to_dave, 2)].into()
    })
    .await;
    ann.shutdown().await;
    carol.shutdown().await;
}

#[tokio::test]
async fn mail_of_a_blocked_contact_is_not_read_and_comes_again_when_the_block_ends() {
    let dir = tempfile::tempdir().expect("a folder");
    let [ann, bob, carol] = both_held(dir.path()).await;
    let (from, to) = (bob.id(), ann.id());
    ann.shutdown().await;
    waits_until_held(&bob, to, "are you there?").await;
    bob.shutdown().await;
    carol.shutdown().await;

    let ann = start(dir.path(), "ann").await;
    ann.block(from).await.expect("he is known");
    let carol = start_carol(dir.path(), 64 << 20).await;
    finds(&ann, ticket(&carol).await).await;
    let all_fetched = async |node: &Node| {
        mailbox(node, "all is fetched", |info| {
            info.holding.is_some_and(|it| it.envelopes == 0)
        })
        .await;
    };
    all_fetched(&carol).await;
    ann.unblock(from).await.expect("he is known");
    let text = "are you there?".to_owned();
    assert!(!texts(&ann).await.contains(&text), "it was not stored");
    // Ann asks for what she dropped, and Bob writes it again, also if they never meet.
    mailbox(&carol, "the request is held", |info| {
        info.holding.is_some_and(|it| it.envelopes > 0)
    })
    .await;
    let bob = start(dir.path(), "bob").await;
    finds(&bob, ticket(&carol).await).await;
    until("it arrives", async || texts(&ann).await.contains(&text)).await;
    for node in [ann, bob, carol] {
        node.shutdown().await;
    }
}
