//! Login files: how the browser of this machine's user proves that it is theirs.
//!
//! `hobnob web` writes a page that only the user can read, and opens it in the browser. The page sends
//! a one-time token to the server. The token is neither in a URL nor in a command line, where other
//! users of the machine or the browser's history could see it. The name of the file is a hash of the
//! token: the server deletes the file, and whoever manages to delete it has used the token.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hobnob_local::private_file;

use crate::clock;

/// How long a one-time token is valid.
pub const LOGIN_WITHIN: Duration = Duration::from_secs(60);

const PREFIX: &str = "login-";
const SUFFIX: &str = ".html";

/// A login file that was written.
pub struct Login {
    /// The path of the file.
    pub path: PathBuf,
    /// The one-time token in it.
    pub token: String,
}

/// Writes a login file for the server at `addr`. Deletes expired ones.
pub fn write(folder: &Path, addr: SocketAddr) -> io::Result<Login> {
    sweep(folder, clock::now_ms())?;
    let token = clock::random_text();
    let path = path_of(folder, &token);
    private_file::create(&path, page(addr, &token).as_bytes())?;
    Ok(Login { path, token })
}

/// Whether the token of a login file is valid. It is valid once, and for [`LOGIN_WITHIN`].
pub(crate) fn redeem(folder: &Path, token: &str, now_ms: u64) -> bool {
    let path = path_of(folder, token);
    let fresh = written_ms(&path).is_some_and(|at| is_fresh(at, now_ms));
    // Of several requests with one token, only one deletes the file.
    std::fs::remove_file(&path).is_ok() && fresh
}

/// Deletes expired login files.
pub(crate) fn sweep(folder: &Path, now_ms: u64) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_login = name
            .to_str()
            .is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX));
        let path = entry.path();
        if is_login && written_ms(&path).is_some_and(|at| !is_fresh(at, now_ms)) {
            // Another process may have deleted it.
            let _gone = std::fs::remove_file(path);
        }
    }
    Ok(())
}

fn path_of(folder: &Path, token: &str) -> PathBuf {
    let hash = blake3::derive_key("hobnob web login file", token.as_bytes());
    let hash = blake3::Hash::from_bytes(hash).to_hex();
    folder.join(format!("{PREFIX}{hash}{SUFFIX}"))
}

fn written_ms(path: &Path) -> Option<u64> {
    let written: SystemTime = path.symlink_metadata().ok()?.modified().ok()?;
    let since = written.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// A file from the future is not fresh: somebody has changed the clock.
fn is_fresh(written_ms: u64, now_ms: u64) -> bool {
    // Some file systems round times.
    let age = (now_ms + 2_000).checked_sub(written_ms);
    age.is_some_and(|age| u128::from(age) <= LOGIN_WITHIN.as_millis() + 2_000)
}

fn page(addr: SocketAddr, token: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<title>hobnob</title>\n\
         <form method=\"post\" action=\"http://{addr}/login\">\n\
         <input type=\"hidden\" name=\"token\" value=\"{token}\">\n\
         <button>Open hobnob</button>\n</form>\n\
         <script>document.forms[0].submit()</script>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn written(folder: &Path) -> (PathBuf, String) {
        let login = write(folder, "127.0.0.1:4680".parse().unwrap()).unwrap();
        let page = std::fs::read_to_string(&login.path).unwrap();
        assert!(page.contains(&login.token));
        (login.path, login.token)
    }

    #[test]
    fn a_login_file_is_for_its_owner_and_works_once() {
        let folder = tempfile::tempdir().unwrap();
        let (path, token) = written(folder.path());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!path.to_str().unwrap().contains(&token));
        let now = clock::now_ms();
        assert!(!redeem(folder.path(), "another", now));
        assert!(redeem(folder.path(), &token, now));
        assert!(!redeem(folder.path(), &token, now));
        assert!(!path.exists());
    }

    #[test]
    fn a_login_file_expires() {
        let folder = tempfile::tempdir().unwrap();
        let later = |ms| clock::now_ms() + ms;
        let (path, token) = written(folder.path());
        assert!(!redeem(folder.path(), &token, later(65_000)));
        assert!(!path.exists(), "an expired file is deleted when it is used");
        let (path, _) = written(folder.path());
        sweep(folder.path(), later(1_000)).unwrap();
        assert!(path.exists());
        sweep(folder.path(), later(65_000)).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_token_cannot_name_another_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "secret").unwrap();
        assert!(!redeem(folder.path(), "../key", clock::now_ms()));
        assert!(folder.path().join("key").exists());
    }
}
