//! Sends the chat's requests to the node, in order, while the keys stay responsive.

use hobnob_control::Client;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::app::{AnswerHandler, NodeRequest, Outcome};

/// A task that sends requests to one node and collects the answers. Dropping it ends the task.
pub(super) struct NodeLink {
    requests: mpsc::UnboundedSender<NodeRequest>,
    answers: mpsc::UnboundedReceiver<(AnswerHandler, Outcome)>,
    /// Requests without an answer so far.
    waiting: usize,
    _task: AbortOnDropHandle<()>,
}

impl NodeLink {
    pub(super) fn new(client: Client) -> NodeLink {
        let (requests, to_send) = mpsc::unbounded_channel();
        let (answered, answers) = mpsc::unbounded_channel();
        NodeLink {
            requests,
            answers,
            waiting: 0,
            _task: AbortOnDropHandle::new(tokio::spawn(send_all(client, to_send, answered))),
        }
    }

    pub(super) fn send(&mut self, request: NodeRequest) {
        self.waiting += 1;
        self.requests
            .send(request)
            .expect("the task ends only after this sender");
    }

    /// Whether some request has no answer yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// The next answer. Cancel safe.
    pub(super) async fn answer(&mut self) -> Option<(AnswerHandler, Outcome)> {
        let answer = self.answers.recv().await;
        self.waiting -= usize::from(answer.is_some());
        answer
    }
}

async fn send_all(
    client: Client,
    mut to_send: mpsc::UnboundedReceiver<NodeRequest>,
    answered: mpsc::UnboundedSender<(AnswerHandler, Outcome)>,
) {
    let mut in_progress = JoinSet::new();
    while let Some(NodeRequest { request, handler }) = to_send.recv().await {
        // One after the other, so that the node receives them in the order of the keys.
        let begun = client.begin(request).await;
        let answered = answered.clone();
        in_progress.spawn(async move {
            let outcome = async { begun?.await }.await;
            // The chat may have ended meanwhile and dropped the receiver.
            let _ended = answered.send((handler, outcome.map_err(|error| error.to_string())));
        });
        while in_progress.try_join_next().is_some() {}
    }
}
