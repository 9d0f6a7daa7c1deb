//! The state of the screen that belongs to no conversation: its size, what the keys act on, and
//! what is folded. Nothing is drawn here.

use super::composer::Pasted;
use super::links::Links;
use super::search::Search;
use crate::shared::settings::ScreenSettings;
use crate::tui::layout::{Layout, ShownSidebars};

/// The part of the screen that the keys act on.
#[derive(Debug)]
pub(crate) enum Mode {
    Chat,
    Search(Search),
    Links(Links),
    /// The keys and commands, scrolled down by this many rows.
    Help(usize),
}

/// A text above the input, until the next key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    Text(&'static str),
    Pasted(Pasted),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Screen {
    /// Columns and rows.
    size: (u16, u16),
    sidebars: ShownSidebars,
    mode: Mode,
    hint: Option<Hint>,
    /// Whether the terminal sends the mouse wheel to the chat.
    captures_mouse: bool,
    /// Whether the terminal has the keyboard focus: somebody may be looking.
    is_focused: bool,
    /// Drives the spinner.
    ticks: usize,
    is_dirty: bool,
}

impl Screen {
    pub(super) fn new(settings: &ScreenSettings, size: (u16, u16)) -> Screen {
        Screen {
            size,
            sidebars: ShownSidebars::of(settings.sidebars),
            mode: Mode::Chat,
            hint: None,
            captures_mouse: settings.mouse,
            is_focused: true,
            ticks: 0,
            is_dirty: true,
        }
    }

    pub(crate) fn size(&self) -> (u16, u16) {
        self.size
    }

    pub(super) fn resize(&mut self, size: (u16, u16)) {
        self.size = size;
    }

    pub(crate) fn sidebars(&self) -> ShownSidebars {
        self.sidebars
    }

    /// Folds or unfolds the sidebar on the left. `layout` tells whether it is on the screen now.
    pub(super) fn toggle_conversations(&mut self, layout: &Layout) {
        self.sidebars.left = Some(layout.left.is_none());
    }

    /// Folds or unfolds the sidebar on the right.
    pub(super) fn toggle_people(&mut self, layout: &Layout) {
        self.sidebars.right = Some(layout.right.is_none());
    }

    pub(crate) fn mode(&self) -> &Mode {
        &self.mode
    }

    pub(super) fn mode_mut(&mut self) -> &mut Mode {
        &mut self.mode
    }

    pub(super) fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// Opens the help, or goes back to the chat.
    pub(super) fn toggle_help(&mut self) {
        self.mode = match self.mode {
            Mode::Help(_) => Mode::Chat,
            Mode::Chat | Mode::Search(_) | Mode::Links(_) => Mode::Help(0),
        };
    }

    /// Scrolls the help, which cannot be scrolled above its first row.
    pub(super) fn scroll_help(&mut self, up: bool, by: usize) {
        if let Mode::Help(scrolled) = &mut self.mode {
            *scrolled = if up {
                scrolled.saturating_sub(by)
            } else {
                scrolled.saturating_add(by)
            };
        }
    }

    pub(crate) fn hint(&self) -> Option<&Hint> {
        self.hint.as_ref()
    }

    pub(super) fn set_hint(&mut self, hint: Option<Hint>) {
        self.hint = hint;
    }

    pub(crate) fn captures_mouse(&self) -> bool {
        self.captures_mouse
    }

    /// Gives the mouse wheel to the chat or back to the terminal. Returns whether the chat has it.
    pub(super) fn toggle_mouse(&mut self) -> bool {
        self.captures_mouse = !self.captures_mouse;
        self.hint = Some(Hint::Text(if self.captures_mouse {
            "the wheel scrolls; Shift and the mouse select text"
        } else {
            "the mouse selects text"
        }));
        self.captures_mouse
    }

    pub(super) fn is_focused(&self) -> bool {
        self.is_focused
    }

    pub(super) fn set_focused(&mut self, is_focused: bool) {
        self.is_focused = is_focused;
    }

    pub(crate) fn ticks(&self) -> usize {
        self.ticks
    }

    pub(super) fn tick(&mut self) {
        self.ticks += 1;
    }

    pub(super) fn mark_dirty(&mut self) {
        self.is_dirty = true;
    }

    /// Whether something has changed since the last drawing.
    pub(super) fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    pub(super) fn mark_drawn(&mut self) {
        self.is_dirty = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(columns: u16) -> Screen {
        Screen::new(&ScreenSettings::default(), (columns, 24))
    }

    #[test]
    fn a_sidebar_folds_where_it_is_shown_and_unfolds_where_it_is_not() {
        for (columns, is_shown_first) in [(120, true), (60, false)] {
            let mut screen = screen(columns);
            let layout = |screen: &Screen| Layout::of(screen.size(), screen.sidebars(), "", 0);
            let before = layout(&screen);
            assert_eq!(before.left.is_some(), is_shown_first);
            screen.toggle_conversations(&before);
            assert_eq!(layout(&screen).left.is_some(), !is_shown_first);
        }
    }

    #[test]
    fn help_opens_scrolls_and_closes() {
        let mut screen = screen(80);
        screen.toggle_help();
        screen.scroll_help(false, 5);
        screen.scroll_help(true, 9);
        assert!(matches!(screen.mode(), Mode::Help(0)));
        screen.toggle_help();
        assert!(matches!(screen.mode(), Mode::Chat));
    }

    #[test]
    fn a_hint_says_who_has_the_mouse() {
        let mut screen = screen(80);
        assert!(screen.toggle_mouse());
        assert_eq!(
            screen.hint(),
            Some(&Hint::Text(
                "the wheel scrolls; Shift and the mouse select text"
            ))
        );
        assert!(!screen.toggle_mouse());
    }
}
