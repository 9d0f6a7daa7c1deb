//! Carries out introductions: proposes, accepts, and lets two peers meet.

use hobnob_core::paths;
use hobnob_protocol::introduction::Introduction;
use hobnob_protocol::{CheckedBatch, PersonId, Seq};
use tokio::sync::oneshot;
use tracing::debug;

use super::INTRODUCTIONS_SETTING;
use crate::api::{ConversationRef, NoticeReason, Sent};
use crate::clock::random;
use crate::engine::state::Engine;
use crate::error::{IntroduceError, SendError};

impl Engine {
    /// The user introduces two contacts to each other.
    pub(in crate::engine) fn introduce(
        &mut self,
        ends: [PersonId; 2],
        reply: oneshot::Sender<Result<(), IntroduceError>>,
    ) {
        let proposals = match self.proposals(ends) {
            Ok(proposals) => proposals,
            Err(error) => return drop(reply.send(Err(error))),
        };
        let sent = proposals.map(|(to, step)| self.send_step(to, &step));
        self.tasks.spawn(async move {
            let mut result = Ok(());
            for sent in sent {
                let sent = sent.await.unwrap_or(Err(SendError::Stopped));
                result = result.and(sent.map(drop));
            }
            // The user may have given up.
            let _ = reply.send(result.map_err(IntroduceError::Send));
        });
    }

    /// Notes an introduction. Returns the proposal for each of the two.
    fn proposals(
        &mut self,
        ends: [PersonId; 2],
    ) -> Result<[(PersonId, Introduction); 2], IntroduceError> {
        let [one, other] = ends;
        if one == other {
            return Err(IntroduceError::Same);
        }
        let number = random();
        let proposal = |about: PersonId| {
            if !self.policy.is_contact(about) {
                return Err(IntroduceError::NotAContact(self.peers.name(about)));
            }
            let Some(record) = self.peers.record(about) else {
                return Err(IntroduceError::NeverMet(self.peers.name(about)));
            };
            Ok(Introduction::Propose {
                number,
                other: about,
                record: record.signed().clone(),
            })
        };
        let (about_one, about_other) = (proposal(one)?, proposal(other)?);
        self.introductions.introduce(number, ends);
        self.store_introductions();
        Ok([(one, about_other), (other, about_one)])
    }

    fn store_introductions(&self) {
        let text = self.introductions.text();
        self.store.set_setting(INTRODUCTIONS_SETTING, text);
    }

    fn send_step(
        &mut self,
        to: PersonId,
        step: &Introduction,
    ) -> oneshot::Receiver<Result<Sent, SendError>> {
        let (reply, sent) = oneshot::channel();
        self.send(ConversationRef::Direct(to), true, step.body(), reply);
        sent
    }

    /// Entries are on disk. Steps of introductions among them are carried out.
    pub(in crate::engine) fn introductions_received(
        &mut self,
        batch: &CheckedBatch,
        first: Seq,
        last: Seq,
    ) {
        let (conversation, from) = (batch.batch.name.conversation, batch.batch.name.author);
        let is_direct = self.conversation_ref(conversation) == Some(ConversationRef::Direct(from));
        if !is_direct || !self.policy.is_contact(from) {
            return;
        }
        for seq in first..=last {
            let entry = batch.at(seq);
            match entry.and_then(|it| Introduction::read(&it.entry.body)) {
                Some(Ok(step)) => self.introduction_step(from, step),
                Some(Err(error)) => debug!(?from, "an introduction that is not valid: {error}"),
                None => {}
            }
        }
    }

    fn introduction_step(&mut self, from: PersonId, step: Introduction) {
        match step {
            Introduction::Propose {
                number,
                other,
                record,
            } => {
                let Ok(record) = record.check(other) else {
                    return debug!(?from, "an introduction with a record of somebody else");
                };
                let is_denied = self.denies(other.only_device()).is_some() || other == self.me;
                if is_denied || !self.introductions.propose(from, number, other) {
                    return;
                }
                self.peers.learn_record(other, record);
                self.peers.keep(other);
                self.peers_changed();
                self.store_introductions();
                if self.policy.is_contact(other) {
                    return self.introductions_accepted(other);
                }
                let reason = NoticeReason::Introduction {
                    name: self.peers.name(other),
                    introducer: self.peers.name(from),
                };
                self.reports.notice(reason, Some(other));
            }
            Introduction::Accept { number } => {
                let both = self.introductions.accepted_by(number, from);
                self.store_introductions();
                if let Some([one, other]) = both {
                    for (to, about) in [(one, other), (other, one)] {
                        let contact = self.known_relays.contact(about);
                        let contact = contact.map(|record| record.signed().clone());
                        let step = Introduction::Meet { number, contact };
                        // The outbox reports what becomes of the message.
                        drop(self.send_step(to, &step));
                    }
                }
            }
            Introduction::Meet { number, contact } => {
                let Some(other) = self.introductions.meet(from, number) else {
                    return;
                };
                self.store_introductions();
                if let Some(Ok(record)) = contact.map(|record| record.check(other)) {
                    self.known_relays.learn(other, record);
                }
                self.reach_at_relays_of(other);
                self.tell_paths(paths::Input::Wanted(other.only_device()));
                self.store_peer(other);
                let name = self.peers.name(other);
                self.reports
                    .notice(NoticeReason::Introduced { name }, Some(other));
            }
        }
    }

    /// The user has accepted a peer. Contacts that have proposed it learn of that.
    pub(in crate::engine) fn introductions_accepted(&mut self, other: PersonId) {
        let accepted = self.introductions.accept(other);
        if accepted.is_empty() {
            return;
        }
        self.store_introductions();
        for (introducer, number) in accepted {
            if self.policy.is_contact(introducer) {
                drop(self.send_step(introducer, &Introduction::Accept { number }));
            }
        }
    }

    /// A peer is not a contact any more.
    pub(in crate::engine) fn introductions_forget(&mut self, peer: PersonId) {
        if self.introductions.forget(peer) {
            self.store_introductions();
        }
    }
}
