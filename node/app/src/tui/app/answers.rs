//! The chat's reactions to the node's answers.

use hobnob::protocol::{Nickname, PersonId, RoomName, Target};
use hobnob::{ConversationRef, RoomInfo};
use hobnob_control::wire::{
    FileList, GetPicture, GetStatus, HistoryFilter, MessageList, PeerLine, PeerList, PictureFields,
    PictureFile, RoomList, SentLine, StatusLine, Text,
};

use super::keys::key_of;
use super::people::Membership;
use super::{App, Note, Output, Tone};
use crate::shared::alerting;
use crate::shared::policy::{self, PolicyChange};
use crate::shared::{room_secrets, wording};
use crate::tui::text;

/// Maximum number of peers that are checked at the start for messages with them.
const CHECKED_PEERS_MAX: usize = 256;

/// Maximum number of messages from before this chat that count as unread.
const UNREAD_MAX: usize = 200;

impl App {
    pub(super) fn take_status(&mut self, status: StatusLine) {
        self.people.names.learn_me(status.peer.0);
        self.people.status = Some(status);
    }

    /// Takes all peers. The first list of this chat also adds the conversations that have messages.
    pub(super) fn take_peers(&mut self, list: PeerList) {
        let peers = list.peers.iter().map(|peer| peer.peer.0);
        let checked: Vec<PersonId> = peers.take(CHECKED_PEERS_MAX).collect();
        // What changed before this chat listened is shown with the messages only.
        for peer in &list.peers {
            self.strangers.begins_to_wait(peer);
        }
        let is_first = self.people.set_peers(list);
        if !is_first {
            return;
        }
        for peer in checked {
            let filter = HistoryFilter {
                conversation: Some(Text(ConversationRef::Direct(peer))),
                limit: Some(1),
                ..HistoryFilter::default()
            };
            self.ask(filter, move |app, list| app.take_newest(peer, &list));
        }
    }

    /// Takes the newest message with a peer, if there is one.
    fn take_newest(&mut self, peer: PersonId, list: &MessageList) {
        if !list.messages.is_empty() {
            let of = ConversationRef::Direct(peer);
            self.conversations.add(&of);
            self.ask_unread(of);
        }
    }

    /// Takes all rooms: adds the new ones to the list, removes the others, and says who has entered
    /// or left a room.
    pub(super) fn take_rooms(&mut self, list: RoomList) {
        let is_first = self.people.rooms.is_empty();
        for change in self.people.set_rooms(list) {
            let of = ConversationRef::Room(change.room.clone());
            let index = self.conversations.add(&of);
            if is_first {
                self.ask_unread(of);
            } else {
                self.note_membership(index, &change);
            }
        }
        let has_ended = |of: &ConversationRef| match of {
            ConversationRef::Room(room) => !self.people.rooms.contains_key(room),
            ConversationRef::Direct(_) => false,
        };
        let all = self.conversations.list().iter();
        let ended: Vec<ConversationRef> = all
            .map(|conversation| conversation.of())
            .filter(|of| has_ended(of))
            .cloned()
            .collect();
        ended.iter().for_each(|of| self.close(of));
    }

    /// Says who has entered and who has left a room.
    fn note_membership(&mut self, index: usize, change: &Membership) {
        let Membership { before, now, .. } = change;
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

    /// Asks for the messages that arrived while no chat was running.
    fn ask_unread(&mut self, of: ConversationRef) {
        let Some(markers) = self.reading.markers() else {
            // The first chat of this home: nothing counts as unread.
            return;
        };
        let after = markers.get(&of).copied().map(Text);
        let filter = HistoryFilter {
            conversation: Some(Text(of.clone())),
            after,
            oldest: after.is_some(),
            limit: Some(UNREAD_MAX),
            ..HistoryFilter::default()
        };
        self.ask(filter, move |app, list| app.take_unread(&of, &list));
    }

    fn take_unread(&mut self, of: &ConversationRef, list: &MessageList) {
        let index = self.conversations.add(of);
        let mut from_others = list
            .messages
            .iter()
            .filter(|message| message.state.is_none())
            .peekable();
        let Some(first) = from_others.peek().map(|message| message.id.0) else {
            return;
        };
        let is_urgent = from_others.clone().any(|message| message.notify);
        self.conversations
            .count_missed(index, first, from_others.count(), is_urgent);
    }

    pub(super) fn take_page(&mut self, number: u64, list: MessageList) {
        let me = self.people.me();
        self.conversations.take_page(number, list.messages, me);
        // The event of a message of this node may have been missed, and the page has the message.
        let window = self.conversations.window();
        self.outbox.remove_shown(|id| window.holds(id));
    }

    /// The message is on disk. Its event, which shows it, may arrive before or after this answer.
    pub(super) fn take_said(&mut self, number: u64, sent: &SentLine) {
        let is_shown = self.conversations.window().holds(sent.id.0);
        self.outbox.saved(number, sent, is_shown);
    }

    /// A message to another conversation than the open one is on disk.
    pub(super) fn take_said_elsewhere(&mut self, said: &str, sent: &SentLine) {
        self.outbox.deliveries.sent(sent);
        let of = &sent.conversation.0;
        let index = self.conversations.add(of);
        if index != self.conversations.current_index() {
            let to = self.people.names.of_conversation(of);
            let first = text::lines(said).next().unwrap_or_default();
            self.note(Tone::Info, format!("to {to} ({}): {first}", key_of(index)));
        }
    }

    pub(super) fn take_files(&mut self, list: FileList) {
        self.files.update_all(self.now, list.files);
    }

    /// Lists the files of this conversation, as `/files` asked.
    pub(super) fn take_file_list(&mut self, list: FileList) {
        self.take_files(list);
        self.note_lines(self.list_of_files());
    }

    pub(super) fn take_join(&mut self, room: RoomInfo) {
        let lines = (!room.open).then(|| room_secrets::joined(&room));
        self.enter_room(room);
        if let Some(lines) = lines {
            self.note_lines(lines);
        }
    }

    /// Opens a room that the node has joined.
    pub(super) fn enter_room(&mut self, room: RoomInfo) {
        let of = ConversationRef::Room(room.name.clone());
        self.people.rooms.insert(room.name.clone(), room);
        self.open(&of);
    }

    pub(super) fn take_part(&mut self, room: RoomName) {
        self.people.rooms.remove(&room);
        self.leave(&ConversationRef::Room(room));
    }

    pub(super) fn take_nick(&mut self, nick: &Nickname) {
        self.note(Tone::Info, policy::renamed(nick));
        self.ask(GetStatus {}, App::take_status);
    }

    /// Lists all peers, as `/peers` asked.
    pub(super) fn show_peers(&mut self, list: PeerList) {
        let rows = wording::peers(&list.peers);
        let nobody = rows.is_empty().then(|| wording::NOBODY_MET.to_owned());
        self.note_lines(rows.into_iter().chain(nobody).collect());
        self.take_peers(list);
    }

    /// Lists the contacts and requests, as `/contacts` asked.
    pub(super) fn take_contacts(&mut self, list: PeerList) {
        let listed = wording::contacts_and_requests(&list.peers);
        let rows = wording::contacts(&listed);
        let nobody = rows.is_empty().then(|| wording::NO_CONTACTS.to_owned());
        self.note_lines(rows.into_iter().chain(nobody).collect());
    }

    pub(super) fn take_policy(&mut self, change: PolicyChange, peer: &PeerLine) {
        self.note(Tone::Info, change.words(peer));
        // The change hides the messages of this peer, or shows them again.
        self.read_newest_again();
    }

    /// Lists old messages, as `/history` asked.
    pub(super) fn take_history(&mut self, list: &MessageList) {
        let lines = list
            .messages
            .iter()
            .map(|message| wording::message(message, &self.people.names))
            .collect();
        self.note_lines(lines);
    }

    /// Lists messages that mention the user, as `/mentions` asked.
    pub(super) fn take_mentions(&mut self, list: MessageList) {
        if list.messages.is_empty() {
            return self.note(Tone::Info, alerting::NO_MENTIONS);
        }
        self.take_history(&list);
    }

    /// Describes a peer, as `/whois` asked.
    pub(super) fn whois(&mut self, peer: PersonId) {
        let Some(known) = self.people.peers.get(&peer) else {
            return self.note(Tone::Info, format!("this node has never met {peer}"));
        };
        let (mut lines, wanted) = (wording::about_peer(known), self.portraits.begin(known));
        let last = lines.pop().unwrap_or_default();
        self.note_lines(lines);
        let note = Note {
            at: self.now,
            tone: Tone::Info,
            text: last,
            portrait: Some(peer),
        };
        let index = self.conversations.current_index();
        self.conversations.note(index, note);
        if let Some(wanted) = wanted {
            let target = Some(Text(Target::Id(peer)));
            self.ask(
                GetPicture { target },
                move |app, PictureFile { picture }| {
                    if let Some(PictureFields { bytes, .. }) = picture {
                        let file = bytes.0;
                        app.outputs.push_back(Output::MakePortrait { wanted, file });
                    }
                },
            );
        }
    }
}
