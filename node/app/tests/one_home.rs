//! Several processes of one home: who runs the node, and how the others find it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use hobnob_control::{Claim, Home};
use serde_json::Value;
use tempfile::TempDir;

/// The folders of a user, and the environment that a login or cron would set.
struct User {
    folder: TempDir,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Session {
    /// With a runtime folder.
    Login,
    /// Without one.
    Cron,
}

impl User {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("run")).expect("a folder");
        Self { folder }
    }

    fn hobnob(&self, session: Session, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hobnob"));
        command.args(arguments).env("HOME", self.folder.path());
        for variable in ["HOBNOB_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
            command.env_remove(variable);
        }
        match session {
            Session::Login => command.env("XDG_RUNTIME_DIR", self.folder.path().join("run")),
            Session::Cron => command.env_remove("XDG_RUNTIME_DIR"),
        };
        command
    }
}

/// A node in the background. It ends with the test.
struct Up {
    process: Child,
    lines: BufReader<ChildStdout>,
}

impl Up {
    fn start(command: &mut Command) -> Self {
        let mut process = command
            .args(["up", "--json", "--no-mdns", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("hobnob starts");
        let lines = BufReader::new(process.stdout.take().expect("is piped"));
        Self { process, lines }
    }

    /// Waits until the node runs. Returns its id.
    fn peer(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("reads");
        let listening: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(listening["event"], "listening", "{line}");
        listening["peer"].as_str().expect("an id").to_owned()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.process.kill();
        let _code = self.process.wait();
    }
}

#[test]
fn commands_find_the_node_whether_or_not_there_is_a_runtime_folder() {
    for (session, other) in [
        (Session::Login, Session::Cron),
        (Session::Cron, Session::Login),
    ] {
        let user = User::new();
        let mut up = Up::start(&mut user.hobnob(session, &[]));
        let peer = up.peer();
        let output = user
            .hobnob(other, &["id", "--json"])
            .output()
            .expect("hobnob runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && text.contains(&peer),
            "{text} {error}"
        );
    }
}

#[test]
fn up_waits_for_a_command_that_runs_the_node_and_then_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = Home::at(folder.path()).expect("a home");
    // Stands for a command such as `hobnob send`.
    let Claim::Ours(claimed) = home.claim().expect("a home") else {
        panic!("the folder is new")
    };
    let mut command = up_in(folder.path());
    let mut up = Up::start(command.arg("-vv").stderr(Stdio::piped()));
    let log = BufReader::new(up.process.stderr.take().expect("is piped"));
    let waits = |line: std::io::Result<String>| line.expect("reads").contains("waiting for it");
    assert!(log.lines().any(waits), "the process ended");
    drop(claimed);
    up.peer();
}

fn up_in(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hobnob"));
    command.arg("--home").arg(home).env_remove("HOBNOB_HOME");
    command
}
