//! `CHATHISTORY`: which messages a client asks for, as requests to the node (IRCv3 chathistory).

use hobnob::{ConversationRef, MessageId};
use hobnob_control::wire::{HistoryFilter, MessageLine, Text, Time};

use crate::render::message_id;

/// Maximum messages of one answer.
pub(crate) const HISTORY_MAX: usize = 100;

/// The features of this server (RPL_ISUPPORT), at most 13 on a line.
pub(crate) const ISUPPORT: [&[&str]; 2] = [
    &[
        "NETWORK=hobnob",
        "CASEMAPPING=ascii",
        "UTF8ONLY",
        "CHANTYPES=#",
        "CHANMODES=b,k,,nt",
        "PREFIX=(o)@",
        "CHANNELLEN=33",
        "NICKLEN=64",
    ],
    &[
        "CHATHISTORY=100",
        "MSGREFTYPES=msgid,timestamp",
        "TARGMAX=PRIVMSG:8,NOTICE:8,JOIN:8,PART:8",
        "TOPICLEN=512",
        "AWAYLEN=256",
        "MAXTARGETS=8",
    ],
];

const _: () = assert!(HISTORY_MAX == 100, "ISUPPORT names it");

/// A place in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Message(MessageId),
    Time(Time),
}

/// The messages between two places, without those at the places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) conversation: ConversationRef,
    after: Option<Place>,
    before: Option<Place>,
    /// The newest that fit, instead of the oldest.
    newest: bool,
    limit: usize,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Messages of a conversation. The text is the conversation as the client named it.
    Messages(String, Wanted),
    /// The conversations with messages after the first time and before the second.
    Targets(Time, Time, usize),
}

/// Why a request is wrong: the code of the standard reply, and the reason.
pub(crate) type Wrong = (&'static str, &'static str);

/// Reads the parameters of `CHATHISTORY`.
pub(crate) fn parse(
    params: &[String],
    conversation: impl Fn(&str) -> Option<ConversationRef>,
) -> Result<Asked, Wrong> {
    const PARAMS: Wrong = ("INVALID_PARAMS", "the parameters are wrong");
    let words: Vec<&str> = params.iter().map(String::as_str).collect();
    let [subcommand, rest @ ..] = words.as_slice() else {
        return Err(("NEED_MORE_PARAMS", "a subcommand is missing"));
    };
    let subcommand = subcommand.to_ascii_uppercase();
    if let ("TARGETS", [one, other, limit]) = (subcommand.as_str(), rest) {
        let (Some(Place::Time(one)), Some(Place::Time(other))) = (place(one), place(other)) else {
            return Err(PARAMS);
        };
        return Ok(Asked::Targets(
            one.min(other),
            one.max(other),
            count(limit)?,
        ));
    }
    let [target, rest @ ..] = rest else {
        return Err(("NEED_MORE_PARAMS", "a conversation is missing"));
    };
    let conversation =
        conversation(target).ok_or(("INVALID_TARGET", "there is no such conversation"))?;
    let wanted = |after, before, newest, limit: &str| {
        let limit = count(limit)?;
        let wanted = Wanted {
            conversation: conversation.clone(),
            after,
            before,
            newest,
            limit,
        };
        Ok(Asked::Messages((*target).to_owned(), wanted))
    };
    let known = |word: &str| place(word).ok_or(PARAMS).map(Some);
    match (subcommand.as_str(), rest) {
        ("LATEST", ["*", limit]) => wanted(None, None, true, limit),
        ("LATEST", [after, limit]) => wanted(known(after)?, None, true, limit),
        ("BEFORE", [before, limit]) => wanted(None, known(before)?, true, limit),
        ("AFTER", [after, limit]) => wanted(known(after)?, None, false, limit),
        ("BETWEEN", [one, other, limit]) => {
            let (one, other) = (known(one)?, known(other)?);
            // From a later to an earlier place: the newest first. Places by id are in the order in
            // which the client gave them.
            match (one, other) {
                (Some(Place::Time(a)), Some(Place::Time(b))) if a > b => {
                    wanted(other, one, true, limit)
                }
                _ => wanted(one, other, false, limit),
            }
        }
        _ => Err(PARAMS),
    }
}

fn place(word: &str) -> Option<Place> {
    match word.split_once('=')? {
        ("msgid", id) => message_id(id).map(Place::Message),
        ("timestamp", time) => {
            let time: jiff::Timestamp = time.parse().ok()?;
            Some(Place::Time(time.into()))
        }
        _ => None,
    }
}

fn count(word: &str) -> Result<usize, Wrong> {
    let count: usize = word
        .parse()
        .map_err(|_| ("INVALID_PARAMS", "the number of messages is wrong"))?;
    Ok(count.clamp(1, HISTORY_MAX))
}

/// The search for the conversations that one `CHATHISTORY TARGETS` asks for.
#[derive(Debug)]
pub(crate) struct Targets {
    from: Time,
    to: Time,
    limit: usize,
    waiting: usize,
    found: Vec<(String, Time)>,
}

impl Targets {
    /// A search in this many conversations, for newest messages between two times.
    pub(crate) fn new(from: Time, to: Time, limit: usize, conversations: usize) -> Targets {
        Targets {
            from,
            to,
            limit,
            waiting: conversations,
            found: Vec::new(),
        }
    }

    /// Adds the name of one conversation and the time of its newest message, if it has one. Returns
    /// those that fit, the longest silent first, once all conversations were added.
    pub(crate) fn add(&mut self, newest: Option<(String, Time)>) -> Option<Vec<(String, Time)>> {
        self.waiting = self.waiting.saturating_sub(1);
        let within = |(_, time): &(String, Time)| *time > self.from && *time < self.to;
        self.found.extend(newest.filter(within));
        if self.waiting > 0 {
            return None;
        }
        let mut found = std::mem::take(&mut self.found);
        found.sort_by_key(|(_, time)| *time);
        found.truncate(self.limit);
        Some(found)
    }
}

impl Wanted {
    /// The newest messages of a conversation.
    pub(crate) fn latest(conversation: ConversationRef, limit: usize) -> Wanted {
        Wanted {
            conversation,
            after: None,
            before: None,
            newest: true,
            limit,
        }
    }

    /// The request that finds the first message at or after the end, if the end is a time. The
    /// node's history ends at messages only.
    pub(crate) fn end(&self) -> Option<HistoryFilter> {
        let Some(Place::Time(time)) = self.before else {
            return None;
        };
        Some(HistoryFilter {
            conversation: Some(Text(self.conversation.clone())),
            since: Some(time),
            oldest: true,
            limit: Some(1),
            ..HistoryFilter::default()
        })
    }

    /// Puts the message that [`Wanted::end`] has found, if any, in place of the time.
    pub(crate) fn found_end(&mut self, found: &[MessageLine]) {
        self.before = found.first().map(|message| Place::Message(message.id.0));
    }

    /// The request for the messages.
    pub(crate) fn filter(&self) -> HistoryFilter {
        let message = |place| match place {
            Some(Place::Message(id)) => Some(Text(id)),
            Some(Place::Time(_)) | None => None,
        };
        let since = match self.after {
            Some(Place::Time(time)) => Some(Time(time.0.saturating_add(1))),
            Some(Place::Message(_)) | None => None,
        };
        HistoryFilter {
            conversation: Some(Text(self.conversation.clone())),
            since,
            before: message(self.before),
            after: message(self.after),
            oldest: !self.newest,
            limit: Some(self.limit),
            ..HistoryFilter::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::samples::room;

    const ID: &str = "msgid=00000000000000ab-7";
    const EARLY: &str = "timestamp=2026-11-20T13:00:00.000Z";
    const LATE: &str = "timestamp=2026-11-20T14:00:00.000Z";

    fn asked(words: &str) -> Result<Asked, Wrong> {
        let params: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let lobby = ConversationRef::Room(room("lobby"));
        parse(&params, |word| (word == "#lobby").then(|| lobby.clone()))
    }

    fn wanted(words: &str) -> Wanted {
        match asked(words) {
            Ok(Asked::Messages(target, wanted)) if target == "#lobby" => wanted,
            other => panic!("{words}: {other:?}"),
        }
    }

    #[test]
    fn latest_messages_are_the_newest_that_fit() {
        let filter = wanted("LATEST #lobby * 50").filter();
        assert_eq!((filter.oldest, filter.limit), (false, Some(50)));
        assert_eq!(
            (filter.before, filter.after, filter.since),
            (None, None, None)
        );
        let filter = wanted(&format!("latest #lobby {ID} 1000")).filter();
        assert!(filter.after.is_some() && !filter.oldest);
        assert_eq!(filter.limit, Some(HISTORY_MAX));
    }

    #[test]
    fn messages_before_a_time_need_the_first_message_after_it() {
        let mut wanted = wanted(&format!("BEFORE #lobby {LATE} 10"));
        let end = wanted.end().unwrap();
        assert_eq!((end.oldest, end.limit), (true, Some(1)));
        assert!(end.since.is_some());
        // There is none: the newest are before it.
        wanted.found_end(&[]);
        assert_eq!((wanted.end(), wanted.filter().before), (None, None));
    }

    #[test]
    fn messages_after_a_time_begin_a_millisecond_later() {
        let wanted = wanted(&format!("AFTER #lobby {EARLY} 10"));
        assert_eq!(wanted.end(), None);
        let filter = wanted.filter();
        let since = filter.since.unwrap().timestamp().to_string();
        assert_eq!(
            (since.as_str(), filter.oldest),
            ("2026-11-20T13:00:00.001Z", true)
        );
    }

    #[test]
    fn messages_between_two_times_may_be_asked_for_backwards() {
        let forwards = wanted(&format!("BETWEEN #lobby {EARLY} {LATE} 10"));
        let backwards = wanted(&format!("BETWEEN #lobby {LATE} {EARLY} 10"));
        assert_eq!(forwards.end(), backwards.end());
        assert_eq!(forwards.filter().since, backwards.filter().since);
        assert!(forwards.filter().oldest && !backwards.filter().oldest);
    }

    #[test]
    fn the_conversations_between_two_times_are_found_once_all_were_looked_at() {
        let mut targets = Targets::new(Time(10), Time(20), 2, 4);
        let newest = |name: &str, time| Some((name.to_owned(), Time(time)));
        assert_eq!(targets.add(newest("#late", 18)), None);
        assert_eq!(targets.add(newest("#early", 12)), None);
        assert_eq!(targets.add(newest("#before", 9)), None);
        let found = targets.add(None).unwrap();
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["#early", "#late"]);
    }

    #[test]
    fn wrong_requests_have_the_code_of_a_standard_reply() {
        for (words, code) in [
            ("LATEST", "NEED_MORE_PARAMS"),
            ("LATEST #nowhere * 5", "INVALID_TARGET"),
            ("LATEST #lobby * many", "INVALID_PARAMS"),
            ("BEFORE #lobby msgid=x 5", "INVALID_PARAMS"),
            ("AROUND #lobby * 5", "INVALID_PARAMS"),
            ("TARGETS timestamp=now * 5", "INVALID_PARAMS"),
        ] {
            assert_eq!(asked(words).unwrap_err().0, code, "{words}");
        }
        let targets = asked(&format!("TARGETS {LATE} {EARLY} 5")).unwrap();
        assert!(matches!(targets, Asked::Targets(from, to, 5) if from < to));
    }
}
