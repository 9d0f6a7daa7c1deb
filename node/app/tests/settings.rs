//! Settings, completions and manual pages, in real processes with their own files and variables.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Runs `hobnob` in an environment that has only a home folder and these variables.
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

/// Creates the home folder of a user with this settings file.
fn user(settings: &str) -> TempDir {
    let user = tempfile::tempdir().expect("a temporary folder");
    let dir = user.path().join(".config/hobnob");
    std::fs::create_dir_all(&dir).expect("the temporary folder is writable");
    std::fs::write(dir.join("config.toml"), settings).expect("the temporary folder is writable");
    user
}

/// Runs `hobnob id`, and returns the status of the node that it starts.
fn status(user: &TempDir, variables: &[(&str, &str)], flags: &[&str]) -> Value {
    let output = hobnob(user.path(), variables, &[&["id", "--json"], flags].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one line of JSON")
}

#[test]
fn flags_override_variables_and_variables_override_the_file() {
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
fn config_prints_the_path_of_the_file() {
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
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {errors}");
        assert!(
            errors.contains("config.toml, line 4: unknown field `relay`")
                && errors.contains("`relays`"),
            "{errors}"
        );
    }
    // `config` prints valid settings, so it must work despite the error.
    assert!(hobnob(user.path(), &[], &["config"]).status.success());
}

#[test]
fn meaningless_settings_of_files_are_errors() {
    let user = user("mdns = false\nlisten = \"127.0.0.1:0\"\n");
    for (variables, flags, expected) in [
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
        let errors = text(&output.stderr);
        assert!(
            output.status.code() == Some(2) && errors.contains(expected),
            "{variables:?} {flags:?}: {errors}"
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
fn the_printed_settings_change_nothing() {
    let user = user("");
    let printed = text(&hobnob(user.path(), &[], &["config"]).stdout);
    std::fs::write(user.path().join(".config/hobnob/config.toml"), &printed)
        .expect("the temporary folder is writable");
    let quiet = [("HOBNOB_MDNS", "false"), ("HOBNOB_LISTEN", "127.0.0.1:0")];
    assert_eq!(status(&user, &quiet, &["--nick", "ann"])["nick"], "ann");
}

#[test]
fn completions_and_manual_pages_contain_the_commands() {
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

/// Whether this program is installed. Prints a line if it is not.
fn is_installed(program: &str) -> bool {
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
        .expect("the command created the folder")
        .map(|page| page.expect("the folder is readable").path())
        .collect();
    assert!(
        all.len() > 20 && all.iter().any(|page| page.ends_with("hobnob-relay-ban.1")),
        "{all:?}"
    );
    for (program, arguments) in [
        ("mandoc", &["-T", "lint", "-W", "warning"][..]),
        ("groff", &["-man", "-ww", "-T", "utf8", "-z"]),
    ] {
        if is_installed(program) {
            let output = Command::new(program)
                .args(arguments)
                .args(&all)
                .output()
                .expect("the program is installed");
            let printed = text(&output.stdout) + &text(&output.stderr);
            assert!(
                output.status.success() && printed.is_empty(),
                "{program}: {printed}"
            );
        }
    }
}

#[test]
fn systemd_accepts_the_units() {
    if !is_installed("systemd-analyze") {
        return;
    }
    let user = user("");
    let program = user.path().join(".cargo/bin/hobnob");
    std::fs::create_dir_all(program.parent().expect("the path has a folder"))
        .expect("the temporary folder is writable");
    std::fs::copy(env!("CARGO_BIN_EXE_hobnob"), &program)
        .expect("the temporary folder is writable");
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts");
    let verify = |unit: &str, flags: &[&str]| {
        let content = std::fs::read_to_string(scripts.join(unit)).expect("the unit exists");
        let copy = user.path().join(unit);
        // The test's program has another path than an installed one.
        std::fs::write(
            &copy,
            content.replace("/usr/local/bin/hobnob", program.to_str().expect("UTF-8")),
        )
        .expect("the temporary folder is writable");
        let mut command = Command::new("systemd-analyze");
        command.args(flags).args(["verify", "--man=no"]).arg(&copy);
        let output = command
            .env("HOME", user.path())
            .env("XDG_RUNTIME_DIR", user.path())
            .output()
            .expect("the program is installed");
        let printed = text(&output.stdout) + &text(&output.stderr);
        assert!(
            output.status.success() && printed.is_empty(),
            "{unit}: {printed}"
        );
    };
    verify("hobnob.service", &["--user"]);
    verify("hobnob-relay.service", &[]);
    verify("hobnob-relay.socket", &[]);
}
