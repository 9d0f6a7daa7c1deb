//! A client that keeps a connection to a node's local socket and sends messages through it. This is
//! much faster than one process for each message, so a test can kill a node while it processes
//! thousands.

use std::path::Path;
use std::time::Duration;

use hobnob::DeliveryState;
use hobnob_control::client::Client;
use hobnob_control::wire::{BodyFields, Request, SendMessage, Text, WaitOptions};
use hobnob_local::home::Home;
use hobnob_protocol::{Body, PersonId, Target};

/// Time limit for an answer. After it, the client connects again.
const ANSWER: Duration = Duration::from_secs(10);

/// A connection to one node, opened again after a failure.
pub struct MessageClient {
    runtime: tokio::runtime::Runtime,
    home: Home,
    client: Option<Client>,
}

impl MessageClient {
    pub(super) fn to(home: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("the runtime starts");
        let home = Home::at(home).expect("the home exists");
        Self {
            runtime,
            home,
            client: None,
        }
    }

    /// Whether the node accepts a connection.
    pub fn is_open(&mut self) -> bool {
        if self.client.is_none() {
            self.client = self.runtime.block_on(Client::connect(&self.home)).ok();
        }
        self.client.is_some()
    }

    /// Sends a request to the node. Panics if the node refuses it.
    pub fn ask<R: Request + std::fmt::Debug>(&mut self, request: R) -> R::Answer {
        assert!(self.is_open(), "a running node accepts commands");
        let client = self.client.as_ref().expect("opened above");
        let asked = format!("{request:?}");
        let answer = self
            .runtime
            .block_on(async { tokio::time::timeout(ANSWER, client.ask(request)).await });
        answer
            .unwrap_or_else(|_| panic!("no answer within {ANSWER:?}: {asked}"))
            .unwrap_or_else(|error| panic!("{asked}: {error}"))
    }

    /// Sends a message for a peer to the node. Returns its id if the node reports that it is on
    /// disk.
    pub fn submit(&mut self, to: PersonId, text: &str) -> Option<String> {
        self.send(to, text, DeliveryState::Queued)
    }

    /// Sends a message for a peer. Returns its id when it is delivered.
    pub fn deliver(&mut self, to: PersonId, text: &str) -> Option<String> {
        self.send(to, text, DeliveryState::Delivered)
    }

    fn send(&mut self, to: PersonId, text: &str, wait: DeliveryState) -> Option<String> {
        let client = self.client.as_ref()?;
        let body = BodyFields::from(Body::Text(text.to_owned()));
        let options = WaitOptions {
            wait,
            timeout_ms: if wait == DeliveryState::Queued {
                0
            } else {
                10_000
            },
        };
        let request = client.ask(SendMessage {
            client_id: None,
            target: Text(Target::Id(to)),
            body,
            options,
        });
        match self
            .runtime
            .block_on(async { tokio::time::timeout(ANSWER, request).await })
        {
            Ok(Ok(sent)) => Some(sent.id.0.to_string()),
            Ok(Err(_)) | Err(_) => {
                self.client = None;
                None
            }
        }
    }
}
