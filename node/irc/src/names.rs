//! IRC nicknames for peers: every peer has exactly one, no two peers share one, and the same peers
//! get the same nicknames in every session.
//!
//! A nickname of hobnob may contain spaces, emoji and other characters that IRC does not allow
//! (RFC 2812 section 2.3.1; letters and digits of other scripts are allowed here, as UTF-8 in NFC).
//! Such characters become `_`, and `|` with the start of the peer's id follows. The same happens to
//! all but one of the peers with one nickname: a contact keeps it before strangers, and this node
//! itself before all. No plain nickname contains `|`, so nobody can choose another peer's.

use std::collections::{BTreeMap, BTreeSet};

use hobnob_protocol::PersonId;
use unicode_normalization::UnicodeNormalization;

/// Characters of the id that follow a nickname which is not unique. More follow if these are not.
const SUFFIX_CHARS: [usize; 3] = [8, 16, 64];

/// The nickname of a peer that has told none.
const UNNAMED: &str = "unnamed";

/// The nicknames of all peers that a session knows.
#[derive(Debug)]
pub(crate) struct Names {
    /// This node's own nickname in IRC, and in the form in which names are compared.
    me: (String, String),
    people: BTreeMap<PersonId, Person>,
    /// The peers whose nickname IRC allows, by that nickname as it is compared.
    wanting: BTreeMap<String, Wanting>,
    /// The peer of each nickname in use, as it is compared.
    owners: BTreeMap<String, PersonId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Person {
    base: String,
    /// Whether IRC allows the nickname as it is.
    plain: bool,
    contact: bool,
    nick: String,
}

/// The peers that want one nickname.
#[derive(Debug, Default)]
struct Wanting {
    contacts: BTreeSet<PersonId>,
    strangers: BTreeSet<PersonId>,
}

/// A peer has another nickname than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Renamed {
    pub(crate) peer: PersonId,
    pub(crate) before: String,
    pub(crate) now: String,
}

impl Names {
    /// No peers but this node, which calls itself `me`.
    pub(crate) fn new(me: &str) -> Names {
        Names {
            me: own(me),
            people: BTreeMap::new(),
            wanting: BTreeMap::new(),
            owners: BTreeMap::new(),
        }
    }

    /// This node's own nickname in IRC.
    pub(crate) fn me(&self) -> &str {
        &self.me.0
    }

    /// Whether a word is this node's own nickname.
    pub(crate) fn is_me(&self, nick: &str) -> bool {
        folded(nick) == self.me.1
    }

    /// The nickname of a peer, if the peer is known.
    pub(crate) fn nick(&self, peer: PersonId) -> Option<&str> {
        self.people.get(&peer).map(|person| person.nick.as_str())
    }

    /// The nickname to show for what somebody wrote when it was called `nick`: today's if that is the
    /// same name. An earlier one has a part of the id behind it if somebody else may be called so
    /// today, or if IRC does not allow it. `is_me`: this node wrote it.
    pub(crate) fn past(&self, peer: PersonId, is_me: bool, nick: &str) -> String {
        let (nick, unique) = without_id(nick, peer);
        let (base, allowed) = allowed(nick);
        let today = match is_me {
            true => Some((&self.me.0, &self.me.0)),
            false => self.people.get(&peer).map(|it| (&it.base, &it.nick)),
        };
        if let Some((known, shown)) = today
            && (*known == base || nick == peer.short())
        {
            return shown.clone();
        }
        let key = folded(&base);
        let is_free = key != self.me.1 && !self.wanting.contains_key(&key);
        if allowed && unique && is_free {
            return base;
        }
        self.with_id(&base, peer)
    }

    /// The peer that a nickname names. Capitals don't matter.
    pub(crate) fn peer(&self, nick: &str) -> Option<PersonId> {
        self.owners.get(&folded(nick)).copied()
    }

    /// This node calls itself `nick` now. Others may lose or regain their nicknames by that.
    pub(crate) fn rename_me(&mut self, nick: &str) -> Vec<Renamed> {
        let before = std::mem::replace(&mut self.me, own(nick)).1;
        let mut touched: BTreeSet<PersonId> = BTreeSet::new();
        for key in [before, self.me.1.clone()] {
            touched.extend(self.wanting.get(&key).and_then(Wanting::first));
            touched.extend(self.owners.get(&key));
        }
        self.assign(touched)
    }

    /// Learns the nickname of a peer. `unique` is false if the node shows the peer with a part of
    /// its id, because its nickname looks like another one.
    pub(crate) fn learn(
        &mut self,
        peer: PersonId,
        nick: Option<&str>,
        contact: bool,
        unique: bool,
    ) -> Vec<Renamed> {
        let (base, allowed) = nick.map_or((UNNAMED.to_owned(), false), allowed);
        let plain = allowed && (unique || contact);
        let old = self.people.get(&peer).cloned();
        let same = |old: &Person| (&old.base, old.plain, old.contact) == (&base, plain, contact);
        if old.as_ref().is_some_and(same) {
            return Vec::new();
        }
        let mut touched = BTreeSet::from([peer]);
        if let Some(old) = old.as_ref().filter(|old| old.plain) {
            let key = folded(&old.base);
            let wanting = self.wanting.entry(key.clone()).or_default();
            touched.extend(wanting.first());
            wanting.set(old.contact).remove(&peer);
            touched.extend(wanting.first());
            if wanting.contacts.is_empty() && wanting.strangers.is_empty() {
                self.wanting.remove(&key);
            }
        }
        if plain {
            let wanting = self.wanting.entry(folded(&base)).or_default();
            touched.extend(wanting.first());
            wanting.set(contact).insert(peer);
            touched.extend(wanting.first());
        }
        let nick = old.map(|old| old.nick).unwrap_or_default();
        let person = Person {
            base,
            plain,
            contact,
            nick,
        };
        self.people.insert(peer, person);
        self.assign(touched)
    }

    /// Gives these peers the nicknames that they should have now.
    fn assign(&mut self, peers: BTreeSet<PersonId>) -> Vec<Renamed> {
        // All are removed first: one may get a nickname that another one gives up.
        let mut before = Vec::new();
        for peer in peers {
            let person = self
                .people
                .get_mut(&peer)
                .expect("only known peers are touched");
            let nick = std::mem::take(&mut person.nick);
            self.owners.remove(&folded(&nick));
            before.push((peer, nick));
        }
        let mut renamed = Vec::new();
        for (peer, before) in before {
            let now = self.fitting(peer);
            self.owners.insert(folded(&now), peer);
            let person = self.people.get_mut(&peer).expect("it was there above");
            person.nick.clone_from(&now);
            if !before.is_empty() && before != now {
                renamed.push(Renamed { peer, before, now });
            }
        }
        renamed
    }

    /// The nickname that a peer should have.
    fn fitting(&self, peer: PersonId) -> String {
        let person = &self.people[&peer];
        let key = folded(&person.base);
        let first = self.wanting.get(&key).and_then(Wanting::first);
        if person.plain && key != self.me.1 && first == Some(peer) {
            return person.base.clone();
        }
        self.with_id(&person.base, peer)
    }

    /// The nickname with as much of a peer's id as makes it unique.
    fn with_id(&self, base: &str, peer: PersonId) -> String {
        let id = peer.to_string();
        let with = |chars: usize| format!("{base}|{}", &id[..chars.min(id.len())]);
        let mut candidates = SUFFIX_CHARS.into_iter().map(with);
        let free = |nick: &String| self.peer(nick).is_none_or(|owner| owner == peer);
        candidates
            .find(free)
            .expect("the last one contains the whole id, which no other peer has")
    }
}

impl Wanting {
    fn set(&mut self, contact: bool) -> &mut BTreeSet<PersonId> {
        if contact {
            &mut self.contacts
        } else {
            &mut self.strangers
        }
    }

    /// The peer that has the nickname as it is: the only contact, or the only stranger where no
    /// contact wants it. Of several, none has it: a message must not reach one by chance.
    fn first(&self) -> Option<PersonId> {
        let only =
            |set: &BTreeSet<PersonId>| (set.len() == 1).then(|| set.first().copied()).flatten();
        if self.contacts.is_empty() {
            only(&self.strangers)
        } else {
            only(&self.contacts)
        }
    }
}

/// A name as the node shows it without the part of the peer's id, and whether there was none.
fn without_id(name: &str, peer: PersonId) -> (&str, bool) {
    match name.rsplit_once('~') {
        Some((nick, part)) if !part.is_empty() && peer.to_string().starts_with(part) => {
            (nick, false)
        }
        Some(_) | None => (name, true),
    }
}

fn own(nick: &str) -> (String, String) {
    let (base, _) = allowed(nick);
    let key = folded(&base);
    (base, key)
}

/// The nickname with `_` for each character that IRC does not allow, and whether there was none.
fn allowed(nick: &str) -> (String, bool) {
    let mut mapped: String = nick.nfc().map(|c| if fits(c) { c } else { '_' }).collect();
    if mapped.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        mapped.insert(0, '_');
    }
    let same = mapped == nick;
    (mapped, same)
}

/// Whether IRC allows this character in a nickname. `|` is allowed there, but is kept for suffixes.
fn fits(c: char) -> bool {
    match c {
        '[' | ']' | '\\' | '`' | '_' | '^' | '{' | '}' | '-' => true,
        c if c.is_ascii() => c.is_ascii_alphanumeric(),
        c => c.is_alphanumeric(),
    }
}

/// The form in which names are compared: CASEMAPPING=ascii.
pub(crate) fn folded(nick: &str) -> String {
    nick.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> PersonId {
        PersonId::from_bytes([number; 32])
    }

    fn short(number: u8) -> String {
        peer(number).to_string()[..8].to_owned()
    }

    /// Names of strangers that are learned in this order, from peer 1 on.
    fn strangers(nicks: &[&str]) -> Names {
        let mut names = Names::new("ann");
        for (nick, number) in nicks.iter().zip(1..) {
            names.learn(peer(number), Some(nick), false, true);
        }
        names
    }

    #[test]
    fn a_nickname_that_irc_allows_stays_as_it_is() {
        let names = strangers(&["bob", "[Zoë]", "李雷"]);
        assert_eq!(names.nick(peer(1)), Some("bob"));
        assert_eq!(names.nick(peer(2)), Some("[Zoë]"));
        assert_eq!(names.nick(peer(3)), Some("李雷"));
        assert_eq!(names.peer("BOB"), Some(peer(1)));
        assert_eq!(names.peer("carol"), None);
    }

    #[test]
    fn other_nicknames_are_mapped_and_can_be_mapped_back() {
        let names = strangers(&["ann marie", "ann_marie", "2cool", "bob!x@y", "a|b", "🦊"]);
        let nicks: Vec<&str> = (1..=6).map(|n| names.nick(peer(n)).unwrap()).collect();
        let with = |base: &str, n| format!("{base}|{}", short(n));
        assert_eq!(nicks[0], with("ann_marie", 1));
        assert_eq!(nicks[1], "ann_marie");
        assert_eq!(nicks[2], with("_2cool", 3));
        assert_eq!(nicks[3], with("bob_x_y", 4));
        assert_eq!(nicks[4], with("a_b", 5));
        assert_eq!(nicks[5], with("_", 6));
        for (nick, number) in nicks.iter().zip(1..) {
            assert_eq!(names.peer(nick), Some(peer(number)), "{nick}");
        }
    }

    #[test]
    fn of_two_strangers_with_one_nickname_neither_has_it_alone() {
        let mut names = strangers(&["bob"]);
        // Capitals don't matter in IRC.
        let renamed = names.learn(peer(2), Some("Bob"), false, true);
        let now = format!("bob|{}", short(1));
        let before = "bob".to_owned();
        assert_eq!(
            renamed,
            [Renamed {
                peer: peer(1),
                before,
                now
            }]
        );
        assert_eq!(names.peer("bob"), None);
        // Once one of them is called something else, the other one has it alone again.
        let renamed = names.learn(peer(2), Some("rob"), false, true);
        assert_eq!(renamed.len(), 2);
        assert_eq!(names.peer("bob"), Some(peer(1)));
        assert_eq!(names.peer("rob"), Some(peer(2)));
    }

    #[test]
    fn a_contact_keeps_its_nickname_whoever_comes() {
        let mut names = Names::new("ann");
        names.learn(peer(1), Some("bob"), true, true);
        for number in 2..100 {
            assert_eq!(names.learn(peer(number), Some("bob"), false, true), []);
        }
        assert_eq!(names.peer("bob"), Some(peer(1)));
        assert_eq!(names.nick(peer(7)).unwrap(), format!("bob|{}", short(7)));
    }

    #[test]
    fn nobody_takes_the_nickname_of_this_node() {
        let mut names = strangers(&["Ann", "bob"]);
        assert_eq!(names.nick(peer(1)).unwrap(), format!("Ann|{}", short(1)));
        assert!(names.is_me("ANN"));
        let renamed = names.rename_me("bob");
        assert_eq!(renamed.len(), 2);
        assert_eq!(names.peer("ann"), Some(peer(1)));
        assert_eq!(names.peer("bob"), None);
    }

    #[test]
    fn a_stranger_that_looks_like_somebody_else_has_its_id_beside_its_name() {
        let mut names = Names::new("ann");
        // The first letter is Cyrillic.
        names.learn(peer(1), Some("аlice"), false, false);
        assert_eq!(names.nick(peer(1)).unwrap(), format!("аlice|{}", short(1)));
        names.learn(peer(2), None, false, true);
        assert_eq!(
            names.nick(peer(2)).unwrap(),
            format!("unnamed|{}", short(2))
        );
    }

    #[test]
    fn an_earlier_name_is_shown_unless_it_may_be_taken_for_somebody_else() {
        let mut names = strangers(&["bob", "carol"]);
        let shown = |names: &Names, nick: &str| names.past(peer(1), false, nick);
        assert_eq!(shown(&names, "bob"), "bob");
        assert_eq!(shown(&names, "robert"), "robert");
        assert_eq!(shown(&names, &short(1)), "bob", "it had no name yet");
        let with = |base: &str| format!("{base}|{}", short(1));
        assert_eq!(shown(&names, "Carol"), with("Carol"));
        assert_eq!(shown(&names, "ann"), with("ann"));
        assert_eq!(shown(&names, "bob the first"), with("bob_the_first"));
        // The node shows the start of the id itself if a name looks like another one.
        let like_another = format!("аlice~{}", &peer(1).to_string()[..4]);
        assert_eq!(shown(&names, &like_another), with("аlice"));
        assert_eq!(
            shown(&names, "a~b"),
            with("a_b"),
            "a nickname with this sign"
        );
        // Of two who are called so today, neither has it alone.
        names.learn(peer(3), Some("dave"), false, true);
        names.learn(peer(4), Some("Dave"), false, true);
        assert_eq!(shown(&names, "dave"), with("dave"));
        assert_eq!(names.past(peer(9), true, "anna"), "anna");
        assert_eq!(names.past(peer(9), true, "ann"), "ann");
        assert_eq!(
            names.past(peer(9), true, "bob"),
            format!("bob|{}", short(9))
        );
    }

    #[test]
    fn the_order_of_arrival_does_not_matter() {
        let people: [(u8, &str, bool); 6] = [
            (1, "bob", false),
            (2, "Bob", true),
            (3, "bob ", false),
            (4, "ann", true),
            (5, "zoë", false),
            (6, "zoe\u{308}", false),
        ];
        let named = |order: &[usize]| {
            let mut names = Names::new("ann");
            for at in order {
                let (number, nick, contact) = people[*at];
                names.learn(peer(number), Some(nick), contact, true);
            }
            let nick =
                |(number, _, _): &(u8, &str, bool)| names.nick(peer(*number)).unwrap().to_owned();
            people.iter().map(nick).collect::<Vec<_>>()
        };
        let nicks = named(&[0, 1, 2, 3, 4, 5]);
        assert_eq!(nicks, named(&[5, 4, 3, 2, 1, 0]));
        assert_eq!(nicks, named(&[3, 5, 1, 0, 4, 2]));
        let distinct: BTreeSet<String> = nicks.iter().map(|nick| folded(nick)).collect();
        assert_eq!(distinct.len(), nicks.len(), "{nicks:?}");
    }
}
