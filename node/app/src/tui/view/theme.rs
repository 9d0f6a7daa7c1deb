//! Colours and signs, and their replacements on terminals without colours or without Unicode.

use hobnob::protocol::PersonId;
use hobnob::{DeliveryState, PeerState};
use ratatui::style::{Color, Modifier, Style};

use crate::tui::markup::Emphasis;
use crate::tui::queries;

/// The abilities of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Theme {
    /// False under NO_COLOR (<https://no-color.org>), and on terminals that have no colours.
    pub(crate) colour: bool,
    /// False if the locale is not UTF-8: signs and lines are ASCII then.
    pub(crate) unicode: bool,
    /// Whether the terminal's background is light. Colours are darker then.
    pub(crate) light: bool,
}

/// Colours that are easy to distinguish on black and on white. A peer's id picks one.
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
    /// The theme for these environment variables. The first of LC_ALL, LC_CTYPE and LANG that is
    /// set names the locale (POSIX XBD 8.2).
    pub(crate) fn of(variable: impl Fn(&str) -> Option<String>) -> Theme {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .find_map(given)
            .unwrap_or_default()
            .to_ascii_lowercase();
        let term = given("TERM").unwrap_or_default();
        let is_mono = term.ends_with("-mono") || term.ends_with("-m") || is_vt(&term);
        // The numbers of the colours of text and background, such as `0;15`.
        let colours = given("COLORFGBG").unwrap_or_default();
        let background = colours.rsplit(';').next().unwrap_or_default();
        Theme {
            colour: given("NO_COLOR").is_none() && !is_mono,
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
            light: matches!(background, "7" | "15"),
        }
    }

    /// Whether to ask the terminal for the colour of its background, which no variable names.
    pub(crate) fn asks_background(variable: impl Fn(&str) -> Option<String>) -> bool {
        let given = |name: &str| variable(name).unwrap_or_default();
        given("COLORFGBG").is_empty() && queries::may_be_asked(&given("TERM"))
    }

    /// A peer has the same colour on every screen, whatever its nickname is.
    pub(super) fn name(self, peer: PersonId) -> Style {
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
        self.for_background(Color::Cyan, Color::Indexed(24))
    }

    pub(super) fn warning(self) -> Style {
        self.for_background(Color::Yellow, Color::Indexed(130))
    }

    pub(super) fn unread(self) -> Style {
        self.for_background(Color::Red, Color::Indexed(124))
            .add_modifier(Modifier::BOLD)
    }

    pub(super) fn good(self) -> Style {
        self.for_background(Color::Green, Color::Indexed(28))
    }

    /// Emphasis in a message.
    pub(super) fn emphasis(self, emphasis: Emphasis) -> Style {
        let Emphasis {
            bold,
            italic,
            code,
            quote,
            sign,
        } = emphasis;
        let colour = if code {
            self.for_background(Color::Indexed(180), Color::Indexed(94))
        } else {
            Style::new()
        };
        let modifiers = [
            (bold, Modifier::BOLD),
            (italic || quote, Modifier::ITALIC),
            (sign, Modifier::DIM),
        ];
        let on = modifiers.into_iter().filter(|(on, _)| *on);
        on.fold(colour, |style, (_, modifier)| style.add_modifier(modifier))
    }

    /// The title line, and the line above the input.
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
            (DeliveryState::Held, true) => "◇",
            (DeliveryState::Delivered, true) => "✓",
            (DeliveryState::Queued, false) => "-",
            (DeliveryState::Sent, false) => ">",
            (DeliveryState::Held, false) => "*",
            (DeliveryState::Delivered, false) => "+",
        }
    }

    /// The line between columns.
    pub(super) fn upright(self) -> &'static str {
        if self.unicode { "│" } else { "|" }
    }

    /// A horizontal line with words in it.
    pub(super) fn rule(self, words: &str, columns: usize) -> String {
        let dash = if self.unicode { "─" } else { "-" };
        let left = format!("{}{words}", dash.repeat(2));
        let rest = columns.saturating_sub(crate::tui::text::width(&left));
        format!("{left}{}", dash.repeat(rest))
    }

    /// A progress bar: its full part and its empty part.
    pub(super) fn progress_bar(self, part: u64, whole: u64, columns: usize) -> (String, String) {
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

    /// The sign of a download or an upload.
    pub(super) fn direction_sign(self, is_download: bool) -> &'static str {
        match (is_download, self.unicode) {
            (true, true) => "↓",
            (false, true) => "↑",
            (true, false) => "<",
            (false, false) => ">",
        }
    }

    /// Turns while the chat looks for people.
    pub(super) fn spinner(self, ticks: usize) -> &'static str {
        const UNICODE: [&str; 8] = ["⣾", "⣽", "⣻", "⢿", "⡿", "⣟", "⣯", "⣷"];
        const ASCII: [&str; 4] = ["|", "/", "-", "\\"];
        if self.unicode {
            UNICODE[ticks % UNICODE.len()]
        } else {
            ASCII[ticks % ASCII.len()]
        }
    }

    fn for_background(self, dark: Color, light: Color) -> Style {
        self.coloured(if self.light { light } else { dark })
    }

    fn coloured(self, colour: Color) -> Style {
        if self.colour {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }
}

/// Whether this names a terminal of the VT100 family, which has no colours.
fn is_vt(term: &str) -> bool {
    let model = term.strip_prefix("vt").unwrap_or_default();
    model.starts_with(['1', '2', '3', '4', '5'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides_about_colours_and_signs() {
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
        for (term, colour) in [("vt220", false), ("xterm-mono", false), ("vte", true)] {
            assert_eq!(theme(&[("TERM", term)]), (colour, false), "{term}");
        }
    }

    #[test]
    fn the_terminal_may_say_that_its_background_is_light() {
        let light = |colours: &str| {
            Theme::of(|name| (name == "COLORFGBG").then(|| colours.to_owned())).light
        };
        assert!(light("0;15") && light("0;default;7"));
        assert!(!light("15;0") && !light("") && !light("0;default"));
    }

    #[test]
    fn a_light_background_gets_darker_colours_unless_there_are_none() {
        let theme = |colour, light| Theme {
            colour,
            unicode: true,
            light,
        };
        assert_eq!(theme(true, false).note().fg, Some(Color::Cyan));
        assert_eq!(theme(true, true).note().fg, Some(Color::Indexed(24)));
        assert_eq!(theme(false, true).note().fg, None);
    }

    #[test]
    fn emphasis_needs_no_colours_except_for_code() {
        let theme = Theme {
            colour: false,
            unicode: true,
            light: false,
        };
        let bold = Emphasis {
            bold: true,
            sign: true,
            ..Emphasis::default()
        };
        let style = Style::new().add_modifier(Modifier::BOLD | Modifier::DIM);
        assert_eq!(theme.emphasis(bold), style);
        let code = Emphasis {
            code: true,
            ..Emphasis::default()
        };
        assert_eq!(theme.emphasis(code), Style::new());
        let coloured = Theme {
            colour: true,
            ..theme
        };
        assert_eq!(coloured.emphasis(code).fg, Some(Color::Indexed(180)));
    }

    #[test]
    fn a_progress_bar_has_the_same_width_whatever_the_progress() {
        let theme = Theme {
            colour: false,
            unicode: false,
            light: false,
        };
        let bar = |part, whole| {
            let (full, empty) = theme.progress_bar(part, whole, 4);
            full + &empty
        };
        assert_eq!(bar(0, 100), "----");
        assert_eq!(bar(50, 100), "##--");
        assert_eq!(bar(u64::MAX, u64::MAX), "####");
        assert_eq!(bar(0, 0), "####", "an empty file is complete");
        assert_eq!(bar(200, 100), "####");
    }
}
