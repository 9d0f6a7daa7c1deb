//! Replies, edits, reactions and cancelled messages: what the user types, and the requests.

use std::collections::VecDeque;

use hobnob::MessageId;
use hobnob_control::wire::{
    AmendedLine, CancelMessage, EditMessage, MessageLine, ReactToMessage, ReplyToMessage, Text,
    WaitOptions,
};

use super::{quotes, wording};

/// Maximum messages that the line chat remembers: `^200` is the oldest that can be named.
const RECENT_MAX: usize = 200;

/// A message, as the user of a chat names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The newest one that fits: by somebody else to answer it, by this user to change it.
    Newest,
    /// `^2`: the second newest one.
    Back(usize),
    /// By its id.
    Id(MessageId),
}

/// An action of the user on a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Amend {
    Reply(String),
    Edit(String),
    React { emoji: String, off: bool },
    Cancel,
    Pin { off: bool },
}

impl Which {
    /// Takes the name of a message off the front of the arguments of a command.
    pub(crate) fn split(rest: &str) -> (Which, &str) {
        let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let back = word
            .strip_prefix('^')
            .and_then(|number| number.parse().ok());
        match (word.parse(), back) {
            (Ok(id), _) => (Which::Id(id), after.trim_start()),
            (Err(_), Some(back)) if back > 0 => (Which::Back(back), after.trim_start()),
            (Err(_), _) => (Which::Newest, rest),
        }
    }
}

impl Amend {
    /// Whether the newest message that fits is from this user.
    fn is_for_own(&self) -> bool {
        matches!(self, Amend::Edit(_) | Amend::Cancel)
    }

    /// Whether this can be the newest message that the user means.
    fn fits(&self, own: bool, line: &MessageLine) -> bool {
        let body = &line.body;
        let is_decision = body.topic.is_some() || body.pin.is_some();
        let by_anybody = matches!(self, Amend::Pin { .. });
        (by_anybody || own == self.is_for_own()) && body.erased.is_none() && !is_decision
    }

    /// The message that the user means, among these, newest first.
    pub(crate) fn choose<'a>(
        &self,
        which: Which,
        mut newest_first: impl Iterator<Item = (MessageId, bool, &'a MessageLine)>,
    ) -> Result<MessageId, &'static str> {
        let found = match which {
            Which::Id(id) => return Ok(id),
            Which::Back(back) => newest_first.nth(back - 1),
            Which::Newest => newest_first.find(|(_, own, line)| self.fits(*own, line)),
        };
        found.map(|(id, ..)| id).ok_or("there is no such message on the screen: name it by its id, see `hobnob history --json`")
    }
}

/// The answer to a request to cancel.
pub(crate) const CANCELLED: &str = "cancelled: nobody else has the message or will get it";

pub(crate) fn reply(id: MessageId, text: String, options: WaitOptions) -> ReplyToMessage {
    let message = Text(id);
    ReplyToMessage {
        message,
        text,
        options,
        client_id: None,
    }
}

pub(crate) fn edit(id: MessageId, text: String, options: WaitOptions) -> EditMessage {
    let message = Text(id);
    EditMessage {
        message,
        text,
        options,
    }
}

pub(crate) fn react(
    id: MessageId,
    emoji: String,
    off: bool,
    options: WaitOptions,
) -> ReactToMessage {
    let message = Text(id);
    ReactToMessage {
        message,
        emoji,
        off,
        options,
    }
}

pub(crate) fn cancel(id: MessageId) -> CancelMessage {
    CancelMessage { message: Text(id) }
}

/// Adds to a live reply the text that it answers, if that is among the shown messages.
pub(crate) fn quote<'a>(
    reply: &mut MessageLine,
    mut newest_first: impl Iterator<Item = &'a MessageLine>,
) {
    if let Some(to) = &mut reply.amended.reply_to
        && to.text.is_none()
    {
        let answered = newest_first.find(|it| it.id == to.id);
        to.text = answered.map(wording::content);
    }
}

/// The messages that the line chat has shown last, so that the user can name them.
#[derive(Debug, Default)]
pub(crate) struct RecentMessages(VecDeque<MessageLine>);

impl RecentMessages {
    pub(crate) fn add(&mut self, message: &MessageLine) {
        self.0.push_back(message.clone());
        if self.0.len() > RECENT_MAX {
            self.0.pop_front();
        }
    }

    /// Adds to a live reply the text that it answers.
    pub(crate) fn quote(&self, message: &mut MessageLine) {
        quote(message, self.0.iter().rev());
    }

    pub(crate) fn newest_first(&self) -> impl Iterator<Item = (MessageId, bool, &MessageLine)> {
        let newest = self.0.iter().rev();
        newest.map(|line| (line.id.0, line.state.is_some(), line))
    }

    /// The words for a change, and notes it: later quotes have the new text.
    pub(crate) fn amended(&mut self, line: &AmendedLine) -> String {
        let of = self.0.iter_mut().find(|it| it.id == line.message);
        let was = of.as_ref().map(|it| wording::body(&it.body));
        if let (Some(it), Some(text)) = (of, &line.text) {
            it.body.text = Some(text.clone());
        }
        quotes::changed(line, was.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use hobnob::protocol::{LogId, PersonId};
    use hobnob_control::wire::{ReactionLine, ReactorLine, ReplyToLine};

    use super::*;
    use crate::shared::test_messages;

    fn message(seq: u64, text: &str, own: bool) -> MessageLine {
        MessageLine {
            state: own.then_some(hobnob::DeliveryState::Queued),
            ..test_messages::message(seq, text)
        }
    }

    fn recent() -> RecentMessages {
        let mut recent = RecentMessages::default();
        for (seq, text, own) in [(1, "mine", true), (2, "noon?", false), (3, "yes", true)] {
            recent.add(&message(seq, text, own));
        }
        recent
    }

    #[test]
    fn a_message_is_named_by_its_id_or_place_or_not_at_all() {
        let id = MessageId {
            log: LogId(0xab),
            seq: 7,
        };
        assert_eq!(
            Which::split("00000000000000ab-7 so it is"),
            (Which::Id(id), "so it is")
        );
        assert_eq!(Which::split("^2 yes"), (Which::Back(2), "yes"));
        for text in ["yes", "^0 yes", "^ yes", "2 yes"] {
            assert_eq!(Which::split(text), (Which::Newest, text));
        }
    }

    #[test]
    fn by_default_the_newest_message_that_fits_is_meant() {
        let recent = recent();
        let chosen = |amend: Amend, which| {
            let chosen = amend.choose(which, recent.newest_first());
            chosen.map(|id| id.seq)
        };
        let reply = || Amend::Reply("yes".into());
        assert_eq!(chosen(reply(), Which::Newest), Ok(2));
        assert_eq!(chosen(Amend::Cancel, Which::Newest), Ok(3));
        assert_eq!(chosen(reply(), Which::Back(3)), Ok(1));
        assert!(chosen(reply(), Which::Back(4)).is_err());
    }

    #[test]
    fn a_reply_quotes_the_newest_text_on_one_line() {
        let mut recent = recent();
        let line = AmendedLine {
            message: message(2, "", false).id,
            conversation: Text("#lobby".parse().unwrap()),
            from: Text(PersonId::from_bytes([1; 32])),
            nick: "bob".into(),
            text: Some("one?\nor two?".into()),
            emoji: None,
            off: false,
        };
        let words = recent.amended(&line);
        assert_eq!(words, "bob edited \"noon?\": one?␊or two?");
        let mut reply = message(4, "two", true);
        let (id, from) = (message(2, "", false).id, line.from);
        let nick = "bob".to_owned();
        reply.amended.reply_to = Some(ReplyToLine {
            id,
            from,
            nick,
            text: None,
        });
        recent.quote(&mut reply);
        reply.amended.reactions = vec![ReactionLine {
            emoji: "👍".into(),
            by: vec![ReactorLine {
                peer: from,
                nick: "ann".into(),
            }],
        }];
        let (before, after) = quotes::around(&reply.amended);
        assert_eq!(before, "[to bob: one?␊or two?] ");
        assert_eq!(after, " {👍 ann}");
    }
}
