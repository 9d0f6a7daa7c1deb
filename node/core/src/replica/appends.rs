//! Messages of the user that wait to be written to a log.

use std::collections::VecDeque;

use hobnob_protocol::Body;
use hobnob_protocol::batch::BATCH_ENTRIES_BYTES_MAX;

use super::events::Token;

/// The appends of one conversation. Only one commit of own entries runs at a time, so a burst of
/// appends needs few signatures.
#[derive(Debug, Default)]
pub(super) struct Appends {
    waiting: VecDeque<(Token, Body)>,
    /// Whether a commit of own entries has not been answered.
    writing: bool,
}

impl Appends {
    pub(super) fn add(&mut self, token: Token, body: Body) {
        self.waiting.push_back((token, body));
    }

    /// Whether nothing waits, and no commit of own entries has to be answered.
    pub(super) fn are_empty(&self) -> bool {
        self.waiting.is_empty() && !self.writing
    }

    /// Whether entries can be written now. If so, the caller writes them.
    pub(super) fn begin(&mut self) -> bool {
        let begins = !self.writing && !self.waiting.is_empty();
        self.writing |= begins;
        begins
    }

    /// The store has answered the commit.
    pub(super) fn end(&mut self) {
        self.writing = false;
    }

    /// Takes as many waiting messages as fit one batch, and at most `most`. An entry about another
    /// one, such as a reply or a deletion, is alone in its batch, because it is for those whom the
    /// other entry was for.
    pub(super) fn take_batch(&mut self, most: usize) -> Vec<(Token, Body)> {
        let is_alone = |(_, body): &&(Token, Body)| body.about().is_some();
        if self.waiting.front().is_some_and(|first| is_alone(&first)) {
            return self.waiting.drain(..1).collect();
        }
        let mut bytes = 0;
        let fits = |(_, body): &&(Token, Body)| {
            bytes += encoded_size_at_most(body);
            bytes <= BATCH_ENTRIES_BYTES_MAX
        };
        let messages = self.waiting.iter().take_while(|it| !is_alone(it));
        let count = messages.take(most).take_while(fits).count();
        self.waiting.drain(..count).collect()
    }
}

/// Covers the salt, the numbers, the lengths, the kind, and the reference of a deletion.
const FIXED_BYTES_MAX: usize = 72;

/// The author in a reference to somebody else's entry.
const AUTHOR_BYTES: usize = 32;

/// An upper bound of the encoded size.
fn encoded_size_at_most(body: &Body) -> usize {
    FIXED_BYTES_MAX
        + match body {
            Body::Text(text) | Body::Edit { text, .. } => text.len(),
            Body::Reply { text, .. } => text.len() + AUTHOR_BYTES,
            Body::React { emoji, .. } => emoji.len() + AUTHOR_BYTES,
            Body::Topic(topic) => topic.len(),
            Body::Pin { .. } => AUTHOR_BYTES,
            Body::App { kind, bytes } => kind.len() + bytes.len() + 16,
            Body::Offer(offer) => offer.name.len() + offer.media.len() + offer.caption.len() + 100,
            Body::Delete { .. } | Body::Erased { .. } => 0,
            Body::Unknown { bytes, .. } => bytes.len(),
        }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::offer::{Attributes, Folder};
    use hobnob_protocol::{ContentHash, Entry, EntryRef, LogId, Offer, PersonId};

    use super::*;

    fn text(bytes: usize) -> Body {
        Body::Text("x".repeat(bytes))
    }

    #[test]
    fn appends_are_empty_when_all_are_written_and_the_store_has_answered() {
        let mut appends = Appends::default();
        assert!(appends.are_empty());
        appends.add(Token(1), text(1));
        assert!(!appends.are_empty(), "one waits");
        assert!(appends.begin());
        appends.take_batch(usize::MAX);
        assert!(!appends.are_empty(), "the store writes it");
        appends.end();
        assert!(appends.are_empty());
    }

    #[test]
    fn no_entry_is_longer_than_its_estimate_or_much_shorter() {
        let to = EntryRef {
            author: Some(PersonId::from_bytes([255; 32])),
            log: LogId(u64::MAX),
            seq: u64::MAX - 2,
        };
        let long = "x".repeat(200);
        let bodies = [
            text(1),
            text(16_384),
            Body::Reply {
                to,
                text: long.clone(),
            },
            Body::Edit {
                log: to.log,
                seq: to.seq,
                text: long.clone(),
            },
            Body::React {
                to,
                emoji: "👍".into(),
                on: true,
            },
            Body::Delete {
                log: to.log,
                seq: to.seq,
            },
            Body::App {
                kind: "org.example.chess".into(),
                bytes: vec![7; 300],
            },
            Body::Offer(Offer {
                name: long.clone(),
                media: String::new(),
                size: u64::MAX,
                hash: ContentHash([7; 32]),
                folder: Some(Folder {
                    manifest_bytes: u64::MAX,
                    files: u64::MAX,
                }),
                attributes: Attributes {
                    modified_s: u64::MAX,
                    ..Attributes::default()
                },
                caption: long,
            }),
        ];
        for body in bodies {
            let entry = Entry::new(u64::MAX, u64::MAX, body);
            let (encoded, most) = (entry.encode(&[7; 16]), encoded_size_at_most(&entry.body));
            assert!(
                (most.saturating_sub(100)..=most).contains(&encoded.len()),
                "{} for {most}: {entry:?}",
                encoded.len()
            );
        }
    }

    #[test]
    fn one_commit_of_own_entries_runs_at_a_time() {
        let mut appends = Appends::default();
        assert!(!appends.begin(), "nothing waits");
        appends.add(Token(1), text(2));
        assert!(appends.begin());
        assert!(!appends.begin());
        appends.end();
        assert!(appends.begin());
    }

    #[test]
    fn a_burst_is_one_batch_in_order() {
        let mut appends = Appends::default();
        for token in 0..100 {
            appends.add(Token(token), text(5));
        }
        let tokens: Vec<_> = appends
            .take_batch(usize::MAX)
            .iter()
            .map(|(t, _)| t.0)
            .collect();
        assert_eq!(tokens, (0..100).collect::<Vec<_>>());
        assert_eq!(appends.take_batch(usize::MAX), []);
    }

    #[test]
    fn a_deletion_is_alone_in_its_batch() {
        let mut appends = Appends::default();
        let (log, seq) = (hobnob_protocol::LogId(1), 1);
        appends.add(Token(1), text(1));
        appends.add(Token(2), Body::Delete { log, seq });
        appends.add(Token(3), text(1));
        for token in 1..=3 {
            let batch = appends.take_batch(usize::MAX);
            assert_eq!((batch.len(), batch[0].0), (1, Token(token)));
        }
    }

    #[test]
    fn a_batch_holds_what_fits_and_the_rest_waits() {
        let mut appends = Appends::default();
        let third = BATCH_ENTRIES_BYTES_MAX / 3 - FIXED_BYTES_MAX;
        for token in 0..4 {
            appends.add(Token(token), text(third));
        }
        assert_eq!(appends.take_batch(usize::MAX).len(), 3);
        assert_eq!(appends.take_batch(usize::MAX).len(), 1);
    }

    #[test]
    fn each_kind_of_message_is_counted_with_all_its_parts() {
        let app = |kind: &str, bytes| Body::App {
            kind: kind.to_owned(),
            bytes: vec![0; bytes],
        };
        let of = encoded_size_at_most;
        assert_eq!(of(&text(7)), 79);
        assert_eq!(of(&app("org.x", 10)), 72 + 5 + 10 + 16);
        let unknown = Body::Unknown {
            kind: 99,
            bytes: vec![0; 9],
        };
        assert_eq!(of(&unknown), 81);
        let offer = Body::Offer(Offer {
            attributes: hobnob_protocol::offer::Attributes::default(),
            caption: String::new(),
            name: "cat.png".to_owned(),
            media: "image/png".to_owned(),
            size: 10,
            hash: ContentHash([0; 32]),
            folder: None,
        });
        assert_eq!(of(&offer), 72 + 7 + 9 + 100);
    }
}
