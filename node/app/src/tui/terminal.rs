//! The terminal: made ready for a screen, drawn on, and given back as it was, however the program
//! ends.

use std::cell::Cell;
use std::io::{self, Stdout, Write, stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::Show;
use crossterm::event::{
    DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste, EnableFocusChange,
};
use crossterm::style::Print;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{execute, queue};
use ratatui::backend::CrosstermBackend;
use tokio::sync::Notify;

use crate::shared::log_output;

/// The mouse tells its buttons and wheel, not each motion (xterm's modes 1000 and 1006).
const MOUSE_ON: &str = "\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1000l";

/// The wheel must not press the arrow keys, which recall what was typed (mode 1007, kept and given
/// back).
const WHEEL_OFF: &str = "\x1b[?1007s\x1b[?1007l";
const WHEEL_BACK: &str = "\x1b[?1007r";

/// Whether the terminal is ours now.
static IN_USE: AtomicBool = AtomicBool::new(false);

/// Something panicked while it was.
static PANICKED: Notify = Notify::const_new();

/// The terminal while it is ours.
pub(super) struct Terminal {
    inner: ratatui::Terminal<CrosstermBackend<Stdout>>,
}

impl Terminal {
    /// Takes the terminal. What is logged from now on is kept until it is given back.
    pub(super) fn enter() -> io::Result<Terminal> {
        static HOOK: Once = Once::new();
        HOOK.call_once(restore_before_panic);
        enable_raw_mode()?;
        IN_USE.store(true, Ordering::SeqCst);
        log_output::hold();
        let ready = || {
            execute!(
                stdout(),
                EnterAlternateScreen,
                EnableBracketedPaste,
                EnableFocusChange,
                Print(WHEEL_OFF)
            )?;
            ratatui::Terminal::new(CrosstermBackend::new(stdout()))
        };
        match ready() {
            Ok(inner) => Ok(Terminal { inner }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    pub(super) fn size(&self) -> io::Result<(u16, u16)> {
        self.inner.size().map(|size| (size.width, size.height))
    }

    pub(super) fn draw(&mut self, render: impl FnOnce(&mut ratatui::Frame<'_>)) -> io::Result<()> {
        self.inner.draw(render).map(|_| ())
    }

    /// The next drawing writes every cell.
    pub(super) fn repaint(&mut self) -> io::Result<()> {
        self.inner.clear()
    }

    /// Rings the bell, and tells the desktop (OSC 9) a text, which must be safe to show.
    pub(super) fn ring(&mut self, bell: bool, desktop: Option<&str>) -> io::Result<()> {
        let told = desktop
            .map(|text| format!("\x1b]9;{text}\x07"))
            .unwrap_or_default();
        self.write(&format!("{}{told}", if bell { "\x07" } else { "" }))
    }

    pub(super) fn capture_mouse(&mut self, on: bool) -> io::Result<()> {
        self.write(if on { MOUSE_ON } else { MOUSE_OFF })
    }

    /// Writes what is no part of the picture of the screen.
    pub(super) fn write(&mut self, text: &str) -> io::Result<()> {
        let mut out = stdout();
        queue!(out, Print(text))?;
        out.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

/// Resolves when something has panicked: the terminal is then no longer ours, and the chat can't go
/// on.
pub(super) async fn panicked() {
    PANICKED.notified().await;
}

/// Makes the terminal what it was, once. There is nobody to tell if that fails.
fn give_back() {
    if !IN_USE.swap(false, Ordering::SeqCst) {
        return;
    }
    let _closed = execute!(
        stdout(),
        Print(MOUSE_OFF),
        Print(WHEEL_BACK),
        DisableFocusChange,
        DisableBracketedPaste,
        LeaveAlternateScreen,
        Show
    );
    let _closed = disable_raw_mode();
    log_output::release();
}

thread_local! {
    /// Whether a panic in this thread is caught, and no fault of the program.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Runs what may panic over something hostile; none if it did. Nobody is told.
#[cfg(feature = "pictures")]
pub(super) fn contained<T>(run: impl FnOnce() -> T) -> Option<T> {
    CONTAINED.set(true);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    CONTAINED.set(false);
    outcome.ok()
}

/// A panic in any thread is told on a terminal that can show it.
fn restore_before_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if CONTAINED.get() {
            return;
        }
        if IN_USE.load(Ordering::SeqCst) {
            give_back();
            PANICKED.notify_one();
        }
        before(panic);
    }));
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::process::{Command, Stdio};

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{LocalModes, tcgetattr};

    use super::*;

    const CHILD: &str = "tui::terminal::tests::the_child_draws_and_panics";

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_is_told() {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap();
        let terminal = File::options()
            .read(true)
            .write(true)
            .open(path.to_str().unwrap())
            .unwrap();
        let stream = || Stdio::from(terminal.try_clone().unwrap());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([CHILD, "--exact", "--ignored", "--nocapture"])
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .unwrap();
        child.wait().unwrap();
        assert!(
            tcgetattr(&master)
                .unwrap()
                .local_modes
                .contains(LocalModes::ICANON | LocalModes::ECHO)
        );
        drop(terminal);
        let mut written = Vec::new();
        // The end of a terminal is an error.
        let _end = File::from(master).read_to_end(&mut written);
        let written = String::from_utf8_lossy(&written);
        let place = |text: &str| {
            written
                .find(text)
                .unwrap_or_else(|| panic!("{text:?} is not in {written:?}"))
        };
        for off in [
            "\x1b[?2004l",
            "\x1b[?1004l",
            "\x1b[?1000l",
            "\x1b[?1049l",
            "\x1b[?25h",
        ] {
            assert!(
                place("\x1b[?1049h") < place(off) && place(off) < place("on purpose"),
                "{off:?}"
            );
        }
    }

    #[test]
    #[ignore = "the test above runs it in a terminal of its own"]
    #[should_panic]
    fn the_child_draws_and_panics() {
        let mut terminal = Terminal::enter().unwrap();
        terminal.draw(|_| {}).unwrap();
        std::thread::spawn(|| panic!("on purpose")).join().unwrap();
    }
}
