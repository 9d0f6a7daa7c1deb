//! The chat as a whole: keys and events in, messages and screens out.

use crossterm::event::{KeyCode, KeyModifiers};
use hobnob::{DeliveryState, PeerState};
use hobnob_control::wire::WireEvent;

use super::scene::{ANN, BOB, CAT, MINUTE, Scene, id, peer, room, with};
use crate::shared::settings::{ScreenSettings, Sidebars};
use crate::tui::app::{Input, Output};

const LAST: u64 = 1500;

fn long() -> Scene {
    let mut scene = Scene::three();
    for n in 0..=LAST {
        scene.old(
            BOB,
            "bob",
            &format!("message {n}."),
            (LAST + 1 - n) * MINUTE / 10,
        );
    }
    scene.opened()
}

fn shows(scene: &mut Scene, text: &str) -> bool {
    scene.screen(80, 24).contains(text)
}

#[test]
fn a_message_goes_to_the_open_conversation_and_is_shown_once() {
    let mut scene = Scene::three().opened();
    scene.enters("hello all");
    scene.enters("/query bob");
    scene.enters("hello bob");
    scene.enters("//a slash");
    assert_eq!(
        scene.sent,
        [
            ("#lobby".to_owned(), "hello all".to_owned()),
            (with(BOB).to_string(), "hello bob".into()),
            (with(BOB).to_string(), "/a slash".into())
        ]
    );
    assert_eq!(scene.screen(80, 24).matches("hello bob").count(), 1);
    assert!(scene.app.outbox.is_empty());
}

#[test]
fn a_reply_an_edit_and_a_reaction_are_shown_with_their_messages() {
    let mut scene = Scene::three().opened();
    scene.said(BOB, "bob", &room("lobby"), "lunch at noon?");
    scene.enters("/reply with pleasure");
    assert!(shows(&mut scene, "to │ bob: lunch at noon?"));
    scene.enters("/edit with much pleasure");
    assert!(shows(&mut scene, "with much pleasure  (edited)"));
    scene.enters("/react 👍");
    assert!(shows(&mut scene, "👍 ann"));
    scene.enters("/reply ^9 nobody");
    assert!(shows(&mut scene, "there is no such message on the screen"));
}

#[test]
fn a_private_room_is_created_and_its_words_and_ticket_are_shown() {
    let mut scene = Scene::three().opened();
    scene.enters("/room create ops");
    for text in ["#ops", "words: ", "hobnob-room:ops:"] {
        assert!(shows(&mut scene, text), "{text}");
    }
    scene.enters("hello members");
    assert_eq!(
        scene.sent,
        [("#ops".to_owned(), "hello members".to_owned())]
    );
}

#[test]
fn typing_while_the_help_is_open_loses_no_letter() {
    let mut scene = Scene::three().opened();
    scene.key(KeyCode::F(1));
    assert!(shows(&mut scene, "Keys (PgUp, PgDn: scroll)"));
    scene.enters("hello after the help");
    assert_eq!(
        scene.sent,
        [("#lobby".to_owned(), "hello after the help".to_owned())]
    );
}

#[test]
fn two_equal_messages_in_a_row_are_two() {
    let mut scene = Scene::three().opened();
    scene.enters("same");
    scene.enters("same");
    assert_eq!(scene.screen(80, 24).matches("│ same").count(), 2);
    scene.answers = false;
    scene.enters("same");
    scene.enters("same");
    assert_eq!(scene.screen(80, 24).matches("│ same").count(), 4);
}

#[test]
fn messages_elsewhere_change_neither_the_open_conversation_nor_the_draft() {
    let mut scene = Scene::three().opened();
    scene.types("half a mess");
    scene.said(BOB, "bob", &with(BOB), "look here!");
    scene.said(CAT, "cat", &room("lobby"), "ann: and here!");
    assert_eq!(
        (
            scene.app.conversations.current_index(),
            scene.app.composer.text()
        ),
        (0, "half a mess")
    );
    scene.alt('a');
    assert_eq!(
        (
            scene.app.conversations.current_index(),
            scene.app.composer.text()
        ),
        (1, "")
    );
    scene.types("for bob");
    scene.alt('1');
    assert_eq!(scene.app.composer.text(), "half a mess");
    scene.ctrl('n');
    assert_eq!(scene.app.composer.text(), "for bob");
}

#[test]
fn alt_m_goes_back_from_mention_to_mention() {
    let mut scene = Scene::three().opened();
    scene.said(BOB, "bob", &with(BOB), "@ann first");
    scene.said(CAT, "cat", &room("lobby"), "nothing");
    scene.said(CAT, "cat", &room("lobby"), "@ann second");
    let highlighted = |scene: &Scene| {
        let id = scene.app.conversations.highlighted()?;
        let text = scene.messages.iter().find(|it| it.id.0 == id)?;
        text.body.text.clone()
    };
    scene.alt('m');
    assert_eq!(highlighted(&scene).as_deref(), Some("@ann second"));
    assert_eq!(scene.app.conversations.current().of(), &room("lobby"));
    scene.alt('m');
    assert_eq!(highlighted(&scene).as_deref(), Some("@ann first"));
    assert_eq!(scene.app.conversations.current().of(), &with(BOB));
    scene.alt('m');
    assert!(shows(&mut scene, "no earlier message mentions you"));
}

#[test]
fn mentions_are_listed_and_rules_are_set_for_the_open_conversation() {
    let mut scene = Scene::three().opened();
    scene.enters("/mentions");
    assert!(shows(&mut scene, "nobody has mentioned you"));
    scene.said(BOB, "bob", &room("lobby"), "look @ann");
    scene.enters("/mentions");
    assert!(shows(&mut scene, "#lobby <bob> look @ann"));
    scene.enters("/mute");
    assert!(shows(
        &mut scene,
        "no message of this conversation alerts you now"
    ));
    scene.enters("/notify");
    assert!(shows(&mut scene, "/notify changes that"));
}

#[test]
fn a_topic_is_set_shown_and_stands_at_the_top() {
    let mut scene = Scene::three().opened();
    scene.enters("/topic");
    assert!(shows(&mut scene, "#lobby has no topic"));
    scene.enters("/topic lunch plans");
    scene.enters("/topic");
    assert!(shows(&mut scene, "#lobby: lunch plans (set by"));
    let screen = scene.screen(80, 24);
    let title = screen.lines().next().unwrap_or_default();
    assert!(
        title.contains("#lobby  open  lunch plans  here: "),
        "{title}"
    );
}

#[test]
fn scrolling_reads_the_store_both_ways_within_bounded_memory() {
    let mut scene = long();
    assert!(shows(&mut scene, &format!("message {LAST}.")));
    let mut oldest = false;
    for _ in 0..200 {
        scene.key(KeyCode::PageUp);
        assert!(scene.app.conversations.window().entries().len() <= 1_000);
        oldest |= shows(&mut scene, "message 0.");
    }
    assert!(oldest && shows(&mut scene, "message 0."));
    for _ in 0..200 {
        scene.key(KeyCode::PageDown);
    }
    assert!(
        shows(&mut scene, &format!("message {LAST}."))
            && scene.app.conversations.window().scroll().is_none()
    );
    scene.press(KeyCode::Home, KeyModifiers::ALT);
    assert!(shows(&mut scene, "message 0."));
    scene.key(KeyCode::PageDown);
    assert!(shows(&mut scene, "message 30."));
    scene.press(KeyCode::End, KeyModifiers::ALT);
    assert!(shows(&mut scene, &format!("message {LAST}.")));
}

#[test]
fn scrolling_up_shows_every_message() {
    let mut scene = long();
    scene.screen(80, 24);
    let mut up = vec![];
    let numbers = |screen: &str| -> Vec<u64> {
        let number = |row: &str| {
            row.split("message ")
                .nth(1)
                .and_then(|rest| rest.split('.').next()?.parse().ok())
        };
        screen.lines().filter_map(number).collect()
    };
    for _ in 0..90 {
        up.extend(numbers(&scene.screen(80, 24)));
        scene.key(KeyCode::PageUp);
    }
    up.sort_unstable();
    up.dedup();
    assert_eq!(up, (0..=LAST).collect::<Vec<_>>());
}

#[test]
fn new_messages_do_not_move_a_view_that_is_scrolled_up() {
    let mut scene = long();
    scene.screen(80, 24);
    scene.key(KeyCode::PageUp);
    let before = scene.screen(80, 24);
    for n in 0..2_000 {
        scene.said(CAT, "cat", &room("lobby"), &format!("later {n}."));
    }
    let rows = |screen: &str| {
        screen
            .lines()
            .take(22)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(rows(&scene.screen(80, 24)), rows(&before));
    assert!(scene.app.conversations.window().entries().len() <= 1_200);
    for _ in 0..300 {
        scene.key(KeyCode::PageDown);
    }
    assert!(
        shows(&mut scene, "later 1999.") && scene.app.conversations.window().scroll().is_none()
    );
}

#[test]
fn a_flood_of_large_messages_costs_little_memory() {
    let mut scene = Scene::three().opened();
    let large = "word ".repeat(3_000);
    for _ in 0..2_000 {
        let message = scene.message(BOB, "bob", &room("lobby"), &large);
        scene
            .messages
            .push(scene.message(BOB, "bob", &room("lobby"), "x"));
        scene.handle(Input::Event(WireEvent::Message(message)));
    }
    assert!(scene.app.conversations.window().entries().len() < 400);
}

#[test]
fn receipts_change_the_state_beside_a_message() {
    let mut scene = Scene::three().opened();
    scene.enters("hi");
    let id = scene.messages[0].id.0;
    for (by, state, says) in [
        (BOB, DeliveryState::Sent, "→ sent"),
        (BOB, DeliveryState::Delivered, "→ delivered 1 of 2"),
        (CAT, DeliveryState::Delivered, "✓ delivered 2 of 2"),
    ] {
        scene.receipt(id, by, state);
        assert!(shows(&mut scene, says), "{says}");
    }
}

#[test]
fn the_bell_rings_for_urgent_messages_while_nobody_looks() {
    let mut scene = Scene::three().opened();
    let rings = |scene: &mut Scene| {
        scene.now += 3_000;
        std::mem::take(&mut scene.outputs)
            .into_iter()
            .filter(|output| matches!(output, Output::Ring { .. }))
            .count()
    };
    scene.said(BOB, "bob", &with(BOB), "looking?");
    assert_eq!(rings(&mut scene), 0);
    scene.handle(Input::Focus(false));
    for (from, of, text, expected) in [
        (BOB, room("lobby"), "nothing special about annabel", 0),
        (BOB, room("lobby"), "ANN, look", 1),
        (CAT, room("lobby"), "I mean @ann", 1),
        (BOB, with(BOB), "psst", 1),
        (ANN, room("lobby"), "ann says this herself elsewhere", 0),
    ] {
        scene.said(from, "somebody", &of, text);
        assert_eq!(rings(&mut scene), expected, "{text}");
    }
    for _ in 0..100 {
        scene.said(BOB, "bob", &with(BOB), "a flood\u{1b}[2J");
    }
    assert_eq!(rings(&mut scene), 1);
    scene.handle(Input::Focus(true));
    scene.said(BOB, "bob", &with(BOB), "looking again");
    assert_eq!(rings(&mut scene), 0);
}

#[test]
fn a_notification_is_safe_to_show() {
    let mut scene = Scene::three().opened();
    scene.handle(Input::Focus(false));
    scene.said(BOB, "bo\u{7}b", &with(BOB), "\u{1b}]0;x\u{7} two\nlines");
    assert_eq!(
        scene.outputs,
        [Output::Ring {
            bell: true,
            desktop: Some("bo␇b: ␛]0;x␇ two␊lines".into())
        }]
    );
}

#[test]
fn the_settings_decide_about_bell_and_notifications() {
    for (bell, notifications, rings) in [
        (
            true,
            false,
            Some(Output::Ring {
                bell: true,
                desktop: None,
            }),
        ),
        (
            false,
            true,
            Some(Output::Ring {
                bell: false,
                desktop: Some("bob: psst".into()),
            }),
        ),
        (false, false, None),
    ] {
        let mut scene = Scene::with_settings(ScreenSettings {
            bell,
            notifications,
            ..ScreenSettings::default()
        })
        .opened();
        scene.handle(Input::Focus(false));
        scene.said(BOB, "bob", &with(BOB), "psst");
        assert_eq!(scene.outputs.pop(), rings);
    }
}

#[test]
fn the_settings_decide_about_sidebars_and_mouse() {
    for (sidebars, conversations, people) in [
        (Sidebars::Auto, true, true),
        (Sidebars::Both, true, true),
        (Sidebars::Conversations, true, false),
        (Sidebars::People, false, true),
        (Sidebars::None, false, false),
    ] {
        let mut scene = Scene::with_settings(ScreenSettings {
            sidebars,
            ..ScreenSettings::default()
        })
        .opened();
        let screen = scene.screen(120, 30);
        assert_eq!(
            (screen.contains(" 1 #lobby"), screen.contains("● bob")),
            (conversations, people),
            "{sidebars:?}"
        );
        scene.key(KeyCode::F(2));
        assert_eq!(scene.screen(120, 30).contains(" 1 #lobby"), !conversations);
    }
    let mut scene = Scene::with_settings(ScreenSettings {
        mouse: true,
        ..ScreenSettings::default()
    })
    .opened();
    assert_eq!(scene.outputs.pop(), Some(Output::CaptureMouse(true)));
    scene.key(KeyCode::F(4));
    assert_eq!(scene.outputs.pop(), Some(Output::CaptureMouse(false)));
}

#[test]
fn tab_completes_commands_rooms_and_names() {
    let mut scene = Scene::three().opened();
    scene.said(CAT, "cat", &room("lobby"), "hi");
    for (typed, tabs, completed) in [
        ("/qu", 1, "/query "),
        ("/query b", 1, "/query bob "),
        ("/join #lo", 1, "/join #lobby "),
        ("", 1, "cat: "),
        ("", 2, "bob: "),
        ("hey b", 1, "hey bob "),
    ] {
        scene.ctrl('u');
        scene.types(typed);
        (0..tabs).for_each(|_| scene.key(KeyCode::Tab));
        assert_eq!(scene.app.composer.text(), completed, "{typed:?}");
    }
}

#[test]
fn two_digits_open_a_conversation_beyond_the_ninth() {
    let mut scene = Scene::three().opened();
    for n in 2..=12 {
        scene.enters(&format!("/join room-{n:02}"));
    }
    let goes = |scene: &mut Scene, keys: &str| {
        scene.alt('j');
        scene.types(keys);
        scene.app.conversations.current().of().to_string()
    };
    assert_eq!(goes(&mut scene, "03"), "#room-03");
    assert_eq!(goes(&mut scene, "11"), "#room-11");
    // Numbers without a conversation do nothing, and a letter is typed as usual.
    for keys in ["00", "99", "1x"] {
        assert_eq!(goes(&mut scene, keys), "#room-11", "{keys}");
    }
    assert_eq!(scene.app.composer.text(), "x");
    scene.ctrl('7');
    assert!(scene.app.composer.is_empty());
    scene.enters("/msg bob hi");
    assert!(shows(&mut scene, "to @bob (Alt-j 13): hi"));
}

#[test]
fn a_paste_is_one_message() {
    let mut scene = Scene::three().opened();
    scene.handle(Input::Paste("one\r\ntwo\nthree\n".into()));
    assert_eq!(scene.sent, []);
    assert!(shows(
        &mut scene,
        "3 lines: Enter sends them as one message"
    ));
    scene.key(KeyCode::Enter);
    assert_eq!(
        scene.sent,
        [("#lobby".to_owned(), "one\ntwo\nthree".to_owned())]
    );
    scene.handle(Input::Paste("a line\n".into()));
    assert!(!shows(&mut scene, "Enter sends"));
    scene.handle(Input::Paste("and\nanother".into()));
    scene.ctrl('c');
    assert!(scene.app.composer.is_empty() && !shows(&mut scene, "Enter sends"));
}

#[test]
fn a_wrong_command_leaves_the_input_and_can_be_recalled() {
    let mut scene = Scene::three().opened();
    scene.enters("/mgs bob hi");
    assert!(shows(&mut scene, "did you mean /msg?") && scene.sent.is_empty());
    // What is typed next is a line of its own.
    scene.enters("hello");
    assert_eq!(scene.sent.len(), 1);
    assert_eq!(scene.sent[0].1, "hello");
    scene.enters("/mgs bob hi");
    scene.key(KeyCode::Up);
    assert_eq!(scene.app.composer.text(), "/mgs bob hi");
}

#[test]
fn keys_of_the_settings_work_and_are_listed_in_the_help() {
    let mut scene = Scene::with_settings(ScreenSettings {
        keys: "f5=help".parse().unwrap(),
        ..ScreenSettings::default()
    })
    .opened();
    scene.key(KeyCode::F(5));
    scene.key(KeyCode::PageDown);
    let found = (0..9).any(|_| {
        let found = shows(&mut scene, "Your keys (setting keys)");
        scene.key(KeyCode::PageDown);
        found
    });
    assert!(found);
}

#[test]
fn a_link_is_chosen_opened_or_copied() {
    let mut scene = Scene::three().opened();
    scene.alt('o');
    assert!(shows(&mut scene, "there are no links here"));
    scene.said(
        BOB,
        "bob",
        &room("lobby"),
        "https://a.example/1, https://a.example/2",
    );
    scene.alt('o');
    assert!(shows(&mut scene, "Enter opens it"));
    scene.key(KeyCode::Up);
    scene.key(KeyCode::Enter);
    let opened = Output::OpenLink("https://a.example/1".into());
    assert_eq!(scene.outputs.last(), Some(&opened));
    scene.alt('o');
    scene.types("c");
    let copied = Output::Copy("https://a.example/2".into());
    assert_eq!(scene.outputs.last(), Some(&copied));
    scene.handle(Input::LinkFailed("xdg-open: not found".into()));
    assert!(shows(&mut scene, "can't open the link here"));
    scene.types("x");
    assert_eq!(scene.app.composer.text(), "x");
}

#[test]
fn lines_of_earlier_chats_are_recalled() {
    let mut scene = Scene::three().opened();
    for line in [
        "hello all",
        "/peers",
        "/me waves",
        "/join #ops secret words",
    ] {
        scene.now += 1_000;
        scene.enters(line);
    }
    let mut scene = scene.started_again(None);
    let mut recalled = || {
        scene.key(KeyCode::Up);
        scene.app.composer.text().to_owned()
    };
    // The passphrase of a room is in no file.
    assert_eq!(recalled(), "/me waves");
    assert_eq!(recalled(), "/peers");
    assert_eq!(recalled(), "hello all");
}

#[test]
fn a_new_nickname_is_shown_where_its_owner_is() {
    let mut scene = Scene::three().opened();
    scene.said(BOB, "bob", &with(BOB), "hi");
    let mut bob = peer(BOB, "rob", PeerState::Online);
    bob.nick = "rob".parse().ok();
    scene.handle(Input::Event(WireEvent::Peer(bob)));
    assert!(shows(&mut scene, "bob is now rob"));
    scene.alt('2');
    assert!(shows(&mut scene, "bob is now rob"));
}

#[test]
fn rooms_are_joined_and_left() {
    let mut scene = Scene::three().opened();
    scene.enters("/join ops");
    assert!(shows(&mut scene, " #ops"));
    assert_eq!(scene.app.conversations.list().len(), 2);
    scene.enters("/part");
    assert_eq!(
        (
            scene.app.conversations.list().len(),
            scene.app.conversations.current_index()
        ),
        (1, 0)
    );
    scene.enters("/query bob");
    scene.enters("/part");
    assert_eq!(scene.app.conversations.list().len(), 1);
    scene.enters("/part");
    for _ in 0..3 {
        scene.now += 11_000;
        scene.handle(Input::Tick);
    }
    assert_eq!(
        scene
            .screen(80, 24)
            .matches("the only conversation")
            .count(),
        1
    );
}

#[test]
fn a_room_says_who_has_left() {
    let mut scene = Scene::three().opened();
    scene.rooms[0].here = vec![id(BOB)];
    let gone = peer(CAT, "cat", PeerState::Offline);
    scene.handle(Input::Event(WireEvent::Peer(gone)));
    scene.now += 1_000;
    scene.handle(Input::Tick);
    assert!(shows(&mut scene, "* cat is gone"));
}

#[test]
fn ctrl_c_clears_the_line_and_quits_the_second_time() {
    let mut scene = Scene::three().opened();
    scene.types("never mind");
    scene.ctrl('c');
    assert!(scene.app.composer.is_empty() && scene.outputs.is_empty());
    scene.ctrl('c');
    scene.now += 5_000;
    scene.ctrl('c');
    assert!(scene.outputs.is_empty());
    scene.ctrl('c');
    assert_eq!(scene.outputs, [Output::Quit]);
}

#[test]
fn a_message_that_cannot_be_sent_gets_a_warning() {
    let mut scene = Scene::three().opened();
    scene.enters("/msg nobody hi");
    assert!(shows(&mut scene, "nobody is known as nobody"));
}

#[test]
fn clear_empties_the_screen_and_keeps_the_messages() {
    let mut scene = long();
    scene.enters("/cls");
    assert!(!shows(&mut scene, "message"));
    scene.said(BOB, "bob", &room("lobby"), "after that");
    assert!(shows(&mut scene, "after that") && !shows(&mut scene, "message"));
    scene.alt('1');
    scene.enters("/query bob");
    scene.alt('1');
    assert!(shows(&mut scene, &format!("message {LAST}.")));
}

#[test]
fn messages_that_arrived_while_no_chat_was_running_are_unread() {
    let mut scene = Scene::three().opened();
    scene.said(BOB, "bob", &room("lobby"), "read");
    scene.app.save_read();
    scene.work();
    let Some(Output::SaveRead(seen)) = scene.outputs.pop() else {
        panic!("the chat saves what was read")
    };
    for (of, text) in [
        (room("lobby"), "unread here"),
        (with(BOB), "unread there"),
        (with(BOB), "and this"),
    ] {
        let message = scene.message(BOB, "bob", &of, text);
        scene.messages.push(message);
    }
    let mut scene = scene.started_again(Some(seen));
    assert!(shows(&mut scene, "2 @bob        2"));
    let screen = scene.screen(80, 24);
    let place = |text: &str| {
        screen
            .find(text)
            .unwrap_or_else(|| panic!("{text} is not in {screen}"))
    };
    assert!(place("│ read") < place("── new ") && place("── new ") < place("unread here"));
    // In the first chat of a home, nothing is unread.
    let mut scene = scene.started_again(None);
    assert!(!shows(&mut scene, "── new ") && shows(&mut scene, "2 @bob         "));
}

#[test]
fn pasted_code_keeps_its_slashes_and_a_pasted_command_runs() {
    for (pasted, sent) in [
        ("// a comment", Some("// a comment")),
        ("/* two\nlines */", Some("/* two\nlines */")),
        ("/me waves", Some("/me waves")),
        ("/names", None),
    ] {
        let mut scene = Scene::three().opened();
        scene.handle(Input::Paste(pasted.into()));
        scene.key(KeyCode::Enter);
        assert_eq!(
            scene.sent.first().map(|(_, text)| text.as_str()),
            sent,
            "{pasted:?}"
        );
    }
}

#[test]
fn f4_gives_the_wheel_to_the_chat() {
    let mut scene = long();
    scene.screen(80, 24);
    scene.key(KeyCode::F(4));
    assert_eq!(scene.outputs.pop(), Some(Output::CaptureMouse(true)));
    scene.handle(Input::Wheel(true));
    assert!(scene.app.conversations.window().scroll().is_some());
    scene.handle(Input::Wheel(false));
    assert!(scene.app.conversations.window().scroll().is_none());
    scene.key(KeyCode::F(4));
    assert_eq!(scene.outputs.pop(), Some(Output::CaptureMouse(false)));
}

#[test]
fn a_message_whose_event_was_missed_is_shown_once() {
    let mut scene = Scene::three().opened();
    scene.answers = false;
    scene.enters("hello");
    // The node confirms the message, and reports that it skipped its event.
    scene.loses_events = true;
    scene.answers = true;
    scene.handle(Input::Event(WireEvent::Lagged { missed: 1 }));
    assert_eq!(scene.screen(80, 24).matches("│ hello").count(), 1);
    assert!(scene.app.outbox.is_empty());
}

#[test]
fn a_node_that_is_followed_by_another_at_once_is_not_mentioned() {
    let mut scene = Scene::three().opened();
    for _ in 0..3 {
        scene.handle(Input::NodeGone);
        scene.handle(Input::Attached);
    }
    assert!(!shows(&mut scene, "has ended"));
    scene.handle(Input::NodeGone);
    scene.handle(Input::NoNode);
    assert!(shows(&mut scene, "has ended"));
}

#[test]
fn a_message_that_the_old_node_did_not_confirm_is_not_shown_as_pending() {
    let mut scene = Scene::three().opened();
    scene.answers = false;
    scene.enters("hello");
    scene.handle(Input::NodeGone);
    scene.answers = true;
    scene.handle(Input::Attached);
    assert!(scene.app.outbox.is_empty());
    assert!(shows(&mut scene, "it is not known whether"));
}

#[test]
fn a_chosen_picture_is_prepared_and_then_set() {
    let mut scene = Scene::three().opened();
    scene.outputs.clear();
    scene.enters("/picture ~/ann.png");
    let path = std::path::PathBuf::from("/home/ann/ann.png");
    assert!(scene.outputs.contains(&Output::ChoosePicture(path)));
    let why = "can't use it: it is no picture";
    scene.handle(Input::PictureChosen(Err(why.to_owned())));
    assert!(shows(&mut scene, why));
    scene.handle(Input::PictureChosen(Ok(vec![1])));
    assert!(shows(
        &mut scene,
        "your contacts and the members of your rooms"
    ));
    scene.enters("/picture --off");
    assert!(shows(&mut scene, "your profile picture is removed"));
}
