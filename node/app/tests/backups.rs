//! Backups in real processes: made during a flood, restored, refused, and made automatically.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A home, with a file for the passphrase beside it.
struct Home {
    dir: TempDir,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("words"), "tin roof rust\n").expect("it is writable");
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hobnob"));
        command
            .args(["--home"])
            .arg(self.path("home"))
            .args(arguments)
            .current_dir(self.dir.path())
            .env_clear()
            .stdin(Stdio::null());
        command
    }

    /// Runs a command. If it has to run a node, that one is alone.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        command
            .env("HOBNOB_MDNS", "false")
            .env("HOBNOB_LISTEN", "127.0.0.1:0");
        command.output().expect("hobnob runs")
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn fails(&self, arguments: &[&str], says: &str) {
        let output = self.run(arguments);
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(
            !output.status.success() && stderr.contains(says),
            "{stderr}"
        );
    }

    fn texts(&self) -> Vec<String> {
        let lines = self.succeeds(&["history", "--json"]);
        let lines = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        let text = |line: Value| line["text"].as_str().expect("a text").to_owned();
        lines.map(text).collect()
    }

    fn exists(&self) -> bool {
        self.path("home").exists()
    }
}

/// A node that obeys lines of JSON. It ends with the test.
struct Up {
    process: Child,
    requests: ChildStdin,
    lines: BufReader<ChildStdout>,
}

impl Up {
    fn start(home: &Home) -> Self {
        let up = ["up", "--json", "--no-mdns", "--listen", "127.0.0.1:0"];
        let mut process = home
            .command(&up)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("hobnob starts");
        let requests = process.stdin.take().expect("it is piped");
        let lines = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut up = Self {
            process,
            requests,
            lines,
        };
        up.until(|line| line["event"] == "listening");
        up
    }

    fn ask(&mut self, request: &str) {
        writeln!(self.requests, "{request}").expect("the node reads");
    }

    fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).expect("the node writes");
            assert!(read > 0, "the node has ended");
            let line = serde_json::from_str(&line).expect("JSON");
            if fits(&line) {
                return line;
            }
        }
    }

    /// Writes texts with these numbers to somebody who is away. Waits for each answer, so that the
    /// pipes do not fill up.
    fn write(&mut self, numbers: std::ops::Range<usize>, away: &Away) {
        for number in numbers {
            // A ticket is dialed each time, and nobody answers.
            let to = if number == 1 { &away.ticket } else { &away.id };
            self.ask(&format!(
                r#"{{"id":{number},"cmd":"send","target":"{to}","text":"text {number}","wait":"queued"}}"#
            ));
            let answer = self.until(|line| line["id"] == number);
            assert!(answer["ok"].is_object(), "{answer}");
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A peer that never comes.
struct Away {
    ticket: String,
    id: String,
}

fn away() -> Away {
    let home = Home::new();
    let status: Value = serde_json::from_str(&home.succeeds(&["id", "--json"])).expect("JSON");
    let text = |field: &str| status[field].as_str().expect("a text").to_owned();
    Away {
        ticket: text("ticket"),
        id: text("peer"),
    }
}

const BACKUP: [&str; 4] = ["backup", "file", "--passphrase-file", "words"];
const RESTORE: [&str; 4] = ["restore", "file", "--passphrase-file", "words"];

fn copy(from: &Home, to: &Home) {
    fs::copy(from.path("file"), to.path("file")).expect("the backup exists");
}

#[test]
fn a_backup_during_a_flood_is_consistent() {
    let (ann, bob) = (Home::new(), away());
    let mut up = Up::start(&ann);
    up.write(1..501, &bob);
    // The flood is under way while the backup is made, and goes on after it.
    let mut backup = ann.command(&BACKUP).spawn().expect("hobnob starts");
    let mut next = 501;
    while backup.try_wait().expect("it can be waited for").is_none() {
        up.write(next..next + 10, &bob);
        next += 10;
    }
    assert!(backup.wait().expect("it has ended").success());
    drop(up);

    let restored = Home::new();
    copy(&ann, &restored);
    restored.succeeds(&RESTORE);
    let texts = restored.texts();
    let expected: Vec<String> = (1..=texts.len()).map(|n| format!("text {n}")).collect();
    assert_eq!(texts, expected, "a prefix of what was written");
    assert!(
        (500..next).contains(&texts.len()),
        "{} of {next}",
        texts.len()
    );
    let left: Vec<_> = fs::read_dir(ann.path("home"))
        .expect("the home is there")
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains(".part"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_backup_that_cannot_be_opened_changes_nothing() {
    let (ann, other) = (Home::new(), Home::new());
    let mut up = Up::start(&ann);
    up.write(1..4, &away());
    ann.succeeds(&BACKUP);
    ann.fails(&BACKUP, "exists");
    drop(up);

    let whole = fs::read(ann.path("file")).expect("the backup exists");
    let refused = |content: &[u8], says: &str| {
        fs::write(other.path("file"), content).expect("it is writable");
        other.fails(&RESTORE, says);
        assert!(!other.exists(), "{says}");
    };
    refused(&whole[..whole.len() / 2], "truncated");
    refused(&whole[..whole.len() - 1], "nothing was changed");
    refused(b"", "not");
    refused(
        b"something else, which is longer than a header could be",
        "not an encrypted backup",
    );
    let mut altered = whole.clone();
    altered[whole.len() / 2] ^= 1;
    refused(&altered, "damaged");
    fs::write(other.path("words"), "tin roof").expect("it is writable");
    refused(&whole, "passphrase is wrong");

    fs::write(other.path("words"), "tin roof rust").expect("it is writable");
    other.succeeds(&RESTORE);
    assert_eq!(other.texts().len(), 3);
    other.fails(&RESTORE, "--replace");
}

#[test]
fn a_message_that_was_deleted_since_the_backup_stays_deleted() {
    let (ann, bob) = (Home::new(), away());
    for (to, text) in [(&bob.ticket, "marmalade"), (&bob.id, "wakamole")] {
        let sent = ann.run(&["send", to, text, "--timeout", "10ms"]);
        assert_eq!(sent.status.code(), Some(4), "{sent:?}");
    }
    ann.succeeds(&BACKUP);
    let lines = ann.succeeds(&["history", "--json"]);
    let first: Value = serde_json::from_str(lines.lines().next().expect("a line")).expect("JSON");
    let id = first["id"].as_str().expect("an id");
    ann.succeeds(&["delete", id, "--here", "--yes"]);
    assert_eq!(ann.texts(), ["wakamole"]);
    let said = ann.succeeds(&[&RESTORE[..], &["--replace"]].concat());
    assert!(said.contains("still deleted: 1"), "{said}");
    assert_eq!(ann.texts(), ["wakamole"]);
}

#[test]
fn the_home_of_somebody_else_is_not_replaced() {
    let (ann, bob) = (Home::new(), Home::new());
    ann.succeeds(&BACKUP);
    bob.succeeds(&["id"]);
    copy(&ann, &bob);
    bob.fails(&[&RESTORE[..], &["--replace"]].concat(), "another identity");
}

#[test]
fn a_running_node_makes_automatic_backups_that_only_the_key_opens() {
    let (ann, other) = (Home::new(), Home::new());
    let public = ann.succeeds(&["backup", "--new-key", "private"]);
    fs::create_dir(ann.path("home")).expect("it is new");
    let settings = format!(
        "backup = {:?}\nbackup-key = {:?}\n",
        ann.path("backups"),
        public.trim()
    );
    fs::write(ann.path("home/config.toml"), settings).expect("it is writable");
    let mut up = ann
        .command(&["-v", "up", "--json", "--no-mdns", "--listen", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("hobnob starts");
    let log = BufReader::new(up.stderr.take().expect("it is piped")).lines();
    let mut made = log.map_while(Result::ok);
    assert!(made.any(|line| line.contains("made the automatic backup")));
    up.kill().expect("it runs");
    up.wait().expect("it ends");
    let mut backups = fs::read_dir(ann.path("backups")).expect("the folder was created");
    let backup = backups.next().expect("a backup").expect("a file").path();
    fs::copy(backup, other.path("file")).expect("the backup exists");
    other.fails(&RESTORE, "--key-file");
    fs::copy(ann.path("private"), other.path("private")).expect("the key exists");
    other.succeeds(&["restore", "file", "--key-file", "private"]);
    let id = |home: &Home| home.succeeds(&["id", "--json"]);
    let id = |home: &Home| serde_json::from_str::<Value>(&id(home)).expect("JSON")["peer"].clone();
    assert_eq!(id(&ann), id(&other));
    let settings = fs::read_to_string(other.path("home/config.toml")).expect("it is restored");
    assert!(settings.contains(public.trim()));
}

#[test]
fn a_failed_automatic_backup_is_a_notice_and_a_finding() {
    let ann = Home::new();
    let public = ann.succeeds(&["backup", "--new-key", "private"]);
    fs::create_dir(ann.path("home")).expect("it is new");
    // A file is where the folder should be.
    let settings = format!(
        "backup = {:?}\nbackup-key = {:?}\n",
        ann.path("private"),
        public.trim()
    );
    fs::write(ann.path("home/config.toml"), settings).expect("it is writable");
    let mut up = Up::start(&ann);
    let notice = up.until(|line| line["code"] == "backup-failed");
    let why = notice["why"].as_str().expect("a reason");
    assert!(why.contains("private"), "{why}");
    let output = ann.run(&["doctor", "--json"]);
    let findings = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(findings.contains("backup-failed"), "{findings}");
}
