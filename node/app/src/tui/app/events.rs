//! What happens at the node: messages, receipts, people who come and go.

use hobnob::ConversationRef;
use hobnob::protocol::PeerId;
use hobnob::protocol::text::visible;
use hobnob_control::wire::{ListFiles, MessageLine, NoticeLine, PeerLine, WireEvent};

use super::alerts::Alert;
use super::{About, App, Conversation, LOOK_SOON_MS, Output, Time, Tone};
use crate::shared::wording;
use crate::tui::window::PageDirection;

impl App {
    pub(super) fn event(&mut self, event: WireEvent) {
        match event {
            WireEvent::Message(message) => self.message(message),
            WireEvent::Receipt(receipt) => self.outbox.deliveries.receipt(&receipt),
            WireEvent::Peer(peer) => self.peer(peer),
            WireEvent::Notice(notice) => self.notice(&notice),
            WireEvent::Listening(_) => self.look_soon(),
            WireEvent::Room(room) => drop(self.people.rooms.insert(room.room.0.clone(), room)),
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
        let mine = self.people.is_mine(&message);
        if mine {
            self.outbox.arrived(&message);
        } else {
            self.count_unread(index, &message);
            self.conversations[index].spoke(message.from.0);
        }
        if index == self.current {
            self.window.message(message);
        }
    }

    fn count_unread(&mut self, index: usize, message: &MessageLine) {
        let loud = matches!(message.conversation.0, ConversationRef::Direct(_))
            || self.people.names_me(message);
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
        if let Some(Alert { bell, desktop }) = self.alerts.alert(self.now, message) {
            self.outputs.push_back(Output::Ring { bell, desktop });
        }
    }

    /// Says who comes and goes where that concerns the two of us; in rooms, see `came_and_went`.
    fn peer(&mut self, peer: PeerLine) {
        let direct = ConversationRef::Direct(peer.peer.0);
        let words = wording::peer(&peer);
        if self.people.update(peer)
            && let Some(index) = self
                .conversations
                .iter()
                .position(|conversation| conversation.of == direct)
        {
            self.note_in(index, Tone::Info, words);
        }
        self.look_soon();
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
                .map(|peer| self.people.names.of(peer))
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
