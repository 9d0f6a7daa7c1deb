//! A long-lived client of a node's control socket: a message costs a line, not a process, so that a
//! node dies in the middle of thousands.

use std::path::Path;
use std::time::Duration;

use hobnob::DeliveryState;
use hobnob_control::client::Client;
use hobnob_control::wire::{BodyFields, SendMessage, Text, WaitOptions};
use hobnob_local::home::Home;
use hobnob_protocol::{Body, PeerId, Target};

/// How long an answer may take before the line is given up.
const ANSWER: Duration = Duration::from_secs(10);

/// A line to one node.
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
            .expect("a runtime");
        let home = Home::at(home).expect("the home exists");
        Self {
            runtime,
            home,
            client: None,
        }
    }

    /// Whether the node is there to be spoken to.
    pub fn is_open(&mut self) -> bool {
        if self.client.is_none() {
            self.client = self.runtime.block_on(Client::connect(&self.home)).ok();
        }
        self.client.is_some()
    }

    /// Gives the node a message for a peer: its id, if the node said that it is on disk.
    pub fn submit(&mut self, to: PeerId, text: &str) -> Option<String> {
        let client = self.client.as_ref()?;
        let body = BodyFields::from(Body::Text(text.to_owned()));
        let options = WaitOptions {
            wait: DeliveryState::Queued,
            timeout_ms: 0,
        };
        let ask = client.ask(SendMessage {
            target: Text(Target::Id(to)),
            body,
            options,
        });
        match self
            .runtime
            .block_on(async { tokio::time::timeout(ANSWER, ask).await })
        {
            Ok(Ok(sent)) => Some(sent.id.0.to_string()),
            Ok(Err(_)) | Err(_) => {
                self.client = None;
                None
            }
        }
    }
}
