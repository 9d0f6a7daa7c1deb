//! The lines about the keys of rooms, for commands and chats.

use hobnob::RoomInfo;
use hobnob_control::wire::SharedRoom;

use super::wording;

/// A room that the user has joined.
pub(crate) fn joined(room: &RoomInfo) -> Vec<String> {
    let mut lines = vec![wording::room(room)];
    lines.extend(fingerprint(room));
    lines
}

/// A room and how to share it.
pub(crate) fn shared(shared: &SharedRoom) -> Vec<String> {
    let mut lines = joined(&shared.room);
    lines.push(format!("  ticket: {}", shared.ticket.0));
    lines.push(
        "  Others join with: hobnob join TICKET. Anybody who has the ticket can read the room, so send it over a channel that you trust."
            .to_owned(),
    );
    lines
}

/// The five words of a room with a secret.
fn fingerprint(room: &RoomInfo) -> Option<String> {
    let words = room.fingerprint.as_ref()?;
    Some(format!(
        "  words: {words} (the same for everybody with the same secret)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_with_a_secret_shows_its_words() {
        let mut room = RoomInfo {
            name: "ops".parse().unwrap(),
            open: true,
            fingerprint: None,
            here: vec![],
            topic: None,
        };
        assert_eq!(joined(&room).len(), 1);
        room.open = false;
        room.fingerprint = Some("abandon ability able about above".into());
        assert_eq!(
            joined(&room)[1],
            "  words: abandon ability able about above (the same for everybody with the same secret)"
        );
    }
}
