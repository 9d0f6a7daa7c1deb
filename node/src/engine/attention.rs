//! What the user wants to be alerted about: texts that mention the user, and a rule for each
//! conversation.

use std::collections::BTreeMap;

use hobnob_protocol::{Body, ConversationId, Nickname};
use tokio::sync::oneshot;

use super::erasing::hex_of;
use super::state::Engine;
use crate::api::{ConversationRef, NotifyRule};
use crate::error::NodeError;
use crate::store::{Mentions, text_of};

/// The prefix of the settings that hold the rule of a conversation. Its id follows, in hex.
const NOTIFY_SETTING: &str = "notify ";

/// See the module.
#[derive(Debug)]
pub(crate) struct Attention {
    mentions: Mentions,
    /// The rules that the user has set, by the name of the setting.
    rules: BTreeMap<String, NotifyRule>,
}

impl Attention {
    /// Starts with the settings of the store.
    pub(crate) fn new(mentions: Mentions, settings: &BTreeMap<String, String>) -> Self {
        let rules = settings.iter().filter_map(|(key, value)| {
            let of_rule = key.starts_with(NOTIFY_SETTING);
            // Without a rule, the setting is empty.
            let rule = value.parse().ok().filter(|_| of_rule)?;
            Some((key.clone(), rule))
        });
        Self {
            rules: rules.collect(),
            mentions,
        }
    }

    /// Whether this content of somebody else calls for the user.
    pub(super) fn is_mention(&self, body: &Body) -> bool {
        text_of(body).is_some_and(|text| self.mentions.are_in(&text))
    }

    /// Whether the user wants to be alerted about a message of somebody else.
    pub(super) fn alerts(
        &self,
        id: ConversationId,
        conversation: &ConversationRef,
        is_mention: bool,
    ) -> bool {
        let of_one = self.rules.get(&setting_of(id)).copied();
        match of_one.unwrap_or_else(|| NotifyRule::default_of(conversation)) {
            NotifyRule::All => true,
            NotifyRule::Mentions => is_mention,
            NotifyRule::None => false,
        }
    }
}

impl Engine {
    /// Passes on which texts call for the user.
    pub(crate) fn store_mentions(&self) {
        self.store.set_mentions(self.attention.mentions.clone());
    }

    pub(super) fn mentions_have_nick(&mut self, nick: &Nickname) {
        self.attention.mentions.set_nick(nick);
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
        let key = setting_of(id);
        let value = rule.map_or("", NotifyRule::as_str);
        self.store.set_setting(key.clone(), value);
        match rule {
            Some(rule) => self.attention.rules.insert(key, rule),
            None => self.attention.rules.remove(&key),
        };
        let _ = reply.send(Ok(()));
    }

    /// The rules that the user has set.
    pub(super) fn notify_rules(&self) -> Vec<(ConversationRef, NotifyRule)> {
        let of = |id: ConversationId| {
            let rule = self.attention.rules.get(&setting_of(id))?;
            Some((self.conversation_ref(id)?, *rule))
        };
        let conversations = self.replica.conversations();
        let mut rules: Vec<_> = conversations.filter_map(|it| of(it.id)).collect();
        rules.sort();
        rules
    }
}

fn setting_of(id: ConversationId) -> String {
    NOTIFY_SETTING.to_owned() + &hex_of(id)
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::PersonId;

    use super::*;

    #[test]
    fn each_conversation_has_its_rule_or_the_default_of_its_kind() {
        let bob = PersonId::from_bytes([2; 32]);
        let direct = ConversationRef::Direct(bob);
        let room = ConversationRef::Room("ops".parse().expect("a room"));
        let [one, two, three] = [1, 2, 3].map(|n| ConversationId::from_bytes([n; 32]));
        let settings = BTreeMap::from([
            (setting_of(one), "all".to_owned()),
            (setting_of(two), "none".to_owned()),
            (setting_of(three), String::new()),
            ("nick".to_owned(), "all".to_owned()),
        ]);
        let nick = Nickname::new("ann").expect("a nickname");
        let attention = Attention::new(Mentions::new(bob, &nick, &[]), &settings);
        assert_eq!(attention.rules.len(), 2);
        assert!(attention.alerts(one, &room, false));
        assert!(!attention.alerts(two, &direct, true));
        assert!(attention.alerts(three, &direct, false));
        assert!(attention.alerts(three, &room, true));
        assert!(!attention.alerts(three, &room, false));
    }
}
