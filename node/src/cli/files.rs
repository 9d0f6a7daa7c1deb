//! Files on the command line: `send --file`, `broadcast --file`, `files`, `accept`, `decline`; and bars that show how far they are.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hobnob::control::wire::{Command, Done, FileLine, FileList, Patience, SentLine, Text, WireEvent};
use hobnob::control::{Client, EventStream};
use hobnob::protocol::RoomName;
use hobnob::protocol::text::visible;
use hobnob::{DeliveryState, FileState, MessageId};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::args::{self, Common};
use super::exit::{Exit, Usage};
use super::offers;
use super::output::{self, Output};
use super::session;
use super::show::{self, Names};

/// `hobnob send TARGET --file PATH…`
pub(crate) async fn send(common: &Common, out: Output, send: args::Send) -> anyhow::Result<Exit> {
    let paths = absolute(&send.files)?;
    let patience = patience(&send.patience);
    session::ask(common, false, async |client| {
        let mut following = Following::start(client, out).await?;
        for path in paths {
            let command = Command::Offer { target: Some(Text(send.target.clone())), room: None, path, patience };
            let sent: SentLine = client.ask(command).await?;
            following.add(sent.id.0);
            out.event(WireEvent::Sent(sent), |_| None)?;
        }
        if patience.wait < DeliveryState::Delivered { Ok(Exit::Done) } else { following.finish(send.patience.timeout).await }
    })
    .await
}

/// `hobnob broadcast --file PATH…`
pub(crate) async fn broadcast(common: &Common, out: Output, room: RoomName, broadcast: args::Broadcast) -> anyhow::Result<Exit> {
    let paths = absolute(&broadcast.files)?;
    let patience = patience(&broadcast.patience);
    session::ask(common, true, async |client| {
        for path in paths {
            let command = Command::Offer { target: None, room: Some(Text(room.clone())), path, patience };
            let sent: SentLine = client.ask(command).await?;
            let others = show::count(sent.to.len(), "other");
            output::say_on_terminal(&format!("offered to {others} in {room}, for as long as a node of this home runs"));
            out.event(WireEvent::Sent(sent), |_| None)?;
        }
        Ok(Exit::Done)
    })
    .await
}

/// `hobnob files`
pub(crate) async fn files(common: &Common, out: Output) -> anyhow::Result<Exit> {
    session::ask(common, false, async |client| {
        let FileList { files } = client.ask(Command::Files).await?;
        if files.is_empty() {
            output::say_on_terminal("no files have been offered");
        }
        if out.json {
            files.into_iter().try_for_each(|file| out.event(WireEvent::File(Box::new(file)), |_| None))?;
        } else {
            let names = Names::ask(client).await?;
            show::files(&files, &names).iter().try_for_each(|row| output::line(row))?;
        }
        Ok(Exit::Done)
    })
    .await
}

/// `hobnob accept FILE`
pub(crate) async fn accept(common: &Common, out: Output, accept: args::FileArgs) -> anyhow::Result<Exit> {
    session::ask(common, false, async |client| {
        let id = find(client, &accept.file).await?;
        let mut following = Following::start(client, out).await?;
        following.add(id);
        let Done {} = client.ask(Command::Accept { offer: Text(id) }).await?;
        following.finish(accept.timeout).await
    })
    .await
}

/// `hobnob decline FILE`
pub(crate) async fn decline(common: &Common, out: Output, file: &str) -> anyhow::Result<Exit> {
    session::ask(common, false, async |client| {
        let id = find(client, file).await?;
        let Done {} = client.ask(Command::Decline { offer: Text(id) }).await?;
        if !out.json {
            output::say_on_terminal("declined; the other side is told");
        }
        Ok(Exit::Done)
    })
    .await
}

/// The offer that a word means: see [`offers::found`].
async fn find(client: &Client, word: &str) -> anyhow::Result<MessageId> {
    let FileList { files } = client.ask(Command::Files).await?;
    Ok(offers::found(files.iter(), word, "`hobnob files`").map_err(Usage)?)
}

/// Paths as the node needs them, which may run in another folder.
pub(crate) fn absolute(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Usage> {
    let absolute = |path: &Path| {
        std::path::absolute(path)
            .and_then(|path| path.metadata().map(|_| path))
            .map_err(|error| Usage(format!("can't read {}: {error}", path.display())))
    };
    paths.iter().map(|path| absolute(path)).collect()
}

fn patience(args: &args::Patience) -> Patience {
    Patience { wait: args.wait, timeout_ms: u64::try_from(args.timeout.as_millis()).unwrap_or(u64::MAX) }
}

/// Transfers that a command waits for.
struct Following {
    events: EventStream,
    out: Output,
    names: Names,
    /// The last that was told of each that has not ended.
    open: BTreeMap<MessageId, Option<FileLine>>,
    refused: bool,
    bars: Option<MultiProgress>,
    bar_of: BTreeMap<MessageId, ProgressBar>,
}

impl Following {
    /// From now on, nothing is missed.
    async fn start(client: &Client, out: Output) -> anyhow::Result<Self> {
        let events = client.events().await?;
        let names = Names::ask(client).await?;
        let bars = (!out.json && std::io::stderr().is_terminal()).then(MultiProgress::new);
        Ok(Self { events, out, names, open: BTreeMap::new(), refused: false, bars, bar_of: BTreeMap::new() })
    }

    fn add(&mut self, id: MessageId) {
        self.open.insert(id, None);
    }

    /// Until all have ended, or nothing has moved for so long.
    async fn finish(mut self, patience: Duration) -> anyhow::Result<Exit> {
        while !self.open.is_empty() {
            let event = tokio::time::timeout(patience, self.next()).await;
            match event {
                Ok(Some(line)) => self.take(line)?,
                Ok(None) => anyhow::bail!("the node has ended; `hobnob files` tells how things stand"),
                Err(_) => return Ok(self.give_up()),
            }
        }
        Ok(if self.refused { Exit::Refused } else { Exit::Done })
    }

    /// The next line about one of them.
    async fn next(&mut self) -> Option<FileLine> {
        loop {
            let event = self.events.next().await?;
            if let WireEvent::File(line) = event
                && self.open.contains_key(&line.id.0)
            {
                return Some(*line);
            }
        }
    }

    fn take(&mut self, line: FileLine) -> anyhow::Result<()> {
        let id = line.id.0;
        self.draw(&line);
        match line.state {
            // Nobody has said anything yet.
            FileState::Offered => {}
            FileState::Waiting | FileState::Moving => drop(self.open.insert(id, Some(line.clone()))),
            FileState::Done => drop(self.open.remove(&id)),
            FileState::Declined | FileState::Failed => {
                self.refused = true;
                self.open.remove(&id);
            }
        }
        if !self.open.contains_key(&id)
            && let Some(text) = show::event(&WireEvent::File(Box::new(line.clone())), &self.names)
            && !self.out.json
        {
            output::say(&text);
        }
        Ok(self.out.event(WireEvent::File(Box::new(line)), |_| None)?)
    }

    fn draw(&mut self, line: &FileLine) {
        let Some(bars) = self.bars.as_ref().filter(|_| line.state != FileState::Offered) else { return };
        let bar = self.bar_of.entry(line.id.0).or_insert_with(|| {
            let template = "{msg} {bar:24} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}";
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            bars.add(ProgressBar::new(line.offer.size).with_style(style))
        });
        let path = line.path.map(|path| format!(" ({})", path.as_str())).unwrap_or_default();
        bar.set_message(format!("{}{path}", visible(&line.offer.name)));
        bar.set_position(line.bytes);
        if !matches!(line.state, FileState::Offered | FileState::Waiting | FileState::Moving) {
            bar.finish_and_clear();
        }
    }

    fn give_up(self) -> Exit {
        for line in self.open.values().flatten() {
            let name = visible(&line.offer.name);
            if let Some(bar) = self.bar_of.get(&line.id.0) {
                bar.abandon();
            }
            output::say(&format!("nothing moves: {name} goes on when both sides are there"));
        }
        if self.open.values().any(Option::is_none) {
            output::say("not accepted yet: it can be had for as long as a node of this home runs, and stays as it is");
        }
        Exit::Queued
    }
}
