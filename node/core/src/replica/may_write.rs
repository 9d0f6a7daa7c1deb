//! Who may write where.

use hobnob_protocol::header::tag;
use hobnob_protocol::{Extensions, PersonId};

use super::conversation::Conversation;
use super::log_key::LogKey;
use super::refusal::Refusal;
use crate::commit::ConversationKind;

impl Conversation {
    /// **The rule.** Whether a log may have entries in this conversation: in a direct conversation
    /// only those of its two ends. `header` has the extensions of one entry, or nothing where a peer
    /// only names the log.
    ///
    /// Every entry passes this function before it is stored, and every log before it is requested. A
    /// version that derives the writers from certificates or from a room's membership decides here,
    /// and has one more answer: not yet known. The entry then stays with the peer that sent it, as
    /// one that arrived before its predecessor does.
    pub(super) fn may_write(
        &self,
        me: PersonId,
        key: &LogKey,
        header: Option<&Extensions>,
    ) -> Result<(), Refusal> {
        if key.device.person() != key.author {
            let certificate = header.and_then(|header| header.get(tag::CERTIFICATE));
            return Err(match certificate {
                Some(_) => Refusal::NewerCertificate,
                None => Refusal::NoCertificate,
            });
        }
        match self.record.kind {
            ConversationKind::Direct(peer) if key.author != me && key.author != peer => {
                Err(Refusal::NotAnAuthor)
            }
            ConversationKind::Direct(_) | ConversationKind::Room { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{Body, Entry, Ranges};

    use super::super::testing::{
        Author, Bench, closed_room, commits, direct, open_room, receipts, received, refusals, wants,
    };
    use super::*;

    const BOB: u8 = 2;
    const CAROL: u8 = 3;
    const PHONE: u8 = 9;

    fn with_certificate() -> Entry {
        let mut entry = Entry::new(1, 1, Body::Text("from my phone".into()));
        entry.extensions.set(tag::CERTIFICATE, vec![7; 64]);
        entry
    }

    #[test]
    fn a_log_of_another_device_is_refused_everywhere() {
        for conversation in [direct(BOB), closed_room(), open_room()] {
            let mut bench = Bench::new();
            bench.join(true);
            bench.join(false);
            bench.connect(1, BOB);
            if conversation != direct(BOB) {
                bench.meet_in(1, conversation, &[]);
            }
            let mut phone = Author::on_device(BOB, PHONE, conversation, 1);
            let outputs = bench.batch(1, phone.write(&["from my phone"]));
            assert_eq!(refusals(&outputs), [Refusal::NoCertificate]);
            assert_eq!((commits(&outputs).len(), received(&outputs).len()), (0, 0));
            let outputs = bench.have(1, phone.name, 1, 1);
            assert_eq!(refusals(&outputs), [Refusal::NoCertificate]);
            assert_eq!(wants(&outputs, 1), []);
        }
    }

    #[test]
    fn a_certificate_needs_a_newer_version() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        let mut phone = Author::on_device(BOB, PHONE, direct(BOB), 1);
        let outputs = bench.batch(1, phone.write_entries(vec![with_certificate()]));
        assert_eq!(refusals(&outputs), [Refusal::NewerCertificate]);
        assert_eq!(receipts(&outputs, 1), []);
    }

    #[test]
    fn heads_of_another_device_are_skipped_and_the_others_count() {
        let mut bench = Bench::new();
        bench.join(false);
        bench.connect(1, BOB);
        let phone = Author::on_device(CAROL, PHONE, closed_room(), 1).name;
        let laptop = Author::new(CAROL, closed_room()).name;
        let heads = [phone, laptop].map(|name| (name, Ranges::span(1, 2)));
        let outputs = bench.meet_in(1, closed_room(), &heads);
        assert_eq!(refusals(&outputs), [Refusal::NoCertificate]);
        assert_eq!(wants(&outputs, 1), [(laptop, 1, None)]);
    }

    #[test]
    fn nobody_writes_for_somebody_else_by_naming_another_device() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        // The device of a third person signs a log in the name of Bob.
        let mut forged = Author::on_device(BOB, PHONE, direct(BOB), 1);
        let mut batch = forged.write(&["x"]);
        batch.name.device = batch.name.author.only_device();
        let outputs = bench.batch(1, batch);
        let genesis = hobnob_protocol::BatchError::Genesis;
        assert_eq!(refusals(&outputs), [Refusal::Batch(genesis)]);
    }
}
