//! The one loop of the chat: keys, the node's answers and events, and the clock of the frames.
#![expect(
    clippy::disallowed_methods,
    reason = "the driver of the screen: it paces the frames"
)]

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::Context;
use crossterm::event::{Event, EventStream, MouseEventKind};
use futures_util::StreamExt;
use hobnob::protocol::RoomName;
use hobnob_control::wire::AnyRequest;
use hobnob_control::{Client, Home};
use jiff::tz::TimeZone;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::app::{About, App, Input, Output, Start};
use super::folder_names;
use super::picture::{Canvas, Picture};
use super::previews;
use super::read_markers::{self, ReadMarkers};
use super::terminal::{self, Terminal};
use super::theme::Theme;
use super::view;
use crate::shared::common_flags::CommonFlags;
use crate::shared::event_stream::{self, SeenIds};
use crate::shared::exit_code::{Exit, Usage};
use crate::shared::session;
use crate::shared::settings::{Previewed, ScreenSettings, Settings};
use crate::shared::typed_path::Places;
use crate::shared::{output, values};
use hobnob_local::signals::Signals;

/// Between two frames at least: 60 a second.
const FRAME: Duration = Duration::from_micros(16_667);

/// The clock of what turns and what is asked now and then.
const TICK: Duration = Duration::from_millis(250);

/// How long the end waits for what was typed to be on disk.
const QUIT_WITHIN: Duration = Duration::from_millis(500);

/// Whether there is a terminal for a screen.
pub(crate) fn fits() -> bool {
    let smart = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    smart && std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// Runs the chat until the user or a signal ends it.
pub(crate) async fn run(common: &CommonFlags) -> anyhow::Result<Exit> {
    if common.json {
        return Err(Usage(
            "the chat is for people: `hobnob up --json` prints events for programs".into(),
        )
        .into());
    }
    let mut signals = Signals::new()?;
    let mut seen = SeenIds::since(values::now());
    let (home, mut attached) = session::open(common, true).await?;
    let settings = Settings::of(&home)?.screen();
    let mut event_loop = EventLoop::new(
        home,
        common
            .rooms
            .first()
            .cloned()
            .unwrap_or_else(RoomName::lobby),
        settings,
    )?;
    loop {
        let ended = tokio::select! {
            ended = event_loop.converse(&attached.client, &mut seen) => ended,
            () = signals.any() => Ok(Ended::Quit),
        };
        if matches!(ended, Ok(Ended::NodeGone)) {
            session::leave(attached, &mut signals).await;
            event_loop.input(Input::NodeGone);
            event_loop.draw()?;
            // What an error says must not go onto the screen.
            attached = match session::open(common, true).await {
                Ok((_, attached)) => attached,
                Err(error) => {
                    drop(event_loop);
                    return Err(error);
                }
            };
            continue;
        }
        let undelivered = event_loop.end();
        session::leave(attached, &mut signals).await;
        if undelivered {
            output::say(
                "what is not yet delivered stays queued, and goes out when a node of yours runs",
            );
        }
        return ended.map(|_| Exit::Done);
    }
}

/// Why a conversation with a node ended.
enum Ended {
    Quit,
    NodeGone,
}

struct EventLoop {
    home: Home,
    terminal: Terminal,
    keys: EventStream,
    app: App,
    /// A look at a folder, which may be far away.
    looks_at: JoinSet<Input>,
    /// How pictures are shown, if any are.
    canvas: Option<Canvas>,
    /// A picture that is being made, which may take a second.
    pictures: JoinSet<Input>,
    /// What was pressed before the terminal was listened to.
    typed: Vec<Event>,
    drawn: Option<Instant>,
}

impl EventLoop {
    fn new(home: Home, room: RoomName, mut settings: ScreenSettings) -> anyhow::Result<EventLoop> {
        let theme = Theme::of(|name| std::env::var(name).ok());
        let terminal = Terminal::enter()
            .context("can't use this terminal for a screen (try hobnob --plain)")?;
        let (canvas, typed) =
            if settings.previews != Previewed::None && theme.colour && theme.unicode {
                Canvas::of_terminal(|name| std::env::var(name).ok())
            } else {
                (None, vec![])
            };
        if canvas.is_none() {
            settings.previews = Previewed::None;
        }
        let start = Start {
            room,
            theme,
            zone: TimeZone::system(),
            seen: read_markers::load(&home),
            places: Places::here(),
            settings,
            row_heights: view::rows::heights,
        };
        let app = App::new(start, terminal.size()?, values::now());
        let (looks_at, pictures) = (JoinSet::new(), JoinSet::new());
        Ok(EventLoop {
            home,
            terminal,
            keys: EventStream::new(),
            app,
            looks_at,
            canvas,
            pictures,
            typed,
            drawn: None,
        })
    }

    async fn converse(&mut self, client: &Client, seen: &mut SeenIds) -> anyhow::Result<Ended> {
        let mut events = match event_stream::EventStream::open(client, seen).await {
            // It ended just now.
            Err(error) if error.is_end() => return Ok(Ended::NodeGone),
            events => events?,
        };
        let mut asker = Asker::new(client.clone());
        let mut ticks = tokio::time::interval(TICK);
        self.input(Input::Attached);
        std::mem::take(&mut self.typed)
            .into_iter()
            .for_each(|event| self.terminal_event(event));
        loop {
            if self.carry_out(&mut asker)? {
                return self.answers(&mut asker).await;
            }
            let frame = tokio::time::Instant::from(self.next_frame());
            tokio::select! {
                biased;
                key = self.keys.next() => match key {
                    Some(event) => self.terminal_event(event.context("can't read the terminal")?),
                    None => return self.answers(&mut asker).await,
                },
                () = terminal::panicked() => anyhow::bail!("hobnob has met a fault of its own, told above, and ends"),
                () = tokio::time::sleep_until(frame), if self.app.is_dirty() => self.draw()?,
                Some((about, outcome)) = asker.answer() => self.input(Input::Answer(about, outcome)),
                Some(listed) = self.looks_at.join_next() => self.input(listed?),
                Some(made) = self.pictures.join_next() => self.input(made?),
                _ = ticks.tick() => self.input(Input::Tick),
                event = events.next(seen) => match event {
                    Ok(Some(event)) => self.input(Input::Event(event)),
                    Ok(None) => return Ok(Ended::NodeGone),
                    Err(error) if error.is_end() => return Ok(Ended::NodeGone),
                    Err(error) => return Err(error.into()),
                },
            }
        }
    }

    fn input(&mut self, input: Input) {
        self.app.handle(values::now(), input);
    }

    fn terminal_event(&mut self, event: Event) {
        match event {
            Event::Key(key) => self.input(Input::Key(key)),
            Event::Paste(text) => self.input(Input::Paste(text)),
            Event::Resize(columns, rows) => {
                if self.canvas.as_mut().is_some_and(Canvas::measure) {
                    self.input(Input::Cells);
                }
                self.input(Input::Resize(columns, rows));
            }
            Event::FocusGained => self.input(Input::Focus(true)),
            Event::FocusLost => self.input(Input::Focus(false)),
            Event::Mouse(mouse) if mouse.kind == MouseEventKind::ScrollUp => {
                self.input(Input::Wheel(true))
            }
            Event::Mouse(mouse) if mouse.kind == MouseEventKind::ScrollDown => {
                self.input(Input::Wheel(false))
            }
            Event::Mouse(_) => {}
        }
    }

    /// Does what the chat wants done. Whether that is to end.
    fn carry_out(&mut self, asker: &mut Asker) -> anyhow::Result<bool> {
        while let Some(output) = self.app.poll_output() {
            match output {
                Output::Ask(command, about) => asker.ask(command, about),
                Output::Remember(seen) => self.keep(&seen),
                Output::Ring { bell, desktop } => self.terminal.ring(bell, desktop.as_deref())?,
                Output::List {
                    folder,
                    path,
                    start,
                    typed,
                    forth,
                } if self.looks_at.is_empty() => {
                    let look = move || Input::Names {
                        folder,
                        names: folder_names::matching(&path, &start),
                        typed,
                        forth,
                    };
                    self.looks_at.spawn_blocking(look);
                }
                Output::Picture { wanted, path } => {
                    let canvas = self.canvas;
                    let make = move || {
                        canvas
                            .and_then(|canvas| Picture::of(&path, canvas, wanted.room, wanted.slot))
                    };
                    self.pictures
                        .spawn_blocking(move || Input::Pictured(wanted, make()));
                }
                // One folder at a time, however often the key is pressed.
                Output::List { .. } => {}
                Output::CaptureMouse(on) => self.terminal.capture_mouse(on)?,
                Output::Repaint => self.terminal.repaint()?,
                Output::Quit => return Ok(true),
            }
        }
        Ok(false)
    }

    fn next_frame(&self) -> Instant {
        self.drawn.map_or_else(Instant::now, |drawn| drawn + FRAME)
    }

    fn draw(&mut self) -> anyhow::Result<()> {
        self.drawn = Some(Instant::now());
        self.app.take_dirty();
        self.terminal
            .draw(|frame| view::render(&self.app, frame))
            .context("can't write to the terminal")
    }

    /// Waits until what was typed is on disk, but not for long.
    async fn answers(&mut self, asker: &mut Asker) -> anyhow::Result<Ended> {
        let all = async {
            while asker.waiting > 0
                && let Some((about, outcome)) = asker.answer().await
            {
                self.input(Input::Answer(about, outcome));
            }
        };
        // What comes later is told by the history.
        let _late = tokio::time::timeout(QUIT_WITHIN, all).await;
        Ok(Ended::Quit)
    }

    /// Gives the terminal back. Whether something is not yet with those it is for.
    fn end(mut self) -> bool {
        self.app.remember();
        while let Some(output) = self.app.poll_output() {
            if let Output::Remember(seen) = output {
                self.keep(&seen);
            }
        }
        self.app.has_undelivered()
    }

    /// What was read is no reason to disturb anybody: a disk that is full says so elsewhere.
    fn keep(&self, seen: &ReadMarkers) {
        if let Err(error) = read_markers::save(&self.home, seen) {
            tracing::debug!("what was read can't be kept: {error}");
        }
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        if let Some(canvas) = self.canvas {
            // A terminal that can't be written to has nothing to forget.
            let _gone = self.terminal.write(&canvas.farewell(previews::KEPT_MAX));
        }
    }
}

/// Asks the node, in order and without holding up the keys, whatever the node does.
struct Asker {
    requests: mpsc::UnboundedSender<(AnyRequest, About)>,
    answers: mpsc::UnboundedReceiver<(About, Result<Value, String>)>,
    waiting: usize,
    _task: AbortOnDropHandle<()>,
}

impl Asker {
    fn new(client: Client) -> Asker {
        let (requests, mut to_ask) = mpsc::unbounded_channel();
        let (answered, answers) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut under_way = JoinSet::new();
            while let Some((request, about)) = to_ask.recv().await {
                let begun = client.begin(request).await;
                let answered = answered.clone();
                under_way.spawn(async move {
                    let outcome = async { begun?.await }.await;
                    // Nobody waits for it any more when the chat has ended.
                    let _ended = answered.send((about, outcome.map_err(|error| error.to_string())));
                });
                while under_way.try_join_next().is_some() {}
            }
        });
        Asker {
            requests,
            answers,
            waiting: 0,
            _task: AbortOnDropHandle::new(task),
        }
    }

    fn ask(&mut self, request: AnyRequest, about: About) {
        self.waiting += 1;
        // The task is there until this is dropped.
        let _there = self.requests.send((request, about));
    }

    async fn answer(&mut self) -> Option<(About, Result<Value, String>)> {
        let answer = self.answers.recv().await;
        self.waiting -= usize::from(answer.is_some());
        answer
    }
}
