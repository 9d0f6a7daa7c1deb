//! Who may use the relay: everybody, who knows its token, or who is on its list; and never who is
//! banned.
//!
//! The one question here is `Admission::check`, asked after a connection's handshake, when its id
//! is proved. The bans are kept in the relay's home, so that they outlive it; token and allow list
//! are the operator's own files, read once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use hobnob_protocol::PeerId;
use hobnob_protocol::relay::{TOKEN_MAX, TOKEN_PROOF_LEN, close, token_proof};
use hobnob_transport::private_file;

/// The file of bans in the relay's home.
const BANNED_FILE: &str = "banned";

/// Longest label of a peer in an allow list, in characters.
const LABEL_CHARS_MAX: usize = 64;

/// Whom the operator lets in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Rule {
    /// Everybody.
    #[default]
    Open,
    /// Who sends this.
    Token(Token),
    /// Who is listed.
    Listed(AllowList),
}

/// The secret that the operator gave to the relay's users.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Vec<u8>);

/// The ids that may use the relay, with the operator's names for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList {
    labels: BTreeMap<PeerId, Option<String>>,
}

/// A rule, and who is banned all the same.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    rule: Rule,
    banned: BTreeSet<PeerId>,
}

/// Why a peer is sent away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// A code of [`hobnob_protocol::relay::close`].
    pub(crate) code: u32,
    /// What happened and what to do, for the peer's user.
    pub(crate) reason: &'static str,
}

/// Why a file of the operator's can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be read.
    #[error("can't read {} ({error})", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It can't be written.
    #[error("can't write {} ({error})", path.display())]
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A line of it makes no sense.
    #[error("{} line {line}: {why}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, counted from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// A token that can't be one.
    #[error("{} holds no token ({why}): put 1 to {TOKEN_MAX} bytes into it, such as those of `head -c 24 /dev/urandom | base64`", path.display())]
    NoToken {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Token {
    /// Reads a token: all of the file, but white space at its end.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let bytes = fs::read(path).map_err(|error| FileError::Unreadable {
            path: path.to_owned(),
            error,
        })?;
        let no_token = |why| FileError::NoToken {
            path: path.to_owned(),
            why,
        };
        match bytes.trim_ascii_end() {
            [] => Err(no_token("it is empty")),
            token if token.len() > TOKEN_MAX => Err(no_token("it is too long")),
            token => Ok(Self(token.to_vec())),
        }
    }

    /// Whether the proof, made on the connection with this exported secret, shows knowledge of this
    /// token. The comparison takes the same time for every wrong proof.
    fn is_proved(&self, proof: &[u8; TOKEN_PROOF_LEN], exporter: &[u8; 32]) -> bool {
        verify_slices_are_equal(&token_proof(&self.0, exporter), proof).is_ok()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl AllowList {
    /// Reads a list: a line for each peer, its id and, if you like, a label. What follows a `#` is
    /// a comment.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        Ok(Self {
            labels: read_ids(path)?,
        })
    }

    /// The operator's name for a peer.
    pub fn label(&self, peer: PeerId) -> Option<&str> {
        self.labels.get(&peer)?.as_deref()
    }

    /// The peers that have this label.
    pub fn labelled(&self, label: &str) -> Vec<PeerId> {
        self.labels
            .iter()
            .filter(|(_, other)| other.as_deref() == Some(label))
            .map(|(peer, _)| *peer)
            .collect()
    }
}

impl Admission {
    /// A rule, and the bans in the relay's home.
    pub(crate) fn load(rule: Rule, home: &Path) -> Result<Self, FileError> {
        let path = banned_file(home);
        let banned = match read_ids(&path) {
            Ok(ids) => ids.into_keys().collect(),
            Err(FileError::Unreadable { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                BTreeSet::new()
            }
            Err(error) => return Err(error),
        };
        Ok(Self { rule, banned })
    }

    /// Whether a peer that has proved its id and sent this proof of a token may be here. The proof
    /// belongs to the connection with this exported secret.
    pub(crate) fn check(
        &self,
        peer: PeerId,
        proof: Option<&[u8; TOKEN_PROOF_LEN]>,
        exporter: &[u8; 32],
    ) -> Result<(), Refusal> {
        if self.banned.contains(&peer) {
            return Err(BANNED);
        }
        match &self.rule {
            Rule::Open => Ok(()),
            Rule::Token(token) => match proof {
                Some(proof) if token.is_proved(proof, exporter) => Ok(()),
                Some(_) => Err(not_admitted(
                    "your token is not this relay's: ask its operator for the present one",
                )),
                None => Err(not_admitted(
                    "this relay requires a token: ask its operator for it, and name its file with --relay-token-file and the relay with --relay",
                )),
            },
            Rule::Listed(list) if list.labels.contains_key(&peer) => Ok(()),
            Rule::Listed(_) => Err(not_admitted(
                "this relay serves only those on its operator's list: send the operator your id (hobnob id) and ask to be added",
            )),
        }
    }

    /// The operator's name for a peer.
    pub(crate) fn label(&self, peer: PeerId) -> Option<&str> {
        match &self.rule {
            Rule::Listed(list) => list.label(peer),
            Rule::Open | Rule::Token(_) => None,
        }
    }

    /// The peers that the operator has listed.
    pub(crate) fn listed(&self) -> impl Iterator<Item = PeerId> {
        let list = match &self.rule {
            Rule::Listed(list) => Some(list),
            Rule::Open | Rule::Token(_) => None,
        };
        list.into_iter()
            .flat_map(|list| list.labels.keys().copied())
    }

    /// The peers that have this label.
    pub(crate) fn labelled(&self, label: &str) -> Vec<PeerId> {
        match &self.rule {
            Rule::Listed(list) => list.labelled(label),
            Rule::Open | Rule::Token(_) => Vec::new(),
        }
    }

    /// Keeps a peer out, or no longer; says whether that is a change.
    pub(crate) fn set_banned(&mut self, peer: PeerId, banned: bool) -> bool {
        if banned {
            self.banned.insert(peer)
        } else {
            self.banned.remove(&peer)
        }
    }

    /// Who is kept out.
    pub(crate) fn banned(&self) -> &BTreeSet<PeerId> {
        &self.banned
    }
}

/// Writes who is kept out to the relay's home; returns when that is on disk.
pub(crate) fn write_banned(home: &Path, banned: &BTreeSet<PeerId>) -> Result<(), FileError> {
    let mut text = String::from(
        "# Who may not use this relay. Written by hobnob relay ban and unban; read when the relay starts.\n",
    );
    for peer in banned {
        text.push_str(&format!("{peer}\n"));
    }
    let path = banned_file(home);
    private_file::replace(&path, &text).map_err(|error| FileError::Unwritable { path, error })
}

fn banned_file(home: &Path) -> PathBuf {
    home.join(BANNED_FILE)
}

const BANNED: Refusal = Refusal {
    code: close::BANNED,
    reason: "this relay's operator has banned you: ask them to lift that, or use another relay",
};

fn not_admitted(reason: &'static str) -> Refusal {
    Refusal {
        code: close::NOT_ADMITTED,
        reason,
    }
}

fn read_ids(path: &Path) -> Result<BTreeMap<PeerId, Option<String>>, FileError> {
    let text = fs::read_to_string(path).map_err(|error| FileError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    let mut ids = BTreeMap::new();
    for (line, text) in (1..).zip(text.lines()) {
        let wrong = |why| FileError::Line {
            path: path.to_owned(),
            line,
            why,
        };
        let Some((peer, label)) = parse_line(text).map_err(wrong)? else {
            continue;
        };
        if ids.insert(peer, label).is_some() {
            return Err(wrong(format!("{} is named twice", peer.short())));
        }
    }
    Ok(ids)
}

/// An id and perhaps a label; or nothing but white space and a comment.
fn parse_line(line: &str) -> Result<Option<(PeerId, Option<String>)>, String> {
    let content = line.split('#').next().unwrap_or_default().trim();
    if content.is_empty() {
        return Ok(None);
    }
    let (id, label) = content
        .split_once(char::is_whitespace)
        .unwrap_or((content, ""));
    let peer = id.parse().map_err(|error| {
        format!(
            "{error}, and `hobnob id` prints one; this has {} characters",
            id.len()
        )
    })?;
    let label = label.trim();
    if label.chars().count() > LABEL_CHARS_MAX || label.chars().any(char::is_control) {
        return Err(format!(
            "a label has at most {LABEL_CHARS_MAX} characters, and no control characters"
        ));
    }
    Ok(Some((peer, (!label.is_empty()).then(|| label.to_owned()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exported secret of a connection.
    const EXPORTER: [u8; 32] = [7; 32];

    fn peer(n: u8) -> PeerId {
        PeerId::from_bytes([n; 32])
    }

    fn file(text: impl AsRef<[u8]>) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    fn admission(rule: Rule) -> Admission {
        Admission {
            rule,
            banned: BTreeSet::new(),
        }
    }

    #[test]
    fn a_token_is_all_of_the_file_but_its_last_line_break() {
        let right = Token::read(file("sesame \n").path()).unwrap();
        let accepts = |sent| right.is_proved(&token_proof(sent, &EXPORTER), &EXPORTER);
        assert!(accepts(b"sesame"));
        for wrong in [&b"sesam"[..], b"sesamE", b"sesame ", b""] {
            assert!(!accepts(wrong), "{wrong:?}");
        }
        let elsewhere = token_proof(b"sesame", &[8; 32]);
        assert!(
            !right.is_proved(&elsewhere, &EXPORTER),
            "another connection's"
        );
        for wrong in [String::new(), "\n".into(), "x".repeat(TOKEN_MAX + 1)] {
            let error = Token::read(file(&wrong).path()).unwrap_err();
            assert!(matches!(error, FileError::NoToken { .. }), "{error}");
        }
    }

    #[test]
    fn who_may_come_in() {
        let token = Rule::Token(Token::read(file("sesame").path()).unwrap());
        let listed = Rule::Listed(AllowList::read(file(peer(1).to_string()).path()).unwrap());
        let code = |rule: &Rule, n, token: Option<&str>| {
            let proof = token.map(|token| token_proof(token.as_bytes(), &EXPORTER));
            admission(rule.clone())
                .check(peer(n), proof.as_ref(), &EXPORTER)
                .err()
                .map(|refusal| refusal.code)
        };
        for (rule, n, sent, expected) in [
            (&Rule::Open, 1, None, None),
            (&Rule::Open, 1, Some("any"), None),
            (&token, 1, Some("sesame"), None),
            (&token, 1, None, Some(close::NOT_ADMITTED)),
            (&token, 1, Some("wrong"), Some(close::NOT_ADMITTED)),
            (&listed, 1, None, None),
            (&listed, 2, None, Some(close::NOT_ADMITTED)),
        ] {
            assert_eq!(code(rule, n, sent), expected, "{rule:?} {n} {sent:?}");
        }
    }

    #[test]
    fn a_ban_goes_before_all_else_and_outlives_the_relay() {
        let home = tempfile::tempdir().unwrap();
        let load = || Admission::load(Rule::Open, home.path()).unwrap();
        let mut admission = load();
        assert!(admission.set_banned(peer(1), true) && !admission.set_banned(peer(1), true));
        write_banned(home.path(), admission.banned()).unwrap();
        let mut again = load();
        assert_eq!(
            again
                .check(peer(1), None, &EXPORTER)
                .map_err(|refusal| refusal.code),
            Err(close::BANNED)
        );
        assert!(again.check(peer(2), None, &EXPORTER).is_ok());
        assert!(again.set_banned(peer(1), false));
        write_banned(home.path(), again.banned()).unwrap();
        assert!(load().check(peer(1), None, &EXPORTER).is_ok());
    }

    #[test]
    fn an_allow_list_has_ids_labels_and_comments() {
        let text = format!(
            "# the team\n\n{} ann's laptop # new\n  {}\n{} bob\n",
            peer(1),
            peer(2),
            peer(3)
        );
        let list = AllowList::read(file(text).path()).unwrap();
        assert_eq!(
            (
                list.label(peer(1)),
                list.label(peer(2)),
                list.label(peer(9))
            ),
            (Some("ann's laptop"), None, None)
        );
        assert_eq!(list.labelled("bob"), [peer(3)]);
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named_by_its_number() {
        let id = peer(1).to_string();
        let long = format!("{id} {}", "x".repeat(LABEL_CHARS_MAX + 1));
        for (text, says) in [
            ("ann\n".to_owned(), "line 1: a peer id is 52 characters"),
            (
                format!("# x\n\n{}\n", &id[1..]),
                "line 3: a peer id is 52 characters",
            ),
            (format!("{id}\n{id} again\n"), "line 2: "),
            (long, "line 1: a label has at most"),
        ] {
            let error = AllowList::read(file(&text).path()).unwrap_err().to_string();
            assert!(error.contains(says), "{text:?}: {error}");
        }
        assert!(matches!(
            AllowList::read(Path::new("/nowhere")),
            Err(FileError::Unreadable { .. })
        ));
    }
}
