//! The chat's reactions to the node's events.

use hobnob::{ConversationRef, Notice};
use hobnob_control::wire::{
    ActivityLine, ListFiles, MessageLine, PeerLine, ShowTyping, Text, WireEvent,
};

use super::alerts::Alert;
use super::{App, Output, Tone};
use crate::shared::{activity, notices, wording};

impl App {
    pub(super) fn event(&mut self, event: WireEvent) {
        match event {
            WireEvent::Message(message) => self.message(message),
            WireEvent::Receipt(receipt) => self.outbox.deliveries.receipt(&receipt),
            WireEvent::Peer(peer) => self.peer(peer),
            WireEvent::Notice(notice) => self.notice(&notice),
            WireEvent::Listening(_) => self.polling.soon(self.now),
            WireEvent::Room(room) => drop(self.people.rooms.insert(room.name.clone(), room)),
            WireEvent::Lagged { .. } => self.lagged(),
            WireEvent::File(file) => self.files.update(self.now, *file),
            WireEvent::Activity(line) => self.activity(&line),
            WireEvent::Amended(amended) => {
                if *self.conversations.current().of() == amended.conversation.0 {
                    self.read_newest_again();
                }
            }
            WireEvent::Erased(erased) => {
                // What is on the screen is read again, without the erased texts.
                if *self.conversations.current().of() == erased.conversation.0 {
                    self.conversations.restart();
                }
            }
            WireEvent::Sent(_)
            | WireEvent::Status(_)
            | WireEvent::Datagram(_)
            | WireEvent::Stream(_)
            | WireEvent::Goodbye
            | WireEvent::Unknown => {}
        }
    }

    /// Others learn that the user types a message.
    pub(super) fn show_typing(&mut self) {
        let of = self.conversations.current().of().clone();
        let is_message = !self.composer.is_empty() && !self.composer.text().starts_with('/');
        if is_message && self.activity.types(self.now, &of) {
            let conversation = Text(of);
            let off = false;
            self.ask(ShowTyping { conversation, off }, |_, _| {});
        }
    }

    /// The conversation with somebody who goes away or comes back says so.
    fn activity(&mut self, line: &ActivityLine) {
        self.activity.take(self.now, line);
        self.people.take_status(line);
        let direct = ConversationRef::Direct(line.peer.0);
        if let Some(words) = activity::words(line)
            && let Some(index) = self.conversations.position(&direct)
        {
            self.note_in(index, Tone::Info, words);
        }
    }

    fn message(&mut self, mut message: MessageLine) {
        self.activity.wrote(&message.conversation.0, message.from.0);
        self.conversations.quote(&mut message);
        let index = self.conversations.add(&message.conversation.0);
        self.files.offered(self.now, &message);
        if self.people.is_mine(&message) {
            self.outbox.arrived(&message);
        } else {
            let is_urgent = message.notify;
            let is_focused = self.screen.is_focused();
            self.conversations
                .count(index, &message, is_urgent, is_focused);
            if is_urgent && !is_focused {
                self.ring(&message);
            }
        }
        if message.body.topic.is_some() {
            self.polling.soon(self.now);
        }
        let hint = self.strangers.is_new(&message);
        let hint = hint.then(|| wording::new_stranger(&message));
        self.conversations.show(index, message);
        if let Some(hint) = hint {
            self.note_in(index, Tone::Info, hint);
        }
    }

    fn ring(&mut self, message: &MessageLine) {
        if let Some(Alert { bell, desktop }) = self.alerts.alert(self.now, message) {
            self.outputs.push_back(Output::Ring { bell, desktop });
        }
    }

    /// A direct conversation reports that its peer has come or gone. Rooms are compared with each
    /// poll.
    fn peer(&mut self, peer: PeerLine) {
        let direct = ConversationRef::Direct(peer.peer.0);
        let words = wording::peer(&peer);
        if self.strangers.begins_to_wait(&peer) {
            let index = self.conversations.add(&direct);
            self.note_in(index, Tone::Warning, wording::awaits_consent(&peer));
        }
        self.note_rename(&peer);
        if self.people.update(peer)
            && let Some(index) = self.conversations.position(&direct)
        {
            self.note_in(index, Tone::Info, words);
        }
        self.polling.soon(self.now);
    }

    /// The conversations of a peer say that it has another name now.
    fn note_rename(&mut self, peer: &PeerLine) {
        let Some(words) = self.people.renamed(peer) else {
            return;
        };
        let id = peer.peer.0;
        let list = self.conversations.list().iter().enumerate();
        let its = list.filter(|(_, it)| self.people.in_conversation(it.of()).contains(&id));
        let indexes: Vec<usize> = its.map(|(index, _)| index).collect();
        for index in indexes {
            self.note_in(index, Tone::Info, words.clone());
        }
    }

    fn notice(&mut self, notice: &Notice) {
        self.note(Tone::Warning, notices::words(notice));
        self.polling.soon(self.now);
    }

    /// Events were missed: messages, receipts and reports about files may be among them.
    fn lagged(&mut self) {
        self.read_newest_again();
        self.ask(ListFiles {}, App::take_files);
    }

    /// Reads the newest page again, unless the user looks at older messages.
    pub(super) fn read_newest_again(&mut self) {
        if let Some(page) = self.conversations.newest_page_again() {
            self.ask_page(page);
        }
    }
}
