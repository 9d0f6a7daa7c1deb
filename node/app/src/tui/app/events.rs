//! What happens at the node: messages, receipts, people who come and go.

use hobnob::protocol::PeerId;
use hobnob::protocol::text::visible;
use hobnob::{ConversationRef, PeerState};
use hobnob_control::wire::{ListFiles, MessageLine, NoticeLine, PeerLine, WireEvent};

use super::{About, App, Conversation, LOOK_SOON_MS, Output, RING_EVERY_MS, Time, Tone};
use crate::shared::settings::ScreenSettings;
use crate::shared::wording;
use crate::tui::text::fit;
use crate::tui::window::PageDirection;

/// Columns of a message that the desktop is shown.
const RING_COLUMNS: usize = 80;

impl App {
    pub(super) fn event(&mut self, event: WireEvent) {
        match event {
            WireEvent::Message(message) => self.message(message),
            WireEvent::Receipt(receipt) => self.deliveries.receipt(&receipt),
            WireEvent::Peer(peer) => self.peer(peer),
            WireEvent::Notice(notice) => self.notice(&notice),
            WireEvent::Listening(_) => self.look_soon(),
            WireEvent::Room(room) => drop(self.rooms.insert(room.room.0.clone(), room)),
            // Receipts may be among what was missed: the store knows.
            WireEvent::Lagged { .. } => {
                self.show_newest_again();
                self.ask(ListFiles {}, About::Files);
            }
            WireEvent::File(file) => self.files.told(self.now, *file),
            WireEvent::Sent(_) | WireEvent::Status(_) | WireEvent::Goodbye | WireEvent::Unknown => {
            }
        }
    }

    /// The conversation's place in the list, at whose end it is put if it is new.
    pub(super) fn place(&mut self, of: &ConversationRef) -> usize {
        if let Some(index) = self
            .conversations
            .iter()
            .position(|conversation| conversation.of == *of)
        {
            return index;
        }
        self.conversations.push(Conversation::new(of.clone()));
        self.conversations.len() - 1
    }

    fn message(&mut self, message: MessageLine) {
        let index = self.place(&message.conversation.0);
        self.files.offered(self.now, &message);
        let mine = self.is_mine(&message);
        if mine {
            self.pending_came(&message);
        } else {
            self.count_unread(index, &message);
            self.conversations[index].spoke(message.from.0);
        }
        if index == self.current {
            self.window.message(message);
        }
    }

    /// What was typed here is shown as a message from now on.
    fn pending_came(&mut self, message: &MessageLine) {
        let same = |pending: &super::Pending| match pending.id {
            Some(id) => id == message.id.0,
            None => {
                pending.conversation == message.conversation.0
                    && message.body.text.as_ref() == Some(&pending.text)
            }
        };
        if let Some(index) = self.pending.iter().position(same) {
            self.pending.remove(index);
        }
    }

    fn count_unread(&mut self, index: usize, message: &MessageLine) {
        let loud =
            matches!(message.conversation.0, ConversationRef::Direct(_)) || self.names_me(message);
        let looked_at = index == self.current && self.focused;
        if looked_at {
            return;
        }
        let conversation = &mut self.conversations[index];
        conversation.first_unread.get_or_insert(message.id.0);
        if index != self.current {
            conversation.unread += 1;
            conversation.loud |= loud;
        }
        if loud && !self.focused {
            self.ring(message);
        }
    }

    fn ring(&mut self, message: &MessageLine) {
        let ScreenSettings {
            bell,
            notifications,
            ..
        } = self.settings;
        if self.now.0.saturating_sub(self.rung_at.0) < RING_EVERY_MS || !(bell || notifications) {
            return;
        }
        self.rung_at = self.now;
        let text = format!(
            "{}: {}",
            visible(&message.nick),
            wording::body(&message.body)
        );
        self.outputs.push_back(Output::Ring {
            bell,
            desktop: notifications.then(|| fit(&text, RING_COLUMNS)),
        });
    }

    /// Whether our name stands in the text, as a word.
    pub(crate) fn names_me(&self, message: &MessageLine) -> bool {
        let (Some(status), Some(text)) = (&self.status, &message.body.text) else {
            return false;
        };
        let (name, text) = (status.nick.as_str().to_lowercase(), text.to_lowercase());
        text.match_indices(&name).any(|(at, _)| {
            let part_of_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
            !part_of_word(text[..at].chars().next_back())
                && !part_of_word(text[at + name.len()..].chars().next())
        })
    }

    /// Says who comes and goes where that concerns the two of us; in rooms, see `came_and_went`.
    fn peer(&mut self, peer: PeerLine) {
        let id = peer.peer.0;
        self.names.learn(&peer);
        let was = self
            .peers
            .get(&id)
            .map_or(PeerState::Offline, |known| known.state);
        let [was_here, is_here] = [was, peer.state].map(|state| state != PeerState::Offline);
        if was_here != is_here {
            let direct = ConversationRef::Direct(id);
            if let Some(index) = self
                .conversations
                .iter()
                .position(|conversation| conversation.of == direct)
            {
                self.note_in(index, Tone::Info, wording::peer(&peer));
            }
        }
        self.look_soon();
        self.peers.insert(id, peer);
    }

    /// Says who came into a room and who left it.
    pub(super) fn came_and_went(
        &mut self,
        room: &ConversationRef,
        before: &[PeerId],
        now: &[PeerId],
    ) {
        let Some(index) = self
            .conversations
            .iter()
            .position(|conversation| conversation.of == *room)
        else {
            return;
        };
        for (these, those, what) in [(now, before, "here"), (before, now, "gone")] {
            let names: Vec<String> = these
                .iter()
                .filter(|peer| !those.contains(peer))
                .map(|peer| self.names.of(peer))
                .collect();
            if let Some(who) = wording::some_of(&names) {
                let verb = if names.len() == 1 { "is" } else { "are" };
                self.note_in(index, Tone::Info, format!("{who} {verb} {what}"));
            }
        }
    }

    fn notice(&mut self, notice: &NoticeLine) {
        self.note(Tone::Warning, visible(&notice.text));
        self.look_soon();
    }

    fn look_soon(&mut self) {
        self.look_at = self.look_at.min(Time(self.now.0 + LOOK_SOON_MS));
    }

    /// Reads again what is shown, unless the user is looking at something older.
    pub(super) fn show_newest_again(&mut self) {
        if self.window.scroll().is_none() {
            let (request, filter) = self.window.begin(PageDirection::Newest);
            self.ask(filter, About::Page(request));
        }
    }
}
