//! Tokens: the secrets that the operator gives to the relay's users.
//!
//! Several tokens are valid at once, each with a name and optionally an expiry. So a new token can
//! be handed out before the old one ends. Names appear in the relay's log. Peers never see them.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use hobnob_protocol::RelayToken;
use hobnob_protocol::relay::{TOKEN_MAX, TOKEN_PROOF_LEN};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::{FileError, LABEL_CHARS_MAX, Refusal};

/// Maximum tokens of a relay. It bounds the work for one registration, which is compared with all.
pub const TOKENS_MAX: usize = 256;

/// The name of the token of a file that has no names.
const ONLY: &str = "token";

/// One token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    name: String,
    secret: RelayToken,
    expires: Option<Timestamp>,
}

/// The tokens that a relay accepts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens(Vec<Arc<Token>>);

/// Why a file has no usable token, or a line of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenProblem {
    /// The file is empty, or has only white space.
    #[error("it is empty")]
    Empty,
    /// The token is longer than [`TOKEN_MAX`].
    #[error("it has more than {TOKEN_MAX} bytes")]
    TooLong,
    /// The line does not have the form `NAME TOKEN [EXPIRY]`.
    #[error("a line has a name, a token and optionally an expiry")]
    Form,
    /// The name is too long, or has a control character.
    #[error("a name has at most {LABEL_CHARS_MAX} characters, and no control characters")]
    Name,
    /// An earlier line has the same name.
    #[error("the name {0:?} is used twice")]
    Duplicate(String),
    /// The expiry is neither a date nor a moment.
    #[error(
        "{0:?} is no expiry: write a day such as 2027-01-31, or a moment such as 2027-01-31T18:00:00Z"
    )]
    Expiry(String),
    /// The file has more tokens than [`TOKENS_MAX`].
    #[error("a relay has at most {TOKENS_MAX} tokens")]
    TooMany,
}

impl Token {
    /// The operator's name for it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The moment from which it is not accepted any more.
    pub fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    fn has_expired(&self, now: SystemTime) -> bool {
        // A clock outside of the years that jiff knows is broken. It must not admit anybody.
        let now = Timestamp::try_from(now).unwrap_or(Timestamp::MAX);
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether the proof shows knowledge of this token, on the connection with this exported
    /// secret. Takes the same time for every wrong proof.
    fn is_proved(&self, proof: &[u8; TOKEN_PROOF_LEN], exporter: &[u8; 32]) -> bool {
        verify_slices_are_equal(&self.secret.proof(exporter), proof).is_ok()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({}, ..)", self.name)
    }
}

impl Tokens {
    /// Reads a file that is one token: the whole file, without white space at its end.
    pub fn read_one(path: &Path) -> Result<Self, FileError> {
        let bytes = fs::read(path).map_err(|error| FileError::unreadable(path, error))?;
        let secret =
            secret(bytes.trim_ascii_end()).map_err(|problem| FileError::no_token(path, problem))?;
        Ok(Self(vec![Arc::new(Token {
            name: ONLY.to_owned(),
            secret,
            expires: None,
        })]))
    }

    /// Reads a file with one token a line: its name, the token, and optionally its expiry, separated
    /// by white space. A `#` before or after them starts a comment.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let text = fs::read_to_string(path).map_err(|error| FileError::unreadable(path, error))?;
        let mut tokens: Vec<Arc<Token>> = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let wrong = |problem| FileError::token_line(path, line, problem);
            let Some(token) = parse_line(text).map_err(wrong)? else {
                continue;
            };
            if tokens.iter().any(|other| other.name == token.name) {
                return Err(wrong(TokenProblem::Duplicate(token.name)));
            }
            if tokens.len() == TOKENS_MAX {
                return Err(wrong(TokenProblem::TooMany));
            }
            tokens.push(Arc::new(token));
        }
        if tokens.is_empty() {
            return Err(FileError::no_token(path, TokenProblem::Empty));
        }
        Ok(Self(tokens))
    }

    /// All tokens, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Token> {
        self.0.iter().map(Arc::as_ref)
    }

    /// The token that this proof shows. Compares with every token, so that the time does not show
    /// which one is right.
    pub(super) fn proved(
        &self,
        proof: Option<&[u8; TOKEN_PROOF_LEN]>,
        exporter: &[u8; 32],
        now: SystemTime,
    ) -> Result<Arc<Token>, Refusal> {
        let proof = proof.ok_or(Refusal::NoToken)?;
        let mut proved = None;
        for token in &self.0 {
            if token.is_proved(proof, exporter) {
                proved = Some(token);
            }
        }
        match proved {
            None => Err(Refusal::WrongToken),
            Some(token) if token.has_expired(now) => Err(Refusal::ExpiredToken),
            Some(token) => Ok(token.clone()),
        }
    }

    /// Whether a peer that has proved this token earlier may stay: the secret is still listed.
    pub(super) fn has(&self, token: &Token) -> bool {
        self.0.iter().any(|other| other.secret == token.secret)
    }
}

fn secret(bytes: &[u8]) -> Result<RelayToken, TokenProblem> {
    match bytes {
        [] => Err(TokenProblem::Empty),
        bytes if bytes.len() > TOKEN_MAX => Err(TokenProblem::TooLong),
        bytes => Ok(bytes.to_vec().into()),
    }
}

/// Parses one line. `None` if it has only white space and a comment.
fn parse_line(line: &str) -> Result<Option<Token>, TokenProblem> {
    let words: Vec<&str> = line
        .split_whitespace()
        .take_while(|word| !word.starts_with('#'))
        .collect();
    let (name, word, expires) = match words[..] {
        [] => return Ok(None),
        [name, word] => (name, word, None),
        [name, word, expires] => (name, word, Some(expiry(expires)?)),
        _ => return Err(TokenProblem::Form),
    };
    if name.chars().count() > LABEL_CHARS_MAX || name.chars().any(char::is_control) {
        return Err(TokenProblem::Name);
    }
    Ok(Some(Token {
        name: name.to_owned(),
        secret: secret(word.as_bytes())?,
        expires,
    }))
}

/// A moment, or the start of a day in UTC.
fn expiry(word: &str) -> Result<Timestamp, TokenProblem> {
    let day = |day: Date| {
        day.to_zoned(TimeZone::UTC)
            .as_ref()
            .map(Zoned::timestamp)
            .ok()
    };
    word.parse()
        .ok()
        .or_else(|| word.parse().ok().and_then(day))
        .ok_or_else(|| TokenProblem::Expiry(word.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_protocol::relay::token_proof;
    use std::time::{Duration, UNIX_EPOCH};

    /// The exported secret of a connection.
    const EXPORTER: [u8; 32] = [7; 32];

    fn file(text: impl AsRef<[u8]>) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    /// The name of the token that `sent` proves at this moment.
    fn accepts(tokens: &Tokens, sent: &str, now: &str) -> Result<String, Refusal> {
        let proof = token_proof(sent.as_bytes(), &EXPORTER);
        let now: Timestamp = now.parse().unwrap();
        let proved = tokens.proved(Some(&proof), &EXPORTER, now.into());
        proved.map(|token| token.name().to_owned())
    }

    #[test]
    fn one_token_is_the_whole_file_without_white_space_at_its_end() {
        let tokens = Tokens::read_one(file("open sesame \n").path()).unwrap();
        let proof = |sent: &[u8]| token_proof(sent, &EXPORTER);
        let proves = |proof| tokens.proved(Some(&proof), &EXPORTER, UNIX_EPOCH).is_ok();
        assert!(proves(proof(b"open sesame")));
        for wrong in [&b"open sesam"[..], b"open sesamE", b"open sesame ", b""] {
            assert!(!proves(proof(wrong)), "{wrong:?}");
        }
        assert!(
            !proves(token_proof(b"open sesame", &[8; 32])),
            "another connection's"
        );
        for wrong in [String::new(), "\n".into(), "x".repeat(TOKEN_MAX + 1)] {
            let error = Tokens::read_one(file(&wrong).path()).unwrap_err();
            assert!(matches!(error, FileError::NoToken { .. }), "{error}");
        }
    }

    #[test]
    fn several_tokens_are_valid_at_once_until_each_expires() {
        let text = "# the team\nsummer sesame 2027-01-31  # old\nwinter poppy 2028-01-31T18:00:00Z\nci x\n";
        let tokens = Tokens::read(file(text).path()).unwrap();
        let before = "2027-01-30T23:59:59Z";
        assert_eq!(accepts(&tokens, "sesame", before).unwrap(), "summer");
        assert_eq!(accepts(&tokens, "poppy", before).unwrap(), "winter");
        assert_eq!(accepts(&tokens, "open", before), Err(Refusal::WrongToken));
        let after = "2027-01-31T00:00:00Z";
        assert_eq!(
            accepts(&tokens, "sesame", after),
            Err(Refusal::ExpiredToken)
        );
        assert_eq!(accepts(&tokens, "x", after).unwrap(), "ci");
        let nothing = tokens.proved(None, &EXPORTER, UNIX_EPOCH);
        assert_eq!(nothing.unwrap_err(), Refusal::NoToken);
    }

    #[test]
    fn a_peer_may_stay_while_its_token_is_listed_under_any_name() {
        let old = Tokens::read(file("summer sesame\n").path()).unwrap();
        let renamed = Tokens::read(file("old sesame 2027-01-31\nwinter poppy\n").path()).unwrap();
        let replaced = Tokens::read(file("summer poppy\n").path()).unwrap();
        let token = old.iter().next().unwrap();
        assert!(renamed.has(token) && !replaced.has(token));
    }

    #[test]
    fn an_invalid_line_is_reported_with_its_number() {
        let many: String = (0..=TOKENS_MAX).map(|n| format!("n{n} s{n}\n")).collect();
        for (text, says) in [
            ("ann\n", "line 1: a line has a name"),
            ("a b 2027-01-31 c\n", "line 1: a line has a name"),
            ("a b\na c\n", "line 2: the name \"a\" is used twice"),
            ("a b soon\n", "line 1: \"soon\" is no expiry"),
            (&many, "line 257: a relay has at most"),
            ("# nothing\n", "does not contain a token"),
        ] {
            let error = Tokens::read(file(text).path()).unwrap_err().to_string();
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_clock_without_a_date_accepts_no_token_that_expires() {
        let tokens = Tokens::read(file("a b 2027-01-31\n").path()).unwrap();
        let proof = token_proof(b"b", &EXPORTER);
        let never = UNIX_EPOCH + Duration::from_secs(1 << 40);
        let proved = tokens.proved(Some(&proof), &EXPORTER, never);
        assert_eq!(proved.unwrap_err(), Refusal::ExpiredToken);
    }
}
