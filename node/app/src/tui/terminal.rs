//! The terminal: prepares it for the chat, writes to it, and restores it, however the program ends.

use std::cell::Cell;
use std::io::{self, Stdout, Write, stdin, stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::Show;
use crossterm::event::{
    DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste, EnableFocusChange,
};
use crossterm::style::Print;
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{execute, queue};
use ratatui::backend::CrosstermBackend;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};
use tokio::sync::Notify;

use super::cells;
use crate::shared::log_output;

/// Report the buttons and the wheel of the mouse, but no motion (xterm's modes 1000 and 1006).
const MOUSE_ON: &str = "\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1000l";

/// Do not turn the wheel into arrow keys, which would recall earlier lines (mode 1007). The setting
/// before is saved and restored.
const WHEEL_OFF: &str = "\x1b[?1007s\x1b[?1007l";
const WHEEL_BACK: &str = "\x1b[?1007r";

/// Whether the chat is using the terminal.
static IN_USE: AtomicBool = AtomicBool::new(false);

/// Wakes [`hung_up`].
static HUNG_UP: Notify = Notify::const_new();

/// The time for an orderly end after the terminal is gone.
const GONE_WITHIN: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// Wakes [`panicked`].
static PANICKED: Notify = Notify::const_new();

/// The terminal while the chat is using it.
pub(super) struct Terminal {
    inner: ratatui::Terminal<CrosstermBackend<Stdout>>,
    /// Whether the terminal reports the mouse.
    mouse: bool,
}

impl Terminal {
    /// Prepares the terminal. Log lines are held back until it is restored.
    pub(super) fn enter() -> io::Result<Terminal> {
        static HOOK: Once = Once::new();
        HOOK.call_once(restore_before_panic);
        cells::set_terminal(std::env::var_os("TMUX").is_some());
        prepare()?;
        match ratatui::Terminal::new(CrosstermBackend::new(stdout())) {
            Ok(inner) => Ok(Terminal {
                inner,
                mouse: false,
            }),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }

    /// Restores the terminal, and stops this process until the shell continues it. Then prepares the
    /// terminal again: the next drawing writes every cell.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        restore();
        // SIGSTOP, because SIGTSTP has a handler here.
        kill_process(getpid(), Signal::STOP)?;
        prepare()?;
        self.capture_mouse(self.mouse)?;
        self.repaint()
    }

    pub(super) fn size(&self) -> io::Result<(u16, u16)> {
        self.inner.size().map(|size| (size.width, size.height))
    }

    pub(super) fn draw(&mut self, render: impl FnOnce(&mut ratatui::Frame<'_>)) -> io::Result<()> {
        let placed = |frame: &mut ratatui::Frame<'_>| {
            render(frame);
            cells::place(frame.buffer_mut());
        };
        self.inner.draw(placed).map(|_| ())
    }

    /// Makes the next drawing write every cell.
    pub(super) fn repaint(&mut self) -> io::Result<()> {
        // `clear` would ask the terminal for the cursor's place, and the thread that reads the keys
        // would take the answer.
        self.inner = ratatui::Terminal::new(CrosstermBackend::new(stdout()))?;
        execute!(stdout(), Clear(ClearType::All))
    }

    /// Rings the bell, or shows a desktop notification (OSC 9), or both. The text must be safe to
    /// show.
    pub(super) fn ring(&mut self, bell: bool, desktop: Option<&str>) -> io::Result<()> {
        let notification = desktop
            .map(|text| format!("\x1b]9;{text}\x07"))
            .unwrap_or_default();
        self.write(&format!("{}{notification}", if bell { "\x07" } else { "" }))
    }

    /// Copies a text to the clipboard of the terminal (OSC 52). Some terminals ignore it.
    pub(super) fn copy(&mut self, text: &str) -> io::Result<()> {
        let encoded = data_encoding::BASE64.encode(text.as_bytes());
        self.write(&format!("\x1b]52;c;{encoded}\x07"))
    }

    pub(super) fn capture_mouse(&mut self, on: bool) -> io::Result<()> {
        self.mouse = on;
        self.write(if on { MOUSE_ON } else { MOUSE_OFF })
    }

    /// Writes control sequences that are not part of the drawing.
    pub(super) fn write(&mut self, text: &str) -> io::Result<()> {
        let mut out = stdout();
        queue!(out, Print(text))?;
        out.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Resolves after a panic. The terminal is restored then, so the chat has to end.
pub(super) async fn panicked() {
    PANICKED.notified().await;
}

/// Resolves when the terminal is gone, if [`watch_hang_up`] watches it.
pub(super) async fn hung_up() {
    HUNG_UP.notified().await;
}

/// Notices when the terminal is gone, also if no SIGHUP says so: for example if it is not the
/// controlling terminal. Crossterm reads the end of a closed terminal over and over.
pub(super) fn watch_hang_up() {
    let watch = || {
        let stdin = stdin();
        // The system reports a hang-up without being asked for it.
        let mut terminal = [PollFd::new(&stdin, PollFlags::empty())];
        while poll(&mut terminal, None) == Err(Errno::INTR) {}
        HUNG_UP.notify_one();
        // If crossterm has read the end in the chat's own thread, nothing else can end the chat.
        while poll(&mut [], Some(&GONE_WITHIN)) == Err(Errno::INTR) {}
        let _killed = kill_process(getpid(), Signal::KILL);
    };
    // It ends with the program. Without the thread, the chat ends with a signal.
    let _thread = std::thread::Builder::new()
        .name("terminal-watch".to_owned())
        .spawn(watch);
}

/// Turns off the terminal's own handling of keys, and turns on what the chat needs. If that fails, the
/// terminal is as before.
fn prepare() -> io::Result<()> {
    enable_raw_mode()?;
    IN_USE.store(true, Ordering::SeqCst);
    log_output::hold();
    let on = execute!(
        stdout(),
        EnterAlternateScreen,
        EnableBracketedPaste,
        EnableFocusChange,
        Print(WHEEL_OFF)
    );
    if on.is_err() {
        restore();
    }
    on
}

/// Restores the terminal, once. Failures are ignored: there is nowhere to report them.
fn restore() {
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
    /// Whether this thread catches panics, so that they are not reported.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Runs code that hostile input may cause to panic. A panic is not reported and returns none.
#[cfg(feature = "pictures")]
pub(super) fn contained<T>(run: impl FnOnce() -> T) -> Option<T> {
    CONTAINED.set(true);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    CONTAINED.set(false);
    outcome.ok()
}

/// Restores the terminal before a panic is reported, in any thread.
fn restore_before_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if CONTAINED.get() {
            return;
        }
        if IN_USE.load(Ordering::SeqCst) {
            restore();
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
    fn a_panic_restores_the_terminal_before_it_is_reported() {
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
        // Reading a terminal ends with an error.
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
