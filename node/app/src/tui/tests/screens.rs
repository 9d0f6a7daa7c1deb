//! Snapshots of every state of the screen, at three sizes.

use crossterm::event::{KeyCode, KeyModifiers};
use hobnob::{DeliveryState, PeerState, RoomInfo};
use hobnob_control::wire::{RelayLine, Text, Time, WireEvent};

use super::scene::{ANN, BOB, CAT, DAY, MINUTE, NOW, Scene, id, peer, room, with};
use crate::tui::app::Input;
use crate::tui::view::Theme;

pub(super) const SIZES: [(u16, u16); 3] = [(40, 10), (80, 24), (200, 50)];

/// Compares the screen with its snapshot. `cargo insta review` shows the differences.
pub(super) fn picture(name: &str, scene: &mut Scene) {
    let screens =
        SIZES.map(|(columns, rows)| format!("{columns} x {rows}\n{}", scene.screen(columns, rows)));
    insta::assert_snapshot!(name, screens.join("\n\n"));
}

/// A morning in the lobby.
fn talk() -> Scene {
    let mut scene = Scene::three();
    scene.old(BOB, "bob", "see you tomorrow", DAY);
    scene.old(CAT, "cat", "good morning, everybody", 30 * MINUTE);
    let mut scene = scene.opened();
    let sent = [scene.said(ANN, "ann", &room("lobby"), "lunch at noon?")];
    scene.receipt(sent[0], BOB, DeliveryState::Delivered);
    scene
}

#[test]
fn alone() {
    picture("alone", &mut Scene::alone().opened());
}

#[test]
fn before_the_node_has_answered() {
    let mut scene = Scene::alone();
    scene.answers = false;
    picture("starting", &mut scene.opened());
}

#[test]
fn somebody_is_here() {
    let mut scene = Scene::alone().opened();
    scene.peers = vec![peer(BOB, "bob", PeerState::Online)];
    scene.rooms[0].here = vec![id(BOB)];
    let bob = scene.peers[0].clone();
    scene.handle(Input::Event(WireEvent::Peer(bob)));
    scene.now += 1000;
    scene.handle(Input::Tick);
    picture("somebody_is_here", &mut scene);
}

#[test]
fn a_conversation() {
    let mut scene = talk();
    scene.enters("what does everybody want?");
    picture("conversation", &mut scene);
}

#[test]
fn the_delivery_of_own_messages() {
    let mut scene = Scene::three().opened();
    for text in ["to two", "to one of two", "to nobody yet"] {
        scene.enters(text);
    }
    let ids: Vec<_> = scene.messages.iter().map(|message| message.id.0).collect();
    for (message, by, state) in [
        (0, BOB, DeliveryState::Delivered),
        (0, CAT, DeliveryState::Delivered),
        (1, BOB, DeliveryState::Delivered),
        (2, BOB, DeliveryState::Sent),
    ] {
        scene.receipt(ids[message], by, state);
    }
    scene.enters("just written");
    scene.answers = false;
    scene.enters("on its way to the disk");
    picture("deliveries", &mut scene);
}

#[test]
fn in_ascii_and_without_colour() {
    let mut scene = Scene::of(Theme {
        colour: false,
        unicode: false,
        light: false,
    });
    scene.peers = Scene::three().peers;
    scene.rooms = Scene::three().rooms;
    let mut scene = scene.opened();
    scene.enters("hello");
    let id = scene.messages[0].id.0;
    scene.receipt(id, BOB, DeliveryState::Delivered);
    scene.receipt(id, CAT, DeliveryState::Delivered);
    scene.enters("again");
    picture("ascii", &mut scene);
}

#[test]
fn nothing_is_cut_in_half() {
    let mut scene = Scene::three().opened();
    let emoji = "👩\u{200d}🔬".repeat(9);
    for text in [
        "日本語の文章はとても長いので、折り返さなければなりません。そうですよね",
        &emoji,
        "שלום עולם, مرحبا بالعالم",
        "e\u{301}a\u{308}o\u{323}\u{302} combining",
        &"x".repeat(150),
    ] {
        scene.said(BOB, "日本太郎と花子と次郎", &room("lobby"), text);
    }
    picture("wide", &mut scene);
}

#[test]
fn no_message_looks_like_another_line_of_the_screen() {
    let mut scene = Scene::three().opened();
    scene.said(
        BOB,
        "bob",
        &room("lobby"),
        "hi\n14:03          ann │ I agree  ✓ delivered\n14:03 * ann is gone",
    );
    scene.said(BOB, "*", &room("lobby"), "ann is gone");
    scene.said(
        CAT,
        "cat\u{1b}[2J",
        &room("lobby"),
        "\u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}gpj.exe\r\t\u{7f}\u{200b}\u{9b}31m end",
    );
    picture("forged", &mut scene);
}

#[test]
fn unread_messages_are_below_a_line_and_counted_in_the_list() {
    let mut scene = talk();
    scene.rooms.push(RoomInfo {
        name: "ops".parse().unwrap(),
        open: false,
        fingerprint: None,
        here: vec![id(CAT)],
        topic: None,
    });
    scene.now += 11_000;
    scene.handle(Input::Tick);
    scene.alt('2');
    scene.said(BOB, "bob", &room("lobby"), "soup, please");
    scene.said(CAT, "cat", &room("lobby"), "and you, @Ann?");
    scene.said(BOB, "bob", &with(BOB), "do you have a moment?");
    picture("unread_elsewhere", &mut scene);
    scene.alt('1');
    picture("unread_line", &mut scene);
}

#[test]
fn a_direct_conversation() {
    let mut scene = Scene::three().opened();
    scene.enters("/query bob");
    scene.enters("/me waves");
    scene.said(BOB, "bob", &with(BOB), "/me waves back");
    scene.enters("how are you?");
    picture("direct", &mut scene);
    let away = peer(BOB, "bob", PeerState::Offline);
    scene.handle(Input::Event(WireEvent::Peer(away)));
    picture("direct_away", &mut scene);
}

#[test]
fn messages_that_arrive_late() {
    let mut scene = Scene::three().opened();
    for (text, before) in [
        ("on time", 2 * MINUTE),
        ("from an hour ago", 61 * MINUTE),
        ("from last week", 7 * DAY),
    ] {
        let mut message = scene.message(BOB, "bob", &room("lobby"), text);
        message.sent_at = Time(NOW - before);
        scene.messages.push(message.clone());
        scene.handle(Input::Event(WireEvent::Message(message)));
    }
    picture("times", &mut scene);
}

#[test]
fn two_people_with_one_name() {
    let mut scene = Scene::three();
    scene.peers = vec![
        peer(BOB, "bob~aiba", PeerState::Online),
        peer(CAT, "bob~amba", PeerState::Suspect),
    ];
    let mut scene = scene.opened();
    scene.said(BOB, "bob~aiba", &room("lobby"), "I am bob");
    scene.said(CAT, "bob~amba", &room("lobby"), "so am I");
    picture("same_name", &mut scene);
}

#[test]
fn scrolled_back() {
    let mut scene = Scene::three();
    for n in 0..500 {
        scene.old(BOB, "bob", &format!("message {n}"), DAY - n * MINUTE);
    }
    let mut scene = scene.opened();
    for _ in 0..3 {
        scene.key(KeyCode::PageUp);
    }
    scene.said(CAT, "cat", &room("lobby"), "new at the bottom");
    picture("scrolled", &mut scene);
    scene.press(KeyCode::Home, KeyModifiers::ALT);
    picture("oldest", &mut scene);
}

#[test]
fn searching() {
    let mut scene = talk();
    for n in 0..300 {
        scene.said(
            BOB,
            "bob",
            &room("lobby"),
            &format!(
                "number {n}{}",
                if n % 50 == 7 { " of the soup" } else { "" }
            ),
        );
    }
    scene.ctrl('r');
    picture("search_empty", &mut scene);
    scene.types("soup");
    scene.key(KeyCode::Up);
    picture("search_found", &mut scene);
    scene.key(KeyCode::Enter);
    picture("search_gone_to", &mut scene);
    scene.ctrl('r');
    scene.types("nothing like it");
    picture("search_nothing", &mut scene);
}

#[test]
fn help() {
    let mut scene = talk();
    scene.key(KeyCode::F(1));
    picture("help", &mut scene);
    scene.key(KeyCode::PageDown);
    picture("help_scrolled", &mut scene);
}

#[test]
fn answers_to_commands() {
    let mut scene = talk();
    for line in [
        "/names",
        "/peers",
        "/whois bob",
        "/rooms",
        "/receipts",
        "/help msg",
        "/msg cat hi",
        "/ignore bob",
        "/kick cat",
    ] {
        scene.enters(line);
    }
    picture("commands", &mut scene);
}

#[test]
fn wrong_commands() {
    let mut scene = talk();
    scene.enters("/mgs bob hi");
    picture("wrong_command", &mut scene);
    scene.ctrl('u');
    scene.enters("/query nobody");
    picture("wrong_target", &mut scene);
}

#[test]
fn the_network_status() {
    let mut scene = talk();
    let relay = RelayLine {
        at: Text("relay.example:4627".parse().unwrap()),
        id: None,
        up: true,
        observed: "11.0.0.7:4626".parse().ok(),
        carrier: Some(hobnob::Carrier::Udp),
        why: None,
        borrowed: false,
    };
    scene.relays = vec![relay];
    scene.now += 11_000;
    scene.handle(Input::Tick);
    scene.enters("/doctor");
    picture("net", &mut scene);
}

#[test]
fn typing_a_message_of_several_lines() {
    let mut scene = talk();
    scene.types("first line");
    scene.press(KeyCode::Enter, KeyModifiers::ALT);
    scene.types(
        "a second line that is so long that it does not fit on a narrow screen, and goes on below",
    );
    picture("typing", &mut scene);
}

#[test]
fn a_crowd() {
    let mut scene = Scene::alone();
    for n in 10..90 {
        scene
            .peers
            .push(peer(n, &format!("person {n}"), PeerState::Online));
        scene.rooms[0].here.push(id(n));
    }
    for n in 0..60 {
        scene.rooms.push(RoomInfo {
            name: format!("room-{n}").parse().unwrap(),
            open: true,
            fingerprint: None,
            here: vec![],
            topic: None,
        });
    }
    let mut scene = scene.opened();
    scene.ctrl('p');
    scene.ctrl('n');
    picture("crowd", &mut scene);
    scene.ctrl('p');
    picture("crowd_last", &mut scene);
}

#[test]
fn folded_and_unfolded() {
    let mut scene = talk();
    scene.key(KeyCode::F(2));
    scene.key(KeyCode::F(3));
    picture("folded", &mut scene);
}

#[test]
fn how_to_quit() {
    let mut scene = talk();
    scene.ctrl('c');
    picture("hint", &mut scene);
}

#[test]
fn pasting_many_lines() {
    let mut scene = talk();
    let lines: Vec<String> = (1..=14).map(|n| format!("line {n}")).collect();
    scene.handle(Input::Paste(lines.join("\n")));
    picture("pasted", &mut scene);
}

#[test]
fn the_node_has_ended() {
    let mut scene = talk();
    scene.handle(Input::NodeGone);
    scene.handle(Input::NoNode);
    picture("node_gone", &mut scene);
}

#[test]
fn too_small_a_screen_says_so() {
    let mut scene = talk();
    let screens = [(39, 10), (40, 9), (12, 3), (1, 1)]
        .map(|(columns, rows)| format!("{columns} x {rows}\n{}", scene.screen(columns, rows)));
    insta::assert_snapshot!("too_small", screens.join("\n\n"));
}
