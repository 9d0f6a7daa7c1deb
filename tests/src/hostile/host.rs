//! An honest node: a `hobnob up` on loopback, with its output and its memory use.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use hobnob_protocol::PersonId;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::lab::{Output, finish, hobnob_binary, pipes, until};

/// A node process. It is killed when this value is dropped.
#[derive(Debug)]
pub struct Host {
    home: PathBuf,
    nick: String,
    process: Mutex<Child>,
    out: Arc<Pipe>,
    err: Arc<Pipe>,
    readers: Vec<JoinHandle<()>>,
    id: PersonId,
    addr: SocketAddr,
}

/// Everything that was read from a pipe.
#[derive(Debug, Default)]
struct Pipe(Mutex<Vec<u8>>);

impl Host {
    /// Starts a node without mDNS, with `--json` and `-v`, and waits until it listens.
    pub fn up(dir: &Path, nick: &str) -> Self {
        Self::start(dir, nick, &["-v", "--json", "--listen", "127.0.0.1:0"])
    }

    /// Like [`Host::up`], with other arguments.
    pub fn start(dir: &Path, nick: &str, arguments: &[&str]) -> Self {
        let home = dir.join(nick);
        let mut command = hobnob(&home);
        command
            .args(["up", "--no-mdns", "--nick", nick])
            .args(arguments);
        Self::spawn(home, nick, &mut command)
    }

    fn spawn(home: PathBuf, nick: &str, command: &mut Command) -> Self {
        pipes(command);
        let mut process = command.spawn().expect("the program runs");
        let (out, err) = (Arc::<Pipe>::default(), Arc::<Pipe>::default());
        let (stdout, stderr) = (
            process.stdout.take().expect("piped"),
            process.stderr.take().expect("piped"),
        );
        let readers = read_both(stdout, stderr, &out, &err);
        let mut host = Self {
            home,
            nick: nick.to_owned(),
            process: Mutex::new(process),
            out,
            err,
            readers,
            id: PersonId::from_bytes([0; 32]),
            addr: SocketAddr::from(([0; 4], 0)),
        };
        (host.id, host.addr) = host.id_and_address();
        host
    }

    /// Requests the id and the address, after the node has reported that it listens. Before that,
    /// `hobnob id` would start a second node.
    fn id_and_address(&self) -> (PersonId, SocketAddr) {
        self.finds(&self.out, "print", &["listen"]);
        let line = self.run(&["--json", "id"]).expect(0).one_json();
        let id = line["peer"].as_str().and_then(|id| id.parse().ok());
        let addr = line["addrs"][0].as_str().and_then(|addr| addr.parse().ok());
        id.zip(addr)
            .unwrap_or_else(|| panic!("no id and address in {line}"))
    }

    /// The node's peer id.
    pub fn id(&self) -> PersonId {
        self.id
    }

    /// The address that the node listens at.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Runs a subcommand in this home and waits until it exits.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with_input(arguments, "")
    }

    /// Like [`Host::run`], with standard input.
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = hobnob(&self.home);
        command.args(arguments);
        pipes(&mut command);
        let shown = format!("{}: hobnob {}", self.nick, arguments.join(" "));
        finish(
            shown,
            command.spawn().expect("the program runs"),
            input,
            TIMEOUT,
        )
    }

    /// Sends a text to a peer, and checks that it is delivered.
    pub fn tells(&self, target: &str, text: &str) {
        self.run(&["send", "--timeout", "20s", target, text])
            .expect(0);
    }

    /// Sends a text to the lobby.
    pub fn says(&self, text: &str) {
        self.run(&["broadcast", "--wait", "queued", text]).expect(0);
    }

    /// Waits for a line on standard output that contains all of these words.
    pub fn prints(&self, words: &[&str]) -> String {
        self.finds(&self.out, "print", words)
    }

    /// Waits for a line on standard error that contains all of these words.
    pub fn logs(&self, words: &[&str]) -> String {
        self.finds(&self.err, "log", words)
    }

    fn finds(&self, pipe: &Pipe, what: &str, words: &[&str]) -> String {
        until(
            &format!("{} should {what} {words:?}", self.nick),
            TIMEOUT,
            || {
                let text = pipe.text();
                let line = text
                    .lines()
                    .find(|line| words.iter().all(|word| line.contains(word)))
                    .map(str::to_owned);
                line.ok_or_else(|| {
                    format!(
                        "--- out:\n{}\n--- errors:\n{}",
                        tail(&self.out.text()),
                        tail(&self.err.text())
                    )
                })
            },
        )
    }

    /// Everything printed on standard output so far.
    pub fn output(&self) -> String {
        self.out.text()
    }

    /// Everything printed on standard error so far.
    pub fn errors(&self) -> String {
        self.err.text()
    }

    /// The node's history as JSON. `of` contains further arguments of `history`. Without them, it
    /// covers all conversations.
    pub fn history(&self, of: &[&str]) -> Vec<Value> {
        self.run(&[&["--json", "history"], of].concat())
            .expect(0)
            .json()
    }

    /// The texts of [`Host::history`].
    pub fn texts(&self, of: &[&str]) -> Vec<String> {
        self.history(of)
            .iter()
            .map(|line| line["text"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Waits until the 100 messages that arrived last contain this text.
    pub fn has(&self, text: &str) {
        self.has_among(text, &["--limit", "100"]);
    }

    /// Waits until the last 100 messages of the lobby, in the order in which they were written,
    /// contain this text, or a search finds it.
    pub fn has_in_lobby(&self, text: &str) {
        self.has_among(text, &["#lobby", "--limit", "100"]);
    }

    fn has_among(&self, text: &str, of: &[&str]) {
        until(&format!("{} has {text:?}", self.nick), TIMEOUT, || {
            let texts = self.texts(of);
            let is_there = |texts: &[String]| texts.iter().any(|has| has == text);
            // A flood may have moved it out of the newest messages since the last look.
            if is_there(&texts) || is_there(&self.texts(&["--search", text])) {
                Ok(())
            } else {
                Err(format!("{texts:?}"))
            }
        });
    }

    /// Checks that the node runs.
    pub fn is_up(&self) {
        let ended = self.process().try_wait().expect("the process is ours");
        assert!(
            ended.is_none(),
            "{} has exited: {ended:?}\n{}",
            self.nick,
            tail(&self.err.text())
        );
    }

    /// The memory that the node uses now, in bytes.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most memory that the node has used, in bytes.
    pub fn memory_peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// The bytes of files in the node's memory: the program itself, as far as it has run, and libraries.
    /// The system can drop them at any time.
    pub fn memory_of_files(&self) -> u64 {
        self.status("RssFile:")
    }

    fn status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process().id()))
            .expect("the process runs, on Linux");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .expect("Linux reports a process's memory");
        let kib: u64 = line
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number of KiB");
        kib * 1024
    }

    /// Sends SIGTERM and waits until the node exits.
    pub fn terminate(&self) {
        let pid = i32::try_from(self.process().id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id is a positive i32");
        kill_process(pid, Signal::TERM).expect("the process is ours");
        until("a node exits on SIGTERM", TIMEOUT, || {
            self.process()
                .try_wait()
                .expect("the process is ours")
                .map(|_| ())
                .ok_or_else(|| "it still runs".to_owned())
        });
    }

    /// Kills the node with SIGKILL.
    pub fn kill(&self) {
        let mut process = self.process();
        process.kill().expect("the process is ours");
        process.wait().expect("the process is ours");
    }

    /// Checks that the output and the log contain nothing that could disturb a terminal.
    pub fn is_clean(&self) {
        for (what, text) in [("output", self.output()), ("log", self.errors())] {
            if let Some(line) = text.lines().find(|line| !is_clean(line)) {
                panic!(
                    "{}'s {what} contains characters that disturb a terminal: {line:?}",
                    self.nick
                );
            }
        }
    }

    /// Checks that no message was printed twice.
    pub fn printed_nothing_twice(&self) {
        let mut seen = BTreeSet::new();
        for event in self
            .output()
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        {
            let again = event["event"] == "message" && !seen.insert(event["id"].to_string());
            assert!(!again, "{} printed a message twice: {event}", self.nick);
        }
    }

    fn process(&self) -> MutexGuard<'_, Child> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process().kill();
        let _ = self.process().wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        if std::thread::panicking() {
            eprintln!("--- the log of {}:\n{}", self.nick, tail(&self.err.text()));
        }
    }
}

impl Pipe {
    fn read(&self, mut from: impl Read) {
        let mut chunk = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut chunk) {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend_from_slice(&chunk[..count]);
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

/// Whether a line contains no control characters, no bidirectional formatting (UAX #9) and no
/// invisible characters.
pub fn is_clean(line: &str) -> bool {
    let disturbs = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
            || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    !line.chars().any(disturbs)
}

fn hobnob(home: &Path) -> Command {
    let mut command = Command::new(hobnob_binary());
    let variables: BTreeMap<_, _> = std::env::vars()
        .filter(|(name, _)| name.starts_with("HOBNOB_"))
        .collect();
    for name in variables.keys() {
        command.env_remove(name);
    }
    command.arg("--home").arg(home).env("RUST_BACKTRACE", "1");
    command
}

fn read_both(
    stdout: ChildStdout,
    stderr: ChildStderr,
    out: &Arc<Pipe>,
    err: &Arc<Pipe>,
) -> Vec<JoinHandle<()>> {
    let (out, err) = (Arc::clone(out), Arc::clone(err));
    vec![
        std::thread::spawn(move || out.read(stdout)),
        std::thread::spawn(move || err.read(stderr)),
    ]
}

/// The last 40 lines, for failure messages.
fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// Time limit for events that are normally immediate, under attack, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(30);
