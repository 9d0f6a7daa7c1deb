//! The program: handles typed commands and the node's events, and owns the tables.
//!
//! It stores nothing. The moves are messages in the node's store. After a restart it rebuilds every
//! table from them.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use anyhow::Context;
use hobnob::protocol::text::visible;
use hobnob::{
    ConversationRef, Event, Events, HistoryQuery, Message, Messages, Node, PeerInfo, PeerState,
    PersonId, Target,
};
use tokio::sync::mpsc;

use super::rules::Written;
use super::screen::{self, View};
use super::table::{Match, News, State, Table};
use super::words::Word;

/// Messages per read while the tables are rebuilt.
const PAGE: usize = 1000;

const HELP: &str = "  peers            who is here
  challenge NAME   ask somebody for a game; you would play black, which moves first
  accept, decline  answer a challenge
  11-15, 15x24     move, or capture; of a capture by several jumps all squares, or the first and the last where that is clear
  offer 11-15      move, and offer a draw
  draw             accept the draw that came with the last move
  resign           give up
  board, moves     the board; your legal moves
  games            all your games; with NAME: go to the one with NAME
  quit             end; the games stay where they are
Who can capture must. A man that reaches the last row becomes a king, and that ends the move. Who has no move loses.
It is a draw when a position comes for the third time, and after 40 moves of each side without a capture or a man's move.";

/// The local player and all tables.
pub(crate) struct App {
    node: Node,
    messages: Messages,
    events: Events,
    tables: BTreeMap<PersonId, Table>,
    names: BTreeMap<PersonId, String>,
    states: BTreeMap<PersonId, PeerState>,
    /// The opponent that commands are about.
    at: Option<PersonId>,
}

/// Whether to continue.
#[derive(Debug, PartialEq, Eq)]
enum Then {
    GoOn,
    Quit,
}

impl App {
    /// Rebuilds all tables from the stored messages.
    pub(crate) async fn new(node: Node) -> anyhow::Result<App> {
        let (events, mut tables, mut last) = (node.events(), BTreeMap::new(), None);
        loop {
            let query = HistoryQuery {
                after: last,
                oldest: true,
                limit: Some(PAGE),
                ..HistoryQuery::default()
            };
            let page = node.history(query).await?;
            for message in &page {
                hear(&mut tables, node.id(), message);
            }
            last = page.last().map(|message| message.id).or(last);
            if page.len() < PAGE {
                break;
            }
        }
        let messages = node.messages(last);
        let at = tables
            .iter()
            .find(|(_, table)| table.playing().is_some())
            .map(|(peer, _)| *peer);
        Ok(App {
            node,
            messages,
            events,
            tables,
            names: BTreeMap::new(),
            states: BTreeMap::new(),
            at,
        })
    }

    /// Runs until the player quits.
    pub(crate) async fn run(&mut self) -> anyhow::Result<()> {
        let mut lines = typed();
        self.welcome().await?;
        loop {
            tokio::select! {
                line = lines.recv() => match line {
                    Some(line) => if self.command(line.trim()).await? == Then::Quit { return Ok(()) },
                    None => return Ok(()),
                },
                message = self.messages.next() => self.message(&message?)?,
                // If the program read too slowly, the next change is read instead.
                event = self.events.next() => if let Ok(Event::Peer(peer)) = event { self.peer(&peer)? },
                interrupted = tokio::signal::ctrl_c() => return interrupted.context("can't listen for Ctrl-C"),
            }
        }
    }

    async fn welcome(&mut self) -> anyhow::Result<()> {
        let status = self.node.status().await?;
        for peer in self.node.peers().await? {
            self.peer(&peer)?;
        }
        tell(&format!(
            "You are {} ({}). `help` lists the commands.",
            status.nick,
            status.id.short()
        ))?;
        tell(&format!(
            "To be challenged from elsewhere, give people your ticket: {}",
            status.ticket
        ))?;
        let open =
            |table: &Table| matches!(table.state(), State::Playing(_) | State::Challenged(..));
        for (peer, table) in self.tables.iter().filter(|(_, table)| open(table)) {
            self.show(*peer, table)?;
        }
        Ok(())
    }

    /// Shows the state of a table, with the board during a game.
    fn show(&self, peer: PersonId, table: &Table) -> io::Result<()> {
        if let Some(game) = table.playing() {
            tell(screen::board(game.game.position(), game.side_of(self.node.id())).trim_end())?;
        }
        tell(&self.view(&self.name(peer)).stands(table))
    }

    fn message(&mut self, message: &Message) -> io::Result<()> {
        let Some((peer, news)) = hear(&mut self.tables, self.node.id(), message) else {
            return Ok(());
        };
        if message.from == peer {
            self.names.insert(peer, visible(&message.name).into_owned());
        }
        let table = &self.tables[&peer];
        let name = self.name(peer);
        let view = self.view(&name);
        for item in &news {
            tell(&view.news(message.from, item, table))?;
        }
        if news
            .iter()
            .any(|item| matches!(item, News::Begun | News::Moved { .. }))
        {
            self.show_board(table, &view)?;
        }
        let idle = self
            .at
            .and_then(|at| self.tables.get(&at))
            .is_none_or(|table| table.playing().is_none());
        if idle || news.contains(&News::Begun) {
            self.at = Some(peer);
        }
        Ok(())
    }

    fn show_board(&self, table: &Table, view: &View<'_>) -> io::Result<()> {
        let (State::Playing(game) | State::Over(game, _)) = table.state() else {
            return Ok(());
        };
        tell(screen::board(game.game.position(), game.side_of(self.node.id())).trim_end())?;
        if table.playing().is_some() {
            tell(&view.whose_turn(game))
        } else {
            Ok(())
        }
    }

    /// Reports when an opponent connects or disconnects.
    fn peer(&mut self, peer: &PeerInfo) -> io::Result<()> {
        self.names
            .insert(peer.peer, visible(&peer.name).into_owned());
        let before = self
            .states
            .insert(peer.peer, peer.state)
            .unwrap_or(PeerState::Offline);
        let plays = self
            .tables
            .get(&peer.peer)
            .is_some_and(|table| table.playing().is_some());
        let name = self.name(peer.peer);
        match (before, peer.state) {
            (PeerState::Offline, PeerState::Online) => tell(&format!("{name} is here.")),
            (PeerState::Online | PeerState::Suspect, PeerState::Offline) if plays => {
                tell(&format!(
                    "{name} is away: what you play is kept, and goes out when you meet again."
                ))
            }
            _ => Ok(()),
        }
    }

    async fn command(&mut self, line: &str) -> anyhow::Result<Then> {
        let (word, rest) = line
            .split_once(' ')
            .map_or((line, ""), |(word, rest)| (word, rest.trim()));
        let outcome = match word {
            "" => Ok(()),
            "quit" => return Ok(Then::Quit),
            "help" => tell(HELP).map_err(Into::into),
            "peers" => self.list_peers().await,
            "games" => self.list_games(),
            "with" => self.go_to(rest).await,
            "challenge" => self.challenge(rest).await,
            "accept" => self.answer(Word::Accept).await,
            "decline" => self.answer(Word::Decline).await,
            "board" => self
                .look(|app, game| screen::board(game.game.position(), game.side_of(app.node.id()))),
            "moves" => self.look(|_, game| {
                game.game
                    .legal()
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("  ")
            }),
            "offer" => self.make(rest, true).await,
            "draw" => self.agree().await,
            "resign" => self.resign().await,
            _ => self.make(line, false).await,
        };
        match outcome {
            // Without a screen the program has no user: end.
            Err(error) if error.is::<io::Error>() => Err(error),
            Err(error) => tell(&format!("{error:#}."))
                .map(|()| Then::GoOn)
                .map_err(Into::into),
            Ok(()) => Ok(Then::GoOn),
        }
    }

    async fn list_peers(&self) -> anyhow::Result<()> {
        let peers = self.node.peers().await?;
        if peers.is_empty() {
            tell("Nobody has been met yet.")?;
        }
        for peer in peers {
            tell(&format!(
                "  {} is {} ({})",
                visible(&peer.name),
                peer.state.as_str(),
                peer.peer.short()
            ))?;
        }
        Ok(())
    }

    fn list_games(&self) -> anyhow::Result<()> {
        if self.tables.is_empty() {
            tell("There are no games yet: `challenge NAME`.")?;
        }
        for (peer, table) in &self.tables {
            tell(&format!(
                "  {}: {}",
                self.name(*peer),
                self.view(&self.name(*peer)).stands(table)
            ))?;
        }
        Ok(())
    }

    async fn go_to(&mut self, name: &str) -> anyhow::Result<()> {
        let peer = self.node.resolve(name.parse()?).await?;
        let table = self
            .tables
            .get(&peer)
            .with_context(|| format!("there was never a game with {name}"))?;
        self.at = Some(peer);
        Ok(self.show(peer, table)?)
    }

    async fn challenge(&mut self, name: &str) -> anyhow::Result<()> {
        let peer = self.node.resolve(name.parse::<Target>()?).await?;
        self.at = Some(peer);
        match self.tables.get(&peer).map(Table::state) {
            Some(State::Playing(_)) => {
                anyhow::bail!("a game with {} is on already", self.name(peer))
            }
            Some(State::Challenged(by, _)) if *by == self.node.id() => {
                anyhow::bail!("{} has not answered your challenge yet", self.name(peer))
            }
            Some(State::Challenged(_, id)) => {
                let accept = Word::Accept(*id);
                self.say(peer, &accept).await
            }
            Some(State::Nothing | State::Over(..)) | None => self.say(peer, &Word::Challenge).await,
        }
    }

    async fn answer(&mut self, word: impl FnOnce(hobnob::MessageId) -> Word) -> anyhow::Result<()> {
        let (peer, table) = self.table()?;
        match table.state() {
            State::Challenged(by, id) if *by == peer => {
                let word = word(*id);
                self.say(peer, &word).await
            }
            State::Nothing | State::Challenged(..) | State::Playing(_) | State::Over(..) => {
                anyhow::bail!("{} has not challenged you", self.name(peer))
            }
        }
    }

    fn look(&self, at: impl FnOnce(&App, &Match) -> String) -> anyhow::Result<()> {
        let (_, game) = self.game()?;
        Ok(tell(at(self, game).trim_end())?)
    }

    async fn make(&mut self, text: &str, draw: bool) -> anyhow::Result<()> {
        let Ok(written) = text.parse::<Written>() else {
            anyhow::bail!("that is no move, and no command: try `help`");
        };
        let (peer, game) = self.game()?;
        anyhow::ensure!(game.to_move() == self.node.id(), "it is not your turn");
        let legal = game.game.legal();
        let made = written.among(legal).with_context(|| match legal.iter().any(|legal| legal.captures) {
            true => "that is against the rules: you must capture (`moves` lists how; a capture goes on to its end)",
            false => "that is against the rules (`moves` lists what you can do)",
        })?;
        let word = Word::Move {
            game: game.id,
            number: game.game.moves() + 1,
            path: made.path,
            draw,
        };
        self.say(peer, &word).await
    }

    async fn agree(&mut self) -> anyhow::Result<()> {
        let (peer, game) = self.game()?;
        let offered = game.offered && game.to_move() == self.node.id();
        anyhow::ensure!(
            offered,
            "no draw was offered to you (`offer 11-15` offers one with a move)"
        );
        let word = Word::Draw {
            game: game.id,
            number: game.game.moves() + 1,
        };
        self.say(peer, &word).await
    }

    async fn resign(&mut self) -> anyhow::Result<()> {
        let (peer, game) = self.game()?;
        let word = Word::Resign {
            game: game.id,
            number: game.game.moves(),
        };
        self.say(peer, &word).await
    }

    /// Sends a word, and waits until it is at the table, so that the next command sees its effect.
    async fn say(&mut self, peer: PersonId, word: &Word) -> anyhow::Result<()> {
        // The opponent exists, even if it was not seen in this run.
        let target = hobnob::Ticket {
            id: peer,
            addrs: Vec::new(),
            relays: Vec::new(),
        };
        let sent = self.node.send(target.into(), word.body()).await?;
        loop {
            let message = self.messages.next().await?;
            self.message(&message)?;
            if message.id == sent.id {
                return Ok(());
            }
        }
    }

    fn table(&self) -> anyhow::Result<(PersonId, &Table)> {
        let at = self
            .at
            .and_then(|peer| Some((peer, self.tables.get(&peer)?)));
        at.context("you are at no table: `challenge NAME`, or wait for a challenge")
    }

    fn game(&self) -> anyhow::Result<(PersonId, &Match)> {
        let (peer, table) = self.table()?;
        let game = table
            .playing()
            .with_context(|| format!("there is no game with {} now", self.name(peer)))?;
        Ok((peer, game))
    }

    fn name(&self, peer: PersonId) -> String {
        self.names
            .get(&peer)
            .cloned()
            .unwrap_or_else(|| peer.short())
    }

    fn view<'a>(&self, other: &'a str) -> View<'a> {
        View {
            me: self.node.id(),
            other,
        }
    }
}

/// Applies a message to its table, if it is a word of this program. Returns the opponent and the
/// result.
fn hear(
    tables: &mut BTreeMap<PersonId, Table>,
    me: PersonId,
    message: &Message,
) -> Option<(PersonId, Vec<News>)> {
    let ConversationRef::Direct(peer) = message.conversation else {
        return None;
    };
    let word = Word::read(&message.body)?;
    let table = tables.entry(peer).or_insert_with(|| Table::new(me, peer));
    Some((peer, table.hear(message.id, message.from, word)))
}

/// The typed lines. A separate thread reads them, because reading a terminal can't be interrupted.
fn typed() -> mpsc::Receiver<String> {
    let (lines, typed) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            if line
                .ok()
                .and_then(|line| lines.blocking_send(line).ok())
                .is_none()
            {
                return;
            }
        }
    });
    typed
}

fn tell(text: &str) -> io::Result<()> {
    let mut screen = io::stdout().lock();
    writeln!(screen, "{text}")?;
    screen.flush()
}
