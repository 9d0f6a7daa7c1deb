//! The loop of the chat: passes keys, answers, events and time to the state, carries out what the
//! state asks for, and draws it.
#![expect(
    clippy::disallowed_methods,
    reason = "the driver of the screen: it paces the frames"
)]

use std::io::IsTerminal;
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::Context;
use crossterm::event::{Event, EventStream, KeyEvent, MouseEventKind};
use futures_util::StreamExt;
use hobnob::protocol::RoomName;
use hobnob_control::{Client, Home, SeenIds};
use jiff::tz::TimeZone;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::app::{
    App, FolderLookup, Input, Output, PICTURES_MAX, PORTRAIT_SIZE, PORTRAITS_MAX, Start, Wanted,
    WantedPortrait,
};
use super::folder_names;
use super::node_link::NodeLink;
use super::picture::{Canvas, Picture, profile_picture};
use super::queries::{self, Filtered, LateAnswer};
use super::read_markers::{self, ReadMarkers};
use super::terminal::{self, Terminal};
use super::typed_commands::{self, TypedCommand};
use super::view::{self, Appearance, Theme};
use crate::shared::browser;
use crate::shared::common_flags::CommonFlags;
use crate::shared::exit_code::{Exit, Usage};
use crate::shared::session;
use crate::shared::settings::{Background, Previewed, ScreenSettings, Settings};
use crate::shared::typed_path::Places;
use crate::shared::{output, values};
use hobnob_local::signals::Signals;

/// Minimum time between two frames: 60 frames a second.
const FRAME: Duration = Duration::from_micros(16_667);

/// Time between two ticks, which drive the spinner and the polls.
const TICK: Duration = Duration::from_millis(250);

/// How long quitting waits until the typed messages are on disk.
const QUIT_WITHIN: Duration = Duration::from_millis(500);

/// How long the chat may be without a node until it says so.
const GONE_UNEXPLAINED: Duration = Duration::from_secs(1);

/// Maximum number of programs that show links at a time. Some run as long as their window.
const LINKS_OPENED_MAX: usize = 16;

/// Whether the terminal can show a full-screen chat.
pub(crate) fn fits() -> bool {
    let smart = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    smart && std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// Runs the chat until the user or a signal ends it.
pub(crate) async fn run(common: &CommonFlags) -> anyhow::Result<Exit> {
    if common.json {
        return Err(Usage(
            "the chat has no JSON output: programs use `hobnob up --json`, which prints events"
                .into(),
        )
        .into());
    }
    let mut signals = Signals::new()?;
    let mut seen = SeenIds::since(values::now());
    let (home, mut attached) = session::stay(common).await?;
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
    let mut mentioned = false;
    loop {
        let ended = tokio::select! {
            ended = event_loop.converse(&attached.client, &mut seen) => ended,
            () = signals.any() => Ok(Ended::Quit),
        };
        if matches!(ended, Ok(Ended::NodeGone)) {
            session::leave(attached, &mut signals).await;
            event_loop.input(Input::NodeGone);
            if !mentioned {
                event_loop.input(Input::NoNode);
                mentioned = true;
            }
            event_loop.draw()?;
            // A node that a command started ends with it, and the next one answers at once. So a
            // second notice is shown only if there is no node for a while.
            let mut opened = pin!(session::stay(common));
            let opened = match timeout(GONE_UNEXPLAINED, &mut opened).await {
                Ok(opened) => opened,
                Err(_) => {
                    event_loop.input(Input::NoNode);
                    event_loop.draw()?;
                    opened.await
                }
            };
            // Give the terminal back before the error is printed.
            attached = match opened {
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
                "some messages are not delivered yet: they stay queued and are sent while a node of this home runs (hobnob up)",
            );
        }
        return ended.map(|_| Exit::Done);
    }
}

/// Why the chat stopped using a node.
enum Ended {
    Quit,
    NodeGone,
}

struct EventLoop {
    home: Home,
    terminal: Terminal,
    keys: EventStream,
    /// SIGTSTP. A key does not send it while the terminal is raw, but `kill` may.
    suspends: Signal,
    app: App,
    appearance: Appearance,
    /// Lists a folder, which may be on a slow network disk. One at a time.
    folder_lookups: JoinSet<Input>,
    /// How this terminal shows pictures; none if it does not.
    canvas: Option<Canvas>,
    /// Makes a picture, which may take a second.
    pictures: JoinSet<Input>,
    /// The programs that show links, while they run.
    opened_links: JoinSet<Result<(), String>>,
    /// Keys that were pressed before the loop began.
    typed: Vec<Event>,
    /// Drops an answer of the terminal that is late, until this time.
    late: Option<(Instant, LateAnswer)>,
    /// When the last frame was drawn.
    drawn_at: Option<Instant>,
}

impl EventLoop {
    fn new(home: Home, room: RoomName, mut settings: ScreenSettings) -> anyhow::Result<EventLoop> {
        let mut theme = Theme::of(|name| std::env::var(name).ok());
        match settings.background {
            Background::Auto => {}
            Background::Dark => theme.light = false,
            Background::Light => theme.light = true,
        }
        let terminal = Terminal::enter()
            .context("can't show the full-screen chat on this terminal: try hobnob --plain")?;
        terminal::watch_hang_up();
        let variable = |name: &str| std::env::var(name).ok();
        let pictures = settings.previews != Previewed::None && theme.colour && theme.unicode;
        let mut questions = queries::Questions::default();
        if pictures {
            questions = Canvas::questions(variable);
        }
        let is_auto = settings.background == Background::Auto;
        questions.background = is_auto && theme.colour && Theme::asks_background(variable);
        let asked_at = Instant::now();
        let answers = queries::ask(questions);
        theme.light = answers.light.unwrap_or(theme.light);
        let canvas = pictures.then(|| Canvas::of_terminal(variable, &answers));
        let canvas = canvas.flatten();
        if canvas.is_none() {
            settings.previews = Previewed::None;
        }
        let appearance = Appearance {
            theme,
            zone: TimeZone::system(),
        };
        let measured = appearance.clone();
        let start = Start {
            room,
            read: read_markers::load(&home),
            commands: typed_commands::load(&home),
            places: Places::here(),
            settings,
            row_heights: Box::new(move |app| view::row_heights(app, &measured)),
        };
        let app = App::new(start, terminal.size()?, values::now());
        Ok(EventLoop {
            home,
            terminal,
            keys: EventStream::new(),
            suspends: signal(SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw()))?,
            app,
            appearance,
            folder_lookups: JoinSet::new(),
            canvas,
            pictures: JoinSet::new(),
            opened_links: JoinSet::new(),
            typed: answers.typed,
            late: answers
                .late
                .map(|late| (asked_at + queries::LATE_WITHIN, late)),
            drawn_at: None,
        })
    }

    /// Uses one node until it ends or the user quits.
    async fn converse(&mut self, client: &Client, seen: &mut SeenIds) -> anyhow::Result<Ended> {
        let mut events = match hobnob_control::EventStream::open(client, seen).await {
            // The node has ended since the chat attached to it.
            Err(error) if error.is_end() => return Ok(Ended::NodeGone),
            events => events?,
        };
        let mut node = NodeLink::new(client.clone());
        let mut ticks = tokio::time::interval(TICK);
        self.input(Input::Attached);
        std::mem::take(&mut self.typed)
            .into_iter()
            .for_each(|event| self.terminal_event(event));
        loop {
            if self.carry_out(&mut node)? {
                return self.quit(&mut node).await;
            }
            let frame = tokio::time::Instant::from(self.next_frame());
            tokio::select! {
                biased;
                key = self.keys.next() => match key {
                    Some(event) => self.terminal_event(event.context("can't read the terminal")?),
                    None => return self.quit(&mut node).await,
                },
                () = terminal::hung_up() => return self.quit(&mut node).await,
                _ = self.suspends.recv() => self.suspend()?,
                () = terminal::panicked() => anyhow::bail!("internal error (see above); exiting"),
                () = tokio::time::sleep_until(frame), if self.app.is_dirty() => self.draw()?,
                Some((handler, outcome)) = node.answer() => self.input(Input::Answer(handler, outcome)),
                Some(names) = self.folder_lookups.join_next() => self.input(names?),
                Some(made) = self.pictures.join_next() => self.input(made?),
                Some(opened) = self.opened_links.join_next() => {
                    if let Err(why) = opened? {
                        self.input(Input::LinkFailed(why));
                    }
                }
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
            Event::Key(key) => {
                for key in self.without_late_answer(key) {
                    self.input(Input::Key(key));
                }
            }
            Event::Paste(text) => self.input(Input::Paste(text)),
            Event::Resize(columns, rows) => {
                if self.canvas.as_mut().is_some_and(Canvas::measure) {
                    self.input(Input::CellsResized);
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

    /// The keys that the user has typed, once this one is known to be no answer of the terminal.
    fn without_late_answer(&mut self, key: KeyEvent) -> Vec<KeyEvent> {
        let Some((until, late)) = &mut self.late else {
            return vec![key];
        };
        let is_over = *until < Instant::now();
        let (keys, is_over) = match late.key(key) {
            Filtered::Typed(keys) => (keys, is_over),
            Filtered::Held if is_over => {
                let (_, late) = self.late.take().expect("matched above");
                return late.give_up();
            }
            Filtered::Held => (vec![], false),
            Filtered::Dropped => (vec![], true),
        };
        if is_over {
            self.late = None;
        }
        keys
    }

    /// Carries out what the chat asks for. Returns whether the user quits.
    fn carry_out(&mut self, node: &mut NodeLink) -> anyhow::Result<bool> {
        while let Some(request) = self.app.poll_request() {
            node.send(request);
        }
        while let Some(output) = self.app.poll_output() {
            match output {
                Output::SaveRead(read) => self.save_read(&read),
                Output::SaveCommand(command) => self.save_command(command),
                Output::Ring { bell, desktop } => self.terminal.ring(bell, desktop.as_deref())?,
                Output::ListFolder(lookup) => self.list_folder(lookup),
                Output::MakePicture { wanted, path } => self.make_picture(wanted, path),
                Output::MakePortrait { wanted, file } => self.make_portrait(wanted, file),
                Output::ChoosePicture(path) => {
                    let chosen = async move { Input::PictureChosen(profile_picture(path).await) };
                    self.pictures.spawn(chosen);
                }
                Output::CaptureMouse(on) => self.terminal.capture_mouse(on)?,
                Output::OpenLink(address) => self.open_link(address),
                Output::Copy(text) => self.terminal.copy(&text)?,
                Output::Repaint => self.terminal.repaint()?,
                Output::Suspend => self.suspend()?,
                Output::Quit => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Stops like any job of the shell, and draws everything again afterwards.
    fn suspend(&mut self) -> anyhow::Result<()> {
        self.terminal
            .suspend()
            .context("can't show the chat again after it was suspended")?;
        let (columns, rows) = self.terminal.size()?;
        self.terminal_event(Event::Resize(columns, rows));
        Ok(())
    }

    fn list_folder(&mut self, lookup: FolderLookup) {
        // The user may press the key again while a slow disk is read.
        if self.folder_lookups.is_empty() {
            self.folder_lookups.spawn_blocking(move || {
                let names = folder_names::matching(&lookup.path, &lookup.start);
                Input::FolderNames(lookup, names)
            });
        }
    }

    fn open_link(&mut self, address: String) {
        if self.opened_links.len() < LINKS_OPENED_MAX {
            self.opened_links.spawn(browser::show(address));
        }
    }

    fn make_picture(&mut self, wanted: Wanted, path: PathBuf) {
        let canvas = self.canvas;
        self.pictures.spawn(async move {
            let picture = match canvas {
                Some(canvas) => Picture::of(path, canvas, wanted.room, wanted.slot).await,
                None => None,
            };
            Input::PictureMade(wanted, picture)
        });
    }

    fn make_portrait(&mut self, wanted: WantedPortrait, file: Vec<u8>) {
        let canvas = self.canvas;
        self.pictures.spawn(async move {
            let picture = match canvas {
                Some(canvas) => Picture::of_bytes(file, canvas, PORTRAIT_SIZE, wanted.slot()).await,
                None => None,
            };
            Input::PortraitMade(wanted, picture)
        });
    }

    fn next_frame(&self) -> Instant {
        self.drawn_at
            .map_or_else(Instant::now, |drawn_at| drawn_at + FRAME)
    }

    fn draw(&mut self) -> anyhow::Result<()> {
        self.drawn_at = Some(Instant::now());
        self.app.mark_drawn();
        self.terminal
            .draw(|frame| view::render(&self.app, &self.appearance, frame))
            .context("can't write to the terminal")
    }

    /// Waits until the typed messages are on disk, but not for long.
    async fn quit(&mut self, node: &mut NodeLink) -> anyhow::Result<Ended> {
        let all = async {
            while node.is_waiting()
                && let Some((handler, outcome)) = node.answer().await
            {
                self.input(Input::Answer(handler, outcome));
            }
        };
        // The node also carries out requests that are not answered in time.
        let _late = tokio::time::timeout(QUIT_WITHIN, all).await;
        Ok(Ended::Quit)
    }

    /// Saves what was read and gives the terminal back. Returns whether some message is not
    /// delivered yet.
    fn end(mut self) -> bool {
        self.app.save_read();
        while let Some(output) = self.app.poll_output() {
            if let Output::SaveRead(read) = output {
                self.save_read(&read);
            }
        }
        self.app.has_undelivered()
    }

    /// A failure is only logged: at worst, a later chat does not recall the command.
    fn save_command(&self, command: TypedCommand) {
        if let Err(error) = typed_commands::add(&self.home, command) {
            tracing::debug!("can't save a typed command: {error}");
        }
    }

    /// A failure is only logged: at worst, messages count as unread again at the next start.
    fn save_read(&self, read: &ReadMarkers) {
        if let Err(error) = read_markers::save(&self.home, read) {
            tracing::debug!("can't save which messages were read: {error}");
        }
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        if let Some(canvas) = self.canvas {
            // Without the terminal, there are no pictures to remove.
            let _closed = self
                .terminal
                .write(&canvas.farewell(PICTURES_MAX + PORTRAITS_MAX));
        }
    }
}
