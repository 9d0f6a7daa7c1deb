//! Carries out invitations: asks peers and relays, exchanges letters, makes contacts.

use std::net::SocketAddr;

use hobnob_core::SessionId;
use hobnob_core::invitation::{GuessVerdict, INVITATIONS_MAX, Question, Step};
use hobnob_protocol::invitation::pake::{self, Ends};
use hobnob_protocol::invitation::{
    CodeNumber, INVITATION_SECONDS, InviteCode, InviteFrame, Letter, Refusal, SharedRelay, Words,
};
use hobnob_protocol::relay::{FoundInvitation, ToRelay};
use hobnob_protocol::{
    Frame, PersonId, RelayAddr, RelayAt, RoomKey, RoomName, RoomTarget, Target, Ticket,
};
use tokio::sync::oneshot;
use tracing::{debug, info};

use super::{AcceptReply, Attempt};
use crate::api::{
    AcceptedInvitation, Invitation, InvitationEnd, NoticeReason, RelayTokenUse, RoomInfo,
};
use crate::clock::{random, random_seed};
use crate::engine::command::PolicyChange;
use crate::engine::shared_relays::Shared;
use crate::engine::state::Engine;
use crate::error::{InviteError, JoinError};
use crate::net::channels::RelayId;

/// Maximum addresses of a peer's ticket that are remembered.
const TICKET_ADDRS_MAX: usize = 8;

/// Maximum relays in the ticket of a letter.
const TICKET_RELAYS_MAX: usize = 4;

impl Engine {
    /// The user invites somebody.
    pub(in crate::engine) fn invite(
        &mut self,
        room: Option<RoomName>,
        share_relay: bool,
    ) -> Result<Invitation, InviteError> {
        if !pake::IS_BUILT {
            return Err(InviteError::NotBuilt);
        }
        let room = room.map(|room| self.room_target(room)).transpose()?;
        let relay = self.relays.addrs().into_iter().next();
        let token = relay
            .as_ref()
            .and_then(|relay| self.relays.own_token(relay));
        let shared = match (&relay, token) {
            (Some(relay), Some(token)) if share_relay => Some(SharedRelay {
                relay: relay.to_string(),
                token: token.as_bytes().to_vec(),
            }),
            _ if share_relay => return Err(InviteError::NoTokenToShare),
            _ => None,
        };
        let relay_token = match token {
            None => RelayTokenUse::None,
            Some(_) if shared.is_some() => RelayTokenUse::Shared,
            Some(_) => RelayTokenUse::Kept,
        };
        let (number, words) = (CodeNumber::random(random()), Words::random(&random_seed()));
        let now = self.clock.now().mono;
        let added = self.inviting.open.invite(now, number, words);
        added.map_err(|_| InviteError::TooMany(INVITATIONS_MAX))?;
        if let Some(room) = room {
            self.inviting.rooms.insert(number, room);
        }
        if let Some(shared) = shared {
            self.inviting.relays.insert(number, shared);
        }
        self.send_invitations_to_relays();
        Ok(Invitation {
            code: InviteCode {
                number,
                words,
                relay: relay.map(|relay| relay.at),
            },
            seconds: INVITATION_SECONDS,
            relay_token,
        })
    }

    /// The room in a letter: its ticket, or the name of an open one.
    fn room_target(&self, room: RoomName) -> Result<RoomTarget, InviteError> {
        let joined = self.replica.rooms().find(|(_, name, _)| **name == room);
        let Some((_, _, key)) = joined else {
            return Err(InviteError::NotInRoom(room));
        };
        if key.is_open() {
            return Ok(RoomTarget::Name(room));
        }
        let ticket = self.room_ticket(room);
        Ok(RoomTarget::Ticket(
            ticket.expect("it is joined, and not open"),
        ))
    }

    /// A user waits for the end of an invitation.
    pub(in crate::engine) fn invitation_end(
        &mut self,
        number: CodeNumber,
        reply: oneshot::Sender<Result<InvitationEnd, InviteError>>,
    ) {
        let is_open = self.inviting.open.numbers().any(|open| open == number);
        self.inviting.ends.wait(number, is_open, reply);
    }

    fn invitation_ended(&mut self, number: CodeNumber, end: &InvitationEnd) {
        self.inviting.rooms.remove(&number);
        self.inviting.relays.remove(&number);
        self.inviting.ends.end(number, end);
        self.send_invitations_to_relays();
    }

    /// Whether somebody may accept an invitation now. It is a stranger until then.
    pub(in crate::engine) fn has_open_invitations(&self) -> bool {
        self.inviting.open.numbers().next().is_some()
    }

    /// Informs all relays of the user of the numbers of open invitations.
    fn send_invitations_to_relays(&self) {
        let numbers: Vec<_> = self.inviting.open.numbers().collect();
        for relay in self.relays.in_rooms() {
            self.relays
                .send(relay, ToRelay::Invitations(numbers.clone()));
        }
    }

    /// The user accepts an invitation.
    pub(in crate::engine) fn accept_invitation(&mut self, code: &InviteCode, reply: AcceptReply) {
        let refuse = if !pake::IS_BUILT {
            Some(InviteError::NotBuilt)
        } else if self.inviting.accepting.is_some() {
            Some(InviteError::Busy)
        } else if self.inviting.open.numbers().any(|open| open == code.number) {
            Some(InviteError::Myself)
        } else {
            None
        };
        if let Some(error) = refuse {
            return drop(reply.send(Err(error)));
        }
        let now = self.clock.now().mono;
        if let Some(at) = code.relay.clone() {
            self.add_relay(RelayAddr { id: None, at }, false);
        }
        let relays = self.relays.ids().collect();
        self.inviting.accepting = Some(Attempt::new(now, code, relays, reply));
        self.relays.set_guest(true);
        self.relays.want();
        for relay in self.relays.ids().collect::<Vec<_>>() {
            // A relay that is not up yet is asked when it comes up.
            self.relays
                .send(relay, ToRelay::FindInvitation(code.number));
        }
        for session in self.sessions.ids() {
            self.ask_for_invitation(session);
        }
    }

    /// Asks a peer for the invitation that the user accepts, if it may have it.
    pub(in crate::engine) fn ask_for_invitation(&mut self, id: SessionId) {
        let Some(attempt) = &mut self.inviting.accepting else {
            return;
        };
        // The session may have ended in the burst of events that led here.
        let Some(state) = self.sessions.get(id) else {
            return;
        };
        let peer = state.peer();
        let is_near = self.network.is_on_own_link(state.remote_addr());
        if !is_near && !attempt.named.contains(&peer) {
            return;
        }
        let exporter = *state.membership.exporter();
        let accepting = &mut attempt.accepting;
        if let Some(ask) = accepting.ask(id, self.device, peer, exporter, random_seed()) {
            debug!(?peer, "asking for an invitation");
            state.send(&Frame::Invite(ask));
        }
    }

    /// A session has ended.
    pub(in crate::engine) fn invitation_session_down(&mut self, id: SessionId) {
        self.inviting.open.session_down(id);
        let attempt = self.inviting.accepting.as_mut();
        if attempt.is_some_and(|attempt| attempt.accepting.session_down(id)) {
            self.end_attempt(Err(InviteError::Lost));
        }
    }

    /// A relay has registered this node.
    pub(in crate::engine) fn invitation_relay_up(&mut self, relay: RelayId) {
        if self.relays.is_in_rooms(relay) {
            let numbers: Vec<_> = self.inviting.open.numbers().collect();
            if !numbers.is_empty() {
                self.relays.send(relay, ToRelay::Invitations(numbers));
            }
        }
        if let Some(attempt) = &mut self.inviting.accepting {
            attempt.relays.insert(relay);
            let number = attempt.accepting.number();
            self.relays.send(relay, ToRelay::FindInvitation(number));
        }
    }

    /// A relay answers the question for an invitation.
    pub(in crate::engine) fn invitation_at_relay(
        &mut self,
        relay: RelayId,
        number: CodeNumber,
        found: FoundInvitation,
    ) {
        let Some(attempt) = &mut self.inviting.accepting else {
            return;
        };
        if attempt.accepting.number() != number {
            return;
        }
        attempt.relays.remove(&relay);
        match found {
            FoundInvitation::NotHere | FoundInvitation::Unknown(_) => {}
            FoundInvitation::TooOften => attempt.too_often = true,
            FoundInvitation::At(peer) if peer == self.device => {}
            FoundInvitation::At(peer) => {
                attempt.named.insert(peer);
                self.found_at(relay, peer);
                for session in self.sessions.ids_with(peer) {
                    self.ask_for_invitation(session);
                }
            }
        }
    }

    /// A step of an invitation arrives.
    pub(in crate::engine) fn invite_frame(&mut self, id: SessionId, frame: InviteFrame) {
        match frame {
            InviteFrame::Ask(number, element) => {
                let state = self.sessions.get(id).expect("the caller has looked it up");
                let ask = Question {
                    session: id,
                    network: self.network.source_network(state.remote_addr()),
                    ends: Ends {
                        inviter: self.device,
                        accepter: state.peer(),
                    },
                    exporter: *state.membership.exporter(),
                    seed: random_seed(),
                };
                let now = self.clock.now().mono;
                let answer = self.inviting.open.asked(now, number, &element, ask);
                self.sessions.send(id, &Frame::Invite(answer));
            }
            InviteFrame::Confirm(number, proof) => {
                let now = self.clock.now().mono;
                match self.inviting.open.confirmed(now, id, number, &proof) {
                    GuessVerdict::Right(proof) => self.invitation_accepted(id, number, proof),
                    GuessVerdict::Wrong => self.invitation_killed(id, number),
                    GuessVerdict::NotAsked => self.refuse_invitation(id, number, Refusal::NotHere),
                }
            }
            InviteFrame::Thanks(number, letter) => {
                if self.inviting.open.thanked(id, number) {
                    self.introduced_by(id, &letter);
                }
            }
            InviteFrame::Answer(number, element) => {
                if let Some(attempt) = &mut self.inviting.accepting {
                    let step = attempt.accepting.answered(id, number, &element);
                    self.accepting_step(id, step, None);
                }
            }
            InviteFrame::Welcome(number, proof, letter) => {
                if let Some(attempt) = &self.inviting.accepting {
                    let step = attempt.accepting.welcomed(id, number, &proof);
                    self.accepting_step(id, step, Some(letter));
                }
            }
            InviteFrame::Relay(number, shared) => {
                if let Some(attempt) = &mut self.inviting.accepting
                    && attempt.accepting.number() == number
                    && attempt.accepting.has_proved()
                {
                    attempt.relay = Some((id, shared));
                }
            }
            InviteFrame::No(number, why) => {
                if let Some(attempt) = &mut self.inviting.accepting {
                    let peer = self.sessions.get(id).map(|state| state.peer());
                    let step = attempt.accepting.refused(id, number, why);
                    peer.map(|peer| attempt.named.remove(&peer));
                    self.accepting_step(id, step, None);
                }
            }
        }
    }

    fn refuse_invitation(&self, id: SessionId, number: CodeNumber, why: Refusal) {
        let no = InviteFrame::No(number, why);
        self.sessions.send(id, &Frame::Invite(no));
    }

    /// A peer has proved that it knows a code. This node proves the same, and introduces itself.
    fn invitation_accepted(&mut self, id: SessionId, number: CodeNumber, proof: [u8; 32]) {
        let state = self.sessions.get(id).expect("the caller has looked it up");
        let peer = state.peer();
        info!(?peer, "an invitation was accepted");
        let room = self.inviting.rooms.get(&number);
        let letter = Letter {
            ticket: self.own_ticket().to_string(),
            room: room.map(ToString::to_string),
        };
        let name = self.peers.name(peer.person());
        if let Some(shared) = self.inviting.relays.get(&number) {
            let relay = InviteFrame::Relay(number, shared.clone());
            state.send(&Frame::Invite(relay));
        }
        state.send(&Frame::Invite(InviteFrame::Welcome(number, proof, letter)));
        // The peer waits for nothing more, so nobody needs this answer. The disk's faults are reported
        // where they happen.
        self.change_policy(
            peer.person(),
            PolicyChange::VerifyByCode,
            oneshot::channel().0,
        );
        let reason = NoticeReason::InvitationAccepted { name };
        self.reports.notice(reason, Some(peer.person()));
        let end = InvitationEnd::Accepted(Box::new(self.peer_info(peer.person())));
        self.invitation_ended(number, &end);
    }

    /// Somebody has guessed, wrongly.
    fn invitation_killed(&mut self, id: SessionId, number: CodeNumber) {
        self.refuse_invitation(id, number, Refusal::Wrong);
        let reason = NoticeReason::InvitationWrong {
            code_number: number.to_string(),
        };
        self.reports.notice(reason, None);
        self.invitation_ended(number, &InvitationEnd::Wrong);
    }

    /// Carries out a step of the attempt to accept a code.
    fn accepting_step(&mut self, id: SessionId, step: Step, letter: Option<Letter>) {
        match step {
            Step::Send(frame) => self.sessions.send(id, &Frame::Invite(frame)),
            Step::Verified => {
                let letter = letter.expect("only a Welcome verifies the inviter");
                self.accepted(id, &letter);
            }
            Step::Wrong => {
                if let Some(attempt) = &self.inviting.accepting {
                    self.refuse_invitation(id, attempt.accepting.number(), Refusal::Wrong);
                }
                self.end_attempt(Err(InviteError::Wrong));
            }
            Step::TooOften => {
                if let Some(attempt) = &mut self.inviting.accepting {
                    attempt.too_often = true;
                }
            }
            Step::Nothing => {}
        }
    }

    /// The inviter has proved that it knows the code, and has introduced itself.
    fn accepted(&mut self, id: SessionId, letter: &Letter) {
        let attempt = self.take_attempt();
        let Attempt {
            accepting,
            reply,
            relay,
            ..
        } = attempt.expect("it has verified the inviter just now");
        let peer = self.sessions.get(id).map(|state| state.peer());
        let peer = peer.expect("the caller has looked it up");
        let thanks = Letter {
            ticket: self.own_ticket().to_string(),
            room: None,
        };
        let thanks = InviteFrame::Thanks(accepting.number(), thanks);
        self.sessions.send(id, &Frame::Invite(thanks));
        self.introduced_by(id, letter);
        let shared = relay.filter(|(from, _)| *from == id);
        let relay = shared.and_then(|(_, shared)| self.use_shared_relay(peer.person(), shared));
        let needs_token = self
            .relays
            .guest_at()
            .filter(|at| relay.as_ref() != Some(at));
        let (verified, is_verified) = oneshot::channel();
        self.change_policy(peer.person(), PolicyChange::VerifyByCode, verified);
        let joined = letter.room.as_deref().map(|room| self.join_by_letter(room));
        self.tasks.spawn(async move {
            let accepted = async {
                let peer = is_verified.await.map_err(|_| InviteError::Stopped)??;
                let room = match joined {
                    Some(joined) => Some(joined?.await.map_err(|_| InviteError::Stopped)??),
                    None => None,
                };
                Ok(AcceptedInvitation {
                    peer,
                    room,
                    relay,
                    needs_token,
                })
            };
            // The user may have given up.
            let _ = reply.send(accepted.await);
        });
    }

    /// Uses a relay that the inviter shares, in this run and later ones. Returns nothing if it can't be
    /// used: it is not valid, or the node uses as many relays as it can.
    fn use_shared_relay(&mut self, peer: PersonId, sent: SharedRelay) -> Option<RelayAt> {
        let shared = Shared::of(sent)?;
        let (relay, id, token) = (shared.relay.clone(), shared.id, shared.token.clone());
        self.relays.share(id, token);
        self.add_relay(relay.clone(), true)?;
        let (name, value) = self.shared_relays.add(peer, shared);
        self.store.set_setting(name, value);
        Some(relay.at)
    }

    /// The user forgets a contact. A relay that it has shared is not used from the next start on.
    pub(in crate::engine) fn forget_shared_relay(&mut self, peer: PersonId) {
        if let Some((name, value)) = self.shared_relays.forget(peer) {
            self.store.set_setting(name, value);
        }
    }

    /// Joins the room that an inviter's letter names.
    fn join_by_letter(
        &mut self,
        room: &str,
    ) -> Result<oneshot::Receiver<Result<RoomInfo, JoinError>>, InviteError> {
        let target: RoomTarget = room.parse().map_err(|_| InviteError::Letter)?;
        let (name, key) = match target {
            RoomTarget::Name(name) => {
                let key = RoomKey::open(&name);
                (name, key)
            }
            RoomTarget::Ticket(ticket) => (ticket.name().clone(), ticket.key().clone()),
        };
        let (reply, joined) = oneshot::channel();
        self.join(name, key, reply);
        Ok(joined)
    }

    /// A verified peer has sent its ticket: it may be reached there from now on.
    fn introduced_by(&mut self, id: SessionId, letter: &Letter) {
        let state = self.sessions.get(id).expect("the caller has looked it up");
        let (peer, remote) = (state.peer(), state.remote_addr());
        let is_relayed = state.is_relayed();
        let Ok(Target::Ticket(ticket)) = letter.ticket.parse() else {
            return debug!(?peer, "the letter of an invitation has no ticket");
        };
        if ticket.id != peer.person() {
            return debug!(
                ?peer,
                "the letter of an invitation has another peer's ticket"
            );
        }
        let addrs = ticket.addrs.iter().take(TICKET_ADDRS_MAX);
        let addrs = addrs.filter_map(|addr| addr.to_string().parse::<SocketAddr>().ok());
        // Through a relay nothing shows that these addresses are the peer's.
        let addrs = addrs.filter(|addr| !is_relayed && self.network.may_dial(*addr, remote));
        let addrs: Vec<_> = addrs.collect();
        let relays = ticket.relays.into_iter().take(TICKET_RELAYS_MAX).collect();
        self.reach_by_relay(peer, addrs, relays);
    }

    fn own_ticket(&self) -> Ticket {
        Ticket {
            id: self.me,
            addrs: self
                .reachable_addrs()
                .iter()
                .take(TICKET_ADDRS_MAX)
                .map(|addr| (*addr).into())
                .collect(),
            relays: self
                .relays
                .addrs()
                .into_iter()
                .take(TICKET_RELAYS_MAX)
                .collect(),
        }
    }

    fn end_attempt(&mut self, result: Result<AcceptedInvitation, InviteError>) {
        if let Some(attempt) = self.take_attempt() {
            let _ = attempt.reply.send(result);
        }
    }

    fn take_attempt(&mut self) -> Option<Attempt> {
        self.relays.set_guest(false);
        self.inviting.accepting.take()
    }

    /// Codes expire, and the attempt to accept one ends.
    pub(in crate::engine) fn invitations_time_out(&mut self) {
        let now = self.clock.now().mono;
        for number in self.inviting.open.time_out(now) {
            self.invitation_ended(number, &InvitationEnd::Expired);
        }
        let attempt = self.inviting.accepting.as_ref();
        if let Some(attempt) = attempt.filter(|attempt| attempt.poll_timeout() <= now) {
            let failure = attempt.failure();
            self.end_attempt(Err(failure));
        }
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::DeviceId;

    use super::*;

    #[test]
    fn a_letter_with_a_ticket_of_eight_addresses_fits() {
        let id = DeviceId::from_bytes([7; 32]);
        let addr: SocketAddr = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"
            .parse()
            .expect("an address");
        let relay = format!("{id}@wss://{}.example/{}", "r".repeat(60), "p".repeat(100));
        let relays = vec![relay.parse().expect("a relay"); TICKET_RELAYS_MAX];
        let ticket = Ticket {
            id: id.person(),
            addrs: vec![addr.into(); TICKET_ADDRS_MAX],
            relays,
        };
        let length = ticket.to_string().len();
        assert!(
            length <= hobnob_protocol::invitation::LETTER_TICKET_MAX,
            "{length} bytes"
        );
    }
}
