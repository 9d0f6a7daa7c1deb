//! Carries out what a key asks for.

use std::collections::BTreeSet;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind};
use hobnob::ConversationRef;
use hobnob::protocol::PersonId;

use super::completion::Choices;
use super::conversation::Conversation;
use super::conversations::Conversations;
use super::keys::{ChatAction, HelpAction, KeyAction, LinksAction, SearchAction};
use super::people::People;
use super::screen::{Hint, Mode};
use super::transfers::Transfers;
use super::{App, Output};

/// Rows that one turn of the mouse wheel scrolls.
const WHEEL_ROWS: usize = 3;

impl App {
    pub(super) fn key(&mut self, key: KeyEvent) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        self.screen.set_hint(None);
        if !matches!(key.code, KeyCode::Tab | KeyCode::BackTab) {
            self.composer.end_completion();
        }
        let is_line_empty = self.composer.is_empty();
        if let Some(action) = self.keys.action(key, self.screen.mode(), is_line_empty) {
            self.act(action);
        }
    }

    fn act(&mut self, action: KeyAction) {
        match action {
            KeyAction::Interrupt => self.interrupt(),
            KeyAction::Repaint => self.outputs.push_back(Output::Repaint),
            KeyAction::Suspend => self.outputs.push_back(Output::Suspend),
            KeyAction::ToggleHelp => self.screen.toggle_help(),
            KeyAction::ToggleConversations => {
                let layout = self.layout();
                self.screen.toggle_conversations(&layout);
            }
            KeyAction::TogglePeople => {
                let layout = self.layout();
                self.screen.toggle_people(&layout);
            }
            KeyAction::ToggleMouse => {
                let captures = self.screen.toggle_mouse();
                self.outputs.push_back(Output::CaptureMouse(captures));
            }
            KeyAction::AwaitDigit => self
                .screen
                .set_hint(Some(Hint::Text("to which conversation? type two digits"))),
            KeyAction::Open(index) => self.go_to(index),
            KeyAction::OpenNext => self.go_to(self.conversations.index_after(1)),
            KeyAction::OpenPrevious => self.go_to(self.conversations.index_before()),
            KeyAction::OpenNextUnread => {
                if let Some(index) = self.conversations.next_unread() {
                    self.go_to(index);
                }
            }
            KeyAction::OpenMention => self.open_mention(),
            KeyAction::ListLinks => self.list_links(),
            KeyAction::Chat(action) => self.act_in_chat(action),
            KeyAction::Search(action) => self.act_in_search(action),
            KeyAction::Links(action) => self.act_in_links(&action),
            KeyAction::Help(action) => self.act_in_help(&action),
        }
    }

    fn act_in_chat(&mut self, action: ChatAction) {
        // A letter that is typed while the help is open closes the help.
        self.screen.set_mode(Mode::Chat);
        match action {
            ChatAction::Enter => self.enter(),
            ChatAction::Complete { forward } => self.complete(forward),
            ChatAction::Up => self.composer.up(),
            ChatAction::Down => self.composer.down(),
            ChatAction::ScrollPage { up } => {
                // Two rows of the page before stay on the screen.
                let page = self.layout().rows().saturating_sub(2).max(1);
                self.scroll(up, page);
            }
            ChatAction::ShowOldest => {
                let page = self.conversations.oldest_page();
                self.ask_page(page);
            }
            ChatAction::ShowNewest => self.show_newest(),
            ChatAction::Search => self.search(""),
            ChatAction::Edit(edit) => {
                self.composer.edit(edit);
                self.show_typing();
            }
        }
    }

    fn act_in_search(&mut self, action: SearchAction) {
        let Mode::Search(search) = self.screen.mode_mut() else {
            unreachable!("only the search mode has search actions");
        };
        match action {
            SearchAction::Close => self.screen.set_mode(Mode::Chat),
            SearchAction::Open => self.open_found(),
            SearchAction::Choose { older } => search.choose(older),
            SearchAction::Edit(edit) => {
                search.edit(edit);
                self.send_query();
            }
        }
    }

    fn act_in_links(&mut self, action: &LinksAction) {
        match action {
            LinksAction::Choose { older } => self.choose_link(*older),
            LinksAction::Open => self.use_link(true),
            LinksAction::Copy => self.use_link(false),
            LinksAction::Close => self.screen.set_mode(Mode::Chat),
        }
    }

    fn act_in_help(&mut self, action: &HelpAction) {
        // One row of the page before stays on the screen.
        let page = self.layout().rows().saturating_sub(1).max(1);
        match action {
            HelpAction::ScrollRow { up } => self.screen.scroll_help(*up, 1),
            HelpAction::ScrollPage { up } => self.screen.scroll_help(*up, page),
            HelpAction::Close => self.screen.set_mode(Mode::Chat),
        }
    }

    pub(super) fn paste(&mut self, text: &str) {
        if let Mode::Search(search) = self.screen.mode_mut() {
            search.insert(&text.replace('\n', " "));
            return self.send_query();
        }
        if matches!(self.screen.mode(), Mode::Links(_)) {
            self.screen.set_mode(Mode::Chat);
        }
        let pasted = self.composer.paste(text);
        // The screen may have no room for all of the lines.
        let is_notable = pasted.lines > 1 || pasted.left_out > 0;
        self.screen
            .set_hint(is_notable.then_some(Hint::Pasted(pasted)));
    }

    pub(super) fn wheel(&mut self, up: bool) {
        match self.screen.mode_mut() {
            Mode::Chat => self.scroll(up, WHEEL_ROWS),
            Mode::Search(search) => search.choose(up),
            Mode::Links(links) => links.choose(up),
            Mode::Help(_) => self.screen.scroll_help(up, WHEEL_ROWS),
        }
    }

    /// The terminal has got or lost the keyboard focus.
    pub(super) fn focus(&mut self, is_focused: bool) {
        self.screen.set_focused(is_focused);
        if !is_focused {
            // The unread line moves to the first message that nobody looks at.
            self.conversations.end_unread();
        }
    }

    /// Ctrl-c: goes back to the chat, or clears the line, or ends the chat the second time.
    fn interrupt(&mut self) {
        if !matches!(self.screen.mode(), Mode::Chat) {
            self.screen.set_mode(Mode::Chat);
        } else if !self.composer.is_empty() {
            self.composer.clear();
        } else if self.keys.interrupt(self.now) {
            self.outputs.push_back(Output::Quit);
        } else {
            self.screen
                .set_hint(Some(Hint::Text("press it again to quit hobnob")));
        }
    }

    fn complete(&mut self, forward: bool) {
        let App {
            composer,
            conversations,
            people,
            files,
            ..
        } = self;
        let choices = || choices(conversations, people, files);
        if let Some(lookup) = composer.complete(forward, choices) {
            self.outputs.push_back(Output::ListFolder(lookup));
        }
    }
}

/// The words that the Tab key chooses from.
fn choices(conversations: &Conversations, people: &People, files: &Transfers) -> Choices {
    let open = conversations.current();
    let rooms = conversations.list().iter().filter_map(|conversation| {
        let ConversationRef::Room(room) = conversation.of() else {
            return None;
        };
        Some(room.to_string())
    });
    let peers = people_by_speech(open, people);
    let argument = |peer: &PersonId| {
        let name = people.names.of(peer);
        // An argument ends at a space.
        if name.contains(char::is_whitespace) {
            peer.short()
        } else {
            name
        }
    };
    let [accepted, declined] = files.ids_to_answer(open.of());
    Choices {
        rooms: rooms.collect(),
        names: peers.iter().map(|peer| people.names.of(peer)).collect(),
        targets: peers.iter().map(argument).collect(),
        accepted,
        declined,
    }
}

/// First the speakers of this conversation, then its other people, then everybody else.
fn people_by_speech(open: &Conversation, people: &People) -> Vec<PersonId> {
    let online = people.online().map(|peer| peer.peer.0);
    let mut listed = BTreeSet::new();
    open.speakers()
        .chain(people.in_conversation(open.of()))
        .chain(online)
        .chain(people.peers.keys().copied())
        .filter(|peer| listed.insert(*peer))
        .collect()
}
