//! History: what a client asks for by `CHATHISTORY`, and the replay for clients that do not.

use hobnob::ConversationRef;
use hobnob_control::wire::{HistoryFilter, MessageLine, MessageList, Time};
use hobnob_protocol::RoomName;

use super::{Session, Then};
use crate::caps::Cap;
use crate::history::{self, Asked, Targets, Wanted};
use crate::line::Line;
use crate::registration::SERVER;
use crate::render::{Shown, time_tag};

/// Messages of a room that a client sees again when it connects.
const REPLAY_ROOM: usize = 50;

/// Direct messages that a client sees again when it connects.
const REPLAY_DIRECT: usize = 200;

/// Direct messages older than this are not shown again.
const REPLAY_DIRECT_MS: u64 = 24 * 60 * 60 * 1_000;

/// Maximum conversations that are searched for one `CHATHISTORY TARGETS`.
const TARGETS_MAX: usize = 200;

impl Session {
    /// Carries out `CHATHISTORY`.
    pub(super) fn chathistory(&mut self, line: &Line) {
        let roster = &self.ready().roster;
        let known = |word: &str| {
            roster.conversation(word).filter(|of| match of {
                ConversationRef::Room(room) => roster.room(room).is_some(),
                ConversationRef::Direct(_) => true,
            })
        };
        match history::parse(&line.params, known) {
            Err((code, why)) => {
                self.fail("CHATHISTORY", code, line.param(0), why);
            }
            Ok(Asked::Messages(target, wanted)) => match wanted.end() {
                Some(end) => self.ask(end, Then::End(target, wanted)),
                None => self.ask(wanted.filter(), Then::Messages(target)),
            },
            Ok(Asked::Targets(from, to, limit)) => self.targets(from, to, limit),
        }
    }

    /// The end of what a client asks for is known.
    pub(super) fn end_found(&mut self, target: &str, mut wanted: Wanted, list: MessageList) {
        wanted.found_end(&list.messages);
        self.ask(wanted.filter(), Then::Messages(target.to_owned()));
    }

    /// Shows the messages that a client has asked for.
    pub(super) fn show_history(&mut self, target: &str, list: MessageList) {
        let lines = self.history_lines(&list.messages);
        self.show_batch(target, lines);
    }

    fn history_lines(&mut self, messages: &[MessageLine]) -> Vec<Line> {
        let shown = messages.iter().filter(|message| !message.request);
        shown
            .flat_map(|message| self.lines_of(message, Shown::History))
            .collect()
    }

    /// Sends the messages of a conversation as one batch, if the client knows batches.
    pub(super) fn show_batch(&mut self, target: &str, lines: Vec<Line>) {
        self.batch("chathistory", &[target], lines);
    }

    fn batch(&mut self, kind: &str, params: &[&str], lines: Vec<Line>) {
        if !self.registration.caps.has(Cap::Batch) {
            return self.send_all(&lines);
        }
        self.batches += 1;
        let name = format!("h{}", self.batches);
        let begin = format!("+{name}");
        let head = [&[begin.as_str(), kind], params].concat();
        self.send(&Line::new(SERVER, "BATCH", &head));
        for line in lines {
            self.send(&line.tag("batch", name.as_str()));
        }
        self.send(&Line::new(SERVER, "BATCH", &[&format!("-{name}")]));
    }

    fn targets(&mut self, from: Time, to: Time, limit: usize) {
        let chat = self.ready();
        let rooms = chat.roster.rooms().map(|(room, _)| {
            let conversation = ConversationRef::Room(room.clone());
            (room.to_string(), conversation)
        });
        let contacts = chat.roster.peers().filter(|peer| peer.policy.contact);
        let direct = contacts.map(|peer| {
            let nick = chat.roster.nick(peer.peer.0).to_owned();
            (nick, ConversationRef::Direct(peer.peer.0))
        });
        let all: Vec<_> = rooms.chain(direct).take(TARGETS_MAX).collect();
        chat.targets = Some(Targets::new(from, to, limit, all.len()));
        for (name, conversation) in all {
            let newest = Wanted::latest(conversation, 1).filter();
            self.ask(newest, Then::Target(name));
        }
    }

    /// The newest message of one conversation is known.
    pub(super) fn newest_found(&mut self, target: &str, list: MessageList) {
        let newest = list.messages.first();
        self.target_found(newest.map(|message| (target.to_owned(), message.received_at)));
    }

    /// One conversation of `CHATHISTORY TARGETS` was looked at.
    pub(super) fn target_found(&mut self, newest: Option<(String, Time)>) {
        let Some(targets) = &mut self.ready().targets else {
            return;
        };
        let Some(found) = targets.add(newest) else {
            return;
        };
        self.ready().targets = None;
        let lines = found.iter().map(|(name, time)| {
            Line::new(SERVER, "CHATHISTORY", &["TARGETS", name, &time_tag(*time)])
        });
        let lines = lines.collect();
        self.batch("draft/chathistory-targets", &[], lines);
    }

    /// Shows the latest messages of a room, unless the client asks for history itself.
    pub(super) fn replay_room(&mut self, room: &RoomName) {
        let latest = Wanted::latest(ConversationRef::Room(room.clone()), REPLAY_ROOM);
        self.replay(latest.filter());
    }

    /// Shows the direct messages of the last day, unless the client asks for history itself.
    pub(super) fn replay_direct(&mut self, now: Time) {
        self.replay(HistoryFilter {
            since: Some(Time(now.0.saturating_sub(REPLAY_DIRECT_MS))),
            limit: Some(REPLAY_DIRECT),
            ..HistoryFilter::default()
        });
    }

    /// Shows the direct messages of a stranger who has just become a contact.
    pub(super) fn replay_peer(&mut self, peer: hobnob_protocol::PersonId) {
        let latest = Wanted::latest(ConversationRef::Direct(peer), REPLAY_ROOM);
        self.ready().replays += 1;
        self.ask(latest.filter(), Then::Replay);
    }

    fn replay(&mut self, filter: HistoryFilter) {
        if self.registration.caps.has(Cap::ChatHistory) {
            return;
        }
        self.ready().replays += 1;
        let of_all = filter.conversation.is_none();
        self.ask(
            filter,
            if of_all {
                Then::ReplayDirect
            } else {
                Then::Replay
            },
        );
    }

    /// Messages to replay have arrived.
    pub(super) fn replayed(&mut self, list: MessageList) {
        self.ready().replays -= 1;
        let lines = self.history_lines(&list.messages);
        self.send_all(&lines);
    }

    /// Messages of all conversations have arrived, of which the direct ones are replayed.
    pub(super) fn replayed_direct(&mut self, mut list: MessageList) {
        let direct =
            |message: &MessageLine| matches!(message.conversation.0, ConversationRef::Direct(_));
        list.messages.retain(direct);
        self.replayed(list);
    }
}
