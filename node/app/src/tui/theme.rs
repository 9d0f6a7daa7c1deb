//! How things look: colours, signs, and what stands for them on a terminal without either.

use hobnob::protocol::PeerId;
use hobnob::{DeliveryState, PeerState};
use ratatui::style::{Color, Modifier, Style};

/// What this terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Theme {
    /// False under NO_COLOR (<https://no-color.org>).
    pub(super) colour: bool,
    /// False where the locale is not UTF-8: then signs and lines are ASCII.
    pub(super) unicode: bool,
}

/// Colours that can be told apart on black and on white; a key picks one.
const NAMES: [Color; 12] = [
    Color::Indexed(31),
    Color::Indexed(34),
    Color::Indexed(37),
    Color::Indexed(64),
    Color::Indexed(67),
    Color::Indexed(98),
    Color::Indexed(132),
    Color::Indexed(136),
    Color::Indexed(161),
    Color::Indexed(166),
    Color::Indexed(170),
    Color::Indexed(208),
];

impl Theme {
    /// As the environment says. The locale is what the first of LC_ALL, LC_CTYPE and LANG names
    /// that is set (POSIX XBD 8.2).
    pub(super) fn of(variable: impl Fn(&str) -> Option<String>) -> Theme {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .find_map(given)
            .unwrap_or_default()
            .to_ascii_lowercase();
        Theme {
            colour: given("NO_COLOR").is_none(),
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
        }
    }

    /// The same key has the same colour on every screen, whatever it calls itself.
    pub(super) fn name(self, peer: PeerId) -> Style {
        let [first, ..] = *peer.as_bytes();
        self.coloured(NAMES[usize::from(first) % NAMES.len()])
    }

    pub(super) fn own(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn note(self) -> Style {
        self.coloured(Color::Cyan)
    }

    pub(super) fn warning(self) -> Style {
        self.coloured(Color::Yellow)
    }

    pub(super) fn unread(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn good(self) -> Style {
        self.coloured(Color::Green)
    }

    /// The line with the title, and the one above the input.
    pub(super) fn bar(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn peer_state(self, state: PeerState) -> Style {
        match state {
            PeerState::Online => self.good(),
            PeerState::Suspect => self.warning(),
            PeerState::Offline => self.dim(),
        }
    }

    pub(super) fn peer_sign(self, state: PeerState) -> &'static str {
        match (state, self.unicode) {
            (PeerState::Online, true) => "●",
            (PeerState::Suspect, true) => "◐",
            (PeerState::Offline, true) => "○",
            (PeerState::Online, false) => "+",
            (PeerState::Suspect, false) => "?",
            (PeerState::Offline, false) => "-",
        }
    }

    pub(super) fn delivery_sign(self, state: DeliveryState) -> &'static str {
        match (state, self.unicode) {
            (DeliveryState::Queued, true) => "○",
            (DeliveryState::Sent, true) => "→",
            (DeliveryState::Delivered, true) => "✓",
            (DeliveryState::Queued, false) => "-",
            (DeliveryState::Sent, false) => ">",
            (DeliveryState::Delivered, false) => "+",
        }
    }

    /// Between columns.
    pub(super) fn upright(self) -> &'static str {
        if self.unicode { "│" } else { "|" }
    }

    /// A line across, with words in it.
    pub(super) fn rule(self, words: &str, columns: usize) -> String {
        let dash = if self.unicode { "─" } else { "-" };
        let left = format!("{}{words}", dash.repeat(2));
        let rest = columns.saturating_sub(super::text::width(&left));
        format!("{left}{}", dash.repeat(rest))
    }

    /// How much of a whole is there, in so many columns.
    pub(super) fn bar_of(self, part: u64, whole: u64, columns: usize) -> (String, String) {
        let wide = u128::try_from(columns).unwrap_or(0);
        let done = (u128::from(part) * wide)
            .checked_div(u128::from(whole))
            .unwrap_or(wide);
        let done = usize::try_from(done).unwrap_or(columns).min(columns);
        let (full, empty) = if self.unicode {
            ("━", "─")
        } else {
            ("#", "-")
        };
        (full.repeat(done), empty.repeat(columns - done))
    }

    /// Before something that comes here, or goes to others.
    pub(super) fn direction_sign(self, comes: bool) -> &'static str {
        match (comes, self.unicode) {
            (true, true) => "↓",
            (false, true) => "↑",
            (true, false) => "<",
            (false, false) => ">",
        }
    }

    /// What turns while something is looked for.
    pub(super) fn spinner(self, turn: usize) -> &'static str {
        const UNICODE: [&str; 8] = ["⣾", "⣽", "⣻", "⢿", "⡿", "⣟", "⣯", "⣷"];
        const ASCII: [&str; 4] = ["|", "/", "-", "\\"];
        if self.unicode {
            UNICODE[turn % UNICODE.len()]
        } else {
            ASCII[turn % ASCII.len()]
        }
    }

    fn coloured(self, colour: Color) -> Style {
        if self.colour {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_what_the_terminal_can() {
        let theme = |set: &[(&str, &str)]| {
            let set: Vec<(String, String)> = set
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect();
            let theme = Theme::of(|name| {
                set.iter()
                    .find(|(n, _)| n == name)
                    .map(|(_, value)| value.clone())
            });
            (theme.colour, theme.unicode)
        };
        assert_eq!(theme(&[]), (true, false));
        assert_eq!(theme(&[("LANG", "en_GB.UTF-8")]), (true, true));
        assert_eq!(
            theme(&[("LANG", "en_GB.UTF-8"), ("LC_ALL", "C")]),
            (true, false)
        );
        assert_eq!(
            theme(&[("LC_CTYPE", "C.utf8"), ("NO_COLOR", "1")]),
            (false, true)
        );
        assert_eq!(theme(&[("NO_COLOR", "")]), (true, false));
    }
}
