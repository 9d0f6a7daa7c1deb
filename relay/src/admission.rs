//! Which peers may use the relay: all peers, those that know its token, or those on its allow list,
//! except banned ones.
//!
//! `Admission::check` decides about a peer after its handshake has proved its identity. The bans
//! are stored in the relay's home folder and survive a restart. Token and allow list are files of
//! the operator that are read once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use hobnob_protocol::PeerId;
use hobnob_protocol::identity::NotAPeerId;
use hobnob_protocol::relay::{TOKEN_MAX, TOKEN_PROOF_LEN, close, token_proof};
use hobnob_transport::private_file;

/// The file of bans in the relay's home.
const BANNED_FILE: &str = "banned";

/// Longest label of a peer in an allow list, in characters.
const LABEL_CHARS_MAX: usize = 64;

/// Which peers the operator admits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Rule {
    /// All peers.
    #[default]
    Open,
    /// Peers that know this token.
    Token(Token),
    /// Peers on this list.
    Listed(AllowList),
}

/// The secret that the operator gives to the relay's users.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Vec<u8>);

/// The ids that may use the relay, with the operator's labels for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList {
    labels: BTreeMap<PeerId, Option<String>>,
}

/// A rule, and the bans, which override it.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    rule: Rule,
    banned: BTreeSet<PeerId>,
}

/// Why a peer is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The peer is banned.
    Banned,
    /// The relay requires a token, and the peer sent no proof of one.
    NoToken,
    /// The peer proved another token than the relay's.
    WrongToken,
    /// The peer is not on the allow list.
    NotListed,
}

/// Why a file of the operator can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file can't be read.
    #[error("can't read {} ({error})", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The file can't be written.
    #[error("can't write {} ({error})", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// A line of the file is invalid.
    #[error("{} line {line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The fault in it.
        problem: LineProblem,
    },
    /// The file does not contain a token.
    #[error("{} does not contain a token: {problem}", path.display())]
    NoToken {
        /// The file.
        path: PathBuf,
        /// The fault in it.
        problem: TokenProblem,
    },
}

/// The fault in a line of an allow list, or of the bans.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// It does not start with a peer id. The number is the length of what it starts with.
    #[error("{NotAPeerId}; this has {0} characters")]
    NotAnId(usize),
    /// The label is too long, or has a control character.
    #[error("a label has at most {LABEL_CHARS_MAX} characters, and no control characters")]
    Label,
    /// An earlier line names the same peer.
    #[error("{} is named twice", .0.short())]
    Duplicate(PeerId),
}

/// Why the content of a file is not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenProblem {
    /// The file is empty, or has only white space.
    #[error("it is empty")]
    Empty,
    /// The content is longer than [`TOKEN_MAX`].
    #[error("it has more than {TOKEN_MAX} bytes")]
    TooLong,
}

impl Refusal {
    /// The close code of the connection.
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Banned => close::BANNED,
            Self::NoToken | Self::WrongToken | Self::NotListed => close::NOT_ADMITTED,
        }
    }
}

impl Token {
    /// Reads a token: the whole file, without white space at its end.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let bytes = fs::read(path).map_err(|error| FileError::Unreadable {
            path: path.to_owned(),
            error,
        })?;
        let no_token = |problem| FileError::NoToken {
            path: path.to_owned(),
            problem,
        };
        match bytes.trim_ascii_end() {
            [] => Err(no_token(TokenProblem::Empty)),
            token if token.len() > TOKEN_MAX => Err(no_token(TokenProblem::TooLong)),
            token => Ok(Self(token.to_vec())),
        }
    }

    /// Whether the proof shows knowledge of this token, on the connection with this exported
    /// secret. Takes the same time for every wrong proof.
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
    /// Reads a list. Each line has an id and an optional label. A `#` starts a comment.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        Ok(Self {
            labels: read_ids(path)?,
        })
    }

    /// The operator's label for a peer.
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
    /// Loads the bans from the relay's home folder and combines them with a rule.
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

    /// Decides whether a peer that has proved its identity may register. `proof` shows that it
    /// knows a token, on the connection with the exported secret `exporter`.
    pub(crate) fn check(
        &self,
        peer: PeerId,
        proof: Option<&[u8; TOKEN_PROOF_LEN]>,
        exporter: &[u8; 32],
    ) -> Result<(), Refusal> {
        if self.banned.contains(&peer) {
            return Err(Refusal::Banned);
        }
        match &self.rule {
            Rule::Open => Ok(()),
            Rule::Token(token) => match proof {
                Some(proof) if token.is_proved(proof, exporter) => Ok(()),
                Some(_) => Err(Refusal::WrongToken),
                None => Err(Refusal::NoToken),
            },
            Rule::Listed(list) if list.labels.contains_key(&peer) => Ok(()),
            Rule::Listed(_) => Err(Refusal::NotListed),
        }
    }

    /// The operator's label for a peer.
    pub(crate) fn label(&self, peer: PeerId) -> Option<&str> {
        match &self.rule {
            Rule::Listed(list) => list.label(peer),
            Rule::Open | Rule::Token(_) => None,
        }
    }

    /// The peers on the allow list.
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

    /// Bans a peer, or removes its ban. Returns whether that is a change.
    pub(crate) fn set_banned(&mut self, peer: PeerId, banned: bool) -> bool {
        if banned {
            self.banned.insert(peer)
        } else {
            self.banned.remove(&peer)
        }
    }

    /// The banned peers.
    pub(crate) fn banned(&self) -> &BTreeSet<PeerId> {
        &self.banned
    }
}

/// Writes the bans to the relay's home folder. Returns when they are on disk.
pub(crate) fn write_banned(home: &Path, banned: &BTreeSet<PeerId>) -> Result<(), FileError> {
    let mut text = String::from(
        "# Banned peers. Written by `hobnob relay ban` and `unban`. Read when the relay starts.\n",
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

fn read_ids(path: &Path) -> Result<BTreeMap<PeerId, Option<String>>, FileError> {
    let text = fs::read_to_string(path).map_err(|error| FileError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    let mut ids = BTreeMap::new();
    for (line, text) in (1..).zip(text.lines()) {
        let wrong = |problem| FileError::Line {
            path: path.to_owned(),
            line,
            problem,
        };
        let Some((peer, label)) = parse_line(text).map_err(wrong)? else {
            continue;
        };
        if ids.insert(peer, label).is_some() {
            return Err(wrong(LineProblem::Duplicate(peer)));
        }
    }
    Ok(ids)
}

/// Parses an id and an optional label. `None` if the line has only white space and a comment.
fn parse_line(line: &str) -> Result<Option<(PeerId, Option<String>)>, LineProblem> {
    let content = line.split('#').next().unwrap_or_default().trim();
    if content.is_empty() {
        return Ok(None);
    }
    let (id, label) = content
        .split_once(char::is_whitespace)
        .unwrap_or((content, ""));
    let peer = id
        .parse()
        .map_err(|NotAPeerId| LineProblem::NotAnId(id.len()))?;
    let label = label.trim();
    if label.chars().count() > LABEL_CHARS_MAX || label.chars().any(char::is_control) {
        return Err(LineProblem::Label);
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
    fn a_token_is_the_whole_file_without_white_space_at_its_end() {
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
    fn the_rule_decides_which_peers_are_admitted() {
        let token = Rule::Token(Token::read(file("sesame").path()).unwrap());
        let listed = Rule::Listed(AllowList::read(file(peer(1).to_string()).path()).unwrap());
        let code = |rule: &Rule, n, token: Option<&str>| {
            let proof = token.map(|token| token_proof(token.as_bytes(), &EXPORTER));
            admission(rule.clone())
                .check(peer(n), proof.as_ref(), &EXPORTER)
                .err()
                .map(Refusal::code)
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
    fn a_ban_overrides_the_rule_and_survives_a_restart() {
        let home = tempfile::tempdir().unwrap();
        let load = || Admission::load(Rule::Open, home.path()).unwrap();
        let mut admission = load();
        assert!(admission.set_banned(peer(1), true) && !admission.set_banned(peer(1), true));
        write_banned(home.path(), admission.banned()).unwrap();
        let mut again = load();
        let banned = again.check(peer(1), None, &EXPORTER);
        assert_eq!(banned, Err(Refusal::Banned));
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
    fn an_invalid_line_is_reported_with_its_number() {
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
