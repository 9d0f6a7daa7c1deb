//! Locked homes in real processes: what is in their files, wrong passphrases, crashes, backups, the
//! system keyring.

#![expect(
    clippy::disallowed_methods,
    reason = "it measures a program, and kills it at any moment"
)]

mod home;
mod keyring;

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use self::home::{Home, TEXTS};

/// A node that runs until the test ends.
struct Up {
    process: Child,
    /// A node whose output is closed ends.
    _lines: Lines<BufReader<ChildStdout>>,
}

impl Up {
    fn start(home: &Home) -> Self {
        let mut command = home.command(&["up", "--json", "--home-passphrase-file", "words"]);
        // It would stop at the end of its input.
        command.stdin(Stdio::piped());
        let mut process = command.spawn().expect("hobnob runs");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let mut is_listening = || {
            let line = lines.next().expect("the node runs").expect("UTF-8");
            line.contains("listening")
        };
        while !is_listening() {}
        Self {
            process,
            _lines: lines,
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn no_file_of_a_locked_home_has_a_text_a_name_or_the_key() {
    let home = Home::with_messages();
    let key = home.secret_key();
    let searched: Vec<&str> = TEXTS.into_iter().chain([key.as_str()]).collect();
    let found = home.found(&searched);
    for text in &searched {
        assert!(
            found.iter().any(|place| place.starts_with(text)),
            "{text}: {found:?}"
        );
    }
    assert_eq!(home.succeeds(&["search", "harbour"]).lines().count(), 1);
    home.succeeds(&["lock", "--passphrase-file", "words"]);
    assert_eq!(home.found(&searched), Vec::<String>::new());

    // A node that runs writes no text either, neither to the database nor beside it.
    let up = Up::start(&home);
    home.succeeds(&["broadcast", "attackatdawn again in the harbour"]);
    let lines = home.succeeds(&["search", "harbour"]);
    assert_eq!(lines.lines().count(), 2, "the index works: {lines}");
    assert!(home.path("home/messages.db-wal").exists());
    assert_eq!(home.found(&searched), Vec::<String>::new());
    drop(up);
    assert_eq!(home.found(&searched), Vec::<String>::new(), "after a kill");
    assert_eq!(home.texts("words").len(), 2);

    home.succeeds(&["unlock", "--passphrase-file", "words"]);
    assert_eq!(home.secret_key(), key);
    assert_eq!(home.texts("words").len(), 2);
    assert!(!home.is_locked());
}

/// The processor time of the programs that this starts and waits for. Other work of the machine does
/// not count.
fn processor_time(start: impl FnOnce()) -> Duration {
    let before = time_of_ended_programs();
    start();
    time_of_ended_programs() - before
}

/// Fields `cutime` and `cstime` of proc_pid_stat(5), in hundredths of a second.
fn time_of_ended_programs() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux has it");
    let (_, after_name) = stat.rsplit_once(") ").expect("a name");
    let ticks: u64 = after_name
        .split(' ')
        .skip(13)
        .take(2)
        .map(|field| field.parse::<u64>().expect("a number"))
        .sum();
    Duration::from_millis(10 * ticks)
}

#[test]
fn a_wrong_passphrase_is_reported_within_a_second_and_a_right_one_opens_soon() {
    let home = Home::with_messages();
    home.fails(&["unlock"], "is not locked: `hobnob lock` locks it");
    home.succeeds(&["lock", "--passphrase-file", "words"]);
    home.fails(&["lock", "--passphrase-file", "words"], "is locked already");
    home.fails(&["rooms"], "--home-passphrase-file");

    let wrong = ["rooms", "--home-passphrase-file", "others"];
    let took = processor_time(|| home.fails(&wrong, "this is not the passphrase of"));
    assert!(took < Duration::from_secs(1), "{took:?}");
    let took = processor_time(|| assert_eq!(home.texts("words").len(), 1));
    assert!(took < Duration::from_millis(1_500), "{took:?}");

    home.fails(
        &["unlock", "--passphrase-file", "others"],
        "this is not the passphrase of",
    );
    home.fails(
        &["passwd", "--passphrase-file", "others"],
        "this is not the passphrase of",
    );
    let up = Up::start(&home);
    home.fails(&["unlock", "--passphrase-file", "words"], "stop it first");
    let new = [
        "--passphrase-file",
        "words",
        "--new-passphrase-file",
        "others",
    ];
    home.succeeds(&[&["passwd"], &new[..]].concat());
    assert_eq!(
        home.succeeds(&["rooms"]).lines().count(),
        1,
        "the node goes on"
    );
    drop(up);
    home.fails(
        &["rooms", "--home-passphrase-file", "words"],
        "this is not the passphrase of",
    );
    assert_eq!(home.texts("others").len(), 1);
}

#[test]
fn a_service_reads_the_passphrase_from_its_credentials() {
    let home = Home::with_messages();
    home.succeeds(&["lock", "--passphrase-file", "words"]);
    let credentials = home.path("credentials");
    fs::create_dir(&credentials).expect("a folder");
    fs::copy(home.path("words"), credentials.join("hobnob-passphrase")).expect("a copy");
    let mut command = home.command(&["rooms"]);
    command.env("CREDENTIALS_DIRECTORY", &credentials);
    let output = command.output().expect("hobnob runs");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_kill_while_a_home_is_locked_or_unlocked_loses_nothing() {
    let home = Home::with_messages();
    let before = home.texts("words");
    let began = Instant::now();
    for command in ["lock", "unlock"] {
        home.succeeds(&[command, "--passphrase-file", "words"]);
    }
    let whole = began.elapsed() / 2;
    let (mut locked, mut unlocked) = (0, 0);
    for round in 1..=64 {
        let command = if home.is_locked() { "unlock" } else { "lock" };
        let mut command = home.command(&[command, "--passphrase-file", "words"]);
        let mut process = command.spawn().expect("hobnob runs");
        // From a moment before its end, where it does most, to one after it. A busy machine is slower
        // than at the start of this test.
        std::thread::sleep(whole * (8 + round) / 20);
        process.kill().expect("it is a child");
        process.wait().expect("it is a child");
        assert_eq!(home.texts("words"), before, "round {round}");
        for left in ["switch.new", "switch.ready"] {
            assert!(
                !home.path("home").join(left).exists(),
                "{left} after round {round}"
            );
        }
        match home.is_locked() {
            true => {
                locked += 1;
                assert_eq!(home.found(&TEXTS), Vec::<String>::new(), "round {round}");
            }
            false => unlocked += 1,
        }
        if round >= 16 && locked > 0 && unlocked > 0 {
            return;
        }
    }
    panic!("{locked} rounds locked, {unlocked} not");
}

#[test]
fn the_backup_of_a_locked_home_is_restored_as_a_locked_home() {
    let home = Home::with_messages();
    home.succeeds(&["lock", "--passphrase-file", "words"]);
    let backup = ["backup", "b.age", "--passphrase-file", "others"];
    home.succeeds(&[&backup[..], &["--home-passphrase-file", "words"]].concat());
    assert_eq!(home.found(&TEXTS), Vec::<String>::new());
    fs::remove_dir_all(home.path("home")).expect("it is a folder");
    let restore = ["restore", "b.age", "--passphrase-file", "others"];
    home.fails(&restore, "--home-passphrase-file");
    assert!(!home.path("home").exists());
    home.succeeds(&[&restore[..], &["--home-passphrase-file", "words"]].concat());
    assert!(home.is_locked());
    assert_eq!(home.texts("words").len(), 1);
    assert_eq!(home.found(&TEXTS), Vec::<String>::new());
}

#[test]
fn the_program_does_not_use_openssl() {
    let program = Path::new(env!("CARGO_BIN_EXE_hobnob"));
    let output = Command::new("ldd").arg(program).output().expect("ldd runs");
    let libraries = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(libraries.contains("libc."), "{libraries}");
    for foreign in ["libcrypto", "libssl", "libsqlite"] {
        assert!(!libraries.contains(foreign), "{libraries}");
    }
}
