//! Whether this process may make network namespaces; becoming one that may.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Makes sure that this process may make namespaces: as root, or else by starting itself anew in an
/// unprivileged user namespace.
///
/// In the second case it does not return: the whole test binary begins again, with the same
/// arguments, as "root" in there.
pub(super) fn obtain() -> Result<(), String> {
    static OBTAINED: OnceLock<Result<(), String>> = OnceLock::new();
    OBTAINED.get_or_init(become_privileged).clone()
}

fn become_privileged() -> Result<(), String> {
    if works(&["unshare", "--net", "--pid", "--mount", "--fork", "true"]) {
        return Ok(());
    }
    if std::env::var_os(INSIDE).is_some() {
        return Err("no namespaces inside a user namespace either".to_owned());
    }
    if !works(&[
        "unshare",
        "--user",
        "--map-root-user",
        "unshare",
        "--net",
        "--pid",
        "--mount",
        "--fork",
        "true",
    ]) {
        return Err("unshare(1) was refused, or is missing (package util-linux)".to_owned());
    }
    let this = std::env::current_exe().map_err(|e| format!("this program's own path: {e}"))?;
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut again = Command::new("unshare");
    again
        .args(["--user", "--map-root-user", "--mount"])
        .arg(this)
        .args(arguments)
        .env(INSIDE, "1");
    Err(format!(
        "starting again in a user namespace: {}",
        again.exec()
    ))
}

fn works(command: &[&str]) -> bool {
    let silent = || Stdio::null();
    Command::new(command[0])
        .args(&command[1..])
        .stdin(silent())
        .stdout(silent())
        .stderr(silent())
        .status()
        .is_ok_and(|status| status.success())
}

/// Set where this process has been started again in a user namespace.
const INSIDE: &str = "HOBNOB_LAB_INSIDE";
