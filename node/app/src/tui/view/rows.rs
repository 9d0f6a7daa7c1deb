//! The rows of a message: `14:03 ann │ good morning ✓ delivered`. A rule above it marks a new day
//! or the first unread message.
//!
//! Every row of a message has the bar, and no other row has it. So no message can look like another
//! line of the screen.

use hobnob::protocol::PersonId;
use hobnob::protocol::text::visible;
use hobnob::{ConversationRef, DeliveryState};
use hobnob_control::wire::{MessageLine, Time};
use jiff::civil::Date;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::View;
use crate::shared::chat_input::ACTION;
use crate::shared::quotes;
use crate::shared::wording;
use crate::tui::app::{Doing, Entry, EntryContent, Note, Pending, Tone};
use crate::tui::layout::{TIME, cells, name_columns, text_columns};
use crate::tui::markup::{self, Row};
use crate::tui::picture::Picture;
use crate::tui::text::{self, fit, width};

/// The author's time is shown as well if it differs from ours by at least this much.
const LATE_MS: u64 = 3 * 60 * 1000;

/// The values besides the entry on which its rows depend.
pub(super) struct Context<'a> {
    view: View<'a>,
    columns: usize,
    name: usize,
}

impl<'a> Context<'a> {
    pub(super) fn of(view: View<'a>) -> Context<'a> {
        let columns = usize::from(view.app.layout().body.width);
        Context {
            view,
            columns,
            name: name_columns(columns),
        }
    }

    /// The number of rows of the entry with this index in the window.
    pub(super) fn height(&self, index: usize) -> usize {
        self.rows(index).len()
    }

    /// The rows of the entry with this index in the window.
    pub(super) fn rows(&self, index: usize) -> Vec<Line<'static>> {
        let entries = self.view.app.conversations.window().entries();
        let entry = entries.get(index).expect("an index of the window");
        let day = self.day(entry.at());
        let before = index
            .checked_sub(1)
            .and_then(|before| entries.get(before))
            .map(|before| self.day(before.at()));
        let mut rows = Vec::new();
        if before != Some(day) {
            rows.push(self.rule(&day_words(day), self.view.theme.dim()));
        }
        match &entry.content {
            EntryContent::Message(message) => {
                if self.view.app.conversations.current().first_unread() == Some(message.id.0) {
                    rows.push(self.rule(" new ", self.view.theme.unread()));
                }
                rows.extend(self.message(entry, message));
            }
            EntryContent::Note(note) => rows.extend(self.note(entry, note)),
        }
        rows
    }

    /// The rows of a message that is not on disk yet.
    pub(super) fn pending(&self, pending: &Pending) -> Vec<Line<'static>> {
        let lines = self.said(&pending.text).1;
        let rows = markup::rows(&lines, 0, self.text_columns());
        let name = self
            .view
            .app
            .people
            .status
            .as_ref()
            .map_or("", |status| status.nick.as_str());
        self.bars(
            &" ".repeat(TIME),
            Span::styled(self.name(name), self.view.theme.own()),
            rows,
            vec![self.dim(match pending.doing {
                Doing::Saving => "saving",
                Doing::Reading => "reading",
            })],
            Style::new(),
        )
    }

    fn message(&self, entry: &Entry, message: &MessageLine) -> Vec<Line<'static>> {
        let theme = self.view.theme;
        let (action, lines) = self.said(
            message
                .body
                .text
                .as_deref()
                .unwrap_or(&wording::content(message)),
        );
        let author = visible(&message.nick).into_owned();
        let columns = self.text_columns();
        let rows = entry.wrapped(columns, || {
            let mut lines = lines;
            let before = if action {
                format!("{author} ")
            } else {
                String::new()
            };
            if let Some(first) = lines.first_mut() {
                first.insert_str(0, &before);
            }
            markup::rows(&lines, before.len(), columns)
        });
        let style = if message.state.is_some() {
            theme.own()
        } else {
            theme.name(message.from.0)
        };
        let name = Span::styled(self.name(if action { "*" } else { &author }), style);
        let mut text_style = if action { style } else { Style::new() };
        if self.view.app.conversations.highlighted() == Some(message.id.0) {
            text_style = text_style.add_modifier(Modifier::REVERSED);
        } else if message.mention {
            text_style = text_style.add_modifier(Modifier::BOLD);
        }
        let mut rows = self.bars(
            &format!("{} ", self.time(message.received_at)),
            name,
            rows,
            self.suffix(message),
            text_style,
        );
        rows.extend(self.file(message));
        rows.extend(self.reactions(message));
        let quote = self.quote(message);
        quote.into_iter().chain(rows).collect()
    }

    /// The message that a reply answers, on one row above it.
    fn quote(&self, message: &MessageLine) -> Vec<Line<'static>> {
        let Some(to) = &message.amended.reply_to else {
            return vec![];
        };
        let words = fit(&quotes::quote(to), self.text_columns());
        self.below("to", &words)
    }

    /// The reactions to a message, below it.
    fn reactions(&self, message: &MessageLine) -> Vec<Line<'static>> {
        let reactions = &message.amended.reactions;
        if reactions.is_empty() {
            return vec![];
        }
        self.below("", &quotes::reactions(reactions))
    }

    /// Rows of this program about a message. The word before the bar cannot come from a peer.
    fn below(&self, word: &str, text: &str) -> Vec<Line<'static>> {
        let rows = plain_rows(text::wrap(text, self.text_columns(), 0));
        let name = Span::styled(self.name(word), self.view.theme.dim());
        let style = self.view.theme.note();
        self.bars(&" ".repeat(TIME), name, rows, vec![], style)
    }

    /// The state of the file that a message offers. The word `file` before the bar cannot come from
    /// a peer.
    fn file(&self, message: &MessageLine) -> Vec<Line<'static>> {
        let Some(file) = self
            .view
            .app
            .files
            .get(message.id.0)
            .filter(|_| message.body.file.is_some())
        else {
            return vec![];
        };
        let pixels = file
            .line
            .picture
            .as_ref()
            .map(|picture| format!("{}, ", wording::pixels(picture)))
            .unwrap_or_default();
        let state = format!("{pixels}{}", self.view.app.file_state(file));
        let mut rows = text::wrap(&state, self.text_columns(), 0);
        let picture = self
            .view
            .app
            .preview(message)
            .map_or(0, |picture| usize::from(picture.rows()));
        rows.extend(std::iter::repeat_n(String::new(), picture));
        let name = Span::styled(self.name("file"), self.view.theme.dim());
        self.bars(
            &" ".repeat(TIME),
            name,
            plain_rows(rows),
            vec![],
            self.view.theme.note(),
        )
    }

    /// The picture over the last rows of the entry with this index, and the column where it begins.
    pub(super) fn picture(&self, index: usize) -> Option<(&'a Picture, u16)> {
        let app = self.view.app;
        match &app.conversations.window().entries().get(index)?.content {
            EntryContent::Message(message) => {
                let column = cells(self.columns - self.text_columns());
                Some((app.preview(message)?, column))
            }
            EntryContent::Note(note) => Some((app.portrait(note.portrait?)?, cells(TIME + 2))),
        }
    }

    /// Whether the text is an action (`/me waves`), and its lines.
    fn said(&self, text: &str) -> (bool, Vec<String>) {
        match text.strip_prefix(ACTION) {
            Some(action) => (true, text::lines(action).collect()),
            None => (false, text::lines(text).collect()),
        }
    }

    /// The end of the row after the text: the delivery of a message of this node, and the time at
    /// which a message was written if it arrived much later.
    fn suffix(&self, message: &MessageLine) -> Vec<Span<'static>> {
        let mut suffix = vec![];
        if message.sent_at.0.abs_diff(message.received_at.0) >= LATE_MS {
            let (sent, same_day) = (
                message.sent_at,
                self.day(message.sent_at) == self.day(message.received_at),
            );
            let when = if same_day {
                self.time(sent)
            } else {
                self.view
                    .local(sent)
                    .strftime("%-d %b %Y %H:%M")
                    .to_string()
            };
            suffix.push(Span::styled(
                format!("(written {when})"),
                self.view.theme.warning(),
            ));
        }
        if message.amended.edited.is_some() {
            suffix.push(self.dim("(edited)"));
        }
        if let Some(base) = message.state {
            let shown =
                self.view
                    .app
                    .outbox
                    .deliveries
                    .text(message.id.0, &message.conversation.0, base);
            let waits = matches!(
                (&message.conversation.0, shown.state),
                (ConversationRef::Direct(peer), DeliveryState::Sent)
                    if self.view.app.strangers.awaits_consent(*peer)
            );
            let words = if waits {
                wording::SENT_AND_WAITING
            } else {
                &shown.words
            };
            let sign = self.view.theme.delivery_sign(shown.state);
            suffix.push(self.dim(&format!("{sign} {words}")));
        }
        suffix
    }

    fn note(&self, entry: &Entry, note: &Note) -> Vec<Line<'static>> {
        let style = match note.tone {
            Tone::Info => self.view.theme.note(),
            Tone::Warning => self.view.theme.warning(),
        };
        // A note has no column for names, so tables such as the list of peers have more room.
        let columns = self.columns - TIME - 2;
        let rows = entry.wrapped(columns, || {
            let lines = text::lines(&note.text);
            plain_rows(lines.flat_map(|line| text::wrap(&line, columns, 0)))
        });
        let first = format!("{} * ", self.time(note.at));
        let rest = " ".repeat(TIME + 2);
        let rows = rows.into_iter().enumerate().map(|(index, row)| {
            let before = if index == 0 { &first } else { &rest };
            let mut spans = vec![self.dim(before)];
            spans.extend(self.spans(row, style));
            Line::from(spans)
        });
        let portrait = note.portrait.map_or_else(Vec::new, |of| self.portrait(of));
        rows.chain(portrait).collect()
    }

    /// The rows for the profile picture of a peer, or its initials in its colour.
    fn portrait(&self, of: PersonId) -> Vec<Line<'static>> {
        if let Some(picture) = self.view.app.portrait(of) {
            return vec![Line::default(); usize::from(picture.rows())];
        }
        let initials = wording::initials(&self.view.app.people.names.of(&of));
        let style = self.view.theme.name(of).add_modifier(Modifier::REVERSED);
        vec![Line::from(vec![
            Span::raw(" ".repeat(TIME + 2)),
            Span::styled(format!(" {initials} "), style),
        ])]
    }

    /// Adds the bar to the rows. The time and the name go before the first row, and the suffix
    /// after the last one or below it.
    fn bars(
        &self,
        time: &str,
        name: Span<'static>,
        rows: Vec<Row>,
        suffix: Vec<Span<'static>>,
        style: Style,
    ) -> Vec<Line<'static>> {
        let blank = " ".repeat(TIME + self.name);
        let bar = format!(" {} ", self.view.theme.upright());
        let row_width = |row: &Row| row.iter().map(|piece| width(&piece.text)).sum();
        let mut used = rows.last().map_or(0, row_width);
        let mut lines: Vec<Line<'static>> = vec![];
        for (index, row) in rows.into_iter().enumerate() {
            let mut spans = if index == 0 {
                vec![self.dim(time), name.clone()]
            } else {
                vec![Span::raw(blank.clone())]
            };
            spans.push(self.dim(&bar));
            spans.extend(self.spans(row, style));
            lines.push(Line::from(spans));
        }
        for span in suffix {
            let needs = 2 + width(&span.content);
            if used > 0 && used + needs > self.text_columns() {
                lines.push(Line::from(vec![Span::raw(blank.clone()), self.dim(&bar)]));
                used = 0;
            }
            if let Some(line) = lines.last_mut() {
                if used > 0 {
                    line.push_span(Span::raw("  "));
                }
                line.push_span(span);
            }
            used += needs;
        }
        lines
    }

    /// The pieces of a row, in the style of their emphasis.
    fn spans(&self, row: Row, style: Style) -> impl Iterator<Item = Span<'static>> {
        let theme = self.view.theme;
        row.into_iter()
            .map(move |piece| Span::styled(piece.text, style.patch(theme.emphasis(piece.emphasis))))
    }

    fn rule(&self, words: &str, style: Style) -> Line<'static> {
        Line::styled(self.view.theme.rule(words, self.columns), style)
    }

    fn name(&self, name: &str) -> String {
        let name = fit(&visible(name), self.name);
        format!("{}{name}", " ".repeat(self.name - width(&name)))
    }

    fn text_columns(&self) -> usize {
        text_columns(self.columns)
    }

    fn dim(&self, text: &str) -> Span<'static> {
        Span::styled(text.to_owned(), self.view.theme.dim())
    }

    fn time(&self, at: Time) -> String {
        self.view.local(at).strftime("%H:%M").to_string()
    }

    fn day(&self, at: Time) -> Date {
        self.view.local(at).date()
    }
}

fn plain_rows(rows: impl IntoIterator<Item = String>) -> Vec<Row> {
    rows.into_iter().map(markup::plain).collect()
}

/// The number of rows of each entry of the window.
pub(super) fn heights(view: View<'_>) -> Vec<usize> {
    let context = Context::of(view);
    (0..view.app.conversations.window().entries().len())
        .map(|index| context.height(index))
        .collect()
}

/// ` Friday, 20 November 2026 `
pub(super) fn day_words(day: Date) -> String {
    day.strftime(" %A, %-d %B %Y ").to_string()
}
