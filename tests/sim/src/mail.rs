//! Mail: envelopes at holders, for peers that are away. A holder is always there, like a relay, or
//! it is a node, which comes and goes. It may lie.
//!
//! The encryption of envelopes has its own tests. Here an envelope is a list of frames with its
//! sender, and a lie about the sender makes it unreadable.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "mail is about a few outputs and frames"
)]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hobnob_core::SessionId;
use hobnob_core::replica::{Input, MailedRoom, Output, Refusal};
use hobnob_core::source_network::SourceNetwork;
use hobnob_protocol::{ConversationId, Frame, LogId, LogName, Ranges, Seq, Signature};

use super::world::{Event, MILLI, SECOND, World};

/// Sessions by mail are numbered from here, out of the way of those with a connection.
const MAIL_SESSIONS: u64 = 1 << 40;

/// Maximum batches in an envelope.
const BATCHES_MAX: u64 = 6;

/// Maximum envelopes in a page.
const PAGE_MAX: usize = 8;

/// A sealed envelope.
#[derive(Clone)]
struct Envelope {
    from: usize,
    to: usize,
    in_room: bool,
    frames: Vec<Bytes>,
}

#[derive(Default)]
pub(super) struct Holder {
    /// The node that it is. Otherwise it is always there.
    node: Option<usize>,
    lies: bool,
    kept: Kept,
    /// What it was told to delete.
    old: Vec<Envelope>,
    /// An older copy of its disk.
    copy: Option<Kept>,
    /// How often it was restored from such a copy. Its connections ended each time.
    restored: u64,
}

/// The disk of a holder.
#[derive(Clone, Default)]
struct Kept {
    envelopes: BTreeMap<u64, Envelope>,
    last_number: u64,
}

/// What a node has stored about mail.
#[derive(Default)]
pub(super) struct StoredMail {
    held: BTreeMap<usize, BTreeMap<LogName, Ranges>>,
    owed: BTreeSet<(usize, bool)>,
    members: BTreeMap<usize, Option<(LogId, Seq)>>,
}

/// A session by mail of a node.
struct MailSession {
    life: u64,
    peer: usize,
    in_room: bool,
    /// Whether it only receives, because the peer is here.
    only_receives: bool,
    /// Whether an envelope of it is not answered.
    in_flight: bool,
    /// Batches with the bytes that count as written when they are held.
    batches: Vec<Bytes>,
    control: Vec<Bytes>,
    /// Own logs with the entries that are for the peer, older ones first.
    announced: Vec<(LogName, Seq, Seq)>,
    /// Batches that the replica has not finished.
    arriving: usize,
}

/// A batch of an envelope that arrived, and whether it was refused for good.
type Arrived = (LogName, Seq, Seq, Signature, bool);

/// An envelope whose batches a replica judges.
struct Judged {
    node: usize,
    life: u64,
    from: usize,
    holder: usize,
    number: u64,
    batches: Vec<Arrived>,
}

/// What an answer of a holder is about.
pub(super) struct Posted {
    node: usize,
    holder: usize,
    /// How often the holder was restored before.
    restored: u64,
    /// The recipient has blocked the sender, so the holder has stored nothing.
    is_refused: bool,
    session: SessionId,
    spans: Vec<(LogName, Seq, Seq)>,
    credit: usize,
    has_receipts: bool,
    /// The connection with the holder was lost before.
    is_lost: bool,
}

/// All mail of a run.
#[derive(Default)]
pub(super) struct Mail {
    holders: Vec<Holder>,
    sessions: BTreeMap<(usize, SessionId), MailSession>,
    judged: Vec<Judged>,
    /// What each node has stored: what is held for whom, to whom it owes receipts, and who became a
    /// member of the room with a secret after which own entry.
    held: BTreeMap<(usize, usize), BTreeMap<LogName, Ranges>>,
    owed: BTreeSet<(usize, usize, bool)>,
    members: BTreeMap<(usize, usize), Option<(LogId, Seq)>>,
    last_session: u64,
    /// Batches that arrived by mail.
    pub(super) arrived: u64,
}

impl World {
    /// All nodes are contacts of each other, and deposit at these holders.
    pub(super) fn set_up_mail(&mut self, nodes: &[Option<usize>], lies: bool) {
        let ids: Vec<_> = self.nodes.iter().map(|node| node.id).collect();
        for node in 0..ids.len() {
            self.contacts.extend(ids.iter().map(|id| (node, *id)));
            let start = self.between(SECOND, 3 * SECOND);
            self.at(start, Event::Mail(node));
        }
        let holders = nodes.iter().map(|node| Holder {
            node: *node,
            lies,
            ..Holder::default()
        });
        self.mail.holders = holders.collect();
    }

    pub(super) fn holders_lie(&self) -> bool {
        self.mail.holders.iter().any(|holder| holder.lies)
    }

    /// Copies the disk of a holder.
    pub(super) fn copy_holder(&mut self) {
        let at = self.pick(self.mail.holders.len());
        let holder = &mut self.mail.holders[at];
        holder.copy = Some(holder.kept.clone());
    }

    /// A holder goes on from an older copy of its disk: it has lost what came since then, and has
    /// again what it was told to delete. It uses numbers twice.
    pub(super) fn restore_holder(&mut self) {
        let at = self.pick(self.mail.holders.len());
        let holder = &mut self.mail.holders[at];
        if let Some(copy) = holder.copy.take() {
            holder.kept = copy;
            holder.restored += 1;
            // Numbers are valid for one connection.
            self.mail.judged.retain(|it| it.holder != at);
        }
    }

    /// What a node has stored about mail, for a copy of its home. A member is stored after the
    /// entry that it became a member after.
    pub(super) fn stored_mail(&self, node: usize) -> StoredMail {
        let (mail, it) = (&self.mail, &self.nodes[node]);
        let is_stored = |after: &Option<(LogId, Seq)>| {
            after.is_none_or(|(log, seq)| {
                let mut logs = it.disk.durable.logs.keys();
                let name = logs.find(|name| name.author == it.id && name.log == log);
                name.is_some_and(|name| it.disk.durable.holds(name, seq))
            })
        };
        let (held, owed, members) = (mail.held.iter(), mail.owed.iter(), mail.members.iter());
        StoredMail {
            held: held
                .filter(|((of, _), _)| *of == node)
                .map(|((_, peer), held)| (*peer, held.clone()))
                .collect(),
            owed: owed
                .filter(|(of, ..)| *of == node)
                .map(|(_, peer, in_room)| (*peer, *in_room))
                .collect(),
            members: members
                .filter(|((of, _), after)| *of == node && is_stored(after))
                .map(|((_, peer), after)| (*peer, *after))
                .collect(),
        }
    }

    /// A node goes on from an older copy of its home.
    pub(super) fn restore_mail(&mut self, node: usize, stored: StoredMail) {
        let mail = &mut self.mail;
        mail.held.retain(|(of, _), _| *of != node);
        mail.owed.retain(|(of, ..)| *of != node);
        mail.members.retain(|(of, _), _| *of != node);
        let (held, owed, members) = (stored.held, stored.owed, stored.members);
        mail.held
            .extend(held.into_iter().map(|(peer, held)| ((node, peer), held)));
        mail.owed.extend(
            owed.into_iter()
                .map(|(peer, in_room)| (node, peer, in_room)),
        );
        mail.members.extend(
            members
                .into_iter()
                .map(|(peer, after)| ((node, peer), after)),
        );
    }

    /// Both ends of a session have proved that they are in the room with a secret.
    pub(super) fn mail_member(&mut self, node: usize, peer: usize) {
        let (Some(room), Some(replica)) = (self.oracle.secret, &self.nodes[node].replica) else {
            return;
        };
        let end = replica.own_end(room);
        self.mail.members.entry((node, peer)).or_insert(end);
    }

    /// A node looks for mail, and deposits what waits.
    pub(super) fn mail_turn(&mut self, node: usize) {
        let again = self.between(500 * MILLI, 3 * SECOND);
        self.after(again, Event::Mail(node));
        if self.nodes[node].replica.is_none() {
            return;
        }
        let life = self.nodes[node].life;
        let is_old = |of: usize, it: &MailSession| of == node && it.life != life;
        self.mail.sessions.retain(|(of, _), it| !is_old(*of, it));
        self.end_mail_where_peers_are_here(node);
        self.mail_judged(node);
        self.fetch(node);
        self.begin_mail(node);
        self.post_waiting(node);
    }

    fn is_here(&self, node: usize, peer: usize) -> bool {
        self.conns.values().any(|conn| {
            let mut ends = conn.ends.iter();
            conn.joins(node, peer) && ends.any(|end| end.node == node && end.live())
        })
    }

    fn reaches(&self, node: usize, holder: &Holder) -> bool {
        holder
            .node
            .is_none_or(|at| at != node && self.running(at) && self.reachable(at, node))
    }

    // Sessions.

    fn end_mail_where_peers_are_here(&mut self, node: usize) {
        let over: Vec<_> = self
            .mail
            .sessions
            .iter()
            .filter(|((of, _), it)| {
                let is_done = it.only_receives || self.is_here(node, it.peer);
                *of == node && it.arriving == 0 && is_done
            })
            .map(|((_, id), _)| *id)
            .collect();
        over.into_iter().for_each(|id| self.end_mail(node, id));
    }

    fn end_mail(&mut self, node: usize, session: SessionId) {
        if self.mail.sessions.remove(&(node, session)).is_some() {
            let goodbye = true;
            self.input(node, Input::SessionDown { session, goodbye });
        }
    }

    fn mail_session(&self, node: usize, peer: usize, in_room: bool) -> Option<SessionId> {
        let life = self.nodes[node].life;
        let mut all = self.mail.sessions.iter();
        all.find(|((of, _), it)| {
            *of == node && (it.peer, it.in_room, it.life) == (peer, in_room, life)
        })
        .map(|((_, id), _)| *id)
    }

    fn room_mail(&self, node: usize, peer: usize) -> Option<MailedRoom> {
        let id = self.oracle.secret?;
        let after = self.mail.members.get(&(node, peer))?;
        self.is_in(node, id)
            .then_some(MailedRoom { id, after: *after })
    }

    fn held_for(&self, node: usize, peer: usize) -> Vec<(LogName, Ranges)> {
        let held = self.mail.held.get(&(node, peer)).into_iter().flatten();
        held.map(|(name, ranges)| (*name, ranges.clone())).collect()
    }

    /// Begins sessions by mail with all peers that are away.
    fn begin_mail(&mut self, node: usize) {
        for peer in 0..self.nodes.len() {
            if peer == node || self.is_here(node, peer) {
                continue;
            }
            for in_room in [false, true] {
                let room = in_room.then(|| self.room_mail(node, peer));
                if room == Some(None) || self.mail_session(node, peer, in_room).is_some() {
                    continue;
                }
                let room = room.flatten();
                let owes = self.mail.owed.contains(&(node, peer, in_room));
                let id = self.nodes[peer].id.only_device();
                let held = self.held_for(node, peer);
                let replica = self.nodes[node].replica.as_ref().expect("it runs");
                if owes || room.is_none_or(|room| replica.has_room_mail(room, id, &held)) {
                    self.open_mail(node, peer, room, false);
                }
            }
        }
    }

    fn open_mail(
        &mut self,
        node: usize,
        peer: usize,
        room: Option<MailedRoom>,
        only_receives: bool,
    ) -> SessionId {
        self.mail.last_session += 1;
        let session = SessionId(MAIL_SESSIONS + self.mail.last_session);
        let in_room = room.is_some();
        let it = MailSession {
            life: self.nodes[node].life,
            peer,
            in_room,
            only_receives,
            in_flight: false,
            batches: Vec::new(),
            control: Vec::new(),
            announced: Vec::new(),
            arriving: 0,
        };
        self.mail.sessions.insert((node, session), it);
        let up = Input::MailUp {
            session,
            peer: self.nodes[peer].id.only_device(),
            source: SourceNetwork(peer as u64),
            room,
            held: self.held_for(node, peer),
            receipts: !only_receives && self.mail.owed.contains(&(node, peer, in_room)),
        };
        self.input(node, up);
        session
    }

    // What replicas say on sessions by mail.

    /// Handles an output on a session by mail. Returns any other.
    pub(super) fn by_mail(&mut self, node: usize, output: Output) -> Option<Output> {
        let is_mail = |session: SessionId| session.0 >= MAIL_SESSIONS;
        match output {
            Output::Send(session, frame) if is_mail(session) => {
                self.mailed_frame(node, session, &frame);
            }
            Output::SendBatch(session, frame) if is_mail(session) => {
                if let Some(it) = self.mail.sessions.get_mut(&(node, session)) {
                    it.batches.push(frame.clone());
                    let peer = it.peer;
                    self.check_frame(node, peer, &frame);
                }
            }
            Output::Release(session, batches) if is_mail(session) => {
                if let Some(it) = self.mail.sessions.get_mut(&(node, session)) {
                    it.arriving = it.arriving.saturating_sub(batches);
                }
            }
            Output::Refused(session, Some(batch), refusal)
                if is_mail(session) && refusal != Refusal::Gap =>
            {
                if let Some(it) = self.mail.sessions.get(&(node, session)) {
                    self.mail_refused(node, it.peer, batch);
                }
                return Some(Output::Refused(session, Some(batch), refusal));
            }
            other => return Some(other),
        }
        None
    }

    fn mailed_frame(&mut self, node: usize, session: SessionId, frame: &Bytes) {
        let me = self.nodes[node].id;
        let Some(it) = self.mail.sessions.get_mut(&(node, session)) else {
            return;
        };
        match Frame::decode(frame) {
            Ok(Frame::Have(name, held)) if name.author == me => {
                let span = held.settled.first().zip(held.settled.last());
                it.announced
                    .extend(span.map(|(first, last)| (name, first, last)));
            }
            Ok(Frame::Have(..) | Frame::Want { .. }) => it.control.push(frame.clone()),
            // Nothing else makes sense without an answer.
            _ => {}
        }
        let peer = it.peer;
        self.check_frame(node, peer, frame);
        self.input(node, Input::FramesWritten(session, frame.len()));
    }

    fn mail_refused(&mut self, node: usize, from: usize, signature: Signature) {
        let judged = self.mail.judged.iter_mut();
        let batches = judged.filter(|it| it.node == node && it.from == from);
        for batch in batches.flat_map(|it| &mut it.batches) {
            batch.4 |= batch.3 == signature;
        }
    }

    /// A peer has own entries of a node on disk.
    pub(super) fn no_longer_held(
        &mut self,
        node: usize,
        peer: usize,
        name: &LogName,
        has: &Ranges,
    ) {
        if let Some(held) = self.mail.held.get_mut(&(node, peer))
            && let Some(ranges) = held.get_mut(name)
        {
            *ranges = ranges.minus(has);
        }
    }

    // Deposits.

    fn post_waiting(&mut self, node: usize) {
        let sessions = self.mail.sessions.iter();
        let ready = sessions.filter(|((of, _), it)| {
            let waits = !it.batches.is_empty() || !it.control.is_empty();
            *of == node && !it.only_receives && !it.in_flight && waits
        });
        for id in ready.map(|((_, id), _)| *id).collect::<Vec<_>>() {
            self.post(node, id);
        }
    }

    fn post(&mut self, node: usize, session: SessionId) {
        let holders = 0..self.mail.holders.len();
        let to = self.mail.sessions[&(node, session)].peer;
        let mut able = holders.filter(|at| {
            let holder = &self.mail.holders[*at];
            holder.node != Some(to) && self.reaches(node, holder)
        });
        let Some(at) = able.next() else {
            return;
        };
        let most = self.between(1, BATCHES_MAX);
        let most = usize::try_from(most).expect("small");
        let it = self.mail.sessions.get_mut(&(node, session));
        let it = it.expect("the caller has listed it");
        it.in_flight = true;
        let mut frames = std::mem::take(&mut it.control);
        let has_receipts = !frames.is_empty();
        let count = it.batches.len().min(most);
        let batches: Vec<_> = it.batches.drain(..count).collect();
        let (mut spans, mut lasts) = (Vec::new(), BTreeMap::new());
        for frame in &batches {
            let Ok(Frame::Batch(batch)) = Frame::decode(frame) else {
                panic!("a replica sends batches")
            };
            let read = batch.read().expect("checked by the oracle");
            let (name, first, last) = (read.batch.name, read.first(), read.last());
            if name.author == self.nodes[node].id {
                spans.push((name, first, last));
                lasts.insert(name, last);
            }
        }
        if !lasts.is_empty() {
            let is_known = |name: &LogName| it.announced.iter().any(|(of, ..)| of == name);
            let packed = |(name, ..): &(LogName, Seq, Seq)| lasts.contains_key(name);
            let end = if lasts.keys().all(is_known) {
                it.announced.iter().rposition(packed).map_or(0, |at| at + 1)
            } else {
                it.announced.len()
            };
            let mut all = Vec::new();
            for (name, first, last) in &it.announced[..end] {
                all.push((*name, *first, lasts.remove(name).unwrap_or(*last)));
            }
            all.extend(lasts.into_iter().map(|(name, last)| (name, 1, last)));
            let frame = |(name, first, last): (LogName, Seq, Seq)| {
                Frame::Have(name, Ranges::span(first.min(last), last).into()).encode()
            };
            frames.extend(all.into_iter().map(frame));
        }
        let credit = batches.iter().map(Bytes::len).sum();
        frames.extend(batches);
        let envelope = Envelope {
            from: node,
            to,
            in_room: it.in_room,
            frames,
        };
        // The holder may not have learned yet that the recipient has blocked the sender.
        let is_refused = self.blocks.contains(&(to, node)) && self.one_in(2);
        if !is_refused {
            self.holder_gets(at, envelope);
        }
        let posted = Posted {
            node,
            holder: at,
            restored: self.mail.holders[at].restored,
            is_refused,
            session,
            spans,
            credit,
            has_receipts,
            is_lost: self.one_in(10),
        };
        let delay = self.between(MILLI, 2 * SECOND);
        self.after(delay, Event::Posted(Box::new(posted)));
    }

    fn holder_gets(&mut self, at: usize, envelope: Envelope) {
        let lies = self.mail.holders[at].lies;
        let copies = if lies && self.one_in(4) {
            // It answers that it has stored the envelope.
            0
        } else if lies && self.one_in(4) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let kept = &mut self.mail.holders[at].kept;
            kept.last_number += 1;
            kept.envelopes.insert(kept.last_number, envelope.clone());
        }
    }

    pub(super) fn posted(&mut self, posted: &Posted) {
        let (node, session) = (posted.node, posted.session);
        let Some(it) = self.mail.sessions.get_mut(&(node, session)) else {
            return;
        };
        it.in_flight = false;
        let (peer, in_room) = (it.peer, it.in_room);
        let waits = it.control.iter().any(|frame| !frame.is_empty());
        let is_lost =
            posted.is_lost || posted.restored != self.mail.holders[posted.holder].restored;
        if is_lost || posted.is_refused {
            // What was in it is deposited again. The holder may have both.
            return self.end_mail(node, session);
        }
        if posted.has_receipts && !waits {
            self.mail.owed.remove(&(node, peer, in_room));
        }
        let held = self.mail.held.entry((node, peer)).or_default();
        for (name, first, last) in &posted.spans {
            held.entry(*name).or_default().insert(*first, *last);
        }
        self.input(node, Input::BatchesWritten(session, posted.credit));
    }

    // Arrivals.

    fn fetch(&mut self, node: usize) {
        for at in 0..self.mail.holders.len() {
            if !self.reaches(node, &self.mail.holders[at]) {
                continue;
            }
            for (number, envelope) in self.page(at, node) {
                self.opens(node, at, number, &envelope);
            }
        }
    }

    /// The envelopes that a holder hands out. A liar repeats, reorders, withholds, and names wrong
    /// senders.
    fn page(&mut self, at: usize, node: usize) -> Vec<(u64, Envelope)> {
        let holder = &self.mail.holders[at];
        let of_node = holder.kept.envelopes.iter().filter(|(_, it)| it.to == node);
        let mut page: Vec<_> = of_node.map(|(n, it)| (*n, it.clone())).collect();
        if holder.lies {
            let old = holder.old.iter().filter(|it| it.to == node).cloned();
            page.extend(old.map(|it| (0, it)));
            for _ in 0..page.len() {
                let (one, other) = (self.pick(page.len()), self.pick(page.len()));
                page.swap(one, other);
            }
            page.retain(|_| !self.one_in(3));
            for place in 0..page.len() {
                if self.one_in(6) {
                    page[place].1.from = node;
                }
                if self.one_in(6) {
                    page.push(page[place].clone());
                }
            }
        }
        page.truncate(PAGE_MAX);
        page
    }

    fn opens(&mut self, node: usize, holder: usize, number: u64, envelope: &Envelope) {
        let (from, in_room) = (envelope.from, envelope.in_room);
        let is_known = self
            .mail
            .judged
            .iter()
            .any(|it| (it.node, it.holder, it.number) == (node, holder, number) && number > 0);
        if is_known {
            return;
        }
        let secret = self.oracle.secret;
        let can_read = !in_room || secret.is_some_and(|room| self.is_in(node, room));
        if from == node || !can_read {
            // Nothing that a later attempt could open.
            return self.delete_at(holder, number);
        }
        let session = self.mail_session(node, from, in_room);
        let session = session.unwrap_or_else(|| {
            let is_here = self.is_here(node, from);
            let room = in_room.then(|| {
                let known = self.room_mail(node, from);
                let replica = self.nodes[node].replica.as_ref().expect("it runs");
                let id = secret.expect("it can be read");
                known.unwrap_or_else(|| MailedRoom {
                    id,
                    after: replica.own_end(id),
                })
            });
            self.open_mail(node, from, room, is_here)
        });
        let mut batches = Vec::new();
        for frame in &envelope.frames {
            match Frame::decode(frame) {
                Ok(Frame::Batch(batch)) => {
                    let last = batch.clone().read().expect("of an honest node").last();
                    let arrived = (batch.name, batch.first, last, batch.signature, false);
                    batches.push(arrived);
                    self.input(node, Input::Batch(session, batch));
                }
                Ok(frame) => self.input(node, Input::Frame(session, frame)),
                Err(error) => self.fail(format!("n{node} finds in an envelope: {error}")),
            }
        }
        self.mail.arrived += batches.len() as u64;
        if !batches.is_empty() {
            self.mail.owed.insert((node, from, in_room));
        }
        let it = self.mail.sessions.get_mut(&(node, session));
        it.expect("found or opened above").arriving += batches.len();
        self.mail.judged.push(Judged {
            node,
            life: self.nodes[node].life,
            from,
            holder,
            number,
            batches,
        });
    }

    /// Deletes the envelopes at their holders whose batches are on disk, or refused for good.
    fn mail_judged(&mut self, node: usize) {
        let life = self.nodes[node].life;
        let replica = self.nodes[node].replica.as_ref().expect("it runs");
        let (mut done, mut left) = (Vec::new(), Vec::new());
        for it in std::mem::take(&mut self.mail.judged) {
            let is_settled = |it: &Arrived| it.4 || replica.has_settled(it.0, it.1, it.2);
            if it.node != node {
                left.push(it);
            } else if it.life == life && it.batches.iter().all(is_settled) {
                done.push((it.holder, it.number));
            }
            // All others are fetched again.
        }
        self.mail.judged = left;
        for (holder, number) in done {
            self.delete_at(holder, number);
        }
    }

    fn delete_at(&mut self, holder: usize, number: u64) {
        let holder = &mut self.mail.holders[holder];
        if let Some(envelope) = holder.kept.envelopes.remove(&number) {
            holder.old.push(envelope);
        }
    }

    /// Whether all mail was fetched, as far as its recipients can read it.
    pub(super) fn mail_waits(&self) -> Option<String> {
        let mut holders = self.mail.holders.iter();
        let waiting = holders.find_map(|holder| holder.kept.envelopes.values().next())?;
        let (from, to) = (waiting.from, waiting.to);
        Some(format!("mail of n{from} waits for n{to}"))
    }

    /// The direct conversations and the room with a secret are the same everywhere.
    pub(super) fn unmet_by_mail(&self) -> Option<String> {
        self.unmet().or_else(|| self.undelivered())
    }

    /// An entry of this node that a reader has, and of which its author has no receipt.
    fn undelivered(&self) -> Option<String> {
        for said in &self.oracle.appended {
            let replica = self.nodes[said.node].replica.as_ref()?;
            let delivered = replica.delivered_to(said.name, said.seq);
            for (peer, node) in self.nodes.iter().enumerate() {
                let is_for = self.has_part(peer, said.name.conversation);
                let has_it = node.disk.durable.holds(&said.name, said.seq);
                let confirmed = delivered.contains(&node.id.only_device());
                if peer != said.node && is_for && has_it && !confirmed {
                    let name = said.name;
                    return Some(format!("no receipt of n{peer} for {name:?} {}", said.seq));
                }
            }
        }
        None
    }

    fn has_part(&self, node: usize, conversation: ConversationId) -> bool {
        let me = self.nodes[node].id;
        let mut others = self.nodes.iter().map(|node| node.id);
        Some(conversation) == self.oracle.secret
            || others.any(|other| ConversationId::direct(me, other) == conversation)
    }
}
