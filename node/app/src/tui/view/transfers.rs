//! Below the messages: files that come and go, each with a bar.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::lines;
use crate::shared::{offers, wording};
use crate::tui::app::App;
use crate::tui::text::{fit, width};
use crate::tui::transfers::Transfer;

/// Columns of a bar, as far as there is room for one.
const BAR_MAX: usize = 24;
const BAR_MIN: usize = 6;

/// Columns that a name has in any case.
const NAME_MIN: usize = 10;

pub(super) fn render(app: &App, area: Rect, buffer: &mut Buffer) {
    let transfers = app.transfers();
    let (rows, columns) = (usize::from(area.height), usize::from(area.width));
    let shown = if transfers.len() > rows {
        rows.saturating_sub(1)
    } else {
        rows
    };
    let more = transfers.len() - shown.min(transfers.len());
    let rest = (more > 0).then(|| {
        let words = format!(
            "{} on the way: /files",
            wording::count(more, if shown == 0 { "file" } else { "other" })
        );
        Line::styled(fit(&words, columns), app.theme.dim())
    });
    lines(
        transfers
            .iter()
            .take(shown)
            .map(|transfer| row(app, transfer, columns))
            .chain(rest),
        area,
        buffer,
    );
}

/// `↓ film.mp4  ━━━━━━━━────────  42 %  12.0 MB/s  3 s left`
fn row(app: &App, transfer: &Transfer<'_>, columns: usize) -> Line<'static> {
    let sign = app.theme.direction_sign(transfer.to.is_none());
    let to = transfer
        .to
        .map(|peer| format!(" to {}", app.people.names.of(&peer)))
        .unwrap_or_default();
    let mut how_far = offers::how_far(transfer.line);
    let fixed = |how_far: &str| 2 + width(sign) + 2 + width(how_far);
    if fixed(&how_far) + NAME_MIN + BAR_MIN + 2 > columns {
        how_far = offers::percent(transfer.line);
    }
    let free = columns.saturating_sub(fixed(&how_far));
    let name = format!("{}{to}", offers::name(transfer.line));
    // A name has what it needs, up to two thirds.
    let wanted = width(&name).min(free * 2 / 3).max(NAME_MIN);
    let bar = free.saturating_sub(wanted + 2).min(BAR_MAX);
    let bar = if bar < BAR_MIN { 0 } else { bar };
    let name = fit(&name, free.saturating_sub(bar + 2));
    let (done, left) = app
        .theme
        .bar_of(transfer.line.bytes, transfer.line.offer.size, bar);
    Line::from(vec![
        Span::styled(format!("{sign} "), app.theme.note()),
        Span::raw(format!("{name}  ")),
        Span::styled(done, app.theme.good()),
        Span::styled(format!("{left}  "), app.theme.dim()),
        Span::styled(how_far, app.theme.dim()),
    ])
}
