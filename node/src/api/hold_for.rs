//! Whose mail a node holds.

use std::str::FromStr;

use hobnob_protocol::{Nickname, PersonId};

/// The peers whose mail a node holds while they are away, as a relay does. Only contacts can be among
/// them. Its text form is `nobody`, `contacts`, or ids and nicknames, separated by commas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HoldFor {
    /// Nobody.
    #[default]
    Nobody,
    /// All contacts.
    Contacts,
    /// These contacts.
    These(Vec<HeldPeer>),
}

/// A contact whose mail a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldPeer {
    /// The contact with this id.
    Id(PersonId),
    /// Each contact with this nickname.
    Name(Nickname),
}

/// A text that names no peers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`contacts`, `nobody`, or ids and nicknames of contacts are expected, not `{0}`")]
pub struct NotHoldFor(String);

impl HoldFor {
    /// Whether a contact with this nickname is among them.
    pub(crate) fn names(&self, contact: PersonId, nick: Option<&Nickname>) -> bool {
        match self {
            Self::Nobody => false,
            Self::Contacts => true,
            Self::These(peers) => peers.iter().any(|peer| match peer {
                HeldPeer::Id(id) => *id == contact,
                HeldPeer::Name(name) => nick == Some(name),
            }),
        }
    }
}

impl FromStr for HoldFor {
    type Err = NotHoldFor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "nobody" => Ok(Self::Nobody),
            "contacts" => Ok(Self::Contacts),
            names => {
                let peers = names.split(',').map(|name| name.trim().parse());
                Ok(Self::These(peers.collect::<Result<_, _>>()?))
            }
        }
    }
}

impl FromStr for HeldPeer {
    type Err = NotHoldFor;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        if let Ok(id) = word.parse() {
            return Ok(Self::Id(id));
        }
        let nick = Nickname::new(word).map_err(|_| NotHoldFor(word.to_owned()))?;
        Ok(Self::Name(nick))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_lists_are_understood() {
        let parse = |text: &str| text.parse::<HoldFor>();
        assert_eq!(parse("nobody"), Ok(HoldFor::Nobody));
        assert_eq!(parse("contacts"), Ok(HoldFor::Contacts));
        let id = PersonId::from_bytes([2; 32]);
        let both = parse(&format!("bob, {id}")).expect("two peers");
        let bob = Nickname::new("bob").expect("a nickname");
        let these = vec![HeldPeer::Name(bob.clone()), HeldPeer::Id(id)];
        assert_eq!(both, HoldFor::These(these));
        assert!(both.names(id, None) && !both.names(PersonId::from_bytes([3; 32]), None));
        assert!(both.names(PersonId::from_bytes([3; 32]), Some(&bob)));
        assert!(parse("bob,,cat").is_err() && parse("").is_err());
    }
}
