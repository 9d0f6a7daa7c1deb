//! The permission to create network namespaces: checks it, and obtains it if possible.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Ensures that this process may create namespaces: as root, or by starting itself again in an
/// unprivileged user namespace.
///
/// In the second case it does not return. The test binary starts again with the same arguments, as
/// root of the user namespace.
pub(super) fn obtain() -> Result<(), String> {
    static OBTAINED: OnceLock<Result<(), String>> = OnceLock::new();
    OBTAINED.get_or_init(become_privileged).clone()
}

fn become_privileged() -> Result<(), String> {
    if works(&["unshare", "--net", "--pid", "--mount", "--fork", "true"]) {
        return Ok(());
    }
    if std::env::var_os(INSIDE).is_some() {
        return Err("namespaces are not allowed inside a user namespace either".to_owned());
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
        return Err("unshare(1) failed, or is not installed (package util-linux)".to_owned());
    }
    let this =
        std::env::current_exe().map_err(|e| format!("finding the path of this program: {e}"))?;
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

/// Set if this process was started again in a user namespace.
const INSIDE: &str = "HOBNOB_LAB_INSIDE";
