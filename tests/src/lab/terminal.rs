//! A program in its own terminal. A test presses keys, and a terminal emulator shows the screen as
//! a user sees it.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::machine::Machine;
use super::wait::{Stopwatch, pause, until};

/// A running program and its terminal. Dropping it kills the program.
#[derive(Debug)]
pub struct Terminal {
    process: Child,
    master: File,
    cell: Option<(u16, u16)>,
    shown: Arc<Shown>,
    reader: Option<JoinHandle<()>>,
    /// Keeps the machine running.
    _machine: Machine,
}

struct Shown {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    emulator: vt100::Parser,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown(..)")
    }
}

/// The kind of a terminal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Model {
    /// Environment variables of this terminal, in addition to the defaults.
    pub variables: &'static [(&'static str, &'static str)],
    /// Width and height of a cell in pixels, if the terminal reports them to the system.
    pub cell: Option<(u16, u16)>,
    /// Queries from programs, and the terminal's answers.
    pub answers: &'static [(&'static str, &'static str)],
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Characters per row.
    pub columns: u16,
    /// Number of rows.
    pub rows: u16,
}

impl Size {
    fn winsize(self, cell: Option<(u16, u16)>) -> Winsize {
        let (width, height) = cell.unwrap_or((0, 0));
        let [ws_xpixel, ws_ypixel] = [self.columns * width, self.rows * height];
        Winsize {
            ws_row: self.rows,
            ws_col: self.columns,
            ws_xpixel,
            ws_ypixel,
        }
    }
}

impl Terminal {
    /// Opens a terminal and starts the program with `start`, which receives the program's three
    /// streams.
    pub(super) fn new(
        machine: Machine,
        model: &Model,
        size: Size,
        start: impl FnOnce([Stdio; 3]) -> Child,
    ) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)
            .expect("the system has a free pseudo-terminal");
        grantpt(&master)
            .and_then(|()| unlockpt(&master))
            .expect("the pseudo-terminal is open");
        tcsetwinsize(&master, size.winsize(model.cell)).expect("a terminal has a size");
        let path = ptsname(&master, Vec::new()).expect("the pseudo-terminal is open");
        let path = path.to_str().expect("ASCII");
        let slave = File::options()
            .read(true)
            .write(true)
            .open(path)
            .expect("the other end opens");
        let stream = || Stdio::from(slave.try_clone().expect("a file can be cloned"));
        let process = start([stream(), stream(), stream()]);
        let master = File::from(master);
        let emulator = vt100::Parser::new(size.rows, size.columns, 0);
        let state = Mutex::new(State {
            emulator,
            bytes: Vec::new(),
        });
        let shown = Arc::new(Shown {
            state,
            changed: Condvar::new(),
        });
        let (for_reader, from) = (
            Arc::clone(&shown),
            master.try_clone().expect("a file can be cloned"),
        );
        let answers = model.answers;
        let reader = Some(std::thread::spawn(move || for_reader.read(from, answers)));
        Self {
            process,
            master,
            cell: model.cell,
            shown,
            reader,
            _machine: machine,
        }
    }

    /// Presses keys. `keys` contains the bytes that a terminal sends for them.
    pub fn presses(&mut self, keys: &str) {
        self.master
            .write_all(keys.as_bytes())
            .expect("the terminal accepts keys");
    }

    /// Types a line and presses Enter.
    pub fn enters(&mut self, line: &str) {
        self.presses(&format!("{line}\r"));
    }

    /// Pastes a text in bracketed paste mode.
    pub fn pastes(&mut self, text: &str) {
        self.presses(&format!("\x1b[200~{text}\x1b[201~"));
    }

    /// Changes the size of the terminal.
    pub fn resizes(&mut self, size: Size) {
        self.shown
            .state()
            .emulator
            .screen_mut()
            .set_size(size.rows, size.columns);
        tcsetwinsize(&self.master, size.winsize(self.cell)).expect("a terminal has a size");
    }

    /// Waits until the screen contains this text.
    pub fn shows(&self, text: &str) {
        self.until(text, |screen| screen.contains(text));
    }

    /// Waits until the screen does not contain this text.
    pub fn hides(&self, text: &str) {
        self.until(&format!("no {text}"), |screen| !screen.contains(text));
    }

    /// Waits until `wanted` returns true for the screen.
    pub fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) {
        let state = self.shown.state();
        let missing = |state: &mut State| !wanted(&state.emulator.screen().contents());
        let (state, waited) = self
            .shown
            .changed
            .wait_timeout_while(state, TIMEOUT, missing)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(
            !waited.timed_out(),
            "{what:?} did not appear on this screen:\n{}",
            state.emulator.screen().contents()
        );
    }

    /// Waits until the program has written these bytes.
    pub fn writes(&self, bytes: &str) {
        let state = self.shown.state();
        let missing = |state: &mut State| !contains(&state.bytes, bytes);
        let (_state, waited) = self
            .shown
            .changed
            .wait_timeout_while(state, TIMEOUT, missing)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "{bytes:?} was not written");
    }

    /// Waits until exactly this many rows contain cells with a background colour, as pictures do.
    pub fn shows_coloured_rows(&self, rows: usize) {
        let state = self.shown.state();
        let other = |state: &mut State| coloured_rows(state.emulator.screen()) != rows;
        let (state, waited) = self
            .shown
            .changed
            .wait_timeout_while(state, TIMEOUT, other)
            .unwrap_or_else(PoisonError::into_inner);
        let screen = state.emulator.screen();
        assert!(
            !waited.timed_out(),
            "{} rows are coloured, not {rows}:\n{}",
            coloured_rows(screen),
            screen.contents()
        );
    }

    /// Whether the program has written these bytes.
    pub fn has_written(&self, bytes: &str) -> bool {
        contains(&self.shown.state().bytes, bytes)
    }

    /// The text on the screen.
    pub fn screen(&self) -> String {
        self.shown.state().emulator.screen().contents()
    }

    /// Everything that the program has written so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.shown.state().bytes.clone()
    }

    /// The program's process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).expect("the program runs");
    }

    /// Sends SIGTSTP, as `kill -TSTP` does.
    pub fn stops(&self) {
        kill_process(Pid::from_child(&self.process), Signal::TSTP).expect("the program runs");
    }

    /// Sends SIGCONT, as `fg` does.
    pub fn continues(&self) {
        kill_process(Pid::from_child(&self.process), Signal::CONT).expect("the program is there");
    }

    /// Waits until the program is stopped.
    pub fn is_stopped(&self) {
        until("the program is stopped", TIMEOUT, || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()))
                .expect("the program is there");
            let state = stat
                .rsplit(") ")
                .next()
                .and_then(|rest| rest.chars().next());
            match state {
                Some('T') => Ok(()),
                other => Err(format!("its state is {other:?}")),
            }
        });
    }

    /// Waits until the program exits, and returns its exit code.
    pub fn ends(&mut self) -> Option<i32> {
        let begun = Stopwatch::start();
        loop {
            if let Some(status) = self.process.try_wait().expect("the child is ours") {
                return status.code();
            }
            assert!(
                begun.elapsed() < TIMEOUT,
                "the program did not exit; its screen:\n{}",
                self.screen()
            );
            pause(POLL);
        }
    }

    /// Checks that the program has restored the terminal: main screen, no special modes, echo and
    /// line editing on.
    pub fn is_restored(&self) {
        // The emulator may not have processed the last bytes yet.
        until("the terminal is restored", TIMEOUT, || {
            self.unrestored()
                .map_or(Ok(()), |what| Err(format!("{what} is still active")))
        });
        let modes = tcgetattr(&self.master)
            .expect("the file is a terminal")
            .local_modes;
        assert!(
            modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG),
            "still in raw mode: {modes:?}"
        );
    }

    fn unrestored(&self) -> Option<&'static str> {
        let state = self.shown.state();
        let screen = state.emulator.screen();
        let left = [
            (screen.alternate_screen(), "the alternate screen"),
            (screen.hide_cursor(), "a hidden cursor"),
            (screen.bracketed_paste(), "bracketed paste"),
            (screen.application_cursor(), "application cursor keys"),
            (
                screen.mouse_protocol_mode() != vt100::MouseProtocolMode::None,
                "mouse reporting",
            ),
        ];
        left.into_iter().find_map(|(is, what)| is.then_some(what))
    }
}

impl Shown {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Feeds the emulator and answers each query once.
    fn read(&self, mut master: File, answers: &[(&str, &str)]) {
        let mut chunk = [0; 65536];
        let mut answers = answers.to_vec();
        while let Ok(count @ 1..) = master.read(&mut chunk) {
            let mut state = self.state();
            state.emulator.process(&chunk[..count]);
            state.bytes.extend_from_slice(&chunk[..count]);
            let asked = answers.extract_if(.., |(question, _)| contains(&state.bytes, question));
            let answer: String = asked.map(|(_, answer)| answer).collect();
            drop(state);
            master
                .write_all(answer.as_bytes())
                .expect("the terminal accepts an answer");
            self.changed.notify_all();
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn contains(bytes: &[u8], what: &str) -> bool {
    bytes
        .windows(what.len())
        .any(|window| window == what.as_bytes())
}

fn coloured_rows(screen: &vt100::Screen) -> usize {
    let (rows, columns) = screen.size();
    let is_coloured = |row, column| {
        screen
            .cell(row, column)
            .is_some_and(|cell| cell.bgcolor() != vt100::Color::Default)
    };
    (0..rows)
        .filter(|row| (0..columns).any(|column| is_coloured(*row, column)))
        .count()
}

/// Configures a command whose standard input is its controlling terminal: environment and streams.
pub(super) fn leader(command: &mut Command, model: &Model, [stdin, stdout, stderr]: [Stdio; 3]) {
    for name in [
        "NO_COLOR",
        "COLORTERM",
        "TERM_PROGRAM",
        "TMUX",
        "STY",
        "ZELLIJ",
        "KONSOLE_VERSION",
        "KITTY_WINDOW_ID",
    ] {
        command.env_remove(name);
    }
    command
        .env("TERM", "xterm-256color")
        .env("LANG", "C.UTF-8")
        .env("TZ", "UTC")
        .envs(model.variables.iter().copied());
    command.stdin(stdin).stdout(stdout).stderr(stderr);
}

const TIMEOUT: Duration = Duration::from_secs(30);

/// Interval between two checks whether the program has exited.
const POLL: Duration = Duration::from_millis(2);
