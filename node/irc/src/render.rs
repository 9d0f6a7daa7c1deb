//! Messages and changes of the node as lines for one client.

use hobnob::{ConversationRef, MessageId, RoomTopic};
use hobnob_control::wire::{AmendedLine, ErasedWhy, MessageLine, OfferFields, Time};
use hobnob_local::output::size;
use hobnob_protocol::text::ACTION;
use hobnob_protocol::{PersonId, RoomName};

use crate::caps::{Cap, Caps};
use crate::line::{Line, cut};
use crate::registration::SERVER;
use crate::roster::Roster;
use crate::wording;

/// The nickname of the service: commands for which IRC has no words.
pub(crate) const SERVICE: &str = "*hobnob";

/// Maximum lines that one message becomes. The rest of a longer one is left out.
const LINES_MAX: usize = 200;

/// Bytes that a cut line leaves free: clients repeat the source in their own words.
const SPARE_BYTES: usize = 16;

/// Makes lines for a client with these capabilities.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Render<'a> {
    pub(crate) roster: &'a Roster,
    pub(crate) caps: &'a Caps,
}

/// What a rendered message is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// It has just arrived.
    Now,
    /// It is part of the history.
    History,
}

impl Render<'_> {
    /// The source of lines of this node or a peer: `nick!user@host`.
    pub(crate) fn source(&self, peer: PersonId) -> String {
        format!("{}!{}@{SERVER}", self.roster.nick(peer), peer.short())
    }

    /// The place of a conversation in lines from `from`: the room, or the other end.
    pub(crate) fn target(&self, conversation: &ConversationRef, from: PersonId) -> String {
        match conversation {
            ConversationRef::Room(room) => room.to_string(),
            ConversationRef::Direct(peer) if from == self.roster.me() => {
                self.roster.nick(*peer).to_owned()
            }
            ConversationRef::Direct(_) => self.roster.nick(self.roster.me()).to_owned(),
        }
    }

    /// A message. `offer` is the number by which the service knows the file that it offers.
    pub(crate) fn message(
        &self,
        message: &MessageLine,
        offer: Option<usize>,
        shown: Shown,
    ) -> Vec<Line> {
        // The list of rooms shows whether this topic counts: see `new_topic`.
        if shown == Shown::Now && message.body.topic.is_some() {
            return Vec::new();
        }
        let author = message.from.0;
        let Some((command, text)) = self.body(message, offer) else {
            return Vec::new();
        };
        let then = self.author_then(message, shown);
        let is_direct = matches!(message.conversation.0, ConversationRef::Direct(_));
        let source = match is_direct {
            // The client answers to this nickname, so it is today's. The other one is in the text.
            true => self.source(author),
            false => format!("{then}!{}@{SERVER}", author.short()),
        };
        let target = self.target(&message.conversation.0, author);
        let action = text.strip_prefix(ACTION).map(str::to_owned);
        let mut text = action.clone().unwrap_or(text);
        if message.amended.edited.is_some() {
            text.push_str(" (edited)");
        }
        let reply_to = message.amended.reply_to.as_ref();
        if let Some(reply_to) = reply_to
            && !self.caps.has(Cap::MessageTags)
        {
            let to = self.roster.nick_then(reply_to.from.0, &reply_to.nick);
            text = format!("{to}: {text}");
        }
        if is_direct && then != self.roster.nick(author) {
            text = format!("<{then}> {text}");
        }
        if shown == Shown::History && !self.caps.has(Cap::ServerTime) {
            let time = message.received_at.timestamp().strftime("%Y-%m-%d %H:%M");
            text = format!("[{time}] {text}");
        }
        let head = Line::new(&source, command, &[&target]);
        let most = head.room().saturating_sub(SPARE_BYTES);
        let mut parts = Vec::new();
        for line in wording::lines(&text) {
            let mut rest = line.as_str();
            while !rest.is_empty() && parts.len() < LINES_MAX {
                let (part, after) = cut(rest, most);
                parts.push(part.to_owned());
                rest = after;
            }
        }
        let parts = parts.into_iter().zip(1..);
        let lines = parts.map(|(part, number)| {
            let part = match action {
                Some(_) => format!("\u{1}ACTION {part}\u{1}"),
                None => part,
            };
            let line = self.stamped(
                Line::new(&source, command, &[&target, &part]),
                message.received_at,
            );
            let line = self.identified(line, message.id.0, number);
            match reply_to {
                Some(reply_to) => self.tagged(line, "+draft/reply", &reply_to.id.0.to_string()),
                None => line,
            }
        });
        lines.collect()
    }

    /// The nickname that the author of a message had when it was written. That of a new message of
    /// this user is the one that the client knows: the node reports a new one a moment later.
    fn author_then(&self, message: &MessageLine, shown: Shown) -> String {
        let author = message.from.0;
        if shown == Shown::Now && author == self.roster.me() {
            return self.roster.nick(author).to_owned();
        }
        self.roster.nick_then(author, &message.nick)
    }

    /// The command and the text of a message, unless it has nothing to show.
    fn body(&self, message: &MessageLine, offer: Option<usize>) -> Option<(&'static str, String)> {
        let body = &message.body;
        match body.erased {
            Some(ErasedWhy::Deleted) => return None,
            Some(ErasedWhy::Missing) => {
                return Some((
                    "NOTICE",
                    "(this message has not arrived here yet)".to_owned(),
                ));
            }
            None => {}
        }
        if let Some(file) = &body.file {
            return Some(("NOTICE", offered(file, offer)));
        }
        if let Some(topic) = &body.topic {
            let text = match topic.as_str() {
                "" => "(removes the topic)".to_owned(),
                topic => format!("(sets the topic: {})", wording::lines(topic).join(" ")),
            };
            return Some(("NOTICE", text));
        }
        if let Some(pin) = &body.pin {
            let what = if pin.on { "pins" } else { "unpins" };
            return Some(("NOTICE", format!("({what} the message {})", pin.message.0)));
        }
        if body.unknown.is_some() {
            return Some(("NOTICE", "(this message needs a newer hobnob)".to_owned()));
        }
        body.text.clone().map(|text| ("PRIVMSG", text))
    }

    /// An edit or a reaction.
    pub(crate) fn amended(&self, amended: &AmendedLine, now: Time) -> Vec<Line> {
        let author = amended.from.0;
        let source = self.source(author);
        let target = self.target(&amended.conversation.0, author);
        let id = amended.message.0.to_string();
        if let Some(text) = &amended.text {
            let lines = wording::lines(text).into_iter().take(LINES_MAX);
            return lines
                .map(|line| {
                    let line = format!("(edited) {line}");
                    let line = Line::new(&source, "PRIVMSG", &[&target, &line]);
                    self.tagged(self.stamped(line, now), "+draft/reply", &id)
                })
                .collect();
        }
        let Some(emoji) = &amended.emoji else {
            return Vec::new();
        };
        let emoji = hobnob_protocol::text::visible(emoji);
        if self.caps.has(Cap::MessageTags) {
            let tag = match amended.off {
                true => "+draft/unreact",
                false => "+draft/react",
            };
            let line = self.stamped(Line::new(&source, "TAGMSG", &[&target]), now);
            let line = self.tagged(line, tag, &emoji);
            return vec![self.tagged(line, "+draft/reply", &id)];
        }
        let text = match amended.off {
            true => format!("(takes back {emoji})"),
            false => format!("(reacts with {emoji})"),
        };
        vec![Line::new(&source, "NOTICE", &[&target, &text])]
    }

    /// A message was deleted. Its author may not be known any more.
    pub(crate) fn erased(
        &self,
        conversation: &ConversationRef,
        id: MessageId,
        author: Option<PersonId>,
        now: Time,
    ) -> Line {
        let source = author.map_or_else(|| SERVER.to_owned(), |author| self.source(author));
        let target = match (author, conversation) {
            (Some(author), _) => self.target(conversation, author),
            // Where the author is unknown, the conversation is named as the client names it.
            (None, conversation) => self.target(conversation, self.roster.me()),
        };
        let id = id.to_string();
        let line = match self.caps.has(Cap::Redaction) {
            true => Line::new(&source, "REDACT", &[&target, &id, "deleted"]),
            false => Line::new(&source, "NOTICE", &[&target, "(deleted a message)"]),
        };
        self.stamped(line, now)
    }

    /// The topic of a room, and who set it: none if it has none.
    pub(crate) fn topic(&self, name: &RoomName) -> Vec<Line> {
        let Some(topic) = self.topic_of(name) else {
            return Vec::new();
        };
        let (me, name) = (self.roster.nick(self.roster.me()), name.to_string());
        let at = (topic.at_ms / 1_000).to_string();
        let by = self.source(topic.by);
        let text = with_topic(&Line::new(SERVER, "332", &[me, &name]), &topic.text);
        vec![text, Line::new(SERVER, "333", &[me, &name, &by, &at])]
    }

    /// The line for a topic that has changed. The server removes topics, because the list of rooms
    /// does not name who did it.
    pub(crate) fn new_topic(&self, name: &RoomName, now: Time) -> Line {
        let room = name.to_string();
        let line = match self.topic_of(name) {
            Some(topic) => {
                let head = Line::new(&self.source(topic.by), "TOPIC", &[&room]);
                with_topic(&head, &topic.text)
            }
            None => Line::new(SERVER, "TOPIC", &[&room, ""]),
        };
        self.stamped(line, now)
    }

    fn topic_of(&self, name: &RoomName) -> Option<&RoomTopic> {
        self.roster.room(name)?.topic.as_ref()
    }

    /// The people in a room, as `NAMES` lists them.
    pub(crate) fn names(&self, room: &RoomName) -> Vec<Line> {
        let me = self.roster.nick(self.roster.me());
        let here = self.roster.room(room).map(|room| &room.here);
        let people = here.into_iter().flatten().copied();
        let all = [self.roster.me()].into_iter().chain(people);
        let shown = |peer: PersonId| match self.caps.has(Cap::UserhostInNames) {
            true => self.source(peer),
            false => self.roster.nick(peer).to_owned(),
        };
        let open = self.roster.room(room).is_none_or(|room| room.open);
        let kind = if open { "=" } else { "@" };
        let name = room.to_string();
        let most = Line::new(SERVER, "353", &[me, kind, &name]).room();
        let mut lines = Vec::new();
        let mut row = String::new();
        for nick in all.map(shown) {
            if row.len() + 1 + nick.len() > most {
                lines.push(Line::new(SERVER, "353", &[me, kind, &name, &row]));
                row.clear();
            }
            if !row.is_empty() {
                row.push(' ');
            }
            row.push_str(&nick);
        }
        lines.push(Line::new(SERVER, "353", &[me, kind, &name, &row]));
        lines.push(Line::new(SERVER, "366", &[me, &name, "end of /NAMES list"]));
        lines
    }

    /// A line with the time at which something happened, if the client shows it.
    pub(crate) fn stamped(&self, line: Line, at: Time) -> Line {
        if self.caps.has(Cap::ServerTime) {
            return line.tag("time", time_tag(at));
        }
        line
    }

    fn tagged(&self, line: Line, name: &str, value: &str) -> Line {
        if self.caps.has(Cap::MessageTags) {
            return line.tag(name, value);
        }
        line
    }

    /// A line with the id of its message. The second line of a message has its number behind.
    fn identified(&self, line: Line, id: MessageId, number: usize) -> Line {
        let id = match number {
            1 => id.to_string(),
            number => format!("{id}/{number}"),
        };
        self.tagged(line, "msgid", &id)
    }
}

/// A time as the tag `time` and `CHATHISTORY` write it.
pub(crate) fn time_tag(at: Time) -> String {
    format!("{:.3}", at.timestamp())
}

/// The message that a `msgid` names.
pub(crate) fn message_id(msgid: &str) -> Option<MessageId> {
    let whole = msgid.split_once('/').map_or(msgid, |(whole, _)| whole);
    whole.parse().ok()
}

/// An offered file in words.
pub(crate) fn offered(file: &OfferFields, number: Option<usize>) -> String {
    let name = hobnob_protocol::text::visible(&file.name);
    let what = match file.files {
        Some(files) => format!("the folder {name} with {files} files"),
        None => name.into_owned(),
    };
    let size = size(file.size);
    let caption = match file.caption.as_str() {
        "" => String::new(),
        caption => format!(" {}", wording::lines(caption).join(" ")),
    };
    match number {
        Some(number) => {
            format!("(offers {what}, {size}: /msg {SERVICE} accept {number}){caption}")
        }
        None => format!("(offers {what}, {size}){caption}"),
    }
}

/// The line with a topic as its last parameter, cut to what the line can carry.
fn with_topic(head: &Line, topic: &str) -> Line {
    let text = wording::lines(topic).join(" ");
    let (text, _) = cut(&text, head.room().saturating_sub(SPARE_BYTES));
    let mut line = head.clone();
    line.params.push(text.to_owned());
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::samples::{contact, id, open_room, room, status, topic};
    use hobnob_control::wire::{BodyFields, EditedLine, ReplyToLine, Text};
    use hobnob_protocol::LogId;

    fn roster() -> Roster {
        let mut roster = Roster::of(&status("ann"), vec![contact(1, "bob")]);
        roster.set_rooms(vec![open_room("lobby", &[1])]);
        roster
    }

    fn caps(words: &str) -> Caps {
        let mut caps = Caps::default();
        assert!(caps.change(words));
        caps
    }

    fn message(from: u8, conversation: &str, text: &str) -> MessageLine {
        MessageLine {
            id: Text(MessageId {
                log: LogId(0xab),
                seq: 7,
            }),
            conversation: Text(conversation.parse().unwrap()),
            from: Text(id(from)),
            nick: "bob".into(),
            body: BodyFields {
                text: Some(text.to_owned()),
                ..BodyFields::default()
            },
            amended: Box::default(),
            sent_at: Time(0),
            received_at: Time(1_795_179_789_042),
            state: None,
            reason: None,
            mention: false,
            notify: false,
            client_id: None,
            request: false,
        }
    }

    fn wires(lines: &[Line]) -> Vec<String> {
        let wire = |line: &Line| String::from_utf8(line.to_wire()).unwrap();
        lines.iter().map(wire).collect()
    }

    fn shown(caps: &Caps, message: &MessageLine) -> Vec<String> {
        let roster = roster();
        let render = Render {
            roster: &roster,
            caps,
        };
        wires(&render.message(message, None, Shown::Now))
    }

    #[test]
    fn a_message_has_the_time_and_id_that_the_client_asked_for() {
        let source = format!("bob!{}@hobnob.node", id(1).short());
        let message = message(1, "#lobby", "hi");
        let plain = shown(&Caps::default(), &message);
        assert_eq!(plain, [format!(":{source} PRIVMSG #lobby :hi\r\n")]);
        let tagged = shown(&caps("server-time message-tags"), &message);
        let tags = "@time=2026-11-20T13:03:09.042Z;msgid=00000000000000ab-7";
        assert_eq!(tagged, [format!("{tags} :{source} PRIVMSG #lobby :hi\r\n")]);
    }

    #[test]
    fn direct_messages_name_the_other_end() {
        let to_me = message(1, &format!("@{}", id(1)), "hi");
        assert!(shown(&Caps::default(), &to_me)[0].contains(" PRIVMSG ann :hi"));
        let from_me = message(100, &format!("@{}", id(1)), "hi");
        let line = &shown(&Caps::default(), &from_me)[0];
        assert!(
            line.starts_with(":ann!") && line.contains(" PRIVMSG bob :hi"),
            "{line}"
        );
    }

    #[test]
    fn old_messages_have_the_name_of_their_time() {
        let (roster, caps) = (roster(), caps("message-tags server-time"));
        let render = Render {
            roster: &roster,
            caps: &caps,
        };
        let line = |from: u8, nick: &str, conversation: &str, text: &str| {
            let mut message = message(from, conversation, text);
            message.nick = nick.to_owned();
            let lines = wires(&render.message(&message, None, Shown::History));
            lines[0].split_once(" :").unwrap().1.to_owned()
        };
        let robert = format!(
            "robert!{}@hobnob.node PRIVMSG #lobby :hi\r\n",
            id(1).short()
        );
        assert_eq!(line(1, "robert", "#lobby", "hi"), robert);
        let anna = line(100, "anna", "#lobby", "hi");
        assert!(anna.starts_with("anna!"), "{anna}");
        // In a direct conversation the nickname is the address for an answer.
        let bob = format!("@{}", id(1));
        let direct = line(1, "robert", &bob, "/me waves");
        assert!(direct.starts_with("bob!"), "{direct}");
        assert!(
            direct.ends_with(":\u{1}ACTION <robert> waves\u{1}\r\n"),
            "{direct}"
        );
        let direct = line(1, "bob", &bob, "hi");
        assert!(direct.ends_with(" PRIVMSG ann :hi\r\n"), "{direct}");
    }

    #[test]
    fn long_texts_and_several_lines_become_several_lines() {
        let caps = caps("message-tags");
        let text = format!("one\n{}", "word ".repeat(200));
        let lines = shown(&caps, &message(1, "#lobby", &text));
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines[0].contains("msgid=00000000000000ab-7 "));
        assert!(lines[1].contains("msgid=00000000000000ab-7/2 "));
        assert_eq!(
            message_id("00000000000000ab-7/2"),
            message_id("00000000000000ab-7")
        );
        let words: usize = lines.iter().map(|line| line.matches("word").count()).sum();
        assert_eq!(words, 200);
    }

    #[test]
    fn actions_edits_and_replies_are_shown_as_far_as_irc_goes() {
        let mut message = message(1, "#lobby", "/me waves");
        assert!(shown(&Caps::default(), &message)[0].ends_with(":\u{1}ACTION waves\u{1}\r\n"));
        message.body.text = Some("yes".to_owned());
        message.amended.edited = Some(EditedLine {
            at: Time(0),
            earlier: Vec::new(),
        });
        message.amended.reply_to = Some(ReplyToLine {
            id: message.id,
            from: Text(id(100)),
            nick: "ann".into(),
            text: None,
        });
        assert!(shown(&Caps::default(), &message)[0].ends_with(":ann: yes (edited)\r\n"));
        let tagged = &shown(&caps("message-tags"), &message)[0];
        assert!(
            tagged.contains("+draft/reply=00000000000000ab-7"),
            "{tagged}"
        );
        assert!(tagged.ends_with(":yes (edited)\r\n"));
    }

    #[test]
    fn a_peer_cannot_forge_an_action_or_another_line() {
        let lines = shown(
            &Caps::default(),
            &message(1, "#lobby", "\u{1}ACTION x\u{1}\r\nQUIT"),
        );
        assert_eq!(lines.len(), 2);
        assert!(lines[0].ends_with(":␁ACTION x␁\r\n"), "{lines:?}");
        assert!(lines[1].ends_with(" PRIVMSG #lobby :QUIT\r\n"), "{lines:?}");
    }

    #[test]
    fn names_are_split_at_the_length_of_a_line() {
        let mut roster = roster();
        let mut here = Vec::new();
        for number in 1..90 {
            roster.learn(contact(number, &format!("somebody-{number}")));
            here.push(number);
        }
        roster.set_rooms(vec![open_room("lobby", &here)]);
        let caps = Caps::default();
        let render = Render {
            roster: &roster,
            caps: &caps,
        };
        let lines = wires(&render.names(&room("lobby")));
        assert!(lines.len() > 3 && lines.iter().all(|line| line.len() <= 512));
        let people: usize = lines
            .iter()
            .map(|line| line.matches("somebody-").count())
            .sum();
        assert_eq!(people, 89);
        assert!(lines.last().unwrap().contains(" 366 ann #lobby "));
    }

    #[test]
    fn a_topic_is_a_topic_of_irc_and_a_notice_in_the_history() {
        let mut roster = roster();
        let mut line = message(1, "#lobby", "");
        line.body = BodyFields {
            topic: Some("lunch\nplans".to_owned()),
            ..BodyFields::default()
        };
        let mut lobby = open_room("lobby", &[1]);
        lobby.topic = Some(topic("lunch\nplans"));
        roster.set_rooms(vec![lobby]);
        let caps = Caps::default();
        let render = Render {
            roster: &roster,
            caps: &caps,
        };
        // The list of rooms shows whether this topic counts.
        assert_eq!(render.message(&line, None, Shown::Now), []);
        let now = wires(&[render.new_topic(&room("lobby"), Time(0))]);
        assert!(now[0].starts_with(":bob!"), "{now:?}");
        assert!(now[0].contains(" TOPIC #lobby :lunch plans"), "{now:?}");
        let before = wires(&render.message(&line, None, Shown::History));
        assert!(
            before[0].contains("(sets the topic: lunch plans)"),
            "{before:?}"
        );
        let shown = wires(&render.topic(&room("lobby")));
        assert!(
            shown[0].contains(" 332 ann #lobby :lunch plans"),
            "{shown:?}"
        );
        assert!(shown[1].contains(" 333 ann #lobby bob!"), "{shown:?}");
        roster.set_rooms(vec![open_room("lobby", &[1])]);
        let render = Render {
            roster: &roster,
            caps: &caps,
        };
        assert!(render.topic(&room("lobby")).is_empty());
        let removed = wires(&[render.new_topic(&room("lobby"), Time(0))]);
        assert!(removed[0].contains(" TOPIC #lobby :"), "{removed:?}");
    }
}
