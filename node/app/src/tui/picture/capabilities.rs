//! Finds out how this terminal can show pictures: from the environment, and from the terminal's
//! answers.

use super::{CELL_MAX, Canvas, GraphicsProtocol};
use crate::tui::queries::{Answers, Questions, may_be_asked};

/// The assumed size of a cell for half blocks: about twice as high as wide.
const CELL_OF_TEXT: (u16, u16) = (10, 20);

/// The kind of terminal according to the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Too few colours for pictures.
    Plain,
    /// Half blocks, without asking: a multiplexer, which misplaces pictures, or a terminal whose
    /// sixels are broken.
    Blocks,
    Kitty,
    Unknown,
}

impl Canvas {
    /// What to ask a terminal, to find out how it shows pictures.
    pub(in crate::tui) fn questions(variable: impl Fn(&str) -> Option<String>) -> Questions {
        let kind = kind_of(variable);
        // Without the size of a cell, only half blocks are possible.
        let is_asked = matches!(kind, Kind::Kitty | Kind::Unknown) && cell().is_some();
        Questions {
            sixel: is_asked,
            kitty: is_asked && kind == Kind::Kitty,
            background: false,
        }
    }

    /// The canvas of this terminal, none if it cannot show pictures.
    pub(in crate::tui) fn of_terminal(
        variable: impl Fn(&str) -> Option<String>,
        answers: &Answers,
    ) -> Option<Canvas> {
        let blocks = Canvas {
            protocol: GraphicsProtocol::HalfBlocks {
                all_colours: has_all_colours(&variable),
            },
            cell: CELL_OF_TEXT,
        };
        let protocol = match (kind_of(variable), answers.kitty, answers.sixel) {
            (Kind::Plain, _, _) => return None,
            (Kind::Kitty, true, _) => GraphicsProtocol::Kitty,
            (Kind::Kitty | Kind::Unknown, _, true) => GraphicsProtocol::Sixel,
            (Kind::Blocks | Kind::Kitty | Kind::Unknown, _, _) => return Some(blocks),
        };
        // The terminal was asked, so it reports the size.
        let cell = cell()?;
        Some(Canvas { protocol, cell })
    }

    /// Half blocks in all colours.
    #[cfg(test)]
    pub(in crate::tui) const HALF_BLOCKS: Canvas = Canvas {
        protocol: GraphicsProtocol::HalfBlocks { all_colours: true },
        cell: CELL_OF_TEXT,
    };
}

/// The size of a cell in pixels, if the terminal reports it.
pub(super) fn cell() -> Option<(u16, u16)> {
    let size = crossterm::terminal::window_size().ok()?;
    let cell = (
        size.width.checked_div(size.columns)?,
        size.height.checked_div(size.rows)?,
    );
    (cell.0 > 0 && cell.1 > 0).then_some((cell.0.min(CELL_MAX.0), cell.1.min(CELL_MAX.1)))
}

fn kind_of(variable: impl Fn(&str) -> Option<String>) -> Kind {
    let given = |name: &str| variable(name).filter(|value| !value.is_empty());
    let term = given("TERM").unwrap_or_default();
    let begins = |starts: &[&str]| starts.iter().any(|start| term.starts_with(start));
    if !may_be_asked(&term) || term.ends_with("-16color") {
        return Kind::Plain;
    }
    let multiplexed = ["TMUX", "STY", "ZELLIJ"]
        .into_iter()
        .any(|name| given(name).is_some())
        || begins(&["tmux", "screen"]);
    if multiplexed || given("KONSOLE_VERSION").is_some() {
        return Kind::Blocks;
    }
    let ghostty = given("TERM_PROGRAM").is_some_and(|program| program == "ghostty");
    let kitty =
        begins(&["xterm-kitty", "xterm-ghostty"]) || ghostty || given("KITTY_WINDOW_ID").is_some();
    if kitty { Kind::Kitty } else { Kind::Unknown }
}

fn has_all_colours(variable: impl Fn(&str) -> Option<String>) -> bool {
    let is_one_of = |name: &str, words: &[&str]| {
        variable(name).is_some_and(|value| words.iter().any(|word| value.contains(word)))
    };
    is_one_of("COLORTERM", &["truecolor", "24bit"])
        || is_one_of(
            "TERM",
            &[
                "kitty",
                "ghostty",
                "alacritty",
                "foot",
                "wezterm",
                "-direct",
            ],
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables<'a>(set: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + use<'a> {
        move |name| {
            set.iter()
                .find(|(given, _)| *given == name)
                .map(|(_, value)| (*value).to_owned())
        }
    }

    #[test]
    fn the_environment_decides_what_to_ask() {
        for (set, kind) in [
            (&[("TERM", "xterm-256color")][..], Kind::Unknown),
            (&[("TERM", "foot")], Kind::Unknown),
            (&[("TERM", "xterm-kitty")], Kind::Kitty),
            (
                &[("TERM", "xterm-256color"), ("TERM_PROGRAM", "ghostty")],
                Kind::Kitty,
            ),
            (
                &[("TERM", "tmux-256color"), ("KITTY_WINDOW_ID", "1")],
                Kind::Blocks,
            ),
            (
                &[
                    ("TERM", "xterm-256color"),
                    ("TMUX", "/tmp/tmux-0/default,1,0"),
                ],
                Kind::Blocks,
            ),
            (&[("TERM", "screen.xterm-256color")], Kind::Blocks),
            (&[("TERM", "xterm-kitty"), ("STY", "1.pts-0")], Kind::Blocks),
            (
                &[("TERM", "xterm-256color"), ("KONSOLE_VERSION", "240800")],
                Kind::Blocks,
            ),
            (&[("TERM", "linux")], Kind::Plain),
            (&[("TERM", "vt220")], Kind::Plain),
            (&[("TERM", "xterm-16color")], Kind::Plain),
        ] {
            assert_eq!(kind_of(variables(set)), kind, "{set:?}");
        }
        assert!(
            has_all_colours(variables(&[("COLORTERM", "truecolor")]))
                && has_all_colours(variables(&[("TERM", "foot")]))
        );
        assert!(!has_all_colours(variables(&[("TERM", "xterm-256color")])));
    }
}
