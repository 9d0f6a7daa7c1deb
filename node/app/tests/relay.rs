//! `hobnob relay` calls the relay's own command line. Its behaviour is tested in `relay/app`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

fn hobnob(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hobnob"));
    command
        .args(arguments)
        .arg("--home")
        .arg(home)
        .env_remove("HOBNOB_HOME");
    command
}

/// Kills the process when the test ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().expect("the process still runs");
        self.0.wait().expect("the process was killed");
    }
}

/// Starts a relay, and returns the first line that it prints.
fn start_relay(home: &Path) -> (Killed, Value) {
    let mut process = hobnob(home, &["relay", "--json", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("hobnob starts");
    let mut line = String::new();
    BufReader::new(process.stdout.take().expect("stdout is piped"))
        .read_line(&mut line)
        .expect("stdout is readable");
    let listening = serde_json::from_str(&line).expect("the relay prints JSON");
    (Killed(process), listening)
}

#[test]
fn a_relay_and_a_node_in_one_home_have_different_identities() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let (_relay, listening) = start_relay(home.path());
    assert_eq!(listening["event"], "listening");
    let output = hobnob(
        home.path(),
        &["id", "--no-mdns", "--listen", "127.0.0.1:0", "--json"],
    )
    .output()
    .expect("hobnob runs");
    let text = String::from_utf8(output.stdout).expect("the output is UTF-8");
    assert_eq!(output.status.code(), Some(0), "{text}");
    let relay = listening["relay"]
        .as_str()
        .expect("the line has the relay's id");
    assert!(!text.contains(relay), "{text}");
}

#[test]
fn the_relay_command_rejects_the_nodes_flags() {
    let home = tempfile::tempdir().expect("a temporary folder");
    for arguments in [["relay", "--nick", "ann"], ["--nick", "ann", "relay"]] {
        let output = hobnob(home.path(), &arguments)
            .output()
            .expect("hobnob runs");
        let text = String::from_utf8(output.stderr).expect("the output is UTF-8");
        assert!(
            output.status.code() == Some(2) && text.contains("--nick"),
            "{text}"
        );
    }
}
