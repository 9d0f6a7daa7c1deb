//! What the node answers to what was asked of it.

use hobnob::ConversationRef;
use hobnob::protocol::PeerId;
use hobnob::protocol::text::visible;
use hobnob_control::wire::{
    Done, FileList, GetStatus, HistoryFilter, Kicked, MessageList, PeerLine, PeerList, Resolved,
    RoomLine, RoomList, SentLine, StatusLine, Text,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::keys::key_of;
use super::people::Membership;
use super::{About, App, Mode, TALKED_MAX, Tone};
use crate::shared::{diagnosis, policy, verification, wording};
use crate::tui::text;

/// Messages that are counted as unread from before this screen at most.
const UNREAD_MAX: usize = 200;

impl App {
    pub(super) fn answer(&mut self, about: About, outcome: Result<Value, String>) {
        if let Err(error) = outcome.and_then(|value| self.take_answer(&about, value)) {
            self.failed(&about, &error);
        }
    }

    fn take_answer(&mut self, about: &About, value: Value) -> Result<(), String> {
        match about {
            About::Status => self.take_status(read(value)?),
            About::Peers => self.take_peers(read(value)?),
            About::Rooms => self.take_rooms(read(value)?),
            About::Talked(peer) => {
                let list: MessageList = read(value)?;
                if !list.messages.is_empty() {
                    let of = ConversationRef::Direct(*peer);
                    self.place(&of);
                    self.ask_unread(of);
                }
            }
            About::Unread(of) => self.take_unread(of, &read(value)?),
            About::Page(request) => self.take_page(*request, read(value)?),
            About::Search(words) => self.take_found(words, read(value)?),
            About::Said(number) => self.take_said(*number, &read(value)?),
            About::Told(said) => self.take_told(said, &read(value)?),
            About::Query => {
                let Resolved { peer } = read(value)?;
                self.open(&ConversationRef::Direct(peer.0));
            }
            About::Whois => {
                let Resolved { peer } = read(value)?;
                self.whois(peer.0);
            }
            About::Files => {
                let FileList { files } = read(value)?;
                self.files.listed(self.now, files);
            }
            About::FileList => {
                let FileList { files } = read(value)?;
                self.files.listed(self.now, files);
                self.tell(self.list_of_files());
            }
            // What comes of it, events tell.
            About::Decided => {
                let Done {} = read(value)?;
            }
            About::Join => {
                let room: RoomLine = read(value)?;
                let of = ConversationRef::Room(room.room.0.clone());
                self.people.rooms.insert(room.room.0.clone(), room);
                self.open(&of);
            }
            About::Part(room) => {
                let Done {} = read(value)?;
                self.people.rooms.remove(room);
                self.leave(&ConversationRef::Room(room.clone()));
            }
            About::Nick(nick) => {
                let Done {} = read(value)?;
                self.note(Tone::Info, policy::renamed(nick));
                self.ask(GetStatus {}, About::Status);
            }
            About::ChangePolicy(change) => {
                let peer: PeerLine = read(value)?;
                self.note(Tone::Info, change.words(&peer));
                // What they said is shown no longer, or again.
                self.show_newest_again();
            }
            About::Kick => {
                let kicked: Kicked = read(value)?;
                self.note(Tone::Info, policy::kicked(&kicked));
            }
            About::Verify(confirm) => self.tell(verification::words(
                &read(value)?,
                *confirm,
                &verification::Syntax::CHAT,
            )),
            About::Diagnosis => self.tell(diagnosis::lines(&read(value)?)),
            About::History => {
                let list: MessageList = read(value)?;
                let lines: Vec<String> = list
                    .messages
                    .iter()
                    .map(|message| wording::message(message, &self.people.names))
                    .collect();
                self.tell(lines);
            }
        }
        Ok(())
    }

    fn tell(&mut self, lines: Vec<String>) {
        lines
            .into_iter()
            .for_each(|line| self.note(Tone::Info, line));
    }

    fn failed(&mut self, about: &About, error: &str) {
        match about {
            About::Page(request) => self.window.failed(*request),
            About::Said(number) => self.outbox.remove(*number),
            About::Status
            | About::Peers
            | About::Rooms
            | About::Files
            | About::FileList
            | About::Decided
            | About::Talked(_)
            | About::Unread(_)
            | About::Search(_)
            | About::Told(_)
            | About::Query
            | About::Whois
            | About::Join
            | About::Part(_)
            | About::Nick(_)
            | About::ChangePolicy(_)
            | About::Kick
            | About::Verify(_)
            | About::Diagnosis
            | About::History => {}
        }
        self.note(Tone::Warning, visible(error));
    }

    fn take_status(&mut self, status: StatusLine) {
        self.people.status = Some(status);
    }

    fn take_peers(&mut self, list: PeerList) {
        let known: Vec<PeerId> = list
            .peers
            .iter()
            .take(TALKED_MAX)
            .map(|peer| peer.peer.0)
            .collect();
        if !self.people.set_peers(list) {
            return;
        }
        for peer in known {
            let filter = HistoryFilter {
                conversation: Some(Text(ConversationRef::Direct(peer))),
                limit: Some(1),
                ..HistoryFilter::default()
            };
            self.ask(filter, About::Talked(peer));
        }
    }

    fn take_rooms(&mut self, list: RoomList) {
        let first = self.people.rooms.is_empty();
        for Membership { room, before, now } in self.people.set_rooms(list) {
            let of = ConversationRef::Room(room);
            self.place(&of);
            if first {
                self.ask_unread(of);
            } else {
                self.came_and_went(&of, &before, &now);
            }
        }
        let left = |of: &ConversationRef| matches!(of, ConversationRef::Room(room) if !self.people.rooms.contains_key(room));
        let gone: Vec<ConversationRef> = self
            .conversations
            .iter()
            .map(|conversation| &conversation.of)
            .filter(|of| left(of))
            .cloned()
            .collect();
        gone.iter().for_each(|of| self.close(of));
    }

    /// Asks for what came here while no screen was open.
    fn ask_unread(&mut self, of: ConversationRef) {
        let Some(seen) = self.reading.markers() else {
            return;
        };
        let after = seen.get(&of).copied().map(Text);
        let filter = HistoryFilter {
            conversation: Some(Text(of.clone())),
            after,
            oldest: after.is_some(),
            limit: Some(UNREAD_MAX),
            ..HistoryFilter::default()
        };
        self.ask(filter, About::Unread(of));
    }

    fn take_unread(&mut self, of: &ConversationRef, list: &MessageList) {
        let index = self.place(of);
        let mut theirs = list
            .messages
            .iter()
            .filter(|message| message.state.is_none())
            .peekable();
        let Some(first) = theirs.peek().map(|message| message.id.0) else {
            return;
        };
        let loud = matches!(of, ConversationRef::Direct(_))
            || theirs.clone().any(|message| self.people.names_me(message));
        let open = index == self.current;
        let conversation = &mut self.conversations[index];
        conversation.first_unread = Some(first);
        if !open {
            conversation.unread = conversation.unread.max(theirs.count());
            conversation.loud |= loud;
        }
    }

    fn take_page(&mut self, request: u64, list: MessageList) {
        let me = self.people.me();
        let conversation = &mut self.conversations[self.current];
        let speakers: Vec<PeerId> = list
            .messages
            .iter()
            .map(|m| m.from.0)
            .filter(|from| Some(*from) != me)
            .collect();
        if conversation.speakers.is_empty() {
            speakers
                .into_iter()
                .for_each(|peer| conversation.spoke(peer));
        }
        self.window
            .page(request, list.messages, &conversation.notes);
        // The event that shows a message may be among those that were missed.
        self.outbox.remove_shown(|id| self.window.holds(id));
    }

    /// The message is on disk. It is shown from when its event comes, which may be before or after
    /// this answer.
    fn take_said(&mut self, number: u64, sent: &SentLine) {
        let is_shown = self.window.holds(sent.id.0);
        self.outbox.saved(number, sent, is_shown);
    }

    fn take_told(&mut self, said: &str, sent: &SentLine) {
        self.outbox.deliveries.sent(sent);
        let index = self.place(&sent.conversation.0);
        if index != self.current {
            let whom = self.people.names.of_conversation(&sent.conversation.0);
            let first = text::lines(said).next().unwrap_or_default();
            self.note(
                Tone::Info,
                format!("to {whom} ({}): {first}", key_of(index)),
            );
        }
    }

    fn take_found(&mut self, words: &str, list: MessageList) {
        if let Mode::Search(search) = &mut self.mode {
            search.found(words, list.messages);
        }
        self.search_on();
    }

    fn whois(&mut self, peer: PeerId) {
        let lines = match self.people.peers.get(&peer) {
            Some(known) => wording::about_peer(known),
            None => vec![format!("{peer} was never met")],
        };
        lines
            .into_iter()
            .for_each(|line| self.note(Tone::Info, line));
    }
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| {
        format!("the node's answer can't be read ({error}): is it another version? restart it")
    })
}
