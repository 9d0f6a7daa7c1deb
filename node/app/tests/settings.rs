//! Settings, completions and manual pages as a user has them: real processes with files and
//! variables of their own.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Runs `hobnob` with nothing in its environment but a home folder, and these variables.
fn hobnob(user: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hobnob"));
    command
        .args(arguments)
        .env_clear()
        .env("HOME", user)
        .envs(variables.iter().copied())
        .stdin(Stdio::null());
    command.output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// A user with this settings file, in which nothing is said of the network: their nodes keep to
/// themselves.
fn user(settings: &str) -> TempDir {
    let user = tempfile::tempdir().expect("a folder");
    let dir = user.path().join(".config/hobnob");
    std::fs::create_dir_all(&dir).expect("it is ours");
    std::fs::write(dir.join("config.toml"), settings).expect("it is ours");
    user
}

/// What a node that is started for the question says that it is.
fn status(user: &TempDir, variables: &[(&str, &str)], flags: &[&str]) -> Value {
    let output = hobnob(user.path(), variables, &[&["id", "--json"], flags].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one line of JSON")
}

#[test]
fn flags_override_variables_and_these_the_file_and_that_the_defaults() {
    let user =
        user("nick = \"filed\"\nmdns = false\nlisten = \"127.0.0.1:0\"\nrooms = [\"ops\"]\n");
    let nick = |variables: &[(&str, &str)], flags: &[&str]| {
        status(&user, variables, flags)["nick"].clone()
    };
    assert_eq!(nick(&[], &[]), "filed");
    assert_eq!(nick(&[("HOBNOB_NICK", "varied")], &[]), "varied");
    assert_eq!(
        nick(&[("HOBNOB_NICK", "varied")], &["--nick", "flagged"]),
        "flagged"
    );
    let of_file = status(&user, &[], &[]);
    assert!(
        of_file["addrs"][0]
            .as_str()
            .is_some_and(|addr| addr.starts_with("127.0.0.1:")),
        "{of_file}"
    );
    assert!(
        of_file["rooms"]
            .as_array()
            .is_some_and(|rooms| rooms.iter().any(|room| room["room"] == "#ops")),
        "{of_file}"
    );
}

#[test]
fn the_file_is_where_config_says() {
    let user = user("");
    let place = |variables: &[(&str, &str)], flags: &[&str]| {
        let output = hobnob(
            user.path(),
            variables,
            &[&["config", "--path"], flags].concat(),
        );
        text(&output.stdout).trim_end().to_owned()
    };
    let home = user.path().display();
    assert_eq!(
        place(&[], &[]),
        format!("{home}/.config/hobnob/config.toml")
    );
    assert_eq!(
        place(&[("XDG_CONFIG_HOME", "/x")], &[]),
        "/x/hobnob/config.toml"
    );
    assert_eq!(place(&[("HOBNOB_HOME", "/y")], &[]), "/y/config.toml");
    assert_eq!(
        place(&[("HOBNOB_HOME", "/y")], &["--home", "/z"]),
        "/z/config.toml"
    );
}

#[test]
fn an_unknown_setting_is_an_error_with_its_line_for_every_command_of_a_node() {
    let user = user("mdns = false\nlisten = \"127.0.0.1:0\"\n\nrelay = [\"x:1\"]\n");
    for command in [&["up"][..], &["peers"], &["send", "bob", "hi"]] {
        let output = hobnob(user.path(), &[], command);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {said}");
        assert!(
            said.contains("config.toml, line 4: unknown field `relay`")
                && said.contains("`relays`"),
            "{said}"
        );
    }
    // What shows how it is done is not in the way.
    assert!(hobnob(user.path(), &[], &["config"]).status.success());
}

#[test]
fn settings_of_files_that_would_mean_nothing_are_errors() {
    let user = user("mdns = false\nlisten = \"127.0.0.1:0\"\n");
    for (variables, flags, says) in [
        (
            &[("HOBNOB_ACCEPT_MAX", "20M")][..],
            &[][..],
            "accept-max needs accept-from",
        ),
        (
            &[],
            &["--accept-max", "20M"],
            "accept-max needs accept-from",
        ),
        (
            &[("HOBNOB_ACCEPT_FROM", "verified, bob")],
            &[],
            "the variable HOBNOB_ACCEPT_FROM: give a peer's whole id",
        ),
        (
            &[("HOBNOB_DOWNLOADS", "Downloads")],
            &[],
            "`downloads` needs an absolute path, not Downloads",
        ),
    ] {
        let output = hobnob(user.path(), variables, &[&["id"], flags].concat());
        let said = text(&output.stderr);
        assert!(
            output.status.code() == Some(2) && said.contains(says),
            "{variables:?} {flags:?}: {said}"
        );
    }
    status(
        &user,
        &[
            ("HOBNOB_ACCEPT_FROM", "verified"),
            ("HOBNOB_ACCEPT_MAX", "20M"),
            ("HOBNOB_DOWNLOADS", "/tmp/x"),
        ],
        &[],
    );
}

#[test]
fn the_printed_settings_are_a_file_that_changes_nothing() {
    let user = user("");
    let printed = text(&hobnob(user.path(), &[], &["config"]).stdout);
    std::fs::write(user.path().join(".config/hobnob/config.toml"), &printed).expect("it is ours");
    let quiet = [("HOBNOB_MDNS", "false"), ("HOBNOB_LISTEN", "127.0.0.1:0")];
    assert_eq!(status(&user, &quiet, &["--nick", "ann"])["nick"], "ann");
}

#[test]
fn completions_and_manual_pages_know_the_commands() {
    let user = user("");
    let printed = |arguments: &[&str]| text(&hobnob(user.path(), &[], arguments).stdout);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(&["completions", shell]);
        assert!(
            script.contains("broadcast") && script.contains("no-mdns"),
            "{shell}"
        );
    }
    let page = printed(&["man"]);
    assert!(
        page.contains(".TH HOBNOB 1") && page.contains("hobnob\\-send(1)"),
        "{page}"
    );
}

/// Whether a program is there that checks something; if not, that is said aloud.
fn is_there(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let missing = found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    if missing {
        eprintln!("SKIPPED: {program} is not installed");
    }
    !missing
}

#[test]
fn every_manual_page_renders_without_a_warning() {
    let user = user("");
    let pages = user.path().join("man1");
    assert!(
        hobnob(
            user.path(),
            &[],
            &["man", "--dir", pages.to_str().expect("UTF-8")]
        )
        .status
        .success()
    );
    let all: Vec<_> = pages
        .read_dir()
        .expect("it was made")
        .map(|page| page.expect("readable").path())
        .collect();
    assert!(
        all.len() > 20 && all.iter().any(|page| page.ends_with("hobnob-relay-ban.1")),
        "{all:?}"
    );
    for (program, arguments) in [
        ("mandoc", &["-T", "lint", "-W", "warning"][..]),
        ("groff", &["-man", "-ww", "-T", "utf8", "-z"]),
    ] {
        if is_there(program) {
            let output = Command::new(program)
                .args(arguments)
                .args(&all)
                .output()
                .expect("it is there");
            let said = text(&output.stdout) + &text(&output.stderr);
            assert!(
                output.status.success() && said.is_empty(),
                "{program}: {said}"
            );
        }
    }
}

#[test]
fn systemd_takes_the_units_as_they_are() {
    if !is_there("systemd-analyze") {
        return;
    }
    let user = user("");
    let program = user.path().join(".cargo/bin/hobnob");
    std::fs::create_dir_all(program.parent().expect("a folder")).expect("it is ours");
    std::fs::copy(env!("CARGO_BIN_EXE_hobnob"), &program).expect("it is ours");
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts");
    let verifies = |unit: &str, flags: &[&str]| {
        let content = std::fs::read_to_string(scripts.join(unit)).expect("it is there");
        let copy = user.path().join(unit);
        // The program is not where an operator has put it.
        std::fs::write(
            &copy,
            content.replace("/usr/local/bin/hobnob", program.to_str().expect("UTF-8")),
        )
        .expect("it is ours");
        let mut command = Command::new("systemd-analyze");
        command.args(flags).args(["verify", "--man=no"]).arg(&copy);
        let output = command
            .env("HOME", user.path())
            .env("XDG_RUNTIME_DIR", user.path())
            .output()
            .expect("it is there");
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{unit}: {said}");
    };
    verifies("hobnob.service", &["--user"]);
    verifies("hobnob-relay.service", &[]);
}
