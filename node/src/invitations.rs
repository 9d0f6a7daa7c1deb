//! Invitations by code, and introductions: how two users become contacts.

use hobnob_protocol::invitation::{CodeNumber, InviteCode};
use hobnob_protocol::{PersonId, RoomName};

use super::engine::Command;
use crate::{AcceptedInvitation, IntroduceError, Invitation, InvitationEnd, InviteError, Node};

impl Node {
    /// Creates a code with which one other user becomes a verified contact, and a member of `room`. It
    /// works once, for ten minutes, while this node runs, on networks that the two nodes share and
    /// through relays. One wrong guess ends it.
    ///
    /// `share_relay`: the other user gets this node's token for the relay in the code, and uses that
    /// relay from then on. It belongs to the operator whom that user's traffic costs, so ask first.
    pub async fn invite(
        &self,
        room: Option<RoomName>,
        share_relay: bool,
    ) -> Result<Invitation, InviteError> {
        let command = |reply| Command::Invite {
            room,
            share_relay,
            reply,
        };
        self.ask(command).await?
    }

    /// Waits until an invitation of this node has ended.
    pub async fn invitation_end(&self, number: CodeNumber) -> Result<InvitationEnd, InviteError> {
        self.ask(|reply| Command::InvitationEnd { number, reply })
            .await?
    }

    /// Introduces two contacts to each other. Each user is asked. Once both have accepted the other
    /// as a contact, their nodes learn each other's relays.
    pub async fn introduce(&self, one: PersonId, other: PersonId) -> Result<(), IntroduceError> {
        self.ask(|reply| Command::Introduce([one, other], reply))
            .await?
    }

    /// Accepts an invitation: the inviter becomes a verified contact, and this node joins the room
    /// that it invites to.
    pub async fn accept_invitation(
        &self,
        code: InviteCode,
    ) -> Result<AcceptedInvitation, InviteError> {
        self.ask(|reply| Command::AcceptInvitation { code, reply })
            .await?
    }
}
