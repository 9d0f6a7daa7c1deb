//! The text that the user types: a cursor between graphemes, the cut text, undo, and the history of
//! lines. Which key does what is in `keys`.

use unicode_segmentation::UnicodeSegmentation;

/// Maximum number of lines in the history. The oldest are forgotten.
const HISTORY_MAX: usize = 500;

/// Maximum size of the text in bytes; the rest is dropped. Far more than a message may have, so
/// that the node can report by how much a message is too long.
const BYTES_MAX: usize = 256 * 1024;

/// Maximum number of changes that can be undone, and of bytes stored for them. The oldest are
/// forgotten.
const UNDO_MAX: usize = 200;
const UNDO_BYTES_MAX: usize = 1024 * 1024;

/// The effect of a key on the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edit {
    Go(Motion),
    Delete(Motion),
    /// Inserts the text that was cut last.
    Yank,
    Transpose,
    Undo,
    Insert(String),
}

/// How far to move the cursor, or to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Motion {
    Left,
    Right,
    WordLeft,
    WordRight,
    /// Back to white space, like Ctrl-w in a shell.
    BlankLeft,
    Start,
    End,
}

/// A kind of change. The letters of one word are undone together, and so are characters that were
/// deleted one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Letter,
    Deletion,
    Other,
}

/// A text with a cursor in it.
#[derive(Debug, Default)]
pub(crate) struct Editor {
    text: String,
    /// A grapheme boundary of `text`.
    cursor: usize,
    cut: String,
    history: Vec<String>,
    /// The index of the history's line on the screen, and the line typed before.
    recalled: Option<(usize, String)>,
    /// The text and the cursor before each change.
    before: Vec<(String, usize)>,
    last: Option<Change>,
}

impl Editor {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn before_cursor(&self) -> &str {
        &self.text[..self.cursor]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(crate) fn edit(&mut self, edit: Edit) {
        match edit {
            Edit::Go(motion) => self.go(motion),
            Edit::Delete(motion) => self.delete(motion),
            Edit::Yank => self.yank(),
            Edit::Transpose => self.transpose(),
            Edit::Undo => self.undo(),
            Edit::Insert(text) => {
                self.insert(&text);
            }
        }
    }

    /// Inserts text at the cursor. Keeps line breaks and tabs, and drops other control characters.
    /// Returns the number of characters for which the editor has no room.
    pub(crate) fn insert(&mut self, text: &str) -> usize {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let is_kept = |c: &char| matches!(*c, '\n' | '\t') || !c.is_control();
        let clean: String = text.chars().filter(is_kept).collect();
        let room = BYTES_MAX.saturating_sub(self.text.len());
        let mut taken = 0;
        let kept = clean.chars().take_while(|c| {
            taken += c.len_utf8();
            taken <= room
        });
        let kept: String = kept.collect();
        let left_out = clean[kept.len()..].chars().count();
        let one = kept.chars().nth(1).is_none();
        self.changes(if one { Change::Letter } else { Change::Other });
        if kept.ends_with(char::is_whitespace) {
            self.last = None;
        }
        self.text.insert_str(self.cursor, &kept);
        self.cursor = self.boundary_at_or_after(self.cursor + kept.len());
        left_out
    }

    /// Replaces the text and puts the cursor at its end.
    pub(crate) fn set(&mut self, text: String) {
        self.forget();
        self.cursor = text.len();
        self.text = text;
    }

    /// Replaces the bytes from `start` to the cursor.
    pub(crate) fn replace_before(&mut self, start: usize, text: &str) {
        self.changes(Change::Other);
        self.text.replace_range(start..self.cursor, text);
        self.cursor = start + text.len();
    }

    /// Empties the text, adds it to the history and returns it.
    pub(crate) fn take(&mut self) -> String {
        let text = std::mem::take(&mut self.text);
        self.cursor = 0;
        self.recalled = None;
        self.forget();
        if !text.trim().is_empty() && self.history.last() != Some(&text) {
            self.history.push(text.clone());
            if self.history.len() > HISTORY_MAX {
                self.history.remove(0);
            }
        }
        text
    }

    /// Adds lines before the history, the oldest first. Those for which it has no room are dropped.
    pub(crate) fn prepend(&mut self, mut earlier: Vec<String>) {
        let room = HISTORY_MAX.saturating_sub(self.history.len());
        earlier.drain(..earlier.len().saturating_sub(room));
        if let Some((shown, _)) = &mut self.recalled {
            *shown += earlier.len();
        }
        self.history.splice(..0, earlier);
    }

    pub(crate) fn go(&mut self, motion: Motion) {
        self.last = None;
        self.cursor = self.target(motion);
    }

    /// Deletes as far as `motion` would move. [`Editor::yank`] inserts the deleted text again if it
    /// was more than one grapheme.
    pub(crate) fn delete(&mut self, motion: Motion) {
        let target = self.target(motion);
        let range = target.min(self.cursor)..target.max(self.cursor);
        let gone = self.text[range.clone()].to_owned();
        let key_by_key = matches!(motion, Motion::Left | Motion::Right);
        self.changes(if key_by_key {
            Change::Deletion
        } else {
            Change::Other
        });
        self.text.replace_range(range.clone(), "");
        self.cursor = range.start;
        if !key_by_key && !gone.is_empty() {
            self.cut = gone;
        }
    }

    pub(crate) fn yank(&mut self) {
        let cut = self.cut.clone();
        self.insert(&cut);
    }

    /// Swaps the graphemes around the cursor, like Ctrl-t in a shell.
    pub(crate) fn transpose(&mut self) {
        self.changes(Change::Other);
        if self.cursor == self.text.len() {
            self.go(Motion::Left);
        }
        let (left, middle) = (self.target(Motion::Left), self.cursor);
        self.go(Motion::Right);
        let swapped = [&self.text[middle..self.cursor], &self.text[left..middle]].concat();
        self.text.replace_range(left..self.cursor, &swapped);
    }

    /// Undoes the last change of this line.
    pub(crate) fn undo(&mut self) {
        self.last = None;
        while let Some((text, cursor)) = self.before.pop() {
            // Some changes left the text as it was: undo the one before.
            if text != self.text {
                (self.text, self.cursor) = (text, cursor);
                return;
            }
        }
    }

    /// Stores the text for undo. Call it before a change.
    fn changes(&mut self, change: Change) {
        let is_continued = self.last == Some(change) && change != Change::Other;
        self.last = Some(change);
        if is_continued {
            return;
        }
        self.before.push((self.text.clone(), self.cursor));
        let mut bytes: usize = self.before.iter().map(|(text, _)| text.len()).sum();
        let mut forgotten = 0;
        while self.before.len() - forgotten > UNDO_MAX || bytes > UNDO_BYTES_MAX {
            bytes -= self.before[forgotten].0.len();
            forgotten += 1;
        }
        self.before.drain(..forgotten);
    }

    /// Starts another line: undo does not go back to the one before.
    fn forget(&mut self) {
        self.before.clear();
        self.last = None;
    }

    /// Moves one line up, or recalls the line typed before.
    pub(crate) fn up(&mut self) {
        let Some(line) = self.text[..self.cursor].rfind('\n') else {
            return self.older();
        };
        let above = self.text[..line].rfind('\n').map_or(0, |at| at + 1);
        self.cursor = self.column_in(above, line, self.column());
    }

    /// Moves one line down, or recalls the line typed after.
    pub(crate) fn down(&mut self) {
        let Some(line) = self.text[self.cursor..].find('\n') else {
            return self.newer();
        };
        let below = self.cursor + line + 1;
        let end = self.text[below..]
            .find('\n')
            .map_or(self.text.len(), |at| below + at);
        self.cursor = self.column_in(below, end, self.column());
    }

    fn older(&mut self) {
        let (next, draft) = match self.recalled.take() {
            None => (self.history.len(), std::mem::take(&mut self.text)),
            Some(recalled) => recalled,
        };
        let next = next.saturating_sub(1);
        match self.history.get(next).cloned() {
            Some(line) => {
                self.recalled = Some((next, draft));
                self.set(line);
            }
            None => self.set(draft),
        }
    }

    fn newer(&mut self) {
        let Some((shown, draft)) = self.recalled.take() else {
            return;
        };
        match self.history.get(shown + 1).cloned() {
            Some(line) => {
                self.recalled = Some((shown + 1, draft));
                self.set(line);
            }
            None => self.set(draft),
        }
    }

    /// Graphemes between the start of the line and the cursor.
    fn column(&self) -> usize {
        let start = self.text[..self.cursor].rfind('\n').map_or(0, |at| at + 1);
        self.text[start..self.cursor].graphemes(true).count()
    }

    fn column_in(&self, start: usize, end: usize, column: usize) -> usize {
        self.text[start..end]
            .grapheme_indices(true)
            .nth(column)
            .map_or(end, |(at, _)| start + at)
    }

    fn target(&self, motion: Motion) -> usize {
        let (before, after) = self.text.split_at(self.cursor);
        match motion {
            Motion::Left => before
                .grapheme_indices(true)
                .next_back()
                .map_or(0, |(at, _)| at),
            Motion::Right => self.cursor + after.graphemes(true).next().map_or(0, str::len),
            Motion::WordLeft => start_of_last(before, char::is_alphanumeric),
            Motion::BlankLeft => start_of_last(before, |c| !c.is_whitespace()),
            Motion::WordRight => {
                let word = after.find(char::is_alphanumeric).unwrap_or(after.len());
                let end = after[word..]
                    .find(|c: char| !c.is_alphanumeric())
                    .map_or(after.len(), |at| word + at);
                self.boundary_at_or_after(self.cursor + end)
            }
            Motion::Start => before.rfind('\n').map_or(0, |at| at + 1),
            Motion::End => self.cursor + after.find('\n').unwrap_or(after.len()),
        }
    }

    fn boundary_at_or_after(&self, at: usize) -> usize {
        self.text
            .grapheme_indices(true)
            .map(|(start, _)| start)
            .find(|start| *start >= at)
            .unwrap_or(self.text.len())
    }
}

/// The index at which the last run of such characters begins.
fn start_of_last(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    let end = text
        .char_indices()
        .rev()
        .find(|(_, c)| belongs(*c))
        .map_or(0, |(at, c)| at + c.len_utf8());
    text[..end]
        .char_indices()
        .rev()
        .find(|(_, c)| !belongs(*c))
        .map_or(0, |(at, c)| at + c.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text with a bar where the cursor is.
    fn shown(editor: &Editor) -> String {
        format!(
            "{}|{}",
            &editor.text[..editor.cursor],
            &editor.text[editor.cursor..]
        )
    }

    fn typed(text: &str) -> Editor {
        let mut editor = Editor::default();
        editor.insert(text);
        editor
    }

    #[test]
    fn the_keys_of_a_shell_move_and_cut() {
        let mut editor = typed("one two-three four");
        editor.go(Motion::WordLeft);
        assert_eq!(shown(&editor), "one two-three |four");
        editor.delete(Motion::WordLeft);
        assert_eq!(shown(&editor), "one two-|four");
        editor.delete(Motion::BlankLeft);
        assert_eq!(shown(&editor), "one |four");
        editor.yank();
        assert_eq!(shown(&editor), "one two-|four");
        editor.go(Motion::Start);
        editor.delete(Motion::WordRight);
        assert_eq!(shown(&editor), "| two-four");
        editor.delete(Motion::End);
        assert_eq!(shown(&editor), "|");
        editor.yank();
        editor.transpose();
        assert_eq!(shown(&editor), " two-foru|");
    }

    #[test]
    fn changes_are_undone_word_by_word_and_cut_by_cut() {
        let mut editor = Editor::default();
        "one two".chars().for_each(|c| {
            editor.insert(c.encode_utf8(&mut [0; 4]));
        });
        editor.delete(Motion::Left);
        editor.delete(Motion::Left);
        editor.delete(Motion::BlankLeft);
        editor.insert("3, 4");
        editor.transpose();
        let mut seen = vec![];
        for _ in 0..7 {
            seen.push(shown(&editor));
            editor.undo();
        }
        assert_eq!(
            seen,
            [
                "one 3,4 |",
                "one 3, 4|",
                "one |",
                "one t|",
                "one two|",
                "one |",
                "|"
            ]
        );
        // There is nothing more to undo, also not from a line that was sent.
        editor.undo();
        assert_eq!(shown(&editor), "|");
        editor.insert("sent");
        editor.take();
        editor.undo();
        assert_eq!(shown(&editor), "|");
    }

    #[test]
    fn the_memory_for_undo_is_bounded() {
        let mut editor = Editor::default();
        (0..UNDO_MAX * 2).for_each(|_| {
            editor.insert("two words ");
        });
        assert_eq!(editor.before.len(), UNDO_MAX);
        let long = "x".repeat(BYTES_MAX / 2);
        (0..20).for_each(|_| {
            editor.insert(&long);
            editor.delete(Motion::Start);
        });
        assert!(
            editor
                .before
                .iter()
                .map(|(text, _)| text.len())
                .sum::<usize>()
                <= UNDO_BYTES_MAX
        );
    }

    #[test]
    fn nothing_is_cut_in_half() {
        let mut editor = typed("a👩\u{200d}🔬e\u{301}");
        editor.delete(Motion::Left);
        assert_eq!(shown(&editor), "a👩\u{200d}🔬|");
        editor.go(Motion::Left);
        assert_eq!(shown(&editor), "a|👩\u{200d}🔬");
        editor.delete(Motion::Right);
        assert_eq!(shown(&editor), "a|");
    }

    #[test]
    fn a_mark_typed_before_a_character_that_it_joins_moves_the_cursor_past_both() {
        let mut editor = typed("👩🔬");
        editor.go(Motion::Left);
        editor.insert("\u{200d}");
        assert_eq!(editor.cursor, editor.text.len());
        editor.delete(Motion::Left);
        assert_eq!(shown(&editor), "|");
    }

    #[test]
    fn pasted_text_keeps_its_lines_and_loses_control_characters() {
        assert_eq!(typed("a\r\nb\rc\u{1b}[2J\td").text, "a\nb\nc[2J\td");
    }

    #[test]
    fn text_beyond_the_limit_is_counted_and_not_cut_in_silence() {
        let mut editor = Editor::default();
        assert_eq!(editor.insert(&"x".repeat(BYTES_MAX - 3)), 0);
        // An accented letter has two bytes: one fits.
        assert_eq!(editor.insert("ééé"), 2);
        assert_eq!(editor.text().len(), BYTES_MAX - 1);
    }

    #[test]
    fn lines_typed_before_come_back_and_the_draft_too() {
        let mut editor = typed("one");
        editor.take();
        editor.insert("two");
        editor.take();
        editor.insert("draft");
        let mut seen = vec![];
        for _ in 0..3 {
            editor.up();
            seen.push(editor.text().to_owned());
        }
        for _ in 0..3 {
            editor.down();
            seen.push(editor.text().to_owned());
        }
        assert_eq!(seen, ["two", "one", "one", "two", "draft", "draft"]);
    }

    #[test]
    fn up_and_down_stay_inside_a_text_of_several_lines() {
        let mut editor = typed("first\nxy");
        editor.up();
        assert_eq!(shown(&editor), "fi|rst\nxy");
        editor.down();
        assert_eq!(shown(&editor), "first\nxy|");
    }
}
