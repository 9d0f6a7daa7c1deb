//! The lines about invitations, for commands and chats.

use hobnob::protocol::text::visible;
use hobnob_control::wire::{
    InvitationAccepted, InvitationCode, InvitationEnded, InvitationState, PeerLine,
};

use super::room_secrets;

/// Shown while a node looks for the inviter.
pub(crate) const LOOKING: &str = "looking for the inviter, at most 20 seconds …";

/// Shown after both peers of an introduction were asked.
pub(crate) const INTRODUCED: &str = "both are asked; they are contacts once each accepts the other";

/// A new invitation, and what to do with its code.
pub(crate) fn created(invitation: &InvitationCode) -> Vec<String> {
    let minutes = invitation.seconds / 60;
    let code = &invitation.code.0;
    let mut lines = vec![
        format!("  {code}"),
        format!(
            "Read this code to one person, for example by telephone. It works once, for {minutes} \
             minutes. They type: hobnob accept-invite CODE"
        ),
    ];
    if code.relay.is_some() {
        lines.push(
            "On your network, or with the same relay, they can leave out the part from the @."
                .to_owned(),
        );
    }
    lines
}

/// How an invitation ended.
pub(crate) fn ended(ended: &InvitationEnded) -> String {
    match (ended.end, &ended.peer) {
        (InvitationState::Accepted, Some(peer)) => verified(peer),
        (InvitationState::Accepted, None) => "the invitation was accepted".to_owned(),
        (InvitationState::Wrong, _) => {
            "somebody typed wrong words, so this code is dead: make a new one".to_owned()
        }
        (InvitationState::Expired, _) => {
            "nobody used this code in time, so it has expired".to_owned()
        }
    }
}

/// An invitation that this node has accepted.
pub(crate) fn accepted(accepted: &InvitationAccepted) -> Vec<String> {
    let mut lines = vec![verified(&accepted.peer)];
    if let Some(room) = &accepted.room {
        lines.extend(room_secrets::joined(room));
    }
    lines
}

fn verified(peer: &PeerLine) -> String {
    let name = visible(&peer.name);
    format!("{name} is your contact now, verified by the code")
}
