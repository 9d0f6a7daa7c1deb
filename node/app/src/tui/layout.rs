//! What is where on a screen of a given size.

use ratatui::layout::Rect;

use super::text;
use crate::shared::settings::Sidebars;

/// The smallest screen that shows a chat.
pub(super) const COLUMNS_MIN: u16 = 40;
/// Likewise.
pub(super) const ROWS_MIN: u16 = 10;

/// From how many columns on the conversations are shown, and the people.
const LEFT_FROM: u16 = 70;
const RIGHT_FROM: u16 = 100;

/// Their columns, with the line beside them.
const LEFT: u16 = 18;
const RIGHT: u16 = 27;

/// Before the text that is typed.
pub(super) const PROMPT: &str = "> ";

/// Columns of a time and of names before a message; names have fewer on a narrow screen.
pub(super) const TIME: usize = 6;
const NAME: usize = 12;
const NAME_NARROW: usize = 8;
const NARROW: usize = 56;

/// Rows that the input takes at most.
const INPUT_ROWS_MAX: usize = 6;

/// Rows of transfers at most: this many, and one of so many rows of the screen.
const TRANSFERS_MAX: usize = 3;
const TRANSFERS_ONE_OF: u16 = 8;

/// Which sidebars the user has opened or closed. None: the width of the screen decides.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct ShownSidebars {
    pub(super) left: Option<bool>,
    pub(super) right: Option<bool>,
}

impl ShownSidebars {
    /// The sidebars of the settings.
    pub(super) fn of(sidebars: Sidebars) -> ShownSidebars {
        let shown = |left, right| ShownSidebars {
            left: Some(left),
            right: Some(right),
        };
        match sidebars {
            Sidebars::Auto => ShownSidebars::default(),
            Sidebars::Both => shown(true, true),
            Sidebars::Conversations => shown(true, false),
            Sidebars::People => shown(false, true),
            Sidebars::None => shown(false, false),
        }
    }
}

/// The parts of the screen, from the top down and from the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) title: Rect,
    pub(super) left: Option<Rect>,
    pub(super) body: Rect,
    pub(super) right: Option<Rect>,
    /// Below the messages: what moves.
    pub(super) transfers: Rect,
    pub(super) status: Rect,
    pub(super) input: Rect,
}

impl Layout {
    /// For a screen of this size; a smaller one than the smallest is laid out as that.
    pub(super) fn of(
        (columns, rows): (u16, u16),
        sidebars: ShownSidebars,
        typed: &str,
        transfers: usize,
    ) -> Layout {
        let (columns, rows) = (columns.max(COLUMNS_MIN), rows.max(ROWS_MIN));
        let wanted = text::broken(typed, usize::from(columns) - PROMPT.len())
            .len()
            .min(INPUT_ROWS_MAX)
            .min(usize::from(rows / 3));
        let input_rows = u16::try_from(wanted).expect("a few rows").max(1);
        let middle = rows - input_rows - 2;
        // A pane that was asked for by a key is shown wherever text has room beside it.
        let left = sidebars.left.unwrap_or(columns >= LEFT_FROM) && columns >= COLUMNS_MIN + LEFT;
        let right = sidebars.right.unwrap_or(columns >= RIGHT_FROM)
            && columns >= COLUMNS_MIN + RIGHT + if left { LEFT } else { 0 };
        let moving = cells(transfers.min(TRANSFERS_MAX)).min(rows / TRANSFERS_ONE_OF);
        let (before, after) = (if left { LEFT } else { 0 }, if right { RIGHT } else { 0 });
        Layout {
            title: Rect::new(0, 0, columns, 1),
            left: left.then_some(Rect::new(0, 1, LEFT, middle)),
            body: Rect::new(before, 1, columns - before - after, middle - moving),
            right: right.then_some(Rect::new(columns - RIGHT, 1, RIGHT, middle)),
            transfers: Rect::new(
                before,
                1 + middle - moving,
                columns - before - after,
                moving,
            ),
            status: Rect::new(0, 1 + middle, columns, 1),
            input: Rect::new(0, 2 + middle, columns, input_rows),
        }
    }

    /// Rows of messages.
    pub(super) fn rows(&self) -> usize {
        usize::from(self.body.height)
    }
}

/// Columns of the text of a message, where a message has `columns` in all.
pub(super) fn text_columns(columns: usize) -> usize {
    columns - TIME - name_columns(columns) - 3
}

/// Columns of the name before a message.
pub(super) fn name_columns(columns: usize) -> usize {
    if columns < NARROW { NAME_NARROW } else { NAME }
}

/// As a screen counts. What is beyond any screen is cut.
pub(super) fn cells(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}
