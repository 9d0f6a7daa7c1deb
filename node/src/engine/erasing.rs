//! Requests to erase on their way to the disk, and how long each conversation is kept.
//!
//! `erasing_requests` carries the requests out.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_core::replica::Token;
use hobnob_protocol::{ConversationId, LogName, Ranges, Seq};
use tokio::sync::oneshot;

use super::conversation_setting::ConversationSetting;
use crate::error::EraseError;

/// The settings that hold how long a conversation is kept, in seconds.
pub(super) const KEEP: ConversationSetting = ConversationSetting("keep ");

/// The answer to a request to erase.
pub(crate) type EraseReply = oneshot::Sender<Result<(), EraseError>>;

/// The edits of a message, by log.
pub(crate) type Edits = BTreeMap<LogName, Ranges>;

/// A request to erase that is on its way to the disk.
#[derive(Debug, Default)]
pub(super) struct PendingErase {
    /// Nobody waits for the retention.
    pub(super) reply: Option<EraseReply>,
    /// The message, if it must not have left this node.
    pub(super) cancels: Option<(LogName, Seq)>,
}

/// The requests to erase that are under way, and how long each conversation is kept.
#[derive(Debug, Default)]
pub(crate) struct Erasing {
    waiting: BTreeMap<Token, PendingErase>,
    /// How long messages are kept. Zero means for ever.
    keep: BTreeMap<ConversationId, Duration>,
    /// How long messages of all other conversations are kept.
    keep_default: Option<Duration>,
    /// Whether the files will soon be rid of erased texts.
    scrub_is_due: bool,
}

impl Erasing {
    /// Starts with the settings of the store.
    pub(crate) fn new(settings: &BTreeMap<String, String>, keep_default: Option<Duration>) -> Self {
        let keep = settings.iter().filter_map(|(key, value)| {
            let seconds = value.parse().ok()?;
            Some((KEEP.conversation(key)?, Duration::from_secs(seconds)))
        });
        Self {
            keep: keep.collect(),
            keep_default,
            ..Self::default()
        }
    }

    pub(super) fn begin(&mut self, token: Token, reply: Option<EraseReply>) {
        let cancels = None;
        self.waiting.insert(token, PendingErase { reply, cancels });
    }

    /// Like [`Erasing::begin`], for a message that must not have left this node meanwhile.
    pub(super) fn begin_cancel(&mut self, token: Token, reply: EraseReply, of: (LogName, Seq)) {
        let (reply, cancels) = (Some(reply), Some(of));
        self.waiting.insert(token, PendingErase { reply, cancels });
    }

    /// Takes the request with this token, if it is one to erase.
    pub(super) fn take(&mut self, token: Token) -> Option<PendingErase> {
        self.waiting.remove(&token)
    }

    /// Keeps the messages of a conversation for this long. Zero means for ever.
    pub(super) fn set_kept_for(&mut self, id: ConversationId, keep: Duration) {
        self.keep.insert(id, keep);
    }

    /// Keeps the messages of conversations without a time of their own for this long.
    pub(super) fn set_default(&mut self, keep: Option<Duration>) {
        self.keep_default = keep;
    }

    /// Notes that the files are to be rid of erased texts. Returns whether that was known.
    pub(super) fn note_scrub_is_due(&mut self) -> bool {
        std::mem::replace(&mut self.scrub_is_due, true)
    }

    /// Notes that the files are being rid of erased texts.
    pub(super) fn scrubs(&mut self) {
        self.scrub_is_due = false;
    }

    /// How long the messages of a conversation are kept. `None` means for ever.
    pub(super) fn kept_for(&self, id: ConversationId) -> Option<Duration> {
        self.own_time(id).unwrap_or_else(|| self.default_time())
    }

    /// The time that the user has set for a conversation. `Some(None)` means for ever.
    pub(super) fn own_time(&self, id: ConversationId) -> Option<Option<Duration>> {
        let own = self.keep.get(&id).copied()?;
        Some(Some(own).filter(|keep| !keep.is_zero()))
    }

    /// The time of all other conversations. `None` means for ever.
    pub(super) fn default_time(&self) -> Option<Duration> {
        self.keep_default.filter(|keep| !keep.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

    #[test]
    fn a_conversation_is_kept_as_long_as_the_user_said() {
        let [ops, lobby, other] = [1, 2, 3].map(|n| ConversationId::from_bytes([n; 32]));
        let settings = BTreeMap::from([
            (KEEP.name(ops), "604800".to_owned()),
            (KEEP.name(lobby), "0".to_owned()),
            ("nick".to_owned(), "1".to_owned()),
        ]);
        let erasing = Erasing::new(&settings, Some(WEEK * 2));
        assert_eq!(erasing.kept_for(ops), Some(WEEK));
        assert_eq!(erasing.kept_for(lobby), None, "for ever");
        assert_eq!(erasing.own_time(ops), Some(Some(WEEK)));
        assert_eq!(erasing.own_time(lobby), Some(None));
        assert_eq!(erasing.own_time(other), None);
        assert_eq!(erasing.default_time(), Some(WEEK * 2));
        assert_eq!(erasing.kept_for(other), Some(WEEK * 2));
        let without = Erasing::new(&settings, None);
        assert_eq!(without.kept_for(other), None);
    }
}
