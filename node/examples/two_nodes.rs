//! Two nodes in one program: one sends a message, the other answers.
//!
//! Run it with `cargo run -p hobnob --example two_nodes`. The README of this crate shows the same
//! code, and its documentation test runs it.

use hobnob::{DeliveryState, Event, Node};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let node = |name| Node::builder(dir.path().join(name)).loopback();
    let ann = node("ann").nick("ann".parse()?).start().await?;
    let bob = node("bob").nick("bob".parse()?).start().await?;
    let mut events = bob.events();

    let ticket = bob.status().await?.ticket;
    let sent = ann.send(ticket.into(), "lunch at noon?".into()).await?;
    ann.wait_for(sent.id, DeliveryState::Delivered).await?;
    println!("ann: the message is on bob's disk");

    let message = loop {
        if let Event::Message(message) = events.next().await? {
            break message;
        }
    };
    println!("bob: {} wrote {:?}", message.name, message.body);
    let answer = "with pleasure".into();
    bob.send(message.from.into(), answer).await?;

    ann.shutdown().await;
    bob.shutdown().await;
    Ok(())
}
