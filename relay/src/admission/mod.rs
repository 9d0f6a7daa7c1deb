//! Which peers may use the relay: all peers, those that know one of its tokens, or those on its
//! allow list, except banned ones.
//!
//! `Admission::check` decides about a peer after its handshake has proved its identity. The bans
//! are stored in the relay's home folder and survive a restart. Tokens and allow list are files of
//! the operator. They are read at the start, and again when the operator asks for it.
//!
//! - `tokens`: tokens with names and expiries
//! - `bans`: the file of banned identities and addresses
//! - `ip_range`: ranges of addresses

mod bans;
mod ip_range;
mod tokens;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use hobnob_protocol::DeviceId;
use hobnob_protocol::identity::NotAPeerId;
use hobnob_protocol::relay::{TOKEN_PROOF_LEN, close};

pub use bans::{BANS_MAX, BanTarget, Bans};
pub use ip_range::{IpRange, IpRanges, NotARange};
pub use tokens::{TOKENS_MAX, Token, TokenProblem, Tokens};

/// Longest label of a peer in an allow list, in characters.
const LABEL_CHARS_MAX: usize = 64;

/// Which peers the operator admits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Rule {
    /// All peers.
    #[default]
    Open,
    /// Peers that know one of these tokens.
    Tokens(Tokens),
    /// Peers on this list.
    Listed(AllowList),
}

/// The ids that may use the relay, with the operator's labels for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList {
    labels: BTreeMap<DeviceId, Option<String>>,
}

/// A rule, and the bans, which override it.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    rule: Rule,
    bans: Bans,
}

/// Proof of a newcomer, and what the relay knows of it beside its identity.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Credentials<'a> {
    /// The address of its handshake.
    pub(crate) addr: IpAddr,
    /// Its proof that it knows a token.
    pub(crate) proof: Option<&'a [u8; TOKEN_PROOF_LEN]>,
    /// The exported secret of its connection.
    pub(crate) exporter: &'a [u8; 32],
    /// The wall clock.
    pub(crate) now: SystemTime,
}

/// Why a peer is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The peer is banned.
    Banned,
    /// The peer's address is banned.
    AddressBanned,
    /// The relay requires a token, and the peer sent no proof of one.
    NoToken,
    /// The peer proved another token than the relay's.
    WrongToken,
    /// The peer proved a token that has expired.
    ExpiredToken,
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
    /// A line of a file of tokens is invalid.
    #[error("{} line {line}: {problem}", path.display())]
    TokenLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The fault in it.
        problem: TokenProblem,
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

impl FileError {
    fn unreadable(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        Self::Unreadable { path, error }
    }

    fn no_token(path: &Path, problem: TokenProblem) -> Self {
        let path = path.to_owned();
        Self::NoToken { path, problem }
    }

    fn token_line(path: &Path, line: usize, problem: TokenProblem) -> Self {
        let path = path.to_owned();
        Self::TokenLine {
            path,
            line,
            problem,
        }
    }
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
    /// The line is neither an id nor a range of addresses. The number is its length.
    #[error(
        "a ban is a peer id of 52 characters, or addresses such as 192.0.2.0/24; this has {0} characters"
    )]
    NotABan(usize),
    /// The file has more bans than [`BANS_MAX`].
    #[error("a relay has at most {BANS_MAX} bans")]
    TooManyBans,
    /// An earlier line names the same peer.
    #[error("{} is named twice", .0.short())]
    Duplicate(DeviceId),
}

impl Refusal {
    /// Whether the peer may be admitted as a guest all the same. Banned peers may not.
    pub(crate) fn admits_guests(&self) -> bool {
        match self {
            Self::NoToken | Self::WrongToken | Self::ExpiredToken | Self::NotListed => true,
            Self::Banned | Self::AddressBanned => false,
        }
    }

    /// The close code of the connection.
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Banned | Self::AddressBanned => close::BANNED,
            Self::NoToken | Self::WrongToken | Self::ExpiredToken | Self::NotListed => {
                close::NOT_ADMITTED
            }
        }
    }

    /// The name in the log of events.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Banned => "banned",
            Self::AddressBanned => "address-banned",
            Self::NoToken => "no-token",
            Self::WrongToken => "wrong-token",
            Self::ExpiredToken => "expired-token",
            Self::NotListed => "not-listed",
        }
    }
}

impl FromIterator<DeviceId> for AllowList {
    /// A list of peers without labels.
    fn from_iter<T: IntoIterator<Item = DeviceId>>(peers: T) -> Self {
        Self {
            labels: peers.into_iter().map(|peer| (peer, None)).collect(),
        }
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
    pub fn label(&self, peer: DeviceId) -> Option<&str> {
        self.labels.get(&peer)?.as_deref()
    }

    /// The peers that have this label.
    pub fn labelled(&self, label: &str) -> Vec<DeviceId> {
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
        Ok(Self::new(rule, Bans::load(home)?))
    }

    /// Combines a rule and bans.
    pub(crate) fn new(rule: Rule, bans: Bans) -> Self {
        Self { rule, bans }
    }

    /// Decides whether a peer that has proved its identity may register. Returns the token that it
    /// knows, if the rule asks for one.
    pub(crate) fn check(
        &self,
        peer: DeviceId,
        credentials: Credentials<'_>,
    ) -> Result<Option<Arc<Token>>, Refusal> {
        let Credentials {
            addr,
            proof,
            exporter,
            now,
        } = credentials;
        self.check_bans(peer, addr)?;
        match &self.rule {
            Rule::Open => Ok(None),
            Rule::Tokens(tokens) => tokens.proved(proof, exporter, now).map(Some),
            Rule::Listed(list) if list.labels.contains_key(&peer) => Ok(None),
            Rule::Listed(_) => Err(Refusal::NotListed),
        }
    }

    /// Decides whether a peer that is registered may stay, after a change of rule or bans. `token`
    /// is what it proved when it registered. An expiry is checked only then.
    pub(crate) fn check_again(
        &self,
        peer: DeviceId,
        addr: IpAddr,
        token: Option<&Token>,
    ) -> Result<(), Refusal> {
        self.check_bans(peer, addr)?;
        match &self.rule {
            Rule::Open => Ok(()),
            Rule::Tokens(tokens) => match token {
                Some(token) if tokens.has(token) => Ok(()),
                Some(_) => Err(Refusal::WrongToken),
                None => Err(Refusal::NoToken),
            },
            Rule::Listed(list) if list.labels.contains_key(&peer) => Ok(()),
            Rule::Listed(_) => Err(Refusal::NotListed),
        }
    }

    fn check_bans(&self, peer: DeviceId, addr: IpAddr) -> Result<(), Refusal> {
        if self.bans.has_peer(peer) {
            return Err(Refusal::Banned);
        }
        if self.bans.has_addr(addr) {
            return Err(Refusal::AddressBanned);
        }
        Ok(())
    }

    /// The operator's label for a peer.
    pub(crate) fn label(&self, peer: DeviceId) -> Option<&str> {
        match &self.rule {
            Rule::Listed(list) => list.label(peer),
            Rule::Open | Rule::Tokens(_) => None,
        }
    }

    /// The peers on the allow list.
    pub(crate) fn listed(&self) -> impl Iterator<Item = DeviceId> {
        let list = match &self.rule {
            Rule::Listed(list) => Some(list),
            Rule::Open | Rule::Tokens(_) => None,
        };
        list.into_iter()
            .flat_map(|list| list.labels.keys().copied())
    }

    /// The peers that have this label.
    pub(crate) fn labelled(&self, label: &str) -> Vec<DeviceId> {
        match &self.rule {
            Rule::Listed(list) => list.labelled(label),
            Rule::Open | Rule::Tokens(_) => Vec::new(),
        }
    }

    /// Adds a ban or removes it. Returns whether that is a change.
    pub(crate) fn set_banned(&mut self, target: BanTarget, banned: bool) -> bool {
        self.bans.set(target, banned)
    }

    /// The bans.
    pub(crate) fn bans(&self) -> &Bans {
        &self.bans
    }
}

fn read_ids(path: &Path) -> Result<BTreeMap<DeviceId, Option<String>>, FileError> {
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
fn parse_line(line: &str) -> Result<Option<(DeviceId, Option<String>)>, LineProblem> {
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
    use hobnob_protocol::relay::token_proof;

    /// The exported secret of a connection.
    const EXPORTER: [u8; 32] = [7; 32];

    fn peer(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    fn file(text: impl AsRef<[u8]>) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    fn admission(rule: Rule) -> Admission {
        let bans = Bans::default();
        Admission { rule, bans }
    }

    fn credentials(proof: Option<&[u8; TOKEN_PROOF_LEN]>) -> Credentials<'_> {
        Credentials {
            addr: "192.0.2.7".parse().unwrap(),
            proof,
            exporter: &EXPORTER,
            now: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_rule_decides_which_peers_are_admitted() {
        let token = Rule::Tokens(Tokens::read_one(file("sesame").path()).unwrap());
        let listed = Rule::Listed(AllowList::read(file(peer(1).to_string()).path()).unwrap());
        let code = |rule: &Rule, n, token: Option<&str>| {
            let proof = token.map(|token| token_proof(token.as_bytes(), &EXPORTER));
            admission(rule.clone())
                .check(peer(n), credentials(proof.as_ref()))
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
    fn a_registered_peer_may_stay_while_the_new_rule_would_admit_it() {
        let tokens = |text: &str| Tokens::read(file(text).path()).unwrap();
        let old = tokens("summer sesame\n");
        let token = old.iter().next();
        let addr = "192.0.2.7".parse().unwrap();
        for (rule, token, refusal) in [
            (Rule::Open, None, None),
            (Rule::Tokens(tokens("a sesame\nb poppy\n")), token, None),
            (
                Rule::Tokens(tokens("summer poppy\n")),
                token,
                Some(Refusal::WrongToken),
            ),
            (Rule::Tokens(old.clone()), None, Some(Refusal::NoToken)),
            (
                Rule::Listed(AllowList::default()),
                token,
                Some(Refusal::NotListed),
            ),
        ] {
            let checked = admission(rule.clone()).check_again(peer(1), addr, token);
            assert_eq!(checked.err(), refusal, "{rule:?}");
        }
    }

    #[test]
    fn a_ban_overrides_the_rule() {
        let mut admission = admission(Rule::Open);
        let check = |admission: &Admission, n| admission.check(peer(n), credentials(None)).err();
        admission.set_banned(BanTarget::Peer(peer(1)), true);
        assert_eq!(check(&admission, 1), Some(Refusal::Banned));
        assert_eq!(check(&admission, 2), None);
        let range = BanTarget::Range("192.0.2.0/24".parse().unwrap());
        admission.set_banned(range, true);
        assert_eq!(check(&admission, 2), Some(Refusal::AddressBanned));
        admission.set_banned(range, false);
        assert_eq!(check(&admission, 2), None);
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
