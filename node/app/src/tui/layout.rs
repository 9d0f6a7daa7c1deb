//! The areas of a screen of a given size. Nothing is drawn here.

use ratatui::layout::Rect;

use super::text;
use crate::shared::settings::Sidebars;

/// The smallest screen that shows a chat.
pub(super) const COLUMNS_MIN: u16 = 40;
/// See [`COLUMNS_MIN`].
pub(super) const ROWS_MIN: u16 = 10;

/// Minimum number of columns of a screen that shows the conversations, and the people.
const LEFT_FROM: u16 = 70;
const RIGHT_FROM: u16 = 100;

/// The columns of these two sidebars, including the line beside them.
const LEFT: u16 = 18;
const RIGHT: u16 = 27;

/// The prompt before the typed text.
pub(super) const PROMPT: &str = "> ";

/// Columns of the time and of the name before a message. Names have fewer on a narrow screen.
pub(super) const TIME: usize = 6;
const NAME: usize = 12;
const NAME_NARROW: usize = 8;
const NARROW: usize = 56;

/// Maximum number of rows of the typed text.
const INPUT_ROWS_MAX: usize = 6;

/// Maximum number of rows of transfers: this many, and one of this many rows of the screen.
const TRANSFERS_MAX: usize = 3;
const TRANSFERS_ONE_OF: u16 = 8;

/// Which sidebars the user has shown or hidden. None: the width of the screen decides.
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
    /// The transfers in progress, below the messages.
    pub(super) transfers: Rect,
    pub(super) status: Rect,
    pub(super) input: Rect,
}

impl Layout {
    /// The layout of a screen of this size, or of the smallest one. `transfers`: their number.
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
        let input_rows = u16::try_from(wanted)
            .expect("at most INPUT_ROWS_MAX")
            .max(1);
        let middle = rows - input_rows - 2;
        // A sidebar that the user has shown needs only room for text beside it.
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

    /// The number of rows for messages.
    pub(super) fn rows(&self) -> usize {
        usize::from(self.body.height)
    }
}

/// Columns for the text of a message, if a message has `columns` in all.
pub(super) fn text_columns(columns: usize) -> usize {
    columns - TIME - name_columns(columns) - 3
}

/// Columns of the name before a message.
pub(super) fn name_columns(columns: usize) -> usize {
    if columns < NARROW { NAME_NARROW } else { NAME }
}

/// The number as a screen coordinate. Numbers beyond any screen become the largest one.
pub(super) fn cells(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(columns: u16, rows: u16) -> Layout {
        Layout::of((columns, rows), ShownSidebars::default(), "", 0)
    }

    #[test]
    fn wide_screens_show_the_sidebars() {
        let sidebars = |columns| {
            let layout = layout(columns, 24);
            (layout.left.is_some(), layout.right.is_some())
        };
        assert_eq!(sidebars(69), (false, false));
        assert_eq!(sidebars(70), (true, false));
        assert_eq!(sidebars(100), (true, true));
    }

    #[test]
    fn the_areas_cover_every_row_once() {
        for (typed, transfers) in [("", 0), ("one\ntwo\nthree", 2)] {
            let layout = Layout::of((80, 24), ShownSidebars::default(), typed, transfers);
            let areas = [
                layout.title,
                layout.body,
                layout.transfers,
                layout.status,
                layout.input,
            ];
            let rows: u16 = areas.iter().map(|area| area.height).sum();
            assert_eq!(rows, 24, "{typed:?}");
        }
    }

    #[test]
    fn a_long_text_leaves_room_for_messages() {
        let typed = "line\n".repeat(100);
        let layout = Layout::of((40, 10), ShownSidebars::default(), &typed, 9);
        assert_eq!(layout.input.height, 3);
        assert!(layout.rows() >= 4);
    }
}
