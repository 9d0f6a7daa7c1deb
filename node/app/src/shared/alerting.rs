//! Mentions, and the rules about which messages alert the user: what the user types, the requests to
//! the node, and the words for the answers.

use hobnob::{ConversationRef, NotifyRule};
use hobnob_control::wire::{HistoryFilter, NotifyRuleList, SetNotify};

use super::values::ConversationArg;
use super::wording::Names;

/// The number of mentions that the chat lists: the newest.
const MENTIONS_SHOWN: usize = 20;

/// The sentence where nobody has mentioned the user.
pub(crate) const NO_MENTIONS: &str = "nobody has mentioned you: a text does with @ and your name";

/// What `/notify` and `/mute` mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notify {
    /// Lists the rules.
    List,
    /// Sets the rule of a conversation; without one, of the open one.
    Set(Option<ConversationArg>, TypedRule),
}

/// A rule, as the user types it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TypedRule(pub(crate) Option<NotifyRule>);

impl std::str::FromStr for TypedRule {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "default" => Ok(TypedRule(None)),
            word => match word.parse() {
                Ok(rule) => Ok(TypedRule(Some(rule))),
                Err(_) => Err("expected one of: all, mentions, none, default".to_owned()),
            },
        }
    }
}

impl Notify {
    /// Parses `[TO] [RULE]`.
    pub(crate) fn parse(words: &str) -> Result<Self, String> {
        match *words.split_whitespace().collect::<Vec<_>>() {
            [] => Ok(Notify::List),
            [rule] => Ok(Notify::Set(None, rule.parse()?)),
            [to, rule] => Ok(Notify::Set(Some(to.parse()?), rule.parse()?)),
            _ => Err("a rule is one word: all, mentions, none or default".to_owned()),
        }
    }

    /// `/mute [TO]`.
    pub(crate) fn mute(to: &str) -> Result<Self, String> {
        let to = (!to.is_empty()).then(|| to.parse()).transpose()?;
        Ok(Notify::Set(to, TypedRule(Some(NotifyRule::None))))
    }
}

impl TypedRule {
    /// The request to the node.
    pub(crate) fn request(self, of: ConversationArg) -> SetNotify {
        let (target, room) = of.fields();
        SetNotify {
            target,
            room,
            rule: self.0,
        }
    }

    /// The sentence for a rule that was set.
    pub(crate) fn done(self) -> &'static str {
        match self.0 {
            Some(NotifyRule::All) => "all messages of this conversation alert you now",
            Some(NotifyRule::Mentions) => "only messages that mention you alert you here now",
            Some(NotifyRule::None) => "no message of this conversation alerts you now",
            None => "direct messages alert you, and in rooms those that mention you",
        }
    }
}

/// The rules in words, or if there are none, what applies then. `how` is the command that sets one.
pub(crate) fn rules(list: &NotifyRuleList, names: &Names, how: &str) -> Vec<String> {
    let line = |of: &ConversationRef, rule: NotifyRule| {
        let what = match rule {
            NotifyRule::All => "all messages alert you",
            NotifyRule::Mentions => "messages that mention you alert you",
            NotifyRule::None => "muted",
        };
        format!("{}: {what}", names.of_conversation(of))
    };
    let rules = list
        .rules
        .iter()
        .map(|it| line(&it.conversation.0, it.rule));
    let mut lines: Vec<_> = rules.collect();
    if lines.is_empty() {
        lines.push(format!(
            "direct messages alert you, and in rooms those that mention you: {how} changes that"
        ));
    }
    lines
}

/// The request for the newest mentions.
pub(crate) fn mentions() -> HistoryFilter {
    HistoryFilter {
        mentions: true,
        limit: Some(MENTIONS_SHOWN),
        ..HistoryFilter::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_for_the_open_conversation_or_a_named_one() {
        let to = |word: &str| Some(word.parse().expect("a conversation"));
        let rule = |rule| TypedRule(Some(rule));
        assert_eq!(Notify::parse(""), Ok(Notify::List));
        let cases = [
            ("none", Notify::Set(None, rule(NotifyRule::None))),
            ("#ops all", Notify::Set(to("#ops"), rule(NotifyRule::All))),
            (
                "bob mentions",
                Notify::Set(to("bob"), rule(NotifyRule::Mentions)),
            ),
            ("default", Notify::Set(None, TypedRule(None))),
        ];
        for (typed, meaning) in cases {
            assert_eq!(Notify::parse(typed), Ok(meaning), "{typed}");
        }
        let muted = Notify::Set(to("#ops"), rule(NotifyRule::None));
        assert_eq!(Notify::mute("#ops"), Ok(muted));
        for wrong in ["loud", "#ops", "#o/ps all", "#ops all now"] {
            assert!(Notify::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_request_without_a_rule_sets_the_default() {
        let request = TypedRule(None).request("#ops".parse().expect("a room"));
        assert!(request.rule.is_none() && request.room.is_some() && request.target.is_none());
    }
}
