//! The directory of peers: their public records, the names to show, and the peer that a name refers to.
//!
//! Nicknames are hints. Two peers with one nickname are shown as `name~<4 characters of the id>`.
//! Resolving a word that matches both is an error that lists them.

use std::collections::{BTreeMap, BTreeSet};

use hobnob_protocol::identity::PEER_ID_SHORT_LEN;
use hobnob_protocol::text::NICKNAME_CHARS_MAX;
use hobnob_protocol::{Checked, Nickname, PersonId, PublicRecord};

use super::name_keys::NameKeys;

/// Maximum peers in the directory. One more replaces the peer that was learned least recently.
/// Peers that the user has dealt with leave after all others.
pub const PEERS_MAX: usize = 10_000;

/// Maximum candidates or suggestions in an error.
const LISTED_MAX: usize = 8;

/// Names within this edit distance are suggested.
const NEAR: usize = 2;

/// Minimum characters of the id that distinguish two peers with one nickname.
const DISTINGUISHING_CHARS: usize = 4;

/// Why a name refers to no peer, and what to try instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Several peers have this nickname or prefix.
    #[error("{name} could be any of: {}", candidates.join(", "))]
    Ambiguous {
        /// The typed word.
        name: String,
        /// Names that are not ambiguous.
        candidates: Vec<String>,
    },
    /// No peer has this name.
    #[error("nobody called {name} is known{}", list(known, near.as_deref()))]
    Unknown {
        /// The typed word.
        name: String,
        /// Some known names.
        known: Vec<String>,
        /// The known name that looks most like the word, if it is a typo of that.
        near: Option<String>,
    },
    /// The name refers to this node itself.
    #[error("{0} is this node itself")]
    Me(String),
}

fn list(known: &[String], near: Option<&str>) -> String {
    if known.is_empty() {
        return "; no peer is: give an address such as 10.0.0.2:4626, a peer id, or a ticket (`hobnob peers` shows who is there)"
            .to_owned();
    }
    let near = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
    let semicolon = if near.is_empty() { ";" } else { "" };
    format!(
        "{near}{semicolon} known are {}. `hobnob peers` shows all; an address, a peer id or a ticket work too",
        known.join(", ")
    )
}

/// How many characters to insert, delete, replace or swap with their neighbour to get from one word to
/// the other. The library has no crate for this; the words are short.
fn edit_distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    // The distances of all starts of `to` from the start of `from`, and those of the two rows before.
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let replaced = last[j] + usize::from(a != b);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from[i - 1] == *b && to[j - 1] == *a {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

/// A nickname with its keys. Their skeletons are computed once, when the nickname is learned.
#[derive(Debug, Clone)]
struct KeyedNick {
    nick: Nickname,
    keys: NameKeys,
}

impl KeyedNick {
    fn new(nick: Nickname) -> Self {
        let keys = NameKeys::of(nick.as_str());
        Self { nick, keys }
    }
}

/// The directory's knowledge of one peer.
#[derive(Debug, Default)]
struct Known {
    nick: Option<KeyedNick>,
    /// The newest record that the peer signed and this node has seen.
    record: Option<Checked<PublicRecord>>,
}

/// How a record compares with the one in the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learned {
    /// It has replaced an older one, or is the first one.
    Newer,
    /// It is the same.
    Same,
    /// The directory has a newer one.
    Older,
}

/// The order in which peers leave a full directory.
#[derive(Debug, Default)]
struct Leaving {
    places: BTreeMap<PersonId, Place>,
    order: BTreeSet<(Place, PersonId)>,
    last: u64,
}

/// Whether the user has dealt with a peer, and a number that grows with each peer learned.
type Place = (bool, u64);

impl Leaving {
    /// Moves a peer to the end.
    fn touch(&mut self, peer: PersonId, keep: bool) {
        self.last += 1;
        let before = self.places.get(&peer).copied();
        if let Some(before) = before {
            self.order.remove(&(before, peer));
        }
        let kept = before.is_some_and(|(kept, _)| kept);
        let place = (kept || keep, self.last);
        self.places.insert(peer, place);
        self.order.insert((place, peer));
    }

    fn first(&mut self) -> Option<PersonId> {
        let (_, first) = self.order.pop_first()?;
        self.places.remove(&first);
        Some(first)
    }

    fn remove(&mut self, peer: PersonId) {
        if let Some(place) = self.places.remove(&peer) {
            self.order.remove(&(place, peer));
        }
    }
}

/// The directory of peers.
#[derive(Debug)]
pub struct Peers {
    me: PersonId,
    own: KeyedNick,
    known: BTreeMap<PersonId, Known>,
    leaving: Leaving,
    /// The peers that left because the directory was full, until they are taken.
    left: Vec<PersonId>,
    /// How many have left for that reason.
    forgotten: u64,
    /// The peers that have a nickname with this key.
    by_key: BTreeMap<String, BTreeSet<PersonId>>,
}

impl Peers {
    /// A directory that knows only this node.
    pub fn new(me: PersonId, nick: Nickname) -> Self {
        Self {
            me,
            own: KeyedNick::new(nick),
            known: BTreeMap::new(),
            leaving: Leaving::default(),
            left: Vec::new(),
            forgotten: 0,
            by_key: BTreeMap::new(),
        }
    }

    /// Changes this node's nickname.
    pub fn set_own(&mut self, nick: Nickname) {
        self.own = KeyedNick::new(nick);
    }

    /// This node's nickname.
    pub fn own(&self) -> &Nickname {
        &self.own.nick
    }

    /// Stores a record of a peer, unless there is a newer one. The record's nickname replaces the
    /// earlier one.
    pub fn learn_record(&mut self, peer: PersonId, record: Checked<PublicRecord>) -> Learned {
        if peer == self.me {
            return Learned::Same;
        }
        match self.record(peer) {
            Some(held) if held.signed() == record.signed() => return Learned::Same,
            Some(held) if !record.is_newer_than(held) => return Learned::Older,
            Some(_) | None => {}
        }
        let fields = record.record();
        // A record that this version does not understand shows nothing. It is passed on.
        let nick = fields.nick.clone().filter(|_| !fields.needs_newer_version);
        self.learn(peer, nick);
        self.known.entry(peer).or_default().record = Some(record);
        Learned::Newer
    }

    /// Stores a peer. Returns whether the peer or its nickname is new.
    pub fn learn(&mut self, peer: PersonId, nick: Option<Nickname>) -> bool {
        if peer == self.me {
            return false;
        }
        self.make_room(peer, false);
        let before = self.known.get(&peer);
        if before.is_some_and(|known| known.nick.as_ref().map(|known| &known.nick) == nick.as_ref())
        {
            return false;
        }
        let nick = nick.map(KeyedNick::new);
        for key in nick.iter().flat_map(|nick| nick.keys.iter()) {
            self.by_key.entry(key.clone()).or_default().insert(peer);
        }
        let kept = nick.as_ref().map(|nick| nick.keys.clone());
        let known = self.known.entry(peer).or_default();
        if let Some(old) = std::mem::replace(&mut known.nick, nick) {
            self.unindex(peer, &old.keys, kept.as_ref());
        }
        true
    }

    /// Stores that the user has dealt with a peer, whose nickname may be unknown.
    pub fn keep(&mut self, peer: PersonId) {
        if peer != self.me {
            self.make_room(peer, true);
            self.known.entry(peer).or_default();
        }
    }

    /// Forgets a peer, with its name.
    pub fn forget(&mut self, peer: PersonId) {
        self.leaving.remove(peer);
        self.remove(peer);
    }

    /// The peers that left since the last call because the directory was full.
    pub fn take_left(&mut self) -> Vec<PersonId> {
        std::mem::take(&mut self.left)
    }

    /// How many peers have left because the directory was full.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    fn make_room(&mut self, peer: PersonId, keep: bool) {
        if self.known.len() >= PEERS_MAX && !self.known.contains_key(&peer) {
            let first = self.leaving.first().expect("PEERS_MAX is not 0");
            self.remove(first);
            self.left.push(first);
            self.forgotten += 1;
        }
        self.leaving.touch(peer, keep);
    }

    fn remove(&mut self, peer: PersonId) {
        if let Some(old) = self.known.remove(&peer).and_then(|known| known.nick) {
            self.unindex(peer, &old.keys, None);
        }
    }

    /// Removes a peer from the index under its old keys, except those that it still has.
    fn unindex(&mut self, peer: PersonId, old: &NameKeys, kept: Option<&NameKeys>) {
        let is_kept = |key: &String| kept.is_some_and(|kept| kept.iter().any(|other| other == key));
        for key in old.iter().filter(|key| !is_kept(key)) {
            let named = self.by_key.get_mut(key).expect("indexed when learned");
            named.remove(&peer);
            if named.is_empty() {
                self.by_key.remove(key);
            }
        }
    }

    /// All known peers.
    pub fn all(&self) -> impl Iterator<Item = PersonId> {
        self.known.keys().copied()
    }

    /// Whether this peer is known.
    pub fn knows(&self, peer: PersonId) -> bool {
        self.known.contains_key(&peer)
    }

    /// The nickname that a peer chose for itself.
    pub fn nick(&self, peer: PersonId) -> Option<&Nickname> {
        if peer == self.me {
            Some(&self.own.nick)
        } else {
            Some(&self.known.get(&peer)?.nick.as_ref()?.nick)
        }
    }

    /// The newest record of a peer.
    pub fn record(&self, peer: PersonId) -> Option<&Checked<PublicRecord>> {
        self.known.get(&peer)?.record.as_ref()
    }

    /// The number of the newest record of a peer. 0: there is none.
    pub fn record_number(&self, peer: PersonId) -> u64 {
        self.record(peer).map_or(0, |held| held.record().number)
    }

    /// The name to show for a peer. [`Peers::resolve`] accepts it, unless the nickname looks like
    /// something else, such as a peer id.
    pub fn name(&self, peer: PersonId) -> String {
        let known = if peer == self.me {
            Some(&self.own)
        } else {
            self.known.get(&peer).and_then(|known| known.nick.as_ref())
        };
        match known {
            Some(known) => self.unlike_others(peer, known),
            None => peer.short(),
        }
    }

    /// The name to show for a peer that was called `nick`, as [`Peers::name`] shows today's.
    pub fn past_name(&self, peer: PersonId, nick: &Nickname) -> String {
        self.unlike_others(peer, &KeyedNick::new(nick.clone()))
    }

    /// A nickname, and a part of the id if other peers have the same one today.
    fn unlike_others(&self, peer: PersonId, KeyedNick { nick, keys }: &KeyedNick) -> String {
        let others: Vec<_> = self
            .with_keys(keys)
            .into_iter()
            .filter(|other| *other != peer)
            .collect();
        let shared_with_me = peer != self.me && self.own.keys.share_one(keys);
        if others.is_empty() && !shared_with_me {
            return nick.to_string();
        }
        let id = peer.to_string();
        let others: Vec<_> = others
            .into_iter()
            .chain(shared_with_me.then_some(self.me))
            .map(|other| other.to_string())
            .collect();
        let distinct = |len: &usize| !others.iter().any(|other| other.starts_with(&id[..*len]));
        let len = (DISTINGUISHING_CHARS..id.len())
            .find(distinct)
            .unwrap_or(id.len());
        format!("{nick}~{}", &id[..len])
    }

    /// The peer that a word refers to. The word is a nickname, `nickname~1234`, or a prefix of an
    /// id.
    pub fn resolve(&self, word: &str) -> Result<PersonId, ResolveError> {
        let mut meant = self.called(word);
        if let Some((nick, start)) = word.rsplit_once('~') {
            meant.extend(
                self.called(nick)
                    .into_iter()
                    .filter(|peer| peer.to_string().starts_with(start)),
            );
        }
        if word.len() >= PEER_ID_SHORT_LEN {
            meant.extend(
                self.known
                    .keys()
                    .filter(|peer| peer.to_string().starts_with(word)),
            );
        }
        meant.sort();
        meant.dedup();
        match meant.as_slice() {
            [peer] => Ok(*peer),
            [] => Err(self.nobody(word)),
            several => Err(ResolveError::Ambiguous {
                name: word.to_owned(),
                candidates: several
                    .iter()
                    .take(LISTED_MAX)
                    .map(|peer| self.unambiguous(*peer))
                    .collect(),
            }),
        }
    }

    /// The name of a peer if it is unique, otherwise the peer's id.
    fn unambiguous(&self, peer: PersonId) -> String {
        let name = self.name(peer);
        if self.resolve_quietly(&name) == Some(peer) {
            name
        } else {
            peer.to_string()
        }
    }

    fn resolve_quietly(&self, word: &str) -> Option<PersonId> {
        let (nick, start) = word.rsplit_once('~').unwrap_or((word, ""));
        let called: Vec<_> = self
            .called(nick)
            .into_iter()
            .filter(|peer| peer.to_string().starts_with(start))
            .collect();
        if let [peer] = called.as_slice() {
            Some(*peer)
        } else {
            None
        }
    }

    /// The known name of which a word is most likely a typo.
    fn near(&self, word: &str) -> Option<String> {
        let typed = word.to_lowercase();
        // A longer word is no nickname, and its distance would cost much.
        if typed.chars().count() > NICKNAME_CHARS_MAX {
            return None;
        }
        let distance = |peer: &PersonId| {
            let nick = self.nick(*peer)?.as_str().to_lowercase();
            let distance = edit_distance(&typed, &nick);
            let is_near = distance <= NEAR && 2 * distance <= nick.chars().count();
            is_near.then_some(distance)
        };
        let near = self.all().filter_map(|peer| Some((distance(&peer)?, peer)));
        near.min().map(|(_, peer)| self.name(peer))
    }

    fn nobody(&self, word: &str) -> ResolveError {
        let is_me = self.own.keys.share_one(&NameKeys::of(word))
            || (word.len() >= PEER_ID_SHORT_LEN && self.me.to_string().starts_with(word));
        if is_me {
            return ResolveError::Me(word.to_owned());
        }
        // Sort names that start like the word first: the word is most likely a typo of one of them.
        // A name is compared with all others of its kind, so only those listed are completed.
        let alike = |peer: &PersonId| {
            let name = self
                .nick(*peer)
                .map_or_else(|| peer.short(), Nickname::to_string);
            let same = name.chars().zip(word.chars()).take_while(|(a, b)| a == b);
            std::cmp::Reverse(same.count())
        };
        let mut known: Vec<_> = self.all().collect();
        known.sort_by_cached_key(alike);
        known.truncate(LISTED_MAX);
        ResolveError::Unknown {
            name: word.to_owned(),
            near: self.near(word),
            known: known.into_iter().map(|peer| self.name(peer)).collect(),
        }
    }

    /// All peers whose nickname looks like this name.
    fn called(&self, name: &str) -> Vec<PersonId> {
        self.with_keys(&NameKeys::of(name))
    }

    fn with_keys(&self, keys: &NameKeys) -> Vec<PersonId> {
        let named = keys.iter().filter_map(|key| self.by_key.get(key));
        let peers: BTreeSet<_> = named.flatten().copied().collect();
        peers.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_protocol::SecretKey;

    fn id(n: u8) -> PersonId {
        SecretKey::from_seed([n; 32]).id().person()
    }

    fn nick(name: &str) -> Nickname {
        Nickname::new(name).expect("a nickname")
    }

    fn directory(names: &[(u8, &str)]) -> Peers {
        let mut peers = Peers::new(id(0), nick("me"));
        for (n, name) in names {
            peers.learn(id(*n), Some(nick(name)));
        }
        peers
    }

    #[test]
    fn a_unique_nickname_names_its_peer_in_any_case() {
        let peers = directory(&[(1, "Ann"), (2, "bob")]);
        assert_eq!(peers.resolve("ann"), Ok(id(1)));
        assert_eq!(peers.name(id(1)), "Ann");
    }

    #[test]
    fn an_ambiguous_name_is_an_error_that_lists_unambiguous_names() {
        let peers = directory(&[(1, "ann"), (2, "ann")]);
        let Err(ResolveError::Ambiguous { candidates, .. }) = peers.resolve("ann") else {
            panic!("should be ambiguous")
        };
        let meant: Vec<_> = candidates.iter().map(|name| peers.resolve(name)).collect();
        let mut both = [Ok(id(1)), Ok(id(2))];
        both.sort_by_key(|peer| *peer.as_ref().expect("both resolve"));
        assert_eq!(meant, both);
        assert!(candidates.iter().all(|name| name.starts_with("ann~")));
    }

    #[test]
    fn eight_characters_of_an_id_are_enough_and_seven_are_not() {
        let peers = directory(&[(1, "ann"), (2, "bob")]);
        let text = id(2).to_string();
        assert_eq!(peers.resolve(&text[..8]), Ok(id(2)));
        assert!(matches!(
            peers.resolve(&text[..7]),
            Err(ResolveError::Unknown { .. })
        ));
    }

    #[test]
    fn a_nickname_that_equals_another_peers_id_is_ambiguous() {
        let peers = directory(&[(1, "ann"), (2, &id(1).to_string()[..8])]);
        assert!(matches!(
            peers.resolve(&id(1).to_string()[..8]),
            Err(ResolveError::Ambiguous { .. })
        ));
    }

    #[test]
    fn an_unknown_name_lists_known_ones_and_the_own_name_is_an_error() {
        let peers = directory(&[(1, "ann")]);
        assert!(
            peers
                .resolve("anna")
                .expect_err("unknown")
                .to_string()
                .contains("known are ann")
        );
        assert_eq!(peers.resolve("me"), Err(ResolveError::Me("me".into())));
    }

    #[test]
    fn swapped_letters_are_one_mistake() {
        for (from, to, distance) in [
            ("ann", "ann", 0),
            ("", "ann", 3),
            ("bobb", "bob", 1),
            ("babrara", "barbara", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(edit_distance(from, to), distance, "{from} {to}");
            assert_eq!(edit_distance(to, from), distance, "{to} {from}");
        }
    }

    #[test]
    fn a_mistyped_name_is_answered_with_the_nearest() {
        let peers = directory(&[(1, "ann"), (2, "barbara"), (3, "Bob")]);
        let error = |word| peers.resolve(word).expect_err("unknown").to_string();
        for (word, near) in [("babrara", "barbara"), ("bobb", "Bob"), ("an", "ann")] {
            let error = error(word);
            assert!(
                error.contains(&format!("did you mean {near}? known are")),
                "{error}"
            );
        }
        for word in ["zebra", "b", &"x".repeat(100)] {
            assert!(!error(word).contains("did you mean"), "{word}");
        }
    }

    #[test]
    fn a_peer_that_took_my_name_is_shown_with_its_id() {
        let peers = directory(&[(1, "me")]);
        assert!(peers.name(id(1)).starts_with("me~"));
        assert_eq!(peers.resolve(&peers.name(id(1))), Ok(id(1)));
    }

    #[test]
    fn a_name_that_looks_like_a_peers_is_shown_with_its_id() {
        for imitation in ["b\u{43e}b", "BOB"] {
            let peers = directory(&[(1, "bob"), (2, imitation)]);
            for n in [1, 2] {
                let name = peers.name(id(n));
                assert!(name.contains('~'), "{name}");
                assert_eq!(peers.resolve(&name), Ok(id(n)));
            }
        }
    }

    #[test]
    fn a_new_nickname_replaces_the_old_one() {
        let mut peers = directory(&[(1, "ann")]);
        assert!(peers.learn(id(1), Some(nick("anna"))));
        assert!(!peers.learn(id(1), Some(nick("anna"))), "no news");
        assert!(peers.resolve("ann").is_err());
        assert_eq!(peers.resolve("anna"), Ok(id(1)));
    }

    fn record(n: u8, number: u64, name: &str) -> Checked<PublicRecord> {
        let key = SecretKey::from_seed([n; 32]);
        let record = PublicRecord {
            number,
            nick: Some(nick(name)),
            devices: vec![key.id()],
            picture: None,
            needs_newer_version: false,
        };
        Checked::sign(record, &key)
    }

    #[test]
    fn the_newest_record_names_a_peer_in_whichever_order_records_arrive() {
        let mut peers = directory(&[]);
        let newest = record(1, 7, "anna");
        assert_eq!(
            peers.learn_record(id(1), record(1, 5, "ann")),
            Learned::Newer
        );
        assert_eq!(peers.learn_record(id(1), newest.clone()), Learned::Newer);
        assert_eq!(peers.learn_record(id(1), newest.clone()), Learned::Same);
        assert_eq!(
            peers.learn_record(id(1), record(1, 5, "ann")),
            Learned::Older
        );
        assert_eq!(peers.name(id(1)), "anna");
        assert_eq!(
            (peers.record(id(1)), peers.record_number(id(1))),
            (Some(&newest), 7)
        );
    }

    #[test]
    fn a_record_that_this_version_does_not_understand_shows_no_name() {
        let mut peers = directory(&[]);
        let mut fields = record(1, 7, "ann").record().clone();
        fields.needs_newer_version = true;
        let later = Checked::sign(fields, &SecretKey::from_seed([1; 32]));
        assert_eq!(peers.learn_record(id(1), later), Learned::Newer);
        assert_eq!(peers.nick(id(1)), None);
        assert_eq!(peers.record_number(id(1)), 7, "it is passed on");
    }

    #[test]
    fn a_forgotten_peer_has_no_name() {
        let mut peers = directory(&[(1, "ann"), (2, "bob")]);
        peers.keep(id(1));
        peers.forget(id(1));
        assert!(!peers.knows(id(1)) && peers.resolve("ann").is_err());
        assert_eq!(peers.name(id(1)), id(1).short());
        assert_eq!(peers.take_left(), [], "the user knows that it left");
    }

    #[test]
    fn a_flood_of_peers_replaces_those_learned_first_and_not_those_of_the_user() {
        let mut peers = directory(&[(1, "ann"), (2, "bob")]);
        peers.keep(id(1));
        let nth = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_le_bytes());
            PersonId::from_bytes(bytes)
        };
        for n in 1..=PEERS_MAX {
            assert!(peers.learn(nth(n), Some(nick("eve"))));
        }
        assert_eq!(peers.all().count(), PEERS_MAX);
        assert_eq!(peers.resolve("ann"), Ok(id(1)));
        assert!(!peers.knows(id(2)) && peers.resolve("bob").is_err());
        assert!(peers.knows(nth(PEERS_MAX)));
        let left = peers.take_left();
        assert_eq!((left[0], left.len(), peers.forgotten()), (id(2), 2, 2));
    }

    #[test]
    fn a_peer_that_the_user_deals_with_keeps_its_nickname() {
        let mut peers = directory(&[(1, "ann")]);
        peers.keep(id(1));
        peers.keep(id(3));
        assert_eq!(peers.resolve("ann"), Ok(id(1)));
        assert!(peers.knows(id(3)));
    }
}
