//! Texts and nicknames from peers, before they reach a screen.

use hobnob_protocol::text::{NICKNAME_CHARS_MAX, visible, visible_json};
use hobnob_protocol::{Nickname, RoomName};

/// A shown text cannot control a terminal, and showing it again changes nothing. A clean nickname is
/// valid.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let shown = visible(text);
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
    assert_eq!(visible(&shown), shown);

    if let Ok(json) = serde_json::to_string(text) {
        let shown = visible_json(&json);
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
        let read: String = serde_json::from_str(&shown).expect("it is still JSON");
        assert_eq!(read, text, "and has the same meaning");
    }

    if let Some(nick) = Nickname::cleaned(text) {
        assert!(nick.as_str().chars().count() <= NICKNAME_CHARS_MAX);
        assert_eq!(Nickname::new(nick.as_str()).as_ref(), Ok(&nick));
        assert_eq!(Nickname::cleaned(nick.as_str()), Some(nick));
    }
    if let Ok(room) = text.parse::<RoomName>() {
        assert_eq!(room.to_string().parse(), Ok(room));
    }
}

pub(crate) fn samples() -> Vec<Vec<u8>> {
    let texts = [
        "Ann",
        "#Ops",
        "\u{202e}evil",
        "\u{1b}[2J",
        "نمی\u{200c}خواهم",
        "👩\u{200d}🚀",
        "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
        "a\u{ad}b\u{feff}\u{200f}",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}
