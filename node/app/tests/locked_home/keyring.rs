//! Homes that the system keyring opens: GNOME Keyring on a D-Bus of the test's own.
//! `scripts/setup` installs both.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::home::{Home, TEXTS};

/// Time limit for the start of the keyring.
const LIMIT: Duration = Duration::from_secs(60);

/// A session bus, with a keyring or without one.
struct Session {
    bus: Child,
    /// The bus ends when nobody reads it.
    _output: BufReader<ChildStdout>,
    address: String,
    /// The folder of the keyring's files.
    folder: PathBuf,
    keyring: Option<Child>,
}

impl Session {
    /// A session with a keyring that is unlocked. It stores its files in this folder.
    fn unlocked(folder: PathBuf) -> Self {
        let mut session = Self::without_keyring(folder);
        session.start_keyring(true);
        session
    }

    fn without_keyring(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).expect("it is writable");
        // The socket's path must be short, and no other service may be started.
        let config = folder.join("bus.conf");
        let text = format!(
            "<busconfig><type>session</type><listen>unix:tmpdir={}</listen>\
             <policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>\
             <allow eavesdrop=\"true\"/><allow own=\"*\"/></policy>\
             </busconfig>",
            folder.display()
        );
        fs::write(&config, text).expect("it is writable");
        let mut bus = Command::new("dbus-daemon")
            .arg("--nofork")
            .arg("--print-address")
            .arg(format!("--config-file={}", config.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon runs: scripts/setup installs it");
        let mut output = BufReader::new(bus.stdout.take().expect("piped"));
        let mut address = String::new();
        output.read_line(&mut address).expect("the bus runs");
        Self {
            bus,
            _output: output,
            address: address.trim().to_owned(),
            folder,
            keyring: None,
        }
    }

    /// Starts the keyring, with the password that unlocks it or without.
    fn start_keyring(&mut self, unlocked: bool) {
        let mut command = Command::new("gnome-keyring-daemon");
        command
            .args(["--foreground", "--components=secrets"])
            .arg("--control-directory")
            .arg(self.folder.join("control"))
            .env_clear()
            .envs(self.environment())
            .env("HOME", &self.folder)
            .env("XDG_DATA_HOME", &self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if unlocked {
            command.arg("--unlock");
        }
        let mut keyring = command
            .spawn()
            .expect("gnome-keyring-daemon runs: scripts/setup installs it");
        let mut password = keyring.stdin.take().expect("piped");
        if unlocked {
            password.write_all(b"login").expect("it reads its password");
        }
        drop(password);
        self.keyring = Some(keyring);
        let began = Instant::now();
        while !self.has_keyring() {
            assert!(began.elapsed() < LIMIT, "the keyring does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts the keyring again, as after a restart of the machine before anybody has logged in.
    fn lock_keyring(&mut self) {
        stop(self.keyring.as_mut().expect("it runs"));
        let began = Instant::now();
        while self.has_keyring() {
            assert!(began.elapsed() < LIMIT, "the keyring does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.start_keyring(false);
    }

    fn has_keyring(&self) -> bool {
        let answer = self.ask(
            "org.freedesktop.DBus",
            "org.freedesktop.DBus.NameHasOwner",
            "string:org.freedesktop.secrets",
        );
        answer.contains("boolean true")
    }

    /// The keys of hobnob in the keyring.
    fn keys(&self) -> usize {
        let answer = self.ask(
            "org.freedesktop.secrets",
            "org.freedesktop.Secret.Service.SearchItems",
            "dict:string:string:service,hobnob",
        );
        assert!(answer.contains("array"), "{answer}");
        answer.matches("object path").count()
    }

    fn ask(&self, service: &str, method: &str, argument: &str) -> String {
        let output = Command::new("dbus-send")
            .arg(format!("--bus={}", self.address))
            .arg("--print-reply")
            .arg(format!("--dest={service}"))
            .args(["/org/freedesktop/secrets", method, argument])
            .output()
            .expect("dbus-send runs: scripts/setup installs it");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// The variables that lead a program to this session, and to no other.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let folder = self.folder.to_str().expect("UTF-8").to_owned();
        vec![
            ("DBUS_SESSION_BUS_ADDRESS", self.address.clone()),
            ("XDG_RUNTIME_DIR", folder),
        ]
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for process in self.keyring.iter_mut().chain([&mut self.bus]) {
            stop(process);
        }
    }
}

fn stop(process: &mut Child) {
    // It may have ended by itself.
    let _ = process.kill();
    let _ = process.wait();
}

/// A home with messages, in a session with a keyring that is unlocked.
fn home_and_keyring() -> (Home, Session) {
    let mut home = Home::with_messages();
    let session = Session::unlocked(home.path("session"));
    home.environment = session.environment();
    (home, session)
}

/// Leads the programs of a home to a session that has nothing.
fn without_session(home: &mut Home) {
    let empty = home.path("nothing");
    fs::create_dir_all(&empty).expect("it is writable");
    let empty = empty.to_str().expect("UTF-8").to_owned();
    home.environment = vec![("XDG_RUNTIME_DIR", empty)];
}

fn remove_home(home: &Home) {
    fs::remove_dir_all(home.path("home")).expect("it is a folder");
}

fn file_contains(path: &Path, text: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|content| content.contains(text))
}

#[test]
fn the_keyring_opens_a_home_without_a_question() {
    let (home, session) = home_and_keyring();
    let output = home.succeeds(&["lock", "--keyring"]);
    assert!(output.contains("if the keyring is lost"), "{output}");
    assert!(home.is_locked());
    assert!(!file_contains(&home.path("home/locked"), "argon2id"));
    assert_eq!(home.found(&TEXTS), Vec::<String>::new());
    assert_eq!(session.keys(), 1);
    assert_eq!(home.texts_with(&[]).len(), 1);
    home.fails(&["lock", "--keyring"], "is locked already");
    assert_eq!(session.keys(), 1, "nothing was stored for nothing");
    home.succeeds(&["unlock"]);
    assert!(!home.is_locked());
    assert_eq!(session.keys(), 0);
    assert_eq!(home.texts_with(&[]).len(), 1);
}

#[test]
fn a_keyring_that_is_absent_locked_or_empty_is_reported() {
    let (mut home, mut session) = home_and_keyring();
    let of_session = home.environment.clone();
    without_session(&mut home);
    home.fails(&["lock", "--keyring"], "this session has no system keyring");
    assert!(!home.is_locked());

    home.environment = of_session.clone();
    home.succeeds(&["lock", "--keyring"]);
    without_session(&mut home);
    home.fails(&["rooms"], "this session has no system keyring");

    let other = Session::unlocked(home.path("other"));
    home.environment = other.environment();
    home.fails(&["rooms"], "does not have the key");

    session.lock_keyring();
    home.environment = of_session;
    home.fails(&["rooms"], "the system keyring is locked");
    home.fails(&["unlock"], "the system keyring is locked");
    assert!(home.is_locked());
}

#[test]
fn passwd_moves_a_home_between_passphrase_and_keyring() {
    let (mut home, session) = home_and_keyring();
    home.succeeds(&["lock", "--passphrase-file", "words"]);
    home.succeeds(&["passwd", "--keyring", "--passphrase-file", "words"]);
    assert_eq!(session.keys(), 1);
    assert_eq!(home.texts_with(&[]).len(), 1, "the keyring opens it");
    assert_eq!(home.texts("words").len(), 1, "and so does the passphrase");

    // The passphrase is needed only where there is no keyring.
    let of_session = home.environment.clone();
    without_session(&mut home);
    home.fails(&["rooms"], "this session has no system keyring");
    assert_eq!(home.texts("words").len(), 1);
    home.environment = of_session.clone();

    home.succeeds(&["passwd", "--keyring"]);
    assert_eq!(session.keys(), 1, "the key was exchanged");
    home.succeeds(&["passwd", "--no-keyring"]);
    assert_eq!(session.keys(), 0);
    home.fails(&["rooms"], "--home-passphrase-file");
    assert_eq!(home.texts("words").len(), 1);
    home.succeeds(&["unlock", "--passphrase-file", "words"]);

    home.succeeds(&["lock", "--keyring"]);
    home.succeeds(&["passwd", "--new-passphrase-file", "others"]);
    assert_eq!(home.texts_with(&[]).len(), 1);
    assert_eq!(home.texts("others").len(), 1);
    home.succeeds(&["passwd", "--no-keyring"]);
    home.succeeds(&["unlock", "--passphrase-file", "others"]);

    home.succeeds(&["lock", "--keyring"]);
    home.fails(&["passwd", "--no-keyring"], "--passphrase-file");
    assert_eq!(home.texts_with(&[]).len(), 1, "nothing was changed");
    let new = ["passwd", "--no-keyring", "--new-passphrase-file", "others"];
    home.succeeds(&new);
    assert_eq!(home.texts("others").len(), 1);
    assert_eq!(session.keys(), 0);
}

#[test]
fn a_backup_has_the_key_that_only_the_keyring_had() {
    let (mut home, session) = home_and_keyring();
    home.succeeds(&["lock", "--keyring"]);
    home.succeeds(&["backup", "b.age", "--passphrase-file", "others"]);
    remove_home(&home);
    drop(session);

    // Another machine, with a keyring of its own.
    let other = Session::unlocked(home.path("other"));
    home.environment = other.environment();
    let restore = ["restore", "b.age", "--passphrase-file", "others"];
    home.succeeds(&restore);
    assert!(home.is_locked());
    assert_eq!(other.keys(), 1);
    assert_eq!(home.texts_with(&[]).len(), 1);
    assert_eq!(home.found(&TEXTS), Vec::<String>::new());
    remove_home(&home);

    // And one without.
    without_session(&mut home);
    home.fails(&restore, "--home-passphrase-file FILE");
    assert!(!home.path("home").exists());
    home.succeeds(&[&restore[..], &["--home-passphrase-file", "words"]].concat());
    assert!(home.is_locked());
    assert_eq!(home.texts("words").len(), 1);
    assert_eq!(home.found(&TEXTS), Vec::<String>::new());
}
