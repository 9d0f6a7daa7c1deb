//! The line chat: reads and prints lines, on any terminal and in any pipe.
//!
//! A line is a message to the current room, unless it is a command. Requests are sent in the order
//! of their lines, and run side by side, so that a slow one delays nothing. When the chat's node
//! stops, the chat attaches to the next one, or runs one.

mod files;
mod lines;
mod outbox;
mod phrases;
mod requests;

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob::protocol::text::visible;
use hobnob::protocol::{Nickname, PersonId, RoomName};
use hobnob::{ConversationRef, DeliveryState, FileState, PeerState};
use hobnob_control::wire::{
    Diagnose, Diagnosis, Done, GetStatus, ListRooms, PeerLine, Request, RoomList, SentLine,
    StatusLine, WireEvent,
};
use hobnob_control::{Client, ClientError, EventStream, SeenIds};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::outbox::{Outbox, Report};
use super::views;
use crate::shared::actions::help;
use crate::shared::activity;
use crate::shared::amending::RecentMessages;
use crate::shared::chat_input::{self, Input};
use crate::shared::common_flags::CommonFlags;
use crate::shared::exit_code::{Exit, Usage};
use crate::shared::session;
use crate::shared::strangers::Strangers;
use crate::shared::wording::{self, Names};
use crate::shared::{diagnosis, notices, output, status, values};
use hobnob_local::signals::Signals;

/// Maximum number of requests under way. Further lines wait.
const UNDER_WAY_MAX: usize = 64;

const FOR_SCREENS: &str =
    "this command needs the full-screen chat: run hobnob on a terminal, without --plain";

/// The interval of the chat's clock.
const TICK: Duration = Duration::from_millis(100);

/// How long the chat waits for deliveries after the end of the input.
const DRAIN_TICKS: u64 = 20;

/// How long the chat waits after a signal until the typed messages are queued.
const QUIT_WITHIN: Duration = Duration::from_millis(500);

/// Runs the chat until `/quit`, a signal, or the end of the input.
pub(crate) async fn chat(common: &CommonFlags) -> anyhow::Result<Exit> {
    if common.json {
        return Err(Usage(
            "the chat has no JSON output: `hobnob up --json` prints events for programs".into(),
        )
        .into());
    }
    let mut signals = Signals::new()?;
    let mut chat = Chat::new(common.rooms.first().cloned());
    loop {
        let (_, attached) = session::stay(common).await?;
        let ended = tokio::select! {
            ended = chat.run(&attached.client) => ended,
            () = signals.any() => chat.quit_soon().await,
        };
        session::leave(attached, &mut signals).await;
        if ended? == Ended::Quit {
            return Ok(Exit::Done);
        }
        output::say(wording::NODE_ENDED);
    }
}

/// The room to which messages go if the user named none: the lobby, or if the user has left it,
/// another one. None if the node is in no room.
fn spoken_room(joined: impl IntoIterator<Item = RoomName>) -> Option<RoomName> {
    let joined: Vec<RoomName> = joined.into_iter().collect();
    let lobby = RoomName::lobby();
    if joined.contains(&lobby) {
        return Some(lobby);
    }
    joined.into_iter().next()
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The user wants to quit.
    Quit,
    /// The node has stopped, or is about to.
    NodeGone,
}

/// The chat's reaction to an answer.
enum Reply {
    Sent(SentLine),
    Lines(Vec<String>),
    /// Messages are waiting for these peers, and `relay_fault` keeps this node from all its relays.
    Waiting {
        reports: Vec<Report>,
        relay_fault: Option<String>,
    },
    /// Messages go to this conversation now. Prints the lines first.
    Speak(ConversationRef, Vec<String>),
    Error(String),
}

/// The state of the chat, which outlives its node.
struct Chat {
    input: mpsc::Receiver<String>,
    input_ended: bool,
    /// Where messages go.
    current: ConversationRef,
    /// Whether the user named a room on the command line.
    has_named_room: bool,
    /// Whether the last line was a command that changes `current`.
    moves: bool,
    seen: SeenIds,
    names: Names,
    strangers: Strangers,
    recent: RecentMessages,
    /// The nicknames of people, to report when one changes.
    nicks: BTreeMap<PersonId, Nickname>,
    here: BTreeMap<PersonId, PeerState>,
    outbox: Outbox,
    replies: JoinSet<Reply>,
    tick: u64,
    /// Ticks since the input ended and everything was queued.
    drained: u64,
    welcomed: bool,
    told_alone: bool,
}

impl Chat {
    /// `room` is the one that the user named, if any.
    fn new(room: Option<RoomName>) -> Chat {
        Chat {
            input: lines::of_stdin(),
            input_ended: false,
            has_named_room: room.is_some(),
            current: ConversationRef::Room(room.unwrap_or_else(RoomName::lobby)),
            moves: false,
            seen: SeenIds::since(values::now()),
            names: Names::default(),
            strangers: Strangers::default(),
            recent: RecentMessages::default(),
            nicks: BTreeMap::new(),
            here: BTreeMap::new(),
            outbox: Outbox::default(),
            replies: JoinSet::new(),
            tick: 0,
            drained: 0,
            welcomed: false,
            told_alone: false,
        }
    }

    async fn run(&mut self, client: &Client) -> anyhow::Result<Ended> {
        let mut events = match EventStream::open(client, &self.seen).await {
            Err(error) if error.is_end() => return self.node_gone().await,
            events => events?,
        };
        match self.welcome(client).await {
            Err(error) if is_end(&error) => return self.node_gone().await,
            welcomed => welcomed?,
        }
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                line = self.input.recv(), if self.takes_lines() => match line {
                    Some(line) => if self.line(client, &line).await? == Some(Ended::Quit) { break },
                    None => self.input_ended = true,
                },
                Some(reply) = self.replies.join_next() => self.reply(reply?)?,
                event = events.next(&mut self.seen) => match event {
                    Ok(Some(event)) => self.event(event)?,
                    Ok(None) => return self.node_gone().await,
                    Err(error) if error.is_end() => return self.node_gone().await,
                    Err(error) => return Err(error.into()),
                },
                _ = ticks.tick() => if self.ticked(client).await { break },
            }
        }
        self.quit().await
    }

    /// After `/join`, `/part` or `/query`, where the next line goes is known only once they are
    /// answered.
    fn takes_lines(&self) -> bool {
        let max = if self.moves { 1 } else { UNDER_WAY_MAX };
        !self.input_ended && self.replies.len() < max
    }

    async fn welcome(&mut self, client: &Client) -> anyhow::Result<()> {
        if !self.welcomed {
            let status: StatusLine = client.ask(GetStatus {}).await?;
            if !self.has_named_room {
                let RoomList { rooms } = client.ask(ListRooms {}).await?;
                let room = spoken_room(rooms.into_iter().map(|room| room.name));
                self.current = ConversationRef::Room(room.unwrap_or_else(RoomName::lobby));
            }
            self.names.learn_me(status.peer.0);
            let to = self.names.of_conversation(&self.current);
            phrases::welcome(&status, &to)
                .iter()
                .try_for_each(|line| output::line(line))?;
            self.welcomed = true;
        }
        for peer in views::known_peers(client).await? {
            self.peer(&peer)?;
        }
        Ok(())
    }

    async fn line(&mut self, client: &Client, line: &str) -> anyhow::Result<Option<Ended>> {
        let input = chat_input::parse(line);
        self.moves = matches!(
            input,
            Ok(Input::Join(..) | Input::CreateRoom(_) | Input::Part(_) | Input::Query(_))
        );
        match input {
            Err(error) => output::say(&error),
            Ok(Input::Nothing) => {}
            Ok(Input::Quit) => return Ok(Some(Ended::Quit)),
            Ok(Input::Help(one)) => {
                let width = help::terminal_width();
                let lines = one.map_or_else(
                    || help::chat_list(width),
                    |action| help::chat_command(action, width),
                );
                lines.iter().try_for_each(|line| output::line(line))?;
            }
            Ok(Input::Cls) => output::say(FOR_SCREENS),
            Ok(input) => self.ask(client, input).await,
        }
        Ok(None)
    }

    /// Sends the request that an input means; the answer arrives in [`Chat::reply`].
    async fn ask(&mut self, client: &Client, input: Input) {
        match input {
            Input::Say(text) => self.say(client, text).await,
            Input::Msg(target, text) => self.message(client, target, text).await,
            Input::Peers => self.peers(client).await,
            Input::Contacts => self.contacts(client).await,
            Input::History(n) => self.newest(client, n),
            Input::Search(words) => self.search(client, words),
            Input::Mentions => self.mentions(client),
            Input::Topic(topic) => self.topic(client, topic).await,
            Input::Pins => self.pins(client).await,
            Input::Notify(notify) => self.notify(client, notify).await,
            Input::KeepTimes => self.keep_times(client).await,
            Input::ChangePolicy(change, target) => {
                let done = move |peer: PeerLine| Reply::Lines(vec![change.words(&peer)]);
                self.begin(client, change.request(target), done).await;
            }
            Input::Erase(erase) => {
                let done = erase.done().to_owned();
                let say = |_| Reply::Lines(vec![done]);
                self.begin(client, erase.request(), say).await;
            }
            Input::Status(away, text) => {
                let say = move |_: Done| Reply::Lines(vec![activity::done(away, "/back")]);
                self.begin(client, activity::status(away, text), say).await;
            }
            Input::Receipts => self.receipts(client),
            Input::Amend(which, amend) => self.amend(client, which, amend).await,
            Input::Kick(target) => self.kick(client, target).await,
            Input::Whois(target) => self.whois(client, target),
            Input::Names => self.names(client).await,
            Input::Id => {
                let lines = |status: StatusLine| Reply::Lines(status::identity(&status));
                self.begin(client, GetStatus {}, lines).await;
            }
            Input::Doctor => {
                let lines = |status: StatusLine| Reply::Lines(status::overview(&status));
                self.begin(client, GetStatus {}, lines).await;
                self.begin(client, Diagnose {}, diagnosed).await;
            }
            Input::Nick(nick) => self.nick(client, nick).await,
            Input::Picture(word) => self.picture(client, word),
            Input::Join(room, passphrase) => self.join(client, room, passphrase).await,
            Input::CreateRoom(room) => self.create_room(client, room).await,
            Input::RoomTicket(room) => self.room_ticket(client, room).await,
            Input::Part(room) => self.part(client, room).await,
            Input::Query(target) => self.query(client, target).await,
            Input::Rooms => {
                let rows =
                    |list: RoomList| Reply::Lines(list.rooms.iter().map(wording::room).collect());
                self.begin(client, ListRooms {}, rows).await;
            }
            Input::Introduce(one, other) => self.introduce(client, one, other).await,
            Input::Invite(room) => self.invite(client, room).await,
            Input::AcceptInvite(code) => self.accept_invite(client, code).await,
            Input::Verify(target, confirm) => self.verify(client, target, confirm).await,
            Input::Why(target) => self.why(client, target).await,
            Input::Send(to, word) => self.offer(client, to, &word).await,
            Input::Files => self.files(client),
            Input::Accept(word) => self.accept(client, word),
            Input::Pause(word) => self.pause(client, word),
            Input::Decline(word) => self.decline(client, word),
            Input::Nothing | Input::Help(_) | Input::Cls | Input::Quit => {
                unreachable!("line() handles these")
            }
        }
    }

    async fn begin<R: Request<Answer: Send> + Send + 'static>(
        &mut self,
        client: &Client,
        request: R,
        then: impl FnOnce(R::Answer) -> Reply + Send + 'static,
    ) {
        let begun = client.begin(request).await;
        self.replies.spawn(async move {
            let answered = async { begun?.await };
            answered
                .await
                .map_or_else(|error: ClientError| Reply::Error(error.to_string()), then)
        });
    }

    fn reply(&mut self, reply: Reply) -> std::io::Result<()> {
        match reply {
            Reply::Sent(sent) => {
                let report = self.outbox.sent(self.tick, &sent);
                self.report(report, None)
            }
            Reply::Waiting {
                reports,
                relay_fault,
            } => self.report(reports, relay_fault.as_deref()),
            Reply::Lines(lines) => lines.iter().try_for_each(|line| output::line(line)),
            Reply::Speak(conversation, lines) => {
                lines.iter().try_for_each(|line| output::line(line))?;
                let to = self.names.of_conversation(&conversation);
                self.current = conversation;
                output::line(&format!("your messages go to {to} now"))
            }
            Reply::Error(text) => {
                output::say(&visible(&text));
                Ok(())
            }
        }
    }

    fn report(
        &mut self,
        reports: impl IntoIterator<Item = Report>,
        relay_fault: Option<&str>,
    ) -> std::io::Result<()> {
        for report in reports {
            let alone = matches!(report, Report::Alone { .. });
            if !(alone && self.told_alone) {
                output::line(&phrases::report(&report, &self.names, relay_fault))?;
            }
            self.told_alone = alone;
        }
        Ok(())
    }

    fn event(&mut self, event: WireEvent) -> std::io::Result<()> {
        match event {
            WireEvent::Peer(peer) => self.peer(&peer),
            WireEvent::Message(mut message) if message.state.is_none() => {
                self.recent.quote(&mut message);
                self.recent.add(&message);
                output::line(&phrases::message(&message))?;
                if self.strangers.is_new(&message) {
                    output::line(&format!("* {}", wording::new_stranger(&message)))?;
                }
                Ok(())
            }
            WireEvent::Receipt(receipt) if receipt.state == DeliveryState::Delivered => {
                let report = self.outbox.delivered(receipt.id.0, receipt.peer.0);
                self.report(report, None)
            }
            // The message with the offer explains how to fetch it.
            WireEvent::File(file) if file.state == FileState::Offered && !file.own => Ok(()),
            WireEvent::File(_) => wording::event(&event, &self.names)
                .map_or(Ok(()), |text| output::line(&format!("* {text}"))),
            WireEvent::Notice(notice) => output::line(&format!("* {}", notices::words(&notice))),
            WireEvent::Message(own) => {
                self.recent.add(&own);
                Ok(())
            }
            WireEvent::Activity(line) => {
                activity::words(&line).map_or(Ok(()), |text| output::line(&format!("* {text}")))
            }
            WireEvent::Amended(line) => output::line(&format!("* {}", self.recent.amended(&line))),
            WireEvent::Receipt(_)
            | WireEvent::Erased(_)
            | WireEvent::Listening(_)
            | WireEvent::Sent(_)
            | WireEvent::Room(_)
            | WireEvent::Status(_)
            | WireEvent::Lagged { .. }
            | WireEvent::Datagram(_)
            | WireEvent::Stream(_)
            | WireEvent::Goodbye
            | WireEvent::Unknown => Ok(()),
        }
    }

    /// Reports who connects and disconnects. A missed ping or a new address is not reported.
    fn peer(&mut self, peer: &PeerLine) -> std::io::Result<()> {
        self.names.learn(peer);
        if self.strangers.begins_to_wait(peer) {
            output::line(&format!("* {}", wording::awaits_consent(peer)))?;
        }
        if let Some(nick) = &peer.nick
            && let Some(before) = self.nicks.insert(peer.peer.0, nick.clone())
            && before != *nick
        {
            output::line(&format!("* {}", wording::renamed(&before, nick)))?;
        }
        let was = self
            .here
            .insert(peer.peer.0, peer.state)
            .unwrap_or(PeerState::Offline);
        let [was_here, is_here] = [was, peer.state].map(|state| state != PeerState::Offline);
        if was_here == is_here {
            Ok(())
        } else {
            output::line(&format!("* {}", wording::peer(peer)))
        }
    }

    /// Whether the chat is done: the input has ended, and its messages are delivered or late.
    async fn ticked(&mut self, client: &Client) -> bool {
        self.tick += 1;
        let reports = self.outbox.late(self.tick);
        if !reports.is_empty() {
            self.waiting(client, reports).await;
        }
        if !self.input_ended || !self.replies.is_empty() {
            return false;
        }
        self.drained += 1;
        self.outbox.is_empty() || self.drained >= DRAIN_TICKS
    }

    /// Asks what is wrong on this side before it blames the peers; the answer arrives in
    /// [`Chat::reply`].
    async fn waiting(&mut self, client: &Client, reports: Vec<Report>) {
        let status = client.begin(GetStatus {}).await;
        self.replies.spawn(async move {
            let answered = async { status?.await };
            // Without an answer nothing is known to be wrong here.
            let status: Result<StatusLine, ClientError> = answered.await;
            Reply::Waiting {
                reports,
                relay_fault: status.ok().as_ref().and_then(wording::relay_fault),
            }
        });
    }

    async fn node_gone(&mut self) -> anyhow::Result<Ended> {
        self.answers().await?;
        Ok(Ended::NodeGone)
    }

    /// Waits until the typed messages are queued, and reports those that are not delivered yet.
    async fn quit(&mut self) -> anyhow::Result<Ended> {
        self.answers().await?;
        let late = self.outbox.all_late();
        self.report(late, None)?;
        Ok(Ended::Quit)
    }

    /// As [`Chat::quit`], after a signal: with a time limit.
    async fn quit_soon(&mut self) -> anyhow::Result<Ended> {
        tokio::time::timeout(QUIT_WITHIN, self.quit()).await.unwrap_or_else(|_| {
            output::say("the node has not confirmed your last message: check with `hobnob history` whether it is queued");
            Ok(Ended::Quit)
        })
    }

    async fn answers(&mut self) -> anyhow::Result<()> {
        while let Some(reply) = self.replies.join_next().await {
            self.reply(reply?)?;
        }
        Ok(())
    }
}

/// Whether the error means that the node has stopped. The chat then continues with another one.
fn is_end(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(ClientError::is_end)
}

fn diagnosed(diagnosis: Diagnosis) -> Reply {
    Reply::Lines(diagnosis::lines(&diagnosis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_go_to_a_room_that_the_user_has_not_left() {
        let rooms = |names: &[&str]| {
            let rooms = names.iter().map(|name| name.parse::<RoomName>().unwrap());
            spoken_room(rooms.collect::<Vec<_>>()).map(|room| room.as_str().to_owned())
        };
        assert_eq!(rooms(&["dev", "lobby"]).as_deref(), Some("lobby"));
        assert_eq!(rooms(&["dev", "ops"]).as_deref(), Some("dev"));
        assert_eq!(rooms(&[]), None);
    }
}
