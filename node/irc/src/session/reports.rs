//! What the node reports, as lines for the client.

use hobnob::{ConversationRef, FileState, PeerState};
use hobnob_control::wire::{
    ActivityLine, FileLine, GetStatus, ListPeers, MessageLine, SentLine, Time, WireEvent,
};
use hobnob_local::output::size;
use hobnob_protocol::PersonId;

use super::{Session, Then, away_text};
use crate::caps::Cap;
use crate::line::Line;
use crate::registration::SERVER;
use crate::render::{SERVICE, Shown};
use crate::roster::Change;

impl Session {
    /// Shows an event. The client is registered.
    pub(super) fn report(&mut self, now: Time, event: WireEvent) {
        match event {
            WireEvent::Message(message) => self.message(now, message),
            WireEvent::Peer(line) => {
                let chat = self.ready();
                let before = chat.roster.peer(line.peer.0).map(|peer| peer.state);
                if before.unwrap_or(PeerState::Offline) != line.state {
                    chat.refresh.soon(now);
                }
                let changes = chat.roster.learn(line);
                self.show_changes(now, changes);
                if self.ready().roster.is_full() {
                    self.close("this session knows too many peers: connect again");
                }
            }
            WireEvent::Amended(amended) => {
                let own = amended.from.0 == self.ready().roster.me();
                let echoes = self.registration.caps.has(Cap::EchoMessage);
                // Without echo-message, a client shows its own reactions itself.
                if own && amended.emoji.is_some() && !echoes {
                    return;
                }
                let lines = self.render(|render| render.amended(&amended, now));
                self.send_all(&lines);
            }
            WireEvent::Erased(erased) if erased.by_author => {
                for id in erased.ids {
                    let author = self.ready().recent.author(id.0);
                    let of = &erased.conversation.0;
                    let line = self.render(|render| render.erased(of, id.0, author, now));
                    self.send(&line);
                }
            }
            WireEvent::Activity(activity) => self.activity(now, activity),
            WireEvent::File(file) => self.file(&file),
            WireEvent::Lagged { .. } => {
                // Messages are read back, and these are the other things that may have changed.
                self.ask(ListPeers { settle: false }, Then::Peers);
                self.ask(GetStatus {}, Then::Status);
            }
            // Other interfaces show these, or IRC has no words for them.
            WireEvent::Erased(_)
            | WireEvent::Listening(_)
            | WireEvent::Receipt(_)
            | WireEvent::Sent(_)
            | WireEvent::Room(_)
            | WireEvent::Status(_)
            | WireEvent::Notice(_)
            | WireEvent::Datagram(_)
            | WireEvent::Stream(_)
            | WireEvent::Goodbye
            | WireEvent::Unknown => {}
        }
    }

    fn message(&mut self, now: Time, message: MessageLine) {
        let chat = self.ready();
        if chat.replayed.remove(message.id.0) {
            return;
        }
        if message.request {
            let changes = chat.roster.learn_request(&message).into_iter().collect();
            return self.show_changes(now, changes);
        }
        chat.roster.learn_author(&message);
        let author = message.from.0;
        if let ConversationRef::Room(room) = &message.conversation.0 {
            if message.body.topic.is_some() {
                chat.refresh.soon(now);
            }
            let here = chat.roster.room(room).map(|room| &room.here);
            if author != chat.roster.me() && here.is_none_or(|here| !here.contains(&author)) {
                chat.refresh.soon(now);
            }
        }
        if message.state.is_none() {
            chat.last.0 = Some(message.id.0);
            self.show(&message, Shown::Now);
            return;
        }
        chat.last.1 = Some(message.id.0);
        if self.registration.caps.has(Cap::EchoMessage) {
            self.show(&message, Shown::Now);
        } else {
            let messages = self.ready().echoes.event(message);
            self.show_own(messages);
        }
    }

    /// Shows messages of this user that another interface has sent.
    pub(super) fn show_own(&mut self, messages: Vec<MessageLine>) {
        for message in messages {
            self.show(&message, Shown::Now);
        }
    }

    /// Shows a message.
    pub(super) fn show(&mut self, message: &MessageLine, shown: Shown) {
        for line in self.lines_of(message, shown) {
            self.send(&line);
        }
    }

    /// The lines of a message.
    pub(super) fn lines_of(&mut self, message: &MessageLine, shown: Shown) -> Vec<Line> {
        let chat = self.ready();
        chat.roster.learn_author(message);
        chat.recent.add(message.id.0, message.from.0);
        if shown == Shown::History {
            chat.replayed.add(message.id.0);
        }
        let own = message.from.0 == chat.roster.me();
        let offered = message.body.file.is_some() && !own;
        let offer = offered.then(|| chat.offers.number(message.id.0));
        self.render(|render| render.message(message, offer, shown))
    }

    /// The node has a message of the client on disk.
    pub(super) fn sent(&mut self, target: &str, sent: &SentLine) {
        if !self.registration.caps.has(Cap::EchoMessage) {
            let others = self.ready().echoes.answered(Some(sent.id.0));
            self.show_own(others);
        }
        match &sent.conversation.0 {
            ConversationRef::Room(_) if sent.to.is_empty() && !sent.later => {
                let text = "nobody else is here, so nobody receives this";
                self.send(&Line::new(SERVER, "NOTICE", &[target, text]));
            }
            ConversationRef::Room(_) => {}
            ConversationRef::Direct(peer) => {
                let roster = &self.ready().roster;
                let awaits = roster.peer(*peer).is_some_and(|peer| peer.awaits_consent);
                let here = roster.is_here(*peer);
                if awaits {
                    self.reply(
                        "301",
                        &[target, "has to accept you first; the message waits"],
                    );
                } else if !here {
                    self.reply("301", &[target, "is offline; the message is queued"]);
                } else if let Some(text) = self.ready().away_people.get(peer).cloned() {
                    self.reply("301", &[target, &text]);
                }
            }
        }
    }

    /// Shows that somebody types, is away or is back.
    pub(super) fn activity(&mut self, now: Time, activity: ActivityLine) {
        let peer = activity.peer.0;
        if self.ready().roster.peer(peer).is_none() {
            return;
        }
        if let (Some(typing), Some(of)) = (activity.typing, &activity.conversation)
            && self.registration.caps.has(Cap::MessageTags)
        {
            let state = if typing { "active" } else { "done" };
            let line = self.render(|render| {
                let target = render.target(&of.0, peer);
                let line = Line::new(&render.source(peer), "TAGMSG", &[&target]);
                line.tag("+typing", state)
            });
            self.send(&line);
        }
        let Some(away) = activity.away else {
            return;
        };
        let away = away.then(|| away_text(activity.text.as_deref().unwrap_or_default()));
        let chat = self.ready();
        let before = match &away {
            Some(text) => chat.away_people.insert(peer, text.clone()),
            None => chat.away_people.remove(&peer),
        };
        if before == away || !self.registration.caps.has(Cap::AwayNotify) {
            return;
        }
        let params: Vec<&str> = away.as_deref().into_iter().collect();
        self.moves(now, peer, "AWAY", &params);
    }

    fn file(&mut self, file: &FileLine) {
        if !self.ready().offers.changes(file.id.0, file.state) || file.own {
            return;
        }
        let name = hobnob_protocol::text::visible(&file.offer.name).into_owned();
        let why = file.why.as_deref().unwrap_or("it is not available");
        let text = match file.state {
            FileState::Done => match &file.saved {
                Some(path) => format!("{name} is complete: {}", path.display()),
                None => format!("{name} is complete"),
            },
            FileState::Waiting => format!("{name} waits: {why}"),
            FileState::Moving => format!("fetching {name}, {}", size(file.offer.size)),
            FileState::Paused => format!("{name} is paused: accept it to go on"),
            FileState::Failed => format!("{name} failed: {why}"),
            FileState::Offered | FileState::Declined => return,
        };
        self.service(&text);
    }

    /// Shows changes of people and rooms.
    pub(super) fn show_changes(&mut self, now: Time, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Entered(room) => self.enter(&room),
                Change::Exited(room) => {
                    let me = self.ready().roster.me();
                    self.moves(now, me, "PART", &[&room.to_string()]);
                }
                Change::Joined(room, peer) => {
                    self.moves(now, peer, "JOIN", &[&room.to_string()]);
                }
                Change::Parted(room, peer) => {
                    self.moves(now, peer, "PART", &[&room.to_string()]);
                }
                Change::Quit(peer) => {
                    let lost = self.ready().roster.peer(peer).is_some_and(|peer| peer.lost);
                    let why = if lost { "connection lost" } else { "left" };
                    self.moves(now, peer, "QUIT", &[why]);
                }
                Change::Topic(room) => {
                    let line = self.render(|render| render.new_topic(&room, now));
                    self.send(&line);
                }
                Change::RenamedMe(before) => {
                    let me = self.ready().roster.me();
                    self.renamed(now, &before, me);
                }
                Change::Renamed(renamed) => self.renamed(now, &renamed.before, renamed.peer),
                Change::Request(peer) => {
                    let nick = self.ready().roster.nick(peer).to_owned();
                    self.service(&format!(
                        "{nick}, a stranger, has written to you: /msg {SERVICE} contacts accept {nick} \
                         shows it, /msg {SERVICE} block {nick} refuses"
                    ));
                }
            }
        }
    }

    fn moves(&mut self, now: Time, peer: PersonId, command: &str, params: &[&str]) {
        let line = self.render(|render| {
            let source = render.source(peer);
            render.stamped(Line::new(&source, command, params), now)
        });
        self.send(&line);
    }

    /// Reports a new nickname, by the one before.
    fn renamed(&mut self, now: Time, before: &str, peer: PersonId) {
        let line = self.render(|render| {
            let source = format!("{before}!{}@{SERVER}", peer.short());
            let nick = render.roster.nick(peer).to_owned();
            render.stamped(Line::new(&source, "NICK", &[&nick]), now)
        });
        self.send(&line);
    }

    /// Shows a room that this node is in.
    fn enter(&mut self, room: &hobnob_protocol::RoomName) {
        let me = self.ready().roster.me();
        let name = room.to_string();
        let (join, topic, names) = self.render(|render| {
            let join = Line::new(&render.source(me), "JOIN", &[&name]);
            (join, render.topic(room), render.names(room))
        });
        self.send(&join);
        self.show_marker(&ConversationRef::Room(room.clone()), &name);
        self.send_all(&topic);
        self.send_all(&names);
        self.replay_room(room);
    }
}
