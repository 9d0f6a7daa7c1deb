//! What the user wants to be alerted about: texts that mention the user, and a rule for each
//! conversation.
//!
//! `attention_requests` carries out what the user asks for.

use std::collections::BTreeMap;

use hobnob_protocol::{Body, ConversationId, Nickname};

use super::conversation_setting::ConversationSetting;
use crate::api::{ConversationRef, NotifyRule};
use crate::store::{Mentions, text_of};

/// The settings that hold the rule of a conversation.
const NOTIFY: ConversationSetting = ConversationSetting("notify ");

/// See the module.
#[derive(Debug)]
pub(crate) struct Attention {
    mentions: Mentions,
    /// The rules that the user has set.
    rules: BTreeMap<ConversationId, NotifyRule>,
}

impl Attention {
    /// Starts with the settings of the store.
    pub(crate) fn new(mentions: Mentions, settings: &BTreeMap<String, String>) -> Self {
        let rules = settings.iter().filter_map(|(key, value)| {
            // Without a rule, the setting is empty.
            Some((NOTIFY.conversation(key)?, value.parse().ok()?))
        });
        Self {
            rules: rules.collect(),
            mentions,
        }
    }

    /// Which texts call for the user.
    pub(super) fn mentions(&self) -> &Mentions {
        &self.mentions
    }

    /// The user has another nickname now.
    pub(super) fn set_nick(&mut self, nick: &Nickname) {
        self.mentions.set_nick(nick);
    }

    /// The user wants to be called for other words now.
    pub(super) fn set_highlights(&mut self, words: &[String]) {
        self.mentions.set_highlights(words);
    }

    /// The rule that the user has set for a conversation.
    pub(super) fn rule_of(&self, id: ConversationId) -> Option<NotifyRule> {
        self.rules.get(&id).copied()
    }

    /// Sets the rule of a conversation. `None`: the default of its kind. Returns the setting of the
    /// store and its value.
    pub(super) fn set_rule(
        &mut self,
        id: ConversationId,
        rule: Option<NotifyRule>,
    ) -> (String, &'static str) {
        match rule {
            Some(rule) => self.rules.insert(id, rule),
            None => self.rules.remove(&id),
        };
        (NOTIFY.name(id), rule.map_or("", NotifyRule::as_str))
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
        let of_one = self.rule_of(id);
        match of_one.unwrap_or_else(|| NotifyRule::default_of(conversation)) {
            NotifyRule::All => true,
            NotifyRule::Mentions => is_mention,
            NotifyRule::None => false,
        }
    }
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
            (NOTIFY.name(one), "all".to_owned()),
            (NOTIFY.name(two), "none".to_owned()),
            (NOTIFY.name(three), String::new()),
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
