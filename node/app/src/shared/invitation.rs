//! The lines about invitations, for commands and chats.

use hobnob::RelayTokenUse;
use hobnob::protocol::text::visible;
use hobnob_control::wire::{
    InvitationAccepted, InvitationCode, InvitationEnded, InvitationState, PeerLine, Text,
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
    lines.extend(about_token(invitation));
    lines
}

/// What the inviter has to know about the token for the relay in the code.
fn about_token(invitation: &InvitationCode) -> Option<String> {
    let relay = &invitation.code.0.relay.as_ref()?;
    match invitation.relay_token {
        RelayTokenUse::None => None,
        RelayTokenUse::Kept => Some(format!(
            "Your token for {relay} stays with you. If that relay requires one, they can use it for \
             two minutes, and then need a token of their own, from its operator, or an invitation \
             made with: hobnob invite --share-relay"
        )),
        RelayTokenUse::Shared => Some(format!(
            "They get your token for {relay}, and use that relay from then on. What they do there \
             counts as yours."
        )),
    }
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
    if let Some(Text(relay)) = &accepted.relay {
        lines.push(format!(
            "you may use the relay {relay} from now on, with the inviter's token"
        ));
    }
    if let Some(Text(relay)) = &accepted.needs_token {
        let name = visible(&accepted.peer.name);
        lines.push(format!(
            "the relay {relay} requires a token, and admits you for two minutes only. Ask its operator \
             for a token, and set relay and relay-token-file; or ask {name} for an invitation made \
             with --share-relay. Until then, {name} can reach you only on the same network, or through \
             another relay"
        ));
    }
    lines
}

fn verified(peer: &PeerLine) -> String {
    let name = visible(&peer.name);
    format!("{name} is your contact now, verified by the code")
}
