//! The line chat: lines in, lines out, on any terminal and in any pipe.
//!
//! A line goes to the room that is spoken in, unless it is a command. Requests go out in the
//! order of their lines and are answered beside one another, so one that waits for somebody holds
//! up nothing. When the node ends that the chat is attached to, the chat attaches to the next, or
//! runs it.

mod files;
mod lines;
mod outbox;
mod phrases;

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob::protocol::text::visible;
use hobnob::protocol::{Body, PeerId, RoomName, Target};
use hobnob::{ConversationRef, DeliveryState, FileState, PeerState};
use hobnob_control::wire::{
    BroadcastMessage, Diagnose, Diagnosis, Done, GetStatus, HistoryFilter, JoinRoom, Kick, Kicked,
    ListPeers, ListRooms, NoticeLine, PartRoom, PeerLine, PeerList, Request, Resolve, Resolved,
    RoomLine, RoomList, SendMessage, SentLine, SetNick, StatusLine, Text, Verification, Verify,
    WaitOptions, Why, WireEvent,
};
use hobnob_control::{Client, ClientError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::outbox::{Outbox, Report};
use super::views;
use crate::shared::chat_input::{self, Input};
use crate::shared::common_flags::Common;
use crate::shared::event_stream::{EventStream, SeenIds};
use crate::shared::exit_code::{Exit, Usage};
use crate::shared::session;
use crate::shared::wording::{self, Names};
use crate::shared::{actions, diagnosis, output, policy, status, values, verification};
use hobnob_local::signals::Signals;

/// Requests under way; further lines wait.
const UNDER_WAY_MAX: usize = 64;

/// Messages that `/search` shows: the newest.
const FOUND_MAX: usize = 50;

const FOR_SCREENS: &str = "that is for the full screen: run hobnob on a terminal, without --plain";

/// The clock of the chat.
const TICK: Duration = Duration::from_millis(100);

/// After the end of the input, how long deliveries are waited for.
const DRAIN_TICKS: u64 = 20;

/// How long a signal waits for what was typed to be queued.
const QUIT_WITHIN: Duration = Duration::from_millis(500);

/// Runs the chat until `/quit`, a signal, or the end of the input.
pub(crate) async fn chat(common: &Common) -> anyhow::Result<Exit> {
    if common.json {
        return Err(Usage(
            "the chat is for people: `hobnob up --json` prints events for programs".into(),
        )
        .into());
    }
    let mut signals = Signals::new()?;
    let mut chat = Chat::new(
        common
            .rooms
            .first()
            .cloned()
            .unwrap_or_else(RoomName::lobby),
    );
    loop {
        let (_, attached) = session::open(common, true).await?;
        let ended = tokio::select! {
            ended = chat.run(&attached.client) => ended,
            () = signals.any() => chat.quit_soon().await,
        };
        session::leave(attached, &mut signals).await;
        if ended? == Ended::Quit {
            return Ok(Exit::Done);
        }
        output::say("the node that this chat used has ended: going on with another");
    }
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The user wants to.
    Quit,
    /// The node has ended, or is about to.
    NodeGone,
}

/// An answer, as far as the chat is concerned.
enum Reply {
    Sent(SentLine),
    Lines(Vec<String>),
    Speak(RoomName),
    Error(String),
}

/// What lasts from one node to the next.
struct Chat {
    input: mpsc::Receiver<String>,
    input_ended: bool,
    room: RoomName,
    /// The last line was a command that changes `room`.
    moves: bool,
    seen: SeenIds,
    names: Names,
    here: BTreeMap<PeerId, PeerState>,
    outbox: Outbox,
    replies: JoinSet<Reply>,
    tick: u64,
    /// Ticks since the input ended and everything was queued.
    drained: u64,
    welcomed: bool,
    told_alone: bool,
}

impl Chat {
    fn new(room: RoomName) -> Chat {
        Chat {
            input: lines::of_stdin(),
            input_ended: false,
            room,
            moves: false,
            seen: SeenIds::since(values::now()),
            names: Names::default(),
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
                _ = ticks.tick() => if self.ticked()? { break },
            }
        }
        self.quit().await
    }

    /// After `/join` or `/part`, where the next line goes is known only once they are answered.
    fn takes_lines(&self) -> bool {
        let max = if self.moves { 1 } else { UNDER_WAY_MAX };
        !self.input_ended && self.replies.len() < max
    }

    async fn welcome(&mut self, client: &Client) -> anyhow::Result<()> {
        if !self.welcomed {
            let status: StatusLine = client.ask(GetStatus {}).await?;
            phrases::welcome(&status, &self.room)
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
        self.moves = matches!(input, Ok(Input::Join(_) | Input::Part(_)));
        match input {
            Err(error) => output::say(&error),
            Ok(Input::Nothing) => {}
            Ok(Input::Quit) => return Ok(Some(Ended::Quit)),
            Ok(Input::Help(one)) => {
                let specs = one.map_or(actions::COMMANDS, std::slice::from_ref);
                let mut for_lines = specs.iter().filter(|spec| !spec.is_for_screens());
                for_lines.try_for_each(|spec| output::line(&actions::help(spec)))?;
            }
            Ok(Input::Query(_) | Input::Receipts | Input::Clear) => output::say(FOR_SCREENS),
            Ok(input) => self.ask(client, input).await,
        }
        Ok(None)
    }

    /// Begins what asks the node something; the answer comes to [`Chat::reply`].
    async fn ask(&mut self, client: &Client, input: Input) {
        match input {
            Input::Say(text) => {
                let request = BroadcastMessage {
                    room: Text(self.room.clone()),
                    body: Body::Text(text).into(),
                    options: WaitOptions::ON_DISK,
                };
                self.begin(client, request, Reply::Sent).await;
            }
            Input::Msg(target, text) => {
                let request = SendMessage {
                    target: Text(target),
                    body: Body::Text(text).into(),
                    options: WaitOptions::ON_DISK,
                };
                self.begin(client, request, Reply::Sent).await;
            }
            Input::Peers => {
                let rows = |list: PeerList| match wording::peers(&list.peers) {
                    nobody if nobody.is_empty() => {
                        Reply::Lines(vec!["nobody has been met yet".to_owned()])
                    }
                    rows => Reply::Lines(rows),
                };
                self.begin(client, ListPeers { settle: false }, rows).await;
            }
            Input::History(n) => self.history(
                client,
                HistoryFilter {
                    limit: Some(n),
                    ..HistoryFilter::default()
                },
            ),
            Input::Search(words) => {
                let conversation = Some(Text(ConversationRef::Room(self.room.clone())));
                let filter = HistoryFilter {
                    conversation,
                    search: Some(words),
                    limit: Some(FOUND_MAX),
                    ..HistoryFilter::default()
                };
                self.history(client, filter);
            }
            Input::Decide(decision, target) => {
                let done = move |peer: PeerLine| Reply::Lines(vec![decision.words(&peer)]);
                self.begin(client, decision.request(target), done).await;
            }
            Input::Kick(target) => {
                let done = |kicked: Kicked| Reply::Lines(vec![policy::kicked(&kicked)]);
                self.begin(
                    client,
                    Kick {
                        target: Text(target),
                    },
                    done,
                )
                .await;
            }
            Input::Whois(target) => self.whois(client, target),
            Input::Names => self.names(client).await,
            Input::Net => {
                self.begin(client, GetStatus {}, |status: StatusLine| {
                    Reply::Lines(status::net(&status))
                })
                .await;
                self.begin(client, Diagnose {}, diagnosed).await;
            }
            Input::Nick(nick) => {
                let text = format!("you are {nick} now");
                self.begin(client, SetNick { nick }, |_: Done| Reply::Lines(vec![text]))
                    .await;
            }
            Input::Join(room) => {
                let request = JoinRoom {
                    room: Text(room),
                    secret: None,
                };
                self.begin(client, request, |line: RoomLine| Reply::Speak(line.room.0))
                    .await;
            }
            Input::Part(room) => self.part(client, room).await,
            Input::Rooms => {
                let rows =
                    |list: RoomList| Reply::Lines(list.rooms.iter().map(wording::room).collect());
                self.begin(client, ListRooms {}, rows).await;
            }
            Input::Verify(target, confirm) => {
                let words = move |it: Verification| {
                    Reply::Lines(verification::words(
                        &it,
                        confirm,
                        &verification::Syntax::CHAT,
                    ))
                };
                self.begin(
                    client,
                    Verify {
                        target: Text(target),
                        confirm,
                    },
                    words,
                )
                .await;
            }
            Input::Why(target) => {
                self.replies
                    .spawn(async { Reply::Lines(vec![status::LOOKING.to_owned()]) });
                self.begin(
                    client,
                    Why {
                        target: Text(target),
                    },
                    diagnosed,
                )
                .await;
            }
            Input::Send(to, word) => self.offer(client, to, &word).await,
            Input::Files => self.files(client),
            Input::Accept(word) => self.accept(client, word),
            Input::Decline(word) => self.decline(client, word),
            Input::Nothing
            | Input::Help(_)
            | Input::Query(_)
            | Input::Receipts
            | Input::Clear
            | Input::Quit => {}
        }
    }

    async fn part(&mut self, client: &Client, room: Option<RoomName>) {
        let room = room.unwrap_or_else(|| self.room.clone());
        let next = if room == self.room {
            RoomName::lobby()
        } else {
            self.room.clone()
        };
        self.begin(client, PartRoom { room: Text(room) }, |_: Done| {
            Reply::Speak(next)
        })
        .await;
    }

    fn history(&mut self, client: &Client, filter: HistoryFilter) {
        let client = client.clone();
        self.replies.spawn(async move {
            match tokio::try_join!(client.history(filter), Names::ask(&client)) {
                Ok((messages, names)) => Reply::Lines(
                    messages
                        .iter()
                        .map(|m| wording::message(m, &names))
                        .collect(),
                ),
                Err(error) => Reply::Error(error.to_string()),
            }
        });
    }

    fn whois(&mut self, client: &Client, target: Target) {
        let client = client.clone();
        self.replies.spawn(async move {
            let known = async {
                let Resolved { peer } = client
                    .ask(Resolve {
                        target: Text(target),
                    })
                    .await?;
                let peers = views::known_peers(&client).await?;
                Ok::<_, ClientError>(
                    peers
                        .into_iter()
                        .filter(|known| known.peer == peer)
                        .collect::<Vec<_>>(),
                )
            };
            match known.await {
                Ok(peers) => Reply::Lines(wording::peers(&peers)),
                Err(error) => Reply::Error(error.to_string()),
            }
        });
    }

    async fn names(&mut self, client: &Client) {
        let room = self.room.clone();
        let names: BTreeMap<PeerId, String> = self
            .here
            .keys()
            .map(|peer| (*peer, self.names.of(peer)))
            .collect();
        let line = move |list: RoomList| {
            let here = list
                .rooms
                .iter()
                .filter(|line| line.room.0 == room)
                .flat_map(|line| &line.here);
            let here: Vec<String> = here
                .map(|peer| {
                    names
                        .get(&peer.0)
                        .cloned()
                        .unwrap_or_else(|| peer.0.short())
                })
                .collect();
            let who = if here.is_empty() {
                "nobody else".to_owned()
            } else {
                here.join(", ")
            };
            Reply::Lines(vec![format!("in {room}: {who}")])
        };
        self.begin(client, ListRooms {}, line).await;
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
                self.report(report)
            }
            Reply::Lines(lines) => lines.iter().try_for_each(|line| output::line(line)),
            Reply::Speak(room) => {
                self.room = room;
                output::line(&format!("you speak in {} now", self.room))
            }
            Reply::Error(text) => {
                output::say(&visible(&text));
                Ok(())
            }
        }
    }

    fn report(&mut self, report: impl IntoIterator<Item = Report>) -> std::io::Result<()> {
        for report in report {
            let alone = matches!(report, Report::Alone(_));
            if !(alone && self.told_alone) {
                output::line(&phrases::report(&report, &self.names))?;
            }
            self.told_alone = alone;
        }
        Ok(())
    }

    fn event(&mut self, event: WireEvent) -> std::io::Result<()> {
        match event {
            WireEvent::Peer(peer) => self.peer(&peer),
            WireEvent::Message(message) if message.state.is_none() => {
                output::line(&phrases::message(&message))
            }
            WireEvent::Receipt(receipt) if receipt.state == DeliveryState::Delivered => {
                let report = self.outbox.delivered(receipt.id.0, receipt.peer.0);
                self.report(report)
            }
            // The message that offers it says how to fetch it.
            WireEvent::File(file) if file.state == FileState::Offered && !file.own => Ok(()),
            WireEvent::File(_) => wording::event(&event, &self.names)
                .map_or(Ok(()), |text| output::line(&format!("* {text}"))),
            WireEvent::Notice(NoticeLine { text, .. }) => {
                output::line(&format!("* {}", visible(&text)))
            }
            WireEvent::Message(_)
            | WireEvent::Receipt(_)
            | WireEvent::Listening(_)
            | WireEvent::Sent(_)
            | WireEvent::Room(_)
            | WireEvent::Status(_)
            | WireEvent::Lagged { .. }
            | WireEvent::Goodbye
            | WireEvent::Unknown => Ok(()),
        }
    }

    /// Tells who comes and goes; a missed ping or another address is no news.
    fn peer(&mut self, peer: &PeerLine) -> std::io::Result<()> {
        self.names.learn(peer);
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

    /// Whether all is done: the input has ended, and what it said has arrived or been waited for.
    fn ticked(&mut self) -> std::io::Result<bool> {
        self.tick += 1;
        let late = self.outbox.late(self.tick);
        self.report(late)?;
        if !self.input_ended || !self.replies.is_empty() {
            return Ok(false);
        }
        self.drained += 1;
        Ok(self.outbox.is_empty() || self.drained >= DRAIN_TICKS)
    }

    async fn node_gone(&mut self) -> anyhow::Result<Ended> {
        self.answers().await?;
        Ok(Ended::NodeGone)
    }

    /// What was typed is queued before the chat ends, and what is not delivered yet is told.
    async fn quit(&mut self) -> anyhow::Result<Ended> {
        self.answers().await?;
        let late = self.outbox.all_late();
        self.report(late)?;
        Ok(Ended::Quit)
    }

    /// A signal came: what was typed still has a moment to be queued.
    async fn quit_soon(&mut self) -> anyhow::Result<Ended> {
        tokio::time::timeout(QUIT_WITHIN, self.quit()).await.unwrap_or_else(|_| {
            output::say("the node has not confirmed what you typed last: `hobnob history` tells whether it was queued");
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

/// Whether the node has ended, which is no reason for the chat to end.
fn is_end(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(ClientError::is_end)
}

fn diagnosed(diagnosis: Diagnosis) -> Reply {
    Reply::Lines(diagnosis::lines(&diagnosis))
}
