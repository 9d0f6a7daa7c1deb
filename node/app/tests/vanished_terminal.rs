//! The full-screen chat on a terminal that is gone without a SIGHUP.
#![expect(
    clippy::disallowed_methods,
    reason = "a driver: it waits for a process, and measures it"
)]

use std::fs::{self, File};
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A deadline on a machine that is busy with other tests.
const WITHIN: Duration = Duration::from_secs(60);

/// A thread that reads a closed terminal over and over uses all of its time. The end of a chat uses
/// far less than a second.
const MOST: Duration = Duration::from_secs(3);

/// The processor time that a process has used. `None` once it has ended.
fn used(child: &Child) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
    // The name, in parentheses, may have spaces.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    // Fields 14 and 15 of proc_pid_stat(5), in hundredths of a second.
    let ticks = |at: usize| fields.get(at - 3)?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks(14)? + ticks(15)?) * 10))
}

#[test]
fn a_chat_whose_terminal_vanishes_ends_at_once_and_uses_no_processor() {
    let home = tempfile::tempdir().expect("a temporary folder");
    // Not the controlling terminal of the chat, so the system sends no SIGHUP. The chat must not
    // inherit this end: it would keep its own terminal open.
    let master =
        openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&master).expect("a terminal");
    unlockpt(&master).expect("a terminal");
    let size = Winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&master, size).expect("a terminal");
    let path = ptsname(&master, Vec::new()).expect("a terminal");
    let terminal = File::options()
        .read(true)
        .write(true)
        .open(path.to_str().expect("a path in /dev"))
        .expect("a terminal");
    let stream = || Stdio::from(terminal.try_clone().expect("a handle"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_hobnob"))
        .args(["--no-mdns", "--listen", "127.0.0.1:0", "--home"])
        .arg(home.path())
        .env("TERM", "xterm-256color")
        .env("LC_ALL", "C.UTF-8")
        .stdin(stream())
        .stdout(stream())
        .stderr(stream())
        .spawn()
        .expect("the program starts");
    drop(terminal);
    let mut master = File::from(master);
    let mut shown = Vec::new();
    let mut some = [0; 4096];
    // The first room is on the screen, so the chat reads keys.
    while !String::from_utf8_lossy(&shown).contains("lobby") {
        let count = master.read(&mut some).expect("the chat is running");
        shown.extend_from_slice(&some[..count]);
    }
    let before = used(&child).expect("the chat is running");
    drop(master);
    let since = Instant::now();
    let mut last = before;
    while child.try_wait().expect("a child").is_none() {
        last = used(&child).unwrap_or(last);
        assert!(since.elapsed() < WITHIN, "the chat is still running");
        std::thread::sleep(Duration::from_millis(10));
    }
    let spent = last - before;
    assert!(spent < MOST, "the end took {spent:?} of the processor");
}
