//! Sets and lists the rules about alerts, and tells the store which texts call for the user.

use hobnob_protocol::Nickname;
use tokio::sync::oneshot;

use super::state::Engine;
use crate::api::{ConversationRef, NotifyRule};
use crate::error::NodeError;

impl Engine {
    /// Passes on which texts call for the user.
    fn store_mentions(&self) {
        self.store.set_mentions(self.attention.mentions().clone());
    }

    pub(super) fn mentions_have_nick(&mut self, nick: &Nickname) {
        self.attention.set_nick(nick);
        self.store_mentions();
    }

    pub(super) fn set_highlights(&mut self, words: &[String]) {
        self.attention.set_highlights(words);
        self.store_mentions();
    }

    /// Sets the rule of a conversation. `None`: the default of its kind.
    pub(super) fn set_notify(
        &mut self,
        named: &ConversationRef,
        rule: Option<NotifyRule>,
        reply: oneshot::Sender<Result<(), NodeError>>,
    ) {
        let Some(id) = self.conversation_id(named) else {
            let error = NodeError::NoSuchConversation(named.to_string());
            return drop(reply.send(Err(error)));
        };
        let (key, value) = self.attention.set_rule(id, rule);
        self.store.set_setting(key, value);
        let _ = reply.send(Ok(()));
    }

    /// The rules that the user has set.
    pub(super) fn notify_rules(&self) -> Vec<(ConversationRef, NotifyRule)> {
        let conversations = self.replica.conversations();
        let rules = conversations.filter_map(|it| {
            let rule = self.attention.rule_of(it.id)?;
            Some((self.conversation_ref(it.id)?, rule))
        });
        let mut rules: Vec<_> = rules.collect();
        rules.sort();
        rules
    }
}
