//! The conversations on the left, the people on the right.

use hobnob::protocol::text::visible;
use hobnob::{ConversationRef, PeerState};
use hobnob_control::wire::PeerLine;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::{View, lines};
use crate::shared::wording;
use crate::tui::app::Conversation;
use crate::tui::text::{fit, width};

pub(super) fn conversations(view: View<'_>, area: Rect, buffer: &mut Buffer) {
    let edge = area.right() - 1;
    upright(view, edge, area, buffer);
    let columns = usize::from(area.width - 1);
    let first =
        (view.app.conversations.current_index() + 1).saturating_sub(usize::from(area.height));
    let rows = view
        .app
        .conversations
        .list()
        .iter()
        .enumerate()
        .skip(first)
        .map(|(index, conversation)| row(view, index, conversation, columns));
    lines(rows, area, buffer);
}

/// ` 1 #lobby      3`
fn row(view: View<'_>, index: usize, conversation: &Conversation, columns: usize) -> Line<'static> {
    let count = if conversation.unread() == 0 {
        String::new()
    } else {
        format!(" {}", capped(conversation.unread()))
    };
    let number = format!("{:2} ", index + 1);
    let name = fit(
        &view.app.people.names.of_conversation(conversation.of()),
        columns - width(&number) - width(&count) - 1,
    );
    let gap = " ".repeat(columns - width(&number) - width(&name) - width(&count) - 1);
    let style = if index == view.app.conversations.current_index() {
        Style::new().add_modifier(Modifier::REVERSED)
    } else if conversation.is_urgent() {
        view.theme.unread()
    } else if conversation.unread() > 0 {
        Style::new().add_modifier(Modifier::BOLD)
    } else {
        presence(view, conversation)
    };
    let dim = if index == view.app.conversations.current_index() {
        style
    } else {
        view.theme.dim()
    };
    Line::from(vec![
        Span::styled(number, dim),
        Span::styled(format!("{name}{gap}{count} "), style),
    ])
}

/// Dims direct conversations with people who are away.
fn presence(view: View<'_>, conversation: &Conversation) -> Style {
    match conversation.of() {
        ConversationRef::Direct(peer)
            if view
                .app
                .people
                .peers
                .get(peer)
                .is_none_or(|peer| peer.state == PeerState::Offline) =>
        {
            view.theme.dim()
        }
        ConversationRef::Direct(_) | ConversationRef::Room(_) => Style::new(),
    }
}

fn capped(count: usize) -> String {
    if count > 999 {
        "999+".to_owned()
    } else {
        count.to_string()
    }
}

pub(super) fn people(view: View<'_>, area: Rect, buffer: &mut Buffer) {
    upright(view, area.x, area, buffer);
    let area = Rect {
        x: area.x + 2,
        width: area.width - 2,
        ..area
    };
    let columns = usize::from(area.width);
    let mut people: Vec<&PeerLine> = view
        .app
        .people_here()
        .iter()
        .filter_map(|peer| view.app.people.peers.get(peer))
        .collect();
    people.sort_by_key(|peer| (peer.state == PeerState::Offline, peer.name.to_lowercase()));
    let me = view.app.people.status.as_ref().map(|status| {
        let name = fit(
            &hobnob::protocol::text::visible(status.nick.as_str()),
            columns - 8,
        );
        Line::from(vec![
            Span::styled(
                format!("{} ", view.theme.peer_sign(PeerState::Online)),
                view.theme.good(),
            ),
            Span::styled(name, view.theme.own()),
            Span::styled(" (you)", view.theme.dim()),
        ])
    });
    let shown = usize::from(area.height).saturating_sub(1);
    let mut rows: Vec<Line<'static>> = me
        .into_iter()
        .chain(people.iter().map(|peer| person(view, peer, columns)))
        .collect();
    if rows.len() > shown + 1 {
        let more = rows.len() - shown;
        rows.truncate(shown);
        rows.push(Line::styled(
            format!("and {}: /names", wording::count(more, "other")),
            view.theme.dim(),
        ));
    }
    lines(rows.into_iter(), area, buffer);
}

/// `● bob        lan 0.4 ms`
fn person(view: View<'_>, peer: &PeerLine, columns: usize) -> Line<'static> {
    let how = route(peer);
    let room = columns.saturating_sub(3 + width(&how));
    let name = view.app.people.names.of(&peer.peer.0);
    // The name of a while ago, where there is room for it.
    let formerly = peer.formerly.as_deref();
    let formerly = formerly.map(|before| format!("{name} (formerly {})", visible(before)));
    let name = formerly.filter(|both| width(both) <= room).unwrap_or(name);
    let name = fit(&name, room);
    let gap = " ".repeat(columns.saturating_sub(2 + width(&name) + width(&how)));
    let sign = Span::styled(
        format!("{} ", view.theme.peer_sign(peer.state)),
        view.theme.peer_state(peer.state),
    );
    Line::from(vec![
        sign,
        Span::styled(name, view.theme.name(peer.peer.0)),
        Span::raw(gap),
        Span::styled(how, view.theme.dim()),
    ])
}

/// The path to a peer and its round-trip time.
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

fn upright(view: View<'_>, x: u16, area: Rect, buffer: &mut Buffer) {
    for y in area.top()..area.bottom() {
        buffer.set_string(x, y, view.theme.upright(), view.theme.dim());
    }
}
