//! How far the user has read (IRCv3 read-marker): `MARKREAD`.

use hobnob::ConversationRef;
use hobnob_control::wire::{HistoryFilter, MarkRead, MessageList, Text, Time};

use super::{Session, Then};
use crate::caps::Cap;
use crate::line::Line;
use crate::registration::SERVER;
use crate::render::time_tag;

/// Messages among which the newest is sought that the user has read. Of older ones, others were shown
/// that they were read, or soon are.
const SOUGHT: usize = 100;

impl Session {
    /// Carries out `MARKREAD`: shows the marker of a conversation, or moves it.
    pub(super) fn mark_read(&mut self, line: &Line) {
        let target = line.param(0);
        let roster = &self.ready().roster;
        let known = roster.conversation(target).filter(|of| match of {
            ConversationRef::Room(room) => roster.room(room).is_some(),
            ConversationRef::Direct(_) => true,
        });
        let Some(conversation) = known else {
            let why = "there is no such conversation";
            return self.fail("MARKREAD", "INVALID_PARAMS", target, why);
        };
        let Some(word) = line.params.get(1) else {
            return self.show_marker_now(&conversation, target);
        };
        let time = word.strip_prefix("timestamp=");
        let time = time.and_then(|time| time.parse::<jiff::Timestamp>().ok());
        let Some(to) = time.map(Time::from) else {
            let why = "a marker is timestamp= and a time";
            return self.fail("MARKREAD", "INVALID_PARAMS", target, why);
        };
        let moved = self.markers.advance(conversation.clone(), to);
        self.show_marker_now(&conversation, target);
        if moved {
            let newest = HistoryFilter {
                conversation: Some(Text(conversation)),
                limit: Some(SOUGHT),
                ..HistoryFilter::default()
            };
            self.ask(newest, Then::ReadUpTo(to));
        }
    }

    /// Shows the author of the newest message that was read. The node's settings decide whether the
    /// author learns it.
    pub(super) fn show_read(&mut self, at: Time, list: MessageList) {
        let me = self.ready().roster.me();
        let mut newest_first = list.messages.iter().rev();
        let read = newest_first
            .find(|message| message.received_at <= at && message.from.0 != me && !message.request);
        if let Some(message) = read {
            let then = Then::Changed("MARKREAD", String::new());
            self.ask(
                MarkRead {
                    message: message.id,
                },
                then,
            );
        }
    }

    /// Shows the marker of a conversation to a client that knows markers.
    pub(super) fn show_marker(&mut self, conversation: &ConversationRef, name: &str) {
        if self.registration.caps.has(Cap::ReadMarker) {
            self.show_marker_now(conversation, name);
        }
    }

    fn show_marker_now(&mut self, conversation: &ConversationRef, name: &str) {
        let at = self.markers.get(conversation);
        let at = at.map_or_else(|| "*".to_owned(), time_tag);
        let line = Line::new(SERVER, "MARKREAD", &[name, &format!("timestamp={at}")]);
        self.send(&line);
    }

    /// Shows the markers that other clients of this user have moved.
    pub(super) fn show_moved_markers(&mut self) {
        let changes = self.ready().marker_changes;
        let (moved, now) = self.markers.moved_since(changes);
        self.ready().marker_changes = now;
        for conversation in moved {
            let roster = &self.ready().roster;
            let name = match &conversation {
                ConversationRef::Room(room) if roster.room(room).is_none() => continue,
                ConversationRef::Room(room) => room.to_string(),
                ConversationRef::Direct(peer) => roster.nick(*peer).to_owned(),
            };
            self.show_marker(&conversation, &name);
        }
    }
}
