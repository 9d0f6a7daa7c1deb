//! Replies, edits and reactions: finds the message that they are about, and reports those that
//! arrive.

use hobnob_protocol::{Body, Entry, EntryRef, LogName, PersonId, Seq};
use tokio::sync::oneshot;

use super::amend_target::AmendTarget;
use super::state::Engine;
use crate::api::{
    Amended, Change, ConversationRef, Edited, Message, MessageId, Reaction, Reactor, ReplyTo,
};
use crate::error::SendError;
use crate::store::{Amendments, Quoted, StoreError};

impl Engine {
    /// Finds the message that the user answers, edits or reacts to.
    pub(super) fn find_target(
        &mut self,
        id: MessageId,
        reply: oneshot::Sender<Result<AmendTarget, SendError>>,
    ) {
        let Some(name) = self.replica.find(id.log, id.seq) else {
            return drop(reply.send(Err(SendError::NoSuchMessage)));
        };
        let Some(conversation) = self.conversation_ref(name.conversation) else {
            return drop(reply.send(Err(SendError::NoSuchMessage)));
        };
        let shown = self.peers.name(name.author);
        let rows = self.store.entries(name, id.seq, id.seq);
        self.tasks.spawn(async move {
            let rows = rows.await.unwrap_or(Err(StoreError::Closed));
            let found = rows.map_err(|error| SendError::Store(error.to_string()));
            let target = found.and_then(|mut rows| {
                let entry = rows.pop().ok_or(SendError::NoSuchMessage)?.entry;
                target(conversation, name, shown, id.seq, &entry)
            });
            let _ = reply.send(target);
        });
    }

    /// Adds to a message what other entries say about it.
    pub(super) fn amend(&self, message: &mut Message, name: &LogName, amendments: Amendments) {
        let Amendments {
            reply_to,
            edits,
            reactions,
            deletion,
        } = amendments;
        message.reply_to = reply_to.map(|quoted| {
            let name = self.name_at(quoted.author, message.received_at_ms);
            self.reply_to(quoted, name)
        });
        if let (Some(newest), Some(own)) = (edits.last(), message.body.text()) {
            let earlier = std::iter::once(own.to_owned());
            let earlier = earlier.chain(edits.iter().map(|edit| edit.text.clone()));
            let edited = Edited {
                at_ms: newest.sent_at_ms,
                earlier: earlier.take(edits.len()).collect(),
            };
            if let Body::Text(text) | Body::Reply { text, .. } = &mut message.body {
                text.clone_from(&newest.text);
            }
            message.edited = Some(edited);
        }
        message.reactions = reactions
            .into_iter()
            .filter_map(|(emoji, by)| self.reaction(emoji, by))
            .collect();
        let own = name.author == self.me;
        let deletion = deletion.filter(|_| own && message.deleted);
        message.confirmed = deletion.map(|(name, seq)| self.replica.delivered_to(name, seq).len());
    }

    fn reaction(&self, emoji: String, by: Vec<PersonId>) -> Option<Reaction> {
        let shown = by.into_iter().filter(|peer| self.policy.shows(*peer));
        let by: Vec<_> = shown
            .map(|peer| Reactor {
                peer,
                name: self.name_of(peer),
            })
            .collect();
        (!by.is_empty()).then_some(Reaction { emoji, by })
    }

    /// The message that a reply answers. `name`: what its author was called when the reply arrived.
    fn reply_to(&self, quoted: Quoted, name: String) -> ReplyTo {
        let Quoted {
            author,
            log,
            seq,
            body,
        } = quoted;
        let text = match body.filter(|_| self.policy.shows(author)) {
            Some(Body::Offer(offer)) => Some(offer.name),
            Some(Body::Topic(topic)) => Some(topic),
            Some(body) => body.text().map(str::to_owned),
            None => None,
        };
        ReplyTo {
            id: MessageId { log, seq },
            from: author,
            name,
            text,
        }
    }

    /// The message that a live one answers. Its text is in the history.
    pub(super) fn live_reply_to(&self, author: PersonId, body: &Body) -> Option<ReplyTo> {
        let Body::Reply { to, .. } = body else {
            return None;
        };
        let quoted = Quoted {
            author: to.author.unwrap_or(author),
            log: to.log,
            seq: to.seq,
            body: None,
        };
        let name = self.name_of(quoted.author);
        Some(self.reply_to(quoted, name))
    }

    /// The change that an edit or a reaction makes. `None` if the body is a message.
    pub(super) fn amended(
        &self,
        conversation: &ConversationRef,
        from: PersonId,
        body: &Body,
    ) -> Option<Amended> {
        let change = match body {
            Body::Edit { text, .. } => Change::Edited { text: text.clone() },
            Body::React { emoji, on, .. } => Change::Reacted {
                emoji: emoji.clone(),
                on: *on,
            },
            Body::Text(_)
            | Body::App { .. }
            | Body::Offer(_)
            | Body::Reply { .. }
            | Body::Topic(_)
            | Body::Pin { .. }
            | Body::Delete { .. }
            | Body::Erased { .. }
            | Body::Unknown { .. } => return None,
        };
        let about = body.about().expect("edits and reactions name a message");
        Some(Amended {
            id: MessageId {
                log: about.log,
                seq: about.seq,
            },
            conversation: conversation.clone(),
            from,
            name: self.name_of(from),
            change,
        })
    }
}

fn target(
    conversation: ConversationRef,
    name: LogName,
    shown: String,
    seq: Seq,
    entry: &Entry,
) -> Result<AmendTarget, SendError> {
    let itself = EntryRef {
        author: Some(name.author),
        log: name.log,
        seq,
    };
    let (entry, has_text) = match &entry.body {
        Body::Edit { log, seq, .. } => (
            EntryRef {
                log: *log,
                seq: *seq,
                ..itself
            },
            true,
        ),
        Body::React { to, .. } | Body::Pin { to, .. } => {
            let author = Some(to.author.unwrap_or(name.author));
            (EntryRef { author, ..*to }, false)
        }
        Body::Text(_) | Body::Reply { .. } => (itself, true),
        Body::App { .. } | Body::Offer(_) | Body::Topic(_) | Body::Unknown { .. } => {
            (itself, false)
        }
        Body::Delete { .. } | Body::Erased { .. } => return Err(SendError::NoSuchMessage),
    };
    Ok(AmendTarget {
        conversation,
        author: name.author,
        name: shown,
        entry,
        has_text,
    })
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{ConversationId, LogId};

    use super::*;

    const ANN: PersonId = PersonId::from_bytes([1; 32]);
    const BOB: PersonId = PersonId::from_bytes([2; 32]);

    fn found(body: Body) -> Result<AmendTarget, SendError> {
        let name = LogName {
            conversation: ConversationId::from_bytes([3; 32]),
            author: ANN,
            device: ANN.only_device(),
            log: LogId(4),
        };
        let direct = ConversationRef::Direct(BOB);
        target(direct, name, "ann".to_owned(), 7, &Entry::new(1, 2, body))
    }

    #[test]
    fn an_answer_to_an_edit_or_a_reaction_is_one_to_the_message() {
        let text = || "hi".to_owned();
        let (log, seq) = (LogId(5), 6);
        let own = EntryRef {
            author: Some(ANN),
            log: LogId(4),
            seq: 7,
        };
        let edited = EntryRef { log, seq, ..own };
        let of_bob = EntryRef {
            author: Some(BOB),
            ..edited
        };
        let emoji = text();
        for (body, entry, has_text) in [
            (Body::Text(text()), own, true),
            (
                Body::Edit {
                    log,
                    seq,
                    text: text(),
                },
                edited,
                true,
            ),
            (
                Body::React {
                    to: of_bob,
                    emoji,
                    on: true,
                },
                of_bob,
                false,
            ),
        ] {
            let target = found(body).expect("it can be answered");
            assert_eq!((target.entry, target.has_text), (entry, has_text));
        }
        let deletion = found(Body::Delete { log, seq });
        assert!(matches!(deletion, Err(SendError::NoSuchMessage)));
    }
}
