//! Invitations by code: two users become verified contacts by six digits and three words, on a link
//! and through a relay.

use std::time::Duration;

use hobnob::RelayTokenUse;
use hobnob_control::wire::{AwaitInvitation, GetStatus, InvitationState, Invite, Text};
use hobnob_protocol::RoomName;
use hobnob_protocol::invitation::{CodeNumber, InviteCode};
use hobnob_tests::lab::{Lab, Nat, Node, Size, Switch, hobnob_binary};
use serde_json::Value;

const USAGE: i32 = 2;
const NO_SUCH_PEER: i32 = 3;
const REFUSED: i32 = 5;

const LIMIT: Duration = Duration::from_secs(60);

/// A new code of a node.
fn code(node: &Node, room: Option<&str>) -> InviteCode {
    let name = |room: &str| Text(room.parse::<RoomName>().expect("a room"));
    let room = room.map(name);
    let share_relay = false;
    node.client().ask(Invite { room, share_relay }).code.0
}

/// The relays that a node uses.
fn relays(node: &Node) -> Vec<String> {
    let status = node.client().ask(GetStatus {});
    status
        .relays
        .iter()
        .map(|relay| relay.at.0.to_string())
        .collect()
}

fn end(node: &Node, number: CodeNumber) -> InvitationState {
    let number = Text(number);
    node.client().ask(AwaitInvitation { number }).end
}

/// The code with another word of the list at its end.
fn with_other_words(code: &InviteCode) -> String {
    let text = code.to_string();
    let (code, relay) = text.split_once('@').unwrap_or((&text, ""));
    let (start, last) = code.rsplit_once('-').expect("it has words");
    let other = if last == "zoo" { "zebra" } else { "zoo" };
    let relay = if relay.is_empty() {
        ""
    } else {
        &text[code.len()..]
    };
    format!("{start}-{other}{relay}")
}

/// The peers of a node that are verified contacts.
fn verified(node: &Node) -> Vec<Value> {
    let peers = node.peers().into_iter();
    peers.filter(|peer| peer["verified"] == true).collect()
}

fn are_verified(one: &Node, other: &Node) {
    for (node, of) in [(one, other), (other, one)] {
        let ids: Vec<_> = verified(node).iter().map(|it| it["peer"].clone()).collect();
        assert_eq!(ids, [of.id()], "the verified peers of {}", node.nick());
    }
}

fn neighbours(office: &Switch) -> (Node, Node) {
    let ann = office.machine("ann").up("ann", &[]);
    let bob = office.machine("bob").up("bob", &[]);
    ann.sees(&bob);
    bob.sees(&ann);
    (ann, bob)
}

#[test]
fn a_code_makes_neighbours_verified_contacts_and_members_once() {
    let lab = Lab::open();
    let office = lab.switch();
    let (ann, bob) = neighbours(&office);
    let eve = office.machine("eve").up("eve", &[]);
    ann.sees(&eve);
    ann.run(&["room", "create", "ops"]).expect(0);
    let code = code(&ann, Some("ops"));
    let accepted = bob.run(&["accept-invite", &code.to_string()]);
    let accepted = accepted.expect(0).one_json();
    assert_eq!(accepted["peer"]["peer"], ann.id());
    assert_eq!(accepted["room"]["room"], "#ops");
    assert_eq!(end(&ann, code.number), InvitationState::Accepted);
    ann.notices("invitation-accepted");
    are_verified(&ann, &bob);
    bob.says_in("ops", "thanks for the invitation");
    ann.shows_once("thanks for the invitation");
    // The code is used.
    eve.run(&["accept-invite", &code.to_string()])
        .expect(NO_SUCH_PEER)
        .says(&["nobody", "digits"]);
    assert_eq!(verified(&eve), [] as [Value; 0]);
}

#[test]
fn a_wrong_guess_kills_a_code_and_a_typing_error_does_not() {
    let lab = Lab::open();
    let (ann, bob) = neighbours(&lab.switch());
    let code = code(&ann, None);
    // The word is longer by one letter, and in no list.
    bob.run(&["accept-invite", &format!("{code}q")])
        .expect(USAGE)
        .says(&["did you mean", "nothing was sent"]);
    bob.run(&["accept-invite", &with_other_words(&code)])
        .expect(REFUSED)
        .says(&["wrong", "dead"]);
    ann.notices("invitation-wrong");
    assert_eq!(end(&ann, code.number), InvitationState::Wrong);
    bob.run(&["accept-invite", &code.to_string()])
        .expect(NO_SUCH_PEER);
    assert_eq!(verified(&ann), [] as [Value; 0]);
    assert_eq!(verified(&bob), [] as [Value; 0]);
    ann.run(&["accept-invite", "48-mapel"]).expect(USAGE);
}

#[test]
fn a_relay_admits_a_guest_who_has_a_code() {
    let lab = Lab::open();
    let internet = lab.internet();
    let token = lab.file("token", "for friends of the house");
    let relay = internet.machine("relay").relay(&["--token-file", &token]);
    let at = relay.address().to_string();
    let up = |nat, nick: &str, arguments: &[&str]| {
        let site = internet.site(nat);
        site.machine(nick).up(nick, arguments)
    };
    let with_relay = ["--relay", &at, "--relay-token-file", &token];
    let ann = up(Nat::FullCone, "ann", &with_relay);
    ann.notices("relay-up");
    let bob = up(Nat::FullCone, "bob", &[]);
    let invited = ann.client().ask(Invite {
        room: None,
        share_relay: false,
    });
    assert_eq!(invited.relay_token, RelayTokenUse::Kept);
    let code = invited.code.0;
    assert_eq!(
        code.relay.as_ref().map(ToString::to_string),
        Some(at.clone())
    );
    let accepted = bob.run(&["accept-invite", &code.to_string()]).expect(0);
    assert_eq!(accepted.one_json()["needs_token"], at);
    are_verified(&ann, &bob);
    bob.tells(&ann, "I have no token");
    ann.shows_once("I have no token");
    // A guest finds one inviter and nobody else.
    let number = (0..)
        .map(|n| format!("{n:06}"))
        .find(|n| *n != code.number.to_string());
    let number = number.expect("there are a million");
    let eve = up(Nat::FullCone, "eve", &[]);
    eve.run(&["accept-invite", &format!("{number}-zoo-zoo-zoo@{at}")])
        .expect(NO_SUCH_PEER);
    assert_eq!(eve.peers(), [] as [Value; 0]);
}

/// An operator's token reaches a guest only if the inviter says so.
#[test]
fn an_inviter_who_shares_the_relay_makes_a_guest_a_member_of_it() {
    let lab = Lab::open();
    let internet = lab.internet();
    let token = lab.file("token", "for friends of the house");
    let relay = internet.machine("relay").relay(&["--token-file", &token]);
    let at = relay.address().to_string();
    let up = |nick: &str, arguments: &[&str]| {
        let site = internet.site(Nat::Symmetric);
        site.machine(nick).up(nick, arguments)
    };
    let ann = up("ann", &["--relay", &at, "--relay-token-file", &token]);
    ann.notices("relay-up");
    let bob = up("bob", &[]);
    let invited = ann.client().ask(Invite {
        room: None,
        share_relay: true,
    });
    assert_eq!(invited.relay_token, RelayTokenUse::Shared);
    let accepted = bob.run(&["accept-invite", &invited.code.0.to_string()]);
    let accepted = accepted.expect(0).one_json();
    assert_eq!(accepted["relay"], at);
    assert_eq!(accepted["needs_token"], Value::Null);
    are_verified(&ann, &bob);
    bob.tells(&ann, "by your relay");

    // Bob comes back as a member, and finds Ann in the lobby of the relay.
    bob.restart();
    bob.notices("relay-up");
    assert_eq!(relays(&bob), [at.as_str()]);
    bob.tells(&ann, "and I am still there");
    ann.tells(&bob, "so I see");

    // What Ann has shared with Bob is not Bob's to share.
    let code = bob.client().ask(Invite {
        room: None,
        share_relay: false,
    });
    assert_eq!(code.relay_token, RelayTokenUse::None);
    bob.run(&["invite", "--share-relay"])
        .expect(USAGE)
        .says(&["no token to share"]);

    bob.run(&["forget", "ann", "--yes"]).expect(0);
    bob.restart();
    assert_eq!(relays(&bob), [] as [&str; 0]);
}

#[test]
fn a_network_names_five_wrong_numbers_an_hour() {
    let lab = Lab::open();
    let internet = lab.internet();
    let relay = internet.machine("relay").relay(&[]);
    let with_relay = ["--relay", &relay.name()];
    let ann = internet.machine("ann").up("ann", &with_relay);
    let eve = internet.machine("eve").up("eve", &with_relay);
    ann.notices("relay-up");
    eve.notices("relay-up");
    let code = code(&ann, None);
    let wrong = |n: u32| {
        let number = (code.number.to_string().parse::<u32>().expect("digits") + n) % 1_000_000;
        eve.run(&["accept-invite", &format!("{number:06}-zoo-zoo-zoo")])
    };
    for n in 1..=5 {
        wrong(n).expect(NO_SUCH_PEER);
    }
    wrong(6).expect(REFUSED).says(&["too many", "hour"]);
    // Even the right code opens nothing now.
    eve.run(&["accept-invite", &code.to_string()])
        .expect(REFUSED);
    assert_eq!(verified(&ann), [] as [Value; 0]);
}

#[test]
fn a_terminal_shows_the_code_as_a_picture_and_in_words() {
    let lab = Lab::open();
    let (ann, bob) = neighbours(&lab.switch());
    let home = ann
        .home()
        .path()
        .to_str()
        .expect("the lab's paths are ASCII");
    let size = Size {
        columns: 100,
        rows: 40,
    };
    let arguments = ["--home", home, "invite"];
    let screen = ann.machine().terminal(hobnob_binary(), &arguments, size);
    // The upper left corner of every QR code.
    screen.shows("█ ▄▄▄▄▄ █");
    screen.shows("Read this code to one person");
    let text = screen.screen();
    let mut words = text.split_whitespace();
    let code = words
        .find(|word| word.parse::<InviteCode>().is_ok())
        .unwrap_or_else(|| panic!("no code in {text}"));
    bob.run(&["accept-invite", code]).expect(0);
    screen.shows("bob is your contact now");
    ann.wait_for(
        "bob as a contact",
        |event| event["peer"] == bob.id() && event["contact"] == true,
        LIMIT,
    );
}
