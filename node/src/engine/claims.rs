//! Messages that a program named itself, from the moment of the request until they are on disk.
//!
//! The store knows the names of messages on disk. The claim covers the time before, so that two
//! requests with one name never become two messages.

use std::collections::BTreeMap;

use hobnob_core::ClientId;
use tokio::sync::oneshot;

use crate::api::Sent;
use crate::error::SendError;

/// The reply to a user who sends a message.
pub(super) type SendReply = oneshot::Sender<Result<Sent, SendError>>;

/// The names under way, each with the users who wait for its message.
#[derive(Debug, Default)]
pub(super) struct Claims(BTreeMap<ClientId, Vec<SendReply>>);

impl Claims {
    /// Claims a name. Returns whether it was free. If not, the user gets the answer of the message
    /// that has it.
    pub(super) fn claim(&mut self, id: &ClientId, reply: SendReply) -> bool {
        let waiting = self.0.entry(id.clone()).or_default();
        waiting.push(reply);
        waiting.len() == 1
    }

    /// Answers everybody who waits for the message with this name.
    pub(super) fn answer(&mut self, id: &ClientId, outcome: &Result<Sent, SendError>) {
        for reply in self.0.remove(id).into_iter().flatten() {
            // A user who stopped waiting needs no answer.
            let _ = reply.send(outcome.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_claimed_once_and_everybody_gets_its_answer() {
        let mut claims = Claims::default();
        let id: ClientId = "order-1".parse().unwrap();
        let [(first, mut one), (second, mut two)] = [oneshot::channel(), oneshot::channel()];
        assert!(claims.claim(&id, first));
        assert!(!claims.claim(&id, second));
        claims.answer(&id, &Err(SendError::Myself));
        for answer in [&mut one, &mut two] {
            assert!(matches!(answer.try_recv(), Ok(Err(SendError::Myself))));
        }
        let (third, _) = oneshot::channel();
        assert!(claims.claim(&id, third), "it is free again");
    }
}
