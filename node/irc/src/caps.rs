//! The capabilities of IRCv3 that a client can switch on.

use std::collections::BTreeSet;

/// A capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cap {
    AwayNotify,
    Batch,
    Notify,
    ChatHistory,
    EchoMessage,
    MessageTags,
    ReadMarker,
    Redaction,
    Sasl,
    ServerTime,
    Setname,
    StandardReplies,
    UserhostInNames,
}

/// All capabilities, with their names and the values that clients see.
const ALL: [(Cap, &str, &str); 13] = [
    (Cap::AwayNotify, "away-notify", ""),
    (Cap::Batch, "batch", ""),
    (Cap::Notify, "cap-notify", ""),
    (Cap::ChatHistory, "draft/chathistory", ""),
    (Cap::EchoMessage, "echo-message", ""),
    (Cap::MessageTags, "message-tags", ""),
    (Cap::ReadMarker, "draft/read-marker", ""),
    (Cap::Redaction, "draft/message-redaction", ""),
    (Cap::Sasl, "sasl", "PLAIN"),
    (Cap::ServerTime, "server-time", ""),
    (Cap::Setname, "setname", ""),
    (Cap::StandardReplies, "standard-replies", ""),
    (Cap::UserhostInNames, "userhost-in-names", ""),
];

/// The capabilities that a client has switched on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Caps {
    on: BTreeSet<Cap>,
}

impl Caps {
    pub(crate) fn has(&self, cap: Cap) -> bool {
        self.on.contains(&cap)
    }

    /// All capabilities, for `CAP LS`. Values are for clients of version 302 and above.
    pub(crate) fn offered(version: u32) -> String {
        let shown = ALL.map(|(_, name, value)| match value {
            "" => name.to_owned(),
            _ if version < 302 => name.to_owned(),
            value => format!("{name}={value}"),
        });
        shown.join(" ")
    }

    /// The names of those that are on, for `CAP LIST`.
    pub(crate) fn list(&self) -> String {
        let on = ALL.iter().filter(|(cap, ..)| self.has(*cap));
        on.map(|(_, name, _)| *name).collect::<Vec<_>>().join(" ")
    }

    /// Switches capabilities on, and off those with a `-`. If one of them is unknown, none changes,
    /// and the answer is false.
    pub(crate) fn change(&mut self, words: &str) -> bool {
        let mut on = self.on.clone();
        for word in words.split_whitespace() {
            let name = word.strip_prefix('-').unwrap_or(word);
            let Some((cap, ..)) = ALL.iter().find(|(_, known, _)| *known == name) else {
                return false;
            };
            if name == word {
                on.insert(*cap);
            } else {
                on.remove(cap);
            }
        }
        self.on = on;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_switched_all_or_none() {
        let mut caps = Caps::default();
        assert!(caps.change("server-time message-tags"));
        assert_eq!(caps.list(), "message-tags server-time");
        assert!(!caps.change("-server-time no-such-thing"));
        assert!(caps.has(Cap::ServerTime));
        assert!(caps.change("-server-time batch"));
        assert_eq!(caps.list(), "batch message-tags");
    }

    #[test]
    fn only_new_clients_see_values() {
        assert!(Caps::offered(302).contains("sasl=PLAIN"));
        assert!(Caps::offered(301).contains(" sasl "));
    }
}
