//! The token that IRC clients show as their password: a file in the home that only its owner can
//! read.

use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use data_encoding::BASE32_NOPAD;
use hobnob_local::private_file;

/// The name of the file in the home.
const FILE: &str = "irc-token";

/// Random bytes of a new token.
const RANDOM_BYTES: usize = 20;

/// Maximum bytes that are read of the file.
const FILE_BYTES_MAX: u64 = 256;

/// The password of this home's IRC server.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file can't be read or written.
    #[error("can't use the token file {path:?} ({error})")]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The file has no token.
    #[error("the token file {0:?} has no token of 16 characters or more: delete it")]
    NotAToken(PathBuf),
}

/// Minimum characters of a token, which a user may have written by hand.
const CHARS_MIN: usize = 16;

impl Token {
    /// The token of a home. Makes one if there is none, or if `renew` is set.
    ///
    /// ```
    /// use hobnob_irc::Token;
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let token = Token::of_home(dir.path(), false)?;
    /// assert_eq!(Token::of_home(dir.path(), false)?.as_str(), token.as_str());
    /// assert_ne!(Token::of_home(dir.path(), true)?.as_str(), token.as_str());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of_home(data_dir: &Path, renew: bool) -> Result<Token, TokenError> {
        let path = data_dir.join(FILE);
        if !renew && let Some(token) = read(&path)? {
            return Ok(token);
        }
        let mut random = [0; RANDOM_BYTES];
        aws_lc_rs::rand::fill(&mut random).expect("the system has random numbers");
        let token = Token(BASE32_NOPAD.encode(&random).to_ascii_lowercase());
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data_dir);
        made.and_then(|()| private_file::replace(&path, format!("{}\n", token.0).as_bytes()))
            .map_err(|error| TokenError::File { path, error })?;
        Ok(token)
    }

    /// The token as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a client has shown this token. Takes the same time wherever the first difference is.
    pub(crate) fn is(&self, shown: &str) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), shown.as_bytes()).is_ok()
    }

    #[cfg(test)]
    pub(crate) fn for_tests(text: &str) -> Token {
        Token(text.to_owned())
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

fn read(path: &Path) -> Result<Option<Token>, TokenError> {
    let fault = |error| TokenError::File {
        path: path.to_owned(),
        error,
    };
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(fault)?,
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(fault)?;
    let token = text.trim();
    if token.len() < CHARS_MIN || token.contains(char::is_whitespace) {
        return Err(TokenError::NotAToken(path.to_owned()));
    }
    Ok(Some(Token(token.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_the_owner_can_read_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let token = Token::of_home(dir.path(), false).unwrap();
        let path = dir.path().join(FILE);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            std::fs::read_to_string(&path).unwrap().trim(),
            token.as_str()
        );
        assert!(token.is(token.as_str()) && !token.is("") && !token.is("another"));
    }

    #[test]
    fn an_empty_file_is_no_password() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "\n", "short", "two words of a passphrase"] {
            std::fs::write(dir.path().join(FILE), text).unwrap();
            let error = Token::of_home(dir.path(), false).unwrap_err();
            assert!(matches!(error, TokenError::NotAToken(_)), "{error}");
        }
        Token::of_home(dir.path(), true).unwrap();
        Token::of_home(dir.path(), false).unwrap();
    }
}
