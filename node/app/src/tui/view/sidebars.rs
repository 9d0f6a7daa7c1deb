//! The conversations on the left, the people on the right.

use hobnob::{ConversationRef, PeerState};
use hobnob_control::wire::PeerLine;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::lines;
use crate::shared::wording;
use crate::tui::app::{App, Conversation};
use crate::tui::text::{fit, width};

pub(super) fn conversations(app: &App, area: Rect, buffer: &mut Buffer) {
    let edge = area.right() - 1;
    upright(app, edge, area, buffer);
    let columns = usize::from(area.width - 1);
    let first = (app.current + 1).saturating_sub(usize::from(area.height));
    let rows = app
        .conversations
        .iter()
        .enumerate()
        .skip(first)
        .map(|(index, conversation)| row(app, index, conversation, columns));
    lines(rows, area, buffer);
}

/// ` 1 #lobby      3`
fn row(app: &App, index: usize, conversation: &Conversation, columns: usize) -> Line<'static> {
    let count = if conversation.unread == 0 {
        String::new()
    } else {
        format!(" {}", few(conversation.unread))
    };
    let number = format!("{:2} ", index + 1);
    let name = fit(
        &app.people.names.of_conversation(&conversation.of),
        columns - width(&number) - width(&count) - 1,
    );
    let gap = " ".repeat(columns - width(&number) - width(&name) - width(&count) - 1);
    let style = if index == app.current {
        Style::new().add_modifier(Modifier::REVERSED)
    } else if conversation.loud {
        app.theme.unread()
    } else if conversation.unread > 0 {
        Style::new().add_modifier(Modifier::BOLD)
    } else {
        presence(app, conversation)
    };
    let dim = if index == app.current {
        style
    } else {
        app.theme.dim()
    };
    Line::from(vec![
        Span::styled(number, dim),
        Span::styled(format!("{name}{gap}{count} "), style),
    ])
}

/// People who are away are dim.
fn presence(app: &App, conversation: &Conversation) -> Style {
    match &conversation.of {
        ConversationRef::Direct(peer)
            if app
                .people
                .peers
                .get(peer)
                .is_none_or(|peer| peer.state == PeerState::Offline) =>
        {
            app.theme.dim()
        }
        ConversationRef::Direct(_) | ConversationRef::Room(_) => Style::new(),
    }
}

fn few(count: usize) -> String {
    if count > 999 {
        "999+".to_owned()
    } else {
        count.to_string()
    }
}

pub(super) fn people(app: &App, area: Rect, buffer: &mut Buffer) {
    upright(app, area.x, area, buffer);
    let area = Rect {
        x: area.x + 2,
        width: area.width - 2,
        ..area
    };
    let columns = usize::from(area.width);
    let mut people: Vec<&PeerLine> = app
        .people_here()
        .iter()
        .filter_map(|peer| app.people.peers.get(peer))
        .collect();
    people.sort_by_key(|peer| (peer.state == PeerState::Offline, peer.name.to_lowercase()));
    let me = app.people.status.as_ref().map(|status| {
        let name = fit(
            &hobnob::protocol::text::visible(status.nick.as_str()),
            columns - 8,
        );
        Line::from(vec![
            Span::styled(
                format!("{} ", app.theme.peer_sign(PeerState::Online)),
                app.theme.good(),
            ),
            Span::styled(name, app.theme.own()),
            Span::styled(" (you)", app.theme.dim()),
        ])
    });
    let shown = usize::from(area.height).saturating_sub(1);
    let mut rows: Vec<Line<'static>> = me
        .into_iter()
        .chain(people.iter().map(|peer| person(app, peer, columns)))
        .collect();
    if rows.len() > shown + 1 {
        let more = rows.len() - shown;
        rows.truncate(shown);
        rows.push(Line::styled(
            format!("and {}: /names", wording::count(more, "other")),
            app.theme.dim(),
        ));
    }
    lines(rows.into_iter(), area, buffer);
}

/// `● bob        lan 0.4 ms`
fn person(app: &App, peer: &PeerLine, columns: usize) -> Line<'static> {
    let how = route(peer);
    let name = fit(
        &app.people.names.of(&peer.peer.0),
        columns.saturating_sub(3 + width(&how)),
    );
    let gap = " ".repeat(columns.saturating_sub(2 + width(&name) + width(&how)));
    let sign = Span::styled(
        format!("{} ", app.theme.peer_sign(peer.state)),
        app.theme.peer_state(peer.state),
    );
    Line::from(vec![
        sign,
        Span::styled(name, app.theme.name(peer.peer.0)),
        Span::raw(gap),
        Span::styled(how, app.theme.dim()),
    ])
}

/// By which way somebody is reached, and how far away that is.
pub(super) fn route(peer: &PeerLine) -> String {
    match peer.state {
        PeerState::Offline => "away".to_owned(),
        PeerState::Suspect => "no answer".to_owned(),
        PeerState::Online => {
            let path = peer.path.map(|path| path.as_str().to_owned());
            path.into_iter()
                .chain(peer.rtt_ms.map(wording::rtt))
                .collect::<Vec<_>>()
                .join(" ")
        }
    }
}

fn upright(app: &App, x: u16, area: Rect, buffer: &mut Buffer) {
    for y in area.top()..area.bottom() {
        buffer.set_string(x, y, app.theme.upright(), app.theme.dim());
    }
}
