//! Replies, edits, reactions, pins and deletions: what nodes write about entries, and topics; and
//! whether all nodes show the same in the end.

use std::collections::{BTreeMap, BTreeSet};

use hobnob_core::replica::Input;
use hobnob_protocol::{Body, ConversationId, Entry, EntryRef, LogId, LogName, PersonId, Seq};

use super::{Act, Event, SECOND, Shape, World};
use crate::disk::Stand;

/// The members of a conversation.
const MEMBERS: usize = 5;

const EMOJI: [&str; 3] = ["👍", "🎉", "🤔"];

type EntryName = (LogName, Seq);

/// The place of an entry in the order in which it is shown. The newest edit and the newest decision
/// about an emoji count.
type Place = (u64, PersonId, LogId, Seq);

/// One message as a node shows it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shown {
    text: Option<(Place, String)>,
    reactions: BTreeMap<(PersonId, String), Option<(Place, bool)>>,
    reply_to: Option<EntryName>,
    pin: Option<(Place, bool)>,
}

/// A conversation as a node shows it.
#[derive(Debug, Default, PartialEq, Eq)]
struct View {
    messages: BTreeMap<EntryName, Shown>,
    topic: Option<(Place, String)>,
}

impl World {
    /// Sets up five members that talk in a room with a secret and in the lobby, edit, delete,
    /// react, reply, pin and set topics, while the network parts, nodes crash, and old backups come
    /// back.
    pub(crate) fn set_up_talk(&mut self) {
        self.set_rooms();
        for node in 0..MEMBERS {
            self.add_node(0);
            self.script.lobby_at_start.insert(node);
            self.script.secret_at_start.insert(node);
            self.oracle.in_on_it.insert(node);
            let start = self.below(3 * SECOND);
            self.at(start, Event::Start(node));
        }
        self.shape(Shape::Mesh);
        for (act, times) in [
            (Act::Say, 6),
            (Act::Amend, 12),
            (Act::Decide, 6),
            (Act::Delete, 4),
            (Act::Cut, 1),
            (Act::Partition, 2),
            (Act::Heal, 2),
            (Act::Crash, 2),
            (Act::DiskFull, 1),
            (Act::Backup, 1),
            (Act::Restore, 1),
        ] {
            self.script.acts.extend(std::iter::repeat_n(act, times));
        }
        self.script.left = u32::try_from(self.between(20, 80)).expect("small");
        self.script.pace = (SECOND / 1000, 2 * SECOND);
        self.script.views_agree = true;
        self.at(SECOND, Event::Act);
    }

    /// The node answers, edits, or reacts to an entry that it has.
    pub(super) fn amend_something(&mut self, node: usize) {
        let Some((conversation, to)) = self.choose_entry(node) else {
            return;
        };
        let EntryRef { author, log, seq } = to;
        let text = self.new_label();
        let body = match self.pick(3) {
            0 => Body::React {
                to,
                emoji: EMOJI[self.pick(EMOJI.len())].to_owned(),
                on: !self.one_in(3),
            },
            1 if author.is_none() => Body::Edit {
                log,
                seq,
                text: text.clone(),
            },
            _ => Body::Reply {
                to,
                text: text.clone(),
            },
        };
        self.append_about(node, conversation, text, body);
    }

    /// The node sets the topic, or pins an entry that it has, or takes a pin back.
    pub(super) fn decide_something(&mut self, node: usize) {
        let Some((conversation, to)) = self.choose_entry(node) else {
            return;
        };
        let text = self.new_label();
        let body = match self.one_in(2) {
            true => Body::Topic(text.clone()),
            false => Body::Pin {
                to,
                on: !self.one_in(3),
            },
        };
        self.append_about(node, conversation, text, body);
    }

    /// Any entry that the node has.
    fn choose_entry(&mut self, node: usize) -> Option<(ConversationId, EntryRef)> {
        let conversation = self.choose_conversation(node)?;
        let logs = self.nodes[node].disk.durable.logs.iter();
        let logs = logs.filter(|(name, _)| name.conversation == conversation);
        let held: Vec<EntryName> = logs
            .flat_map(|(name, log)| log.entries.keys().map(move |seq| (*name, *seq)))
            .collect();
        if held.is_empty() {
            return None;
        }
        let (name, seq) = held[self.pick(held.len())];
        let author = (name.author != self.nodes[node].id).then_some(name.author);
        let log = name.log;
        Some((conversation, EntryRef { author, log, seq }))
    }

    /// A text that no other entry has.
    fn new_label(&mut self) -> String {
        self.script.bodies += 1;
        format!("{} about another", self.script.bodies)
    }

    fn append_about(
        &mut self,
        node: usize,
        conversation: ConversationId,
        label: String,
        body: Body,
    ) {
        let token = self.says_about(node, conversation, label, body.clone());
        self.input(
            node,
            Input::Append {
                token,
                conversation,
                body,
            },
        );
    }

    /// The author's edits of a message. They are deleted with it.
    pub(super) fn edits_of(&self, node: usize, of: EntryName) -> Vec<EntryName> {
        let entries = self.whole(node, of.0.conversation).into_iter();
        let edits = entries.filter(|(name, _, entry)| {
            let target = (entry.about(), &entry.body);
            matches!(target, (Some(about), Body::Edit { .. })
                if name.author == of.0.author && (about.log, about.seq) == (of.0.log, of.1))
        });
        edits.map(|(name, seq, _)| (name, seq)).collect()
    }

    /// The entries of a conversation on a node's disk that have their bodies.
    fn whole(&self, node: usize, conversation: ConversationId) -> Vec<(LogName, Seq, Entry)> {
        let logs = self.nodes[node].disk.durable.logs.iter();
        let logs = logs.filter(|(name, _)| name.conversation == conversation);
        let mut whole = Vec::new();
        for (name, log) in logs {
            for (seq, stored) in &log.entries {
                if stored.body == Stand::Whole {
                    let entry = Entry::decode(&stored.bytes).expect("it was read when it arrived");
                    whole.push((*name, *seq, entry));
                }
            }
        }
        whole
    }

    /// Checks that all members show the same messages and the same topic of the room with a secret,
    /// with the same edits, reactions, pins and quotes.
    pub(crate) fn views_differ(&self) -> Option<String> {
        let secret = self.oracle.secret.filter(|_| self.script.views_agree)?;
        // A full disk at the start may have kept a node out of the room.
        let mut members = (0..self.nodes.len()).filter(|node| self.is_in(*node, secret));
        let one = members.next()?;
        let first = self.view(one, secret);
        for node in members {
            let other = self.view(node, secret);
            if first.topic != other.topic {
                let (first, other) = (first.topic, other.topic);
                return Some(format!(
                    "n{one} shows the topic {first:?}, and n{node} {other:?}"
                ));
            }
            let (first, other) = (&first.messages, &other.messages);
            let names: BTreeSet<_> = first.keys().chain(other.keys()).collect();
            let wrong = names
                .into_iter()
                .find(|name| first.get(name) != other.get(name));
            if let Some(name) = wrong {
                return Some(format!(
                    "n{one} shows {name:?} as {:?}, and n{node} as {:?}",
                    first.get(name),
                    other.get(name)
                ));
            }
        }
        None
    }

    fn view(&self, node: usize, conversation: ConversationId) -> View {
        let whole = self.whole(node, conversation);
        let mut topic: Option<(Place, String)> = None;
        let mut view: BTreeMap<EntryName, Shown> = BTreeMap::new();
        for (name, seq, entry) in &whole {
            if matches!(entry.body, Body::Text(_) | Body::Reply { .. }) {
                view.insert((*name, *seq), Shown::default());
            }
        }
        for (name, seq, entry) in whole {
            let place = (entry.lamport, name.author, name.log, seq);
            let about = entry.about().map(|about| {
                let author = about.author.unwrap_or(name.author);
                let log = about.log;
                (
                    LogName {
                        author,
                        device: author.only_device(),
                        log,
                        ..name
                    },
                    about.seq,
                )
            });
            if let Body::Topic(text) = entry.body {
                topic = topic.max(Some((place, text)));
                continue;
            }
            let about_another = entry.body.is_amendment() || matches!(entry.body, Body::Pin { .. });
            let of = match about_another {
                true => about.expect("it names an entry"),
                false => (name, seq),
            };
            let Some(shown) = view.get_mut(&of) else {
                continue;
            };
            match entry.body {
                Body::Text(text) => shown.edit(place, text),
                Body::Edit { text, .. } => shown.edit(place, text),
                Body::Reply { text, .. } => {
                    shown.reply_to = about;
                    shown.edit(place, text);
                }
                Body::React { emoji, on, .. } => {
                    let decided = shown.reactions.entry((name.author, emoji)).or_default();
                    *decided = (*decided).max(Some((place, on)));
                }
                Body::Pin { on, .. } => shown.pin = shown.pin.max(Some((place, on))),
                Body::App { .. }
                | Body::Offer(_)
                | Body::Topic(_)
                | Body::Delete { .. }
                | Body::Erased { .. }
                | Body::Unknown { .. } => {}
            }
        }
        View {
            messages: view,
            topic,
        }
    }
}

impl Shown {
    fn edit(&mut self, place: Place, text: String) {
        if self.text.as_ref().is_none_or(|(shown, _)| *shown < place) {
            self.text = Some((place, text));
        }
    }
}
