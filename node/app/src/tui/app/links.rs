//! The list of links from which the user chooses one.

use hobnob_control::wire::Time;

use super::timeline::Entry;
use crate::shared::links::links;

/// Maximum number of links in the list: the newest ones.
const LINKS_MAX: usize = 100;

/// A link that somebody has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) address: String,
    pub(crate) nick: String,
    pub(crate) at: Time,
}

/// The list, and which of them is chosen.
#[derive(Debug)]
pub(crate) struct Links {
    /// Oldest first, never empty.
    list: Vec<Link>,
    chosen: usize,
}

impl Links {
    /// The links of these entries, oldest first. None if there are none.
    pub(super) fn of<'a>(entries: impl DoubleEndedIterator<Item = &'a Entry>) -> Option<Links> {
        let mut list: Vec<Link> = Vec::new();
        for message in entries.rev().filter_map(Entry::message) {
            let text = message.body.text.as_deref().unwrap_or_default();
            let in_text: Vec<_> = links(text).collect();
            for address in in_text.into_iter().rev() {
                if list.iter().all(|link| link.address != address) && list.len() < LINKS_MAX {
                    list.push(Link {
                        address: address.to_owned(),
                        nick: message.nick.clone(),
                        at: message.received_at,
                    });
                }
            }
        }
        list.reverse();
        let chosen = list.len().checked_sub(1)?;
        Some(Links { list, chosen })
    }

    pub(crate) fn list(&self) -> &[Link] {
        &self.list
    }

    /// The index of the chosen link.
    pub(crate) fn chosen(&self) -> usize {
        self.chosen
    }

    pub(super) fn choose(&mut self, older: bool) {
        let last = self.list.len() - 1;
        self.chosen = if older {
            self.chosen.saturating_sub(1)
        } else {
            (self.chosen + 1).min(last)
        };
    }

    pub(super) fn address(&self) -> String {
        self.list[self.chosen].address.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::test_messages::message;
    use crate::tui::app::timeline::EntryContent;

    fn entries(texts: &[&str]) -> Vec<Entry> {
        let messages = (1..).zip(texts).map(|(seq, text)| message(seq, text));
        let entries = messages.map(|message| Entry::new(EntryContent::Message(Box::new(message))));
        entries.collect()
    }

    #[test]
    fn the_newest_link_is_chosen_first_and_each_is_listed_once() {
        let texts = ["https://a.b and https://c.d", "no link", "https://a.b"];
        let mut links = Links::of(entries(&texts).iter()).unwrap();
        let listed: Vec<_> = links
            .list()
            .iter()
            .map(|link| link.address.as_str())
            .collect();
        assert_eq!(listed, ["https://c.d", "https://a.b"]);
        assert_eq!(links.address(), "https://a.b");
        links.choose(true);
        links.choose(true);
        assert_eq!(links.address(), "https://c.d");
        links.choose(false);
        assert_eq!(links.address(), "https://a.b");
        assert!(Links::of(entries(&["none"]).iter()).is_none());
    }

    #[test]
    fn the_newest_links_are_listed() {
        let texts: Vec<_> = (0..=LINKS_MAX)
            .map(|n| format!("https://a.b/{n}"))
            .collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let links = Links::of(entries(&texts).iter()).unwrap();
        assert_eq!(links.list().len(), LINKS_MAX);
        assert_eq!(links.list()[0].address, "https://a.b/1");
    }
}
