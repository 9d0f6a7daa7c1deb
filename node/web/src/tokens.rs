//! Tokens of programs and pages: who may connect, until when, and with which rights.
//!
//! A file of the home lists them. It has only hashes, so it reveals no token. The server reads it
//! again when it has changed: another process, such as `hobnob token revoke`, may write it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hobnob_control::wire::{Right, Time};
use hobnob_local::{Home, private_file};
use serde::{Deserialize, Serialize};

use crate::clock;

/// Maximum number of tokens of programs. A further one can't be created.
pub const TOKENS_MAX: usize = 64;

/// Maximum number of pages that are logged in. A further one replaces the one that expires first.
pub const PAGES_MAX: usize = 16;

/// How long a page may connect again without a new login. Each connection begins this time anew.
pub const PAGE_STAYS: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The longest name of a token, in characters.
pub const NAME_CHARS_MAX: usize = 64;

/// The longest file that is read.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// The beginning of each token. It helps to find tokens that were published by mistake.
const PREFIX: &str = "hobnob-token-";

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its name, which is unique.
    pub name: String,
    /// The requests that it permits.
    pub rights: BTreeSet<Right>,
    /// When it was created.
    pub created: Time,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
    /// Whether it belongs to a page in a browser.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub page: bool,
    /// The hash of its secret.
    hash: String,
}

impl Token {
    /// The token without the hash, for a list.
    pub fn public(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct Public {
            name: String,
            rights: BTreeSet<Right>,
            created: Time,
            #[serde(skip_serializing_if = "Option::is_none")]
            expires: Option<Time>,
            page: bool,
        }
        Public {
            name: self.name.clone(),
            rights: self.rights.clone(),
            created: self.created,
            expires: self.expires,
            page: self.page,
        }
    }

    fn is_valid(&self, now_ms: u64) -> bool {
        self.expires.is_none_or(|Time(end)| now_ms < end)
    }
}

/// Why the tokens can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The name is empty or too long, or has control characters.
    #[error(
        "a token's name has 1 to {NAME_CHARS_MAX} characters, none of them a control character"
    )]
    Name,
    /// Another token has the name.
    #[error("there is a token {0:?} already: choose another name, or revoke that one first")]
    Taken(String),
    /// There is no token of this name.
    #[error("there is no token {0:?}: `hobnob token list` shows all")]
    None(String),
    /// There are too many.
    #[error("there are {TOKENS_MAX} tokens already: revoke one first")]
    TooMany,
    /// The file can't be read or written.
    #[error("can't use {path:?} ({error})")]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
}

/// The tokens of a home.
#[derive(Debug, Clone)]
pub struct Tokens {
    path: PathBuf,
}

/// The content of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    tokens: Vec<Token>,
}

impl Tokens {
    /// The tokens of `home`.
    pub fn of(home: &Home) -> Tokens {
        Tokens {
            path: home.data_dir().join("tokens.json"),
        }
    }

    /// The valid tokens.
    pub fn list(&self) -> Result<Vec<Token>, TokenError> {
        let now = clock::now_ms();
        let mut tokens = self.read()?.tokens;
        tokens.retain(|token| token.is_valid(now));
        Ok(tokens)
    }

    /// Creates a token for a program, and returns its secret. Nothing can show that again.
    pub fn create(
        &self,
        name: &str,
        rights: BTreeSet<Right>,
        valid_for: Option<Duration>,
    ) -> Result<String, TokenError> {
        let long = name.chars().count();
        if !(1..=NAME_CHARS_MAX).contains(&long) || name.chars().any(char::is_control) {
            return Err(TokenError::Name);
        }
        let now = clock::now_ms();
        self.change(now, |tokens| {
            if tokens.iter().any(|token| token.name == name) {
                return Err(TokenError::Taken(name.to_owned()));
            }
            if tokens.iter().filter(|token| !token.page).count() >= TOKENS_MAX {
                return Err(TokenError::TooMany);
            }
            let (secret, hash) = secret();
            tokens.push(Token {
                name: name.to_owned(),
                rights,
                created: Time(now),
                expires: valid_for.map(|time| after(now, time)),
                page: false,
                hash,
            });
            Ok(secret)
        })
    }

    /// Creates a token for a page that has logged in, and returns its secret.
    pub(crate) fn create_for_page(&self, now_ms: u64) -> Result<String, TokenError> {
        self.change(now_ms, |tokens| {
            let pages = tokens.iter().filter(|token| token.page);
            if pages.count() >= PAGES_MAX {
                let first = (0..tokens.len())
                    .filter(|at| tokens[*at].page)
                    .min_by_key(|at| tokens[*at].expires);
                tokens.remove(first.expect("counted above"));
            }
            let (secret, hash) = secret();
            tokens.push(Token {
                // The hash makes it unique, and does not reveal the secret.
                name: format!("page-{}", &hash[..8]),
                rights: Right::ALL.into(),
                created: Time(now_ms),
                expires: Some(after(now_ms, PAGE_STAYS)),
                page: true,
                hash,
            });
            Ok(secret)
        })
    }

    /// Removes a token. The server ends its connections.
    pub fn revoke(&self, name: &str) -> Result<(), TokenError> {
        self.change(clock::now_ms(), |tokens| {
            let before = tokens.len();
            tokens.retain(|token| token.name != name);
            match tokens.len() < before {
                true => Ok(()),
                false => Err(TokenError::None(name.to_owned())),
            }
        })
    }

    /// The valid token with this secret.
    pub(crate) fn admit(&self, secret: &str, now_ms: u64) -> Result<Option<Token>, TokenError> {
        let hash = hash(secret);
        let tokens = self.read()?.tokens;
        let mut valid = tokens.into_iter().filter(|token| token.is_valid(now_ms));
        Ok(valid.find(|token| token.hash == hash))
    }

    /// Begins the time of a page anew.
    pub(crate) fn prolong(&self, page: &Token, now_ms: u64) -> Result<(), TokenError> {
        self.change(now_ms, |tokens| {
            let same = tokens.iter_mut().find(|token| token.hash == page.hash);
            if let Some(token) = same {
                token.expires = Some(after(now_ms, PAGE_STAYS));
            }
            Ok(())
        })
    }

    /// Whether a token that was admitted is valid still.
    pub(crate) fn still_admits(&self, admitted: &Token, now_ms: u64) -> bool {
        let Ok(content) = self.read() else {
            return false;
        };
        let same = |token: &&Token| token.hash == admitted.hash;
        let token = content.tokens.iter().find(same);
        token.is_some_and(|token| token.is_valid(now_ms))
    }

    /// Changes the list under a lock, and drops expired tokens.
    fn change<T>(
        &self,
        now_ms: u64,
        change: impl FnOnce(&mut Vec<Token>) -> Result<T, TokenError>,
    ) -> Result<T, TokenError> {
        let failed = |error| self.failed(error);
        let lock = private_file::open(&self.path.with_extension("lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut content = self.read()?;
        content.tokens.retain(|token| token.is_valid(now_ms));
        let result = change(&mut content.tokens)?;
        let text = serde_json::to_vec_pretty(&content).map_err(|e| failed(e.into()))?;
        private_file::replace(&self.path, &text).map_err(failed)?;
        Ok(result)
    }

    fn read(&self) -> Result<Content, TokenError> {
        match read_bounded(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Content::default()),
            Err(error) => Err(self.failed(error)),
            Ok(text) => serde_json::from_slice(&text).map_err(|error| self.failed(error.into())),
        }
    }

    fn failed(&self, error: io::Error) -> TokenError {
        TokenError::File {
            path: self.path.clone(),
            error,
        }
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    if path.metadata()?.len() > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "it has more than {FILE_BYTES_MAX} bytes"
        )));
    }
    std::fs::read(path)
}

fn secret() -> (String, String) {
    let secret = format!("{PREFIX}{}", clock::random_text());
    let hash = hash(&secret);
    (secret, hash)
}

/// A secret has 256 random bits, so its hash needs neither salt nor stretching.
fn hash(secret: &str) -> String {
    let hash = blake3::derive_key("hobnob web token", secret.as_bytes());
    blake3::Hash::from_bytes(hash).to_hex().to_string()
}

/// The end of a time that begins now.
pub(crate) fn after(now_ms: u64, time: Duration) -> Time {
    Time(now_ms.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn tokens() -> (tempfile::TempDir, Tokens) {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::of(&Home::at(folder.path()).unwrap());
        (folder, tokens)
    }

    #[test]
    fn a_token_admits_until_it_is_revoked() {
        let (_folder, tokens) = tokens();
        let now = clock::now_ms();
        let secret = tokens.create("bot", [Right::Read].into(), None).unwrap();
        let token = tokens.admit(&secret, now).unwrap().unwrap();
        assert_eq!(token.name, "bot");
        assert!(tokens.admit("hobnob-token-", now).unwrap().is_none());
        assert!(matches!(
            tokens.create("bot", [Right::Read].into(), None),
            Err(TokenError::Taken(_))
        ));
        tokens.revoke("bot").unwrap();
        assert!(tokens.admit(&secret, now).unwrap().is_none());
        assert!(!tokens.still_admits(&token, now));
        assert!(matches!(tokens.revoke("bot"), Err(TokenError::None(_))));
    }

    #[test]
    fn a_token_expires_and_a_page_that_connects_does_not() {
        let (_folder, tokens) = tokens();
        let now = clock::now_ms();
        let day = Duration::from_secs(86_400);
        let secret = tokens
            .create("bot", [Right::Send].into(), Some(day))
            .unwrap();
        assert!(tokens.admit(&secret, now).unwrap().is_some());
        assert!(tokens.admit(&secret, now + 90_000_000).unwrap().is_none());
        let page = tokens.create_for_page(now).unwrap();
        let stays = u64::try_from(PAGE_STAYS.as_millis()).unwrap();
        let token = tokens.admit(&page, now).unwrap().unwrap();
        tokens.prolong(&token, now + stays - 1).unwrap();
        assert!(tokens.admit(&page, now + stays + 1).unwrap().is_some());
        assert!(tokens.admit(&page, now + 2 * stays).unwrap().is_none());
    }

    #[test]
    fn the_file_is_private_and_has_no_secret() {
        let (folder, tokens) = tokens();
        let secret = tokens.create("bot", [Right::Read].into(), None).unwrap();
        let path = folder.path().join("tokens.json");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!std::fs::read_to_string(&path).unwrap().contains(&secret));
    }

    #[test]
    fn names_and_numbers_have_limits() {
        let (_folder, tokens) = tokens();
        for name in ["", "a\nb", &"x".repeat(65)] {
            assert!(matches!(
                tokens.create(name, [Right::Read].into(), None),
                Err(TokenError::Name)
            ));
        }
        for number in 0..TOKENS_MAX {
            tokens
                .create(&number.to_string(), [Right::Read].into(), None)
                .unwrap();
        }
        assert!(matches!(
            tokens.create("one more", [Right::Read].into(), None),
            Err(TokenError::TooMany)
        ));
        let now = clock::now_ms();
        let first = tokens.create_for_page(now).unwrap();
        for _ in 0..PAGES_MAX {
            tokens.create_for_page(now + 1).unwrap();
        }
        assert!(tokens.admit(&first, now + 1).unwrap().is_none());
        assert_eq!(tokens.list().unwrap().len(), TOKENS_MAX + PAGES_MAX);
    }
}
