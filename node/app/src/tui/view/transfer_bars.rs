//! Below the messages: the transfers in progress, each with a progress bar.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{View, lines};
use crate::shared::{offers, wording};
use crate::tui::app::Transfer;
use crate::tui::text::{fit, width};

/// Maximum and minimum number of columns of a bar. A bar that would be shorter is left out.
const BAR_MAX: usize = 24;
const BAR_MIN: usize = 6;

/// Minimum number of columns of a name.
const NAME_MIN: usize = 10;

pub(super) fn render(view: View<'_>, area: Rect, buffer: &mut Buffer) {
    let transfers = view.app.transfers_here();
    let (rows, columns) = (usize::from(area.height), usize::from(area.width));
    let shown = if transfers.len() > rows {
        rows.saturating_sub(1)
    } else {
        rows
    };
    let more = transfers.len() - shown.min(transfers.len());
    let rest = (more > 0).then(|| {
        let words = format!(
            "{} in progress: /files",
            wording::count(more, if shown == 0 { "file" } else { "other" })
        );
        Line::styled(fit(&words, columns), view.theme.dim())
    });
    lines(
        transfers
            .iter()
            .take(shown)
            .map(|transfer| row(view, transfer, columns))
            .chain(rest),
        area,
        buffer,
    );
}

/// `↓ film.mp4  ━━━━━━━━────────  42 %  12.0 MB/s  3 s left`
fn row(view: View<'_>, transfer: &Transfer<'_>, columns: usize) -> Line<'static> {
    let sign = view.theme.direction_sign(transfer.to.is_none());
    let to = transfer
        .to
        .map(|peer| format!(" to {}", view.app.people.names.of(&peer)))
        .unwrap_or_default();
    let mut how_far = offers::how_far(transfer.line);
    let fixed = |how_far: &str| 2 + width(sign) + 2 + width(how_far);
    if fixed(&how_far) + NAME_MIN + BAR_MIN + 2 > columns {
        how_far = offers::percent(transfer.line);
    }
    let free = columns.saturating_sub(fixed(&how_far));
    let name = format!("{}{to}", offers::name(transfer.line));
    // The name gets what it needs, up to two thirds of the row.
    let wanted = width(&name).min(free * 2 / 3).max(NAME_MIN);
    let bar = free.saturating_sub(wanted + 2).min(BAR_MAX);
    let bar = if bar < BAR_MIN { 0 } else { bar };
    let name = fit(&name, free.saturating_sub(bar + 2));
    let (done, left) = view
        .theme
        .progress_bar(transfer.line.bytes, transfer.line.offer.size, bar);
    Line::from(vec![
        Span::styled(format!("{sign} "), view.theme.note()),
        Span::raw(format!("{name}  ")),
        Span::styled(done, view.theme.good()),
        Span::styled(format!("{left}  "), view.theme.dim()),
        Span::styled(how_far, view.theme.dim()),
    ])
}
