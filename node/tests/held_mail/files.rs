//! Contents of small files by mail.

use std::path::Path;
use std::time::Duration;

use hobnob::{DeliveryState, MailboxInfo, Node};
use tokio::time::{sleep, timeout};

use super::net::{
    LIMIT, both_held, finds, mailbox, start, start_carol, texts, three, ticket, until,
};

/// A holder that has refused something is asked again after a minute.
const BEFORE_A_REFUSAL_IS_OVER: Duration = Duration::from_secs(50);

/// Offers a file of 1 MiB, whose content depends on the number, and waits until the offer is held.
async fn offers(dir: &Path, from: &Node, to: &Node, number: u8) -> hobnob::MessageId {
    let path = dir.join(format!("{number}.bin"));
    std::fs::write(&path, vec![number; 1 << 20]).expect("it is written");
    let offered = from.offer(to.id().into(), path).await;
    let id = offered.expect("it is offered").id;
    let held = timeout(LIMIT, from.wait_for(id, DeliveryState::Held)).await;
    held.expect("in time").expect("carol holds it");
    id
}

fn files_waiting(info: &MailboxInfo) -> u64 {
    info.deposited.iter().map(|it| it.files_waiting).sum()
}

/// Ann must be off while Bob fetches: otherwise both would connect.
#[tokio::test]
async fn contents_leave_room_for_messages_and_follow_when_others_are_delivered() {
    let dir = tempfile::tempdir().expect("a folder");
    let [ann, bob, carol] = both_held(dir.path()).await;
    bob.shutdown().await;
    for number in 0..5 {
        offers(dir.path(), &ann, &bob, number).await;
    }
    mailbox(&ann, "some contents wait", |info| files_waiting(info) == 2).await;
    let sent = ann.send(bob.id().into(), "and a text".into()).await;
    let id = sent.expect("it is stored").id;
    let held = timeout(LIMIT, ann.wait_for(id, DeliveryState::Held)).await;
    held.expect("in time").expect("there is room for it");
    ann.shutdown().await;

    let bob = start(dir.path(), "bob").await;
    finds(&bob, ticket(&carol).await).await;
    until("bob has the text", async || {
        texts(&bob).await.contains(&"and a text".to_owned())
    })
    .await;
    mailbox(&bob, "all is fetched", |info| {
        let mut holders = info.held_by.iter();
        holders.any(|it| it.envelopes == 0 && it.fetched_at_ms.is_some())
    })
    .await;
    // His receipts go with this, or before.
    let sent = bob.send(ann.id().into(), "thanks".into()).await;
    let id = sent.expect("it is stored").id;
    let held = timeout(LIMIT, bob.wait_for(id, DeliveryState::Held)).await;
    held.expect("in time").expect("carol holds it");
    bob.shutdown().await;
    let ann = start(dir.path(), "ann").await;
    finds(&ann, ticket(&carol).await).await;
    mailbox(&ann, "the others are deposited", |info| {
        files_waiting(info) == 0
    })
    .await;
    for node in [ann, carol] {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_refused_content_does_not_delay_messages() {
    let dir = tempfile::tempdir().expect("a folder");
    // A contact gets an eighth of it, which is less than an envelope of the content.
    let [ann, bob, carol] = three(dir.path(), 400 * 1024).await;
    bob.shutdown().await;
    offers(dir.path(), &ann, &bob, 1).await;
    for n in 0..3 {
        let sent = ann.send(bob.id().into(), format!("text {n}").into()).await;
        let id = sent.expect("it is stored").id;
        let held = ann.wait_for(id, DeliveryState::Held);
        let held = timeout(BEFORE_A_REFUSAL_IS_OVER, held).await;
        held.expect("without delay").expect("carol holds it");
    }
    let info = ann.mailbox().await.expect("the node runs");
    assert_eq!((files_waiting(&info), info.deposited[0].refused), (1, None));
    for node in [ann, carol] {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_paused_file_is_not_mailed_until_it_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let [ann, bob, carol] = three(dir.path(), 64 << 20).await;
    // While nobody holds mail, nothing is sent before the file is paused.
    carol.shutdown().await;
    bob.shutdown().await;
    let path = dir.path().join("film.bin");
    std::fs::write(&path, vec![7; 100_000]).expect("it is written");
    let offered = ann.offer(bob.id().into(), path).await;
    let id = offered.expect("it is offered").id;
    ann.pause(id).await.expect("it is an own offer");
    let carol = start_carol(dir.path(), 64 << 20).await;
    let sent = ann.send(ticket(&carol).await, "it is me".into()).await;
    sent.expect("it is stored");
    let held = timeout(LIMIT, ann.wait_for(id, DeliveryState::Held)).await;
    held.expect("in time").expect("carol holds the offer");
    for n in 0..3 {
        let sent = ann.send(bob.id().into(), format!("text {n}").into()).await;
        let id = sent.expect("it is stored").id;
        let held = timeout(LIMIT, ann.wait_for(id, DeliveryState::Held)).await;
        held.expect("in time").expect("carol holds it");
    }
    let info = ann.mailbox().await.expect("the node runs");
    assert_eq!(files_waiting(&info), 1, "the content is here");
    ann.accept(id).await.expect("it goes on");
    mailbox(&ann, "the content is deposited", |info| {
        files_waiting(info) == 0
    })
    .await;
    for node in [ann, carol] {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_small_file_arrives_though_its_sender_is_off() {
    let dir = tempfile::tempdir().expect("a folder");
    let [ann, bob, carol] = three(dir.path(), 64 << 20).await;
    let to = bob.id();
    bob.shutdown().await;
    let content: Vec<u8> = (0..700_000_u32)
        .flat_map(u32::to_le_bytes)
        .take(1 << 20)
        .collect();
    let path = dir.path().join("film.bin");
    std::fs::write(&path, &content).expect("it is written");
    let offered = ann.offer(to.into(), path).await.expect("it is offered");
    let held = timeout(LIMIT, ann.wait_for(offered.id, DeliveryState::Held)).await;
    held.expect("in time").expect("carol holds it");
    // Carol does not have all of the content yet, unless this is a fast machine.
    ann.shutdown().await;
    let ann = start(dir.path(), "ann").await;
    // Nobody tells Ann where Carol is: she connects when there is something to say.
    let sent = ann.send(ticket(&carol).await, "it is me".into()).await;
    sent.expect("it is stored");
    let whole = |info: &MailboxInfo| {
        let mut deposited = info.deposited.iter();
        deposited.any(|it| it.peer == to && it.messages > 0 && it.files_waiting == 0)
    };
    mailbox(&ann, "carol has the content", whole).await;
    ann.shutdown().await;

    let bob = start(dir.path(), "bob").await;
    let fetched = |info: &MailboxInfo| info.holding.is_some_and(|it| it.envelopes == 0);
    mailbox(&carol, "bob has fetched all", fetched).await;
    bob.accept(offered.id).await.expect("it is there");
    let done = async {
        loop {
            let files = bob.files().await.expect("the node runs");
            if let Some(place) = files[0].place.clone() {
                return place;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let place = timeout(LIMIT, done).await.expect("without ann");
    assert!(std::fs::read(place).expect("it is there") == content);
    bob.shutdown().await;
    carol.shutdown().await;
}
