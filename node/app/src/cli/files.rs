//! Files on the command line: `send --file`, `broadcast --file`, `files`, `accept`, `pause`,
//! `decline`, and their progress bars.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob::protocol::RoomName;
use hobnob::protocol::text::visible;
use hobnob::{ClientId, DeliveryState, FileState, MessageId};
use hobnob_control::wire::{
    AcceptFile, DeclineFile, Done, FileLine, FileList, ListFiles, ListPeers, OfferFile, PauseFile,
    SentLine, Text, WaitOptions, WireEvent,
};
use hobnob_control::{Client, Subscription};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args;
use super::offered_paths::OfferedPaths;
use crate::shared::common_flags::CommonFlags;
use crate::shared::exit_code::{Exit, Usage};
use crate::shared::output::{self, Output};
use crate::shared::wording::{self, Names};
use crate::shared::{offers, session};

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// `hobnob send TARGET --file PATH…`
pub(crate) async fn send(
    flags: &CommonFlags,
    out: Output,
    send: args::Send,
) -> anyhow::Result<Exit> {
    one_name(send.client_id.as_ref(), send.files.len())?;
    let offered = OfferedPaths::of(&send.files, &send.name, &flags.home()?)?;
    let options = options(&send.wait_args);
    session::ask(flags, false, async |client| {
        let mut following = Following::start(client, out).await?;
        for (path, caption) in offered.paths.iter().zip(captions(send.text)) {
            let name =
                visible(&path.file_name().unwrap_or_default().to_string_lossy()).into_owned();
            let offering = following.spinner(format!("offering {name}"));
            let command = OfferFile {
                caption,
                client_id: send.client_id.clone().map(Text),
                target: Some(Text(send.target.clone())),
                room: None,
                path: path.clone(),
                options,
            };
            let sent: SentLine = client.ask(command).await?;
            offering.finish_and_clear();
            following.say_offered(&name, &sent);
            for path in &sent.left_out {
                following.say(&format!("left out of {name}: {}", visible(path)));
            }
            following.add(sent.id.0, name, "waiting until it is accepted", false);
            following.reached(sent.id.0, sent.state);
            out.sent(&sent);
        }
        if options.wait < DeliveryState::Delivered {
            say_stdin_stays(&offered);
            return Ok(Exit::Done);
        }
        let exit = following.finish(send.wait_args.timeout).await?;
        if matches!(exit, Exit::Done | Exit::Refused) {
            offered.remove_stdin();
        } else {
            say_stdin_stays(&offered);
        }
        Ok(exit)
    })
    .await
}

/// `hobnob broadcast --file PATH…`
pub(crate) async fn broadcast(
    flags: &CommonFlags,
    out: Output,
    room: RoomName,
    broadcast: args::Broadcast,
) -> anyhow::Result<Exit> {
    one_name(broadcast.client_id.as_ref(), broadcast.files.len())?;
    let offered = OfferedPaths::of(&broadcast.files, &broadcast.name, &flags.home()?)?;
    let options = options(&broadcast.wait_args);
    session::ask(flags, true, async |client| {
        for (path, caption) in offered.paths.iter().zip(captions(broadcast.text)) {
            let command = OfferFile {
                caption,
                client_id: broadcast.client_id.clone().map(Text),
                target: None,
                room: Some(Text(room.clone())),
                path: path.clone(),
                options,
            };
            let sent: SentLine = client.ask(command).await?;
            let others = wording::count(sent.to.len(), "other");
            output::say_on_terminal(&format!(
                "offered to {others} in {room}, for as long as a node of this home runs"
            ));
            for path in &sent.left_out {
                output::say(&format!("left out: {}", visible(path)));
            }
            out.sent(&sent);
        }
        say_stdin_stays(&offered);
        Ok(Exit::Done)
    })
    .await
}

/// `hobnob files`
pub(crate) async fn files(flags: &CommonFlags, out: Output) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let FileList { files } = client.ask(ListFiles {}).await?;
        if files.is_empty() {
            output::say_on_terminal("no files have been offered");
        }
        if out.json {
            files
                .into_iter()
                .try_for_each(|file| out.event(WireEvent::File(Box::new(file)), |_| None))?;
        } else {
            let names = Names::ask(client).await?;
            wording::files(&files, &names)
                .iter()
                .try_for_each(|row| output::line(row))?;
        }
        Ok(Exit::Done)
    })
    .await
}

/// `hobnob accept FILE`
pub(crate) async fn accept(
    flags: &CommonFlags,
    out: Output,
    accept: args::FileArgs,
) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let found = find(client, &accept.file, offers::waits_for_answer).await;
        if found.is_err() && is_person(client, &accept.file).await {
            let name = visible(&accept.file);
            return Err(Usage(format!(
                "{name} is no file, but a person: `hobnob contacts accept {name}` accepts a contact"
            ))
            .into());
        }
        let (id, name, own) = found?;
        if own {
            let Done {} = client.ask(AcceptFile { offer: Text(id) }).await?;
            if !out.json {
                output::say_on_terminal(&format!("{name} is sent again"));
            }
            return Ok(Exit::Done);
        }
        let mut following = Following::start(client, out).await?;
        following.add(id, name, "asking for it", true);
        let Done {} = client.ask(AcceptFile { offer: Text(id) }).await?;
        following.finish(accept.timeout).await
    })
    .await
}

/// `hobnob pause FILE`
pub(crate) async fn pause(flags: &CommonFlags, out: Output, file: &str) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let (id, name, _) = find(client, file, offers::can_pause).await?;
        let Done {} = client.ask(PauseFile { offer: Text(id) }).await?;
        if !out.json {
            output::say_on_terminal(&format!("{name} is paused: `hobnob resume` continues it"));
        }
        Ok(Exit::Done)
    })
    .await
}

/// `hobnob decline FILE`
pub(crate) async fn decline(flags: &CommonFlags, out: Output, file: &str) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        let (id, _, own) = find(client, file, offers::can_end).await?;
        let Done {} = client.ask(DeclineFile { offer: Text(id) }).await?;
        if !out.json {
            let done = if own { "withdrawn" } else { "declined" };
            output::say_on_terminal(&format!("{done}; the other side learns of it"));
        }
        Ok(Exit::Done)
    })
    .await
}

/// Whether a peer has this name.
async fn is_person(client: &Client, word: &str) -> bool {
    let peers = client.ask(ListPeers { settle: false }).await;
    peers.is_ok_and(|list| list.peers.iter().any(|peer| peer.name == word))
}

/// The offer that a word means, its name, and whether it is from this node: see [`offers::found`].
async fn find(
    client: &Client,
    word: &str,
    fits: fn(&FileLine) -> bool,
) -> anyhow::Result<(MessageId, String, bool)> {
    let FileList { files } = client.ask(ListFiles {}).await?;
    let id = offers::found(files.iter(), word, "`hobnob files`", fits).map_err(Usage)?;
    let file = files.iter().find(|file| file.id.0 == id);
    let name = file.map_or(word, |file| &file.offer.name);
    let own = file.is_some_and(|file| file.own);
    Ok((id, visible(name).into_owned(), own))
}

/// The text is the caption of the first file.
fn captions(text: Option<String>) -> impl Iterator<Item = String> {
    text.into_iter().chain(std::iter::repeat(String::new()))
}

/// A name is of one message, and each file is a message.
fn one_name(name: Option<&ClientId>, files: usize) -> Result<(), Usage> {
    if name.is_some() && files > 1 {
        return Err(Usage(
            "--client-id names one message: offer one file with it".into(),
        ));
    }
    Ok(())
}

/// The recipients may still fetch the data from stdin.
fn say_stdin_stays(offered: &OfferedPaths) {
    if let Some(path) = offered.stdin() {
        output::say_on_terminal(&format!(
            "the data from stdin is in {}: delete it when the recipients have it; hobnob deletes it after 30 days",
            path.display()
        ));
    }
}

fn options(args: &args::WaitArgs) -> WaitOptions {
    WaitOptions {
        wait: args.wait,
        timeout_ms: u64::try_from(args.timeout.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Transfers that a command waits for.
struct Following {
    events: Subscription,
    out: Output,
    names: Names,
    /// Those that have not ended.
    open: BTreeMap<MessageId, Open>,
    /// One was declined, or has failed.
    refused: bool,
    /// The user has paused one by another command.
    paused: bool,
    /// The progress bar. It is hidden if the output is not a terminal.
    bars: MultiProgress,
}

/// A transfer that has not ended.
struct Open {
    name: String,
    accepted: bool,
    /// How far the offer itself has come.
    offer: DeliveryState,
    moving: bool,
    bar: ProgressBar,
}

impl Following {
    /// From now on, nothing is missed.
    async fn start(client: &Client, out: Output) -> anyhow::Result<Self> {
        let events = client.events().await?;
        let names = Names::ask(client).await?;
        let bars = MultiProgress::new();
        if out.json {
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        Ok(Self {
            events,
            out,
            names,
            open: BTreeMap::new(),
            refused: false,
            paused: false,
            bars,
        })
    }

    /// Something turns while nothing is known of how far it is.
    fn spinner(&self, doing: String) -> ProgressBar {
        let bar = self
            .bars
            .add(ProgressBar::new_spinner().with_message(doing));
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        bar
    }

    fn say_offered(&self, name: &str, sent: &SentLine) {
        if self.bars.is_hidden() {
            return;
        }
        let who = sent
            .to
            .first()
            .map(|peer| self.names.of(&peer.0))
            .unwrap_or_default();
        let away = match sent.state {
            DeliveryState::Delivered => String::new(),
            DeliveryState::Queued | DeliveryState::Sent | DeliveryState::Held => {
                ", whom it reaches when both are there".to_owned()
            }
        };
        self.say(&format!("offered {name} to {who}{away}"));
    }

    /// Above the bars.
    fn say(&self, text: &str) {
        self.bars.suspend(|| output::say(text));
    }

    fn add(&mut self, id: MessageId, name: String, doing: &str, accepted: bool) {
        let bar = self.spinner(format!("{name}: {doing}"));
        self.open.insert(
            id,
            Open {
                name,
                accepted,
                offer: DeliveryState::Delivered,
                moving: false,
                bar,
            },
        );
    }

    /// How far an offer has come.
    fn reached(&mut self, id: MessageId, state: DeliveryState) {
        if let Some(open) = self.open.get_mut(&id) {
            open.offer = state;
        }
    }

    /// Until all have ended, or nothing has moved for this long.
    async fn finish(mut self, options: Duration) -> anyhow::Result<Exit> {
        while !self.open.is_empty() {
            let event = tokio::time::timeout(options, self.next()).await;
            match event {
                Ok(Some(line)) => self.take(line)?,
                Ok(None) => {
                    anyhow::bail!("the node has ended; `hobnob files` shows the state of each file")
                }
                Err(_) => return Ok(self.give_up()),
            }
        }
        Ok(match (self.refused, self.paused) {
            (true, _) => Exit::Refused,
            (false, true) => Exit::Queued,
            (false, false) => Exit::Done,
        })
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
        let ended = match line.state {
            // Nobody has said anything yet.
            FileState::Offered => false,
            FileState::Waiting | FileState::Moving => {
                self.draw(&line);
                false
            }
            FileState::Done => true,
            // Another command has paused it, and this one would wait for nothing.
            FileState::Paused => {
                self.paused = true;
                true
            }
            FileState::Declined | FileState::Failed => {
                self.refused = true;
                true
            }
        };
        if ended && let Some(open) = self.open.remove(&id) {
            open.bar.finish_and_clear();
        }
        if ended
            && !self.out.json
            && let Some(text) =
                wording::event(&WireEvent::File(Box::new(line.clone())), &self.names)
        {
            self.say(&text);
        }
        Ok(self.out.event(WireEvent::File(Box::new(line)), |_| None)?)
    }

    fn draw(&mut self, line: &FileLine) {
        let Some(open) = self.open.get_mut(&line.id.0) else {
            return;
        };
        open.accepted = true;
        if line.state != FileState::Moving {
            return open
                .bar
                .set_message(format!("{}: waiting for somebody who has it", open.name));
        }
        if !std::mem::replace(&mut open.moving, true) {
            let template = "{msg} {bar:24} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}";
            open.bar.disable_steady_tick();
            open.bar.set_style(
                ProgressStyle::with_template(template)
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            open.bar.set_length(line.offer.size);
            // The rate is of what comes from now on, not of what was here before.
            open.bar.set_position(line.bytes);
            open.bar.reset_eta();
        }
        let path = line
            .path
            .map(|path| format!(" ({})", path.as_str()))
            .unwrap_or_default();
        open.bar.set_message(format!("{}{path}", open.name));
        open.bar.set_position(line.bytes);
    }

    fn give_up(self) -> Exit {
        for Open {
            name,
            accepted,
            offer,
            bar,
            ..
        } in self.open.values()
        {
            bar.finish_and_clear();
            self.say(&match (accepted, offer) {
                (true, _) => format!("{name} has stopped: it continues when both nodes are connected"),
                (false, DeliveryState::Delivered) => format!(
                    "{name} is not accepted yet: it stays available while a node of this home runs and the file does not change"
                ),
                (false, DeliveryState::Held) => format!(
                    "the recipient of {name} is away: the offer is held for it, and arrives without this node. \
                     The file must not change until it was downloaded"
                ),
                (false, DeliveryState::Queued | DeliveryState::Sent) => format!(
                    "the recipient of {name} is away: the offer is queued, and is delivered the next time your nodes connect. \
                     The file must not change until it was downloaded"
                ),
            });
        }
        Exit::Queued
    }
}
