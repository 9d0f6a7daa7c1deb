//! Settings of one conversation each: their names in the store.

use data_encoding::HEXLOWER;
use hobnob_protocol::ConversationId;

/// A kind of setting. The name of a conversation's setting is this prefix and the id in hex.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConversationSetting(pub(super) &'static str);

impl ConversationSetting {
    /// The name of the setting of this conversation.
    pub(super) fn name(self, id: ConversationId) -> String {
        self.0.to_owned() + &HEXLOWER.encode(id.as_bytes())
    }

    /// The conversation whose setting has this name. `None`: it is a setting of another kind.
    pub(super) fn conversation(self, name: &str) -> Option<ConversationId> {
        let id = HEXLOWER.decode(name.strip_prefix(self.0)?.as_bytes());
        let id = id.ok()?.try_into().ok()?;
        Some(ConversationId::from_bytes(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_its_conversation_and_no_other_name_does() {
        let keep = ConversationSetting("keep ");
        let ops = ConversationId::from_bytes([0xa7; 32]);
        let name = keep.name(ops);
        assert_eq!(name, format!("keep {}", "a7".repeat(32)));
        assert_eq!(keep.conversation(&name), Some(ops));
        for other in ["nick", "keep", "keep a7", "keep lobby", &name[1..]] {
            assert_eq!(keep.conversation(other), None, "{other}");
        }
    }
}
