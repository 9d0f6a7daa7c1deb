//! The ways to name a peer on the command line, and the errors for unknown, ambiguous and
//! mismatched names.

use hobnob_tests::lab::{Lab, Node, Switch};

#[test]
fn a_peer_is_named_by_address_id_prefix_nickname_or_ticket() {
    let lab = Lab::open();
    let (ann, bob) = connected_pair(&lab.switch());
    let address = format!("{}:4626", bob.machine().ipv4());
    let prefix = bob.id()[..8].to_owned();
    for target in [
        address,
        bob.id().to_owned(),
        prefix,
        "bob".to_owned(),
        bob.ticket(),
    ] {
        let text = format!("by {target}");
        ann.tells(&target, &text);
        bob.shows_once(&text);
    }
    assert_eq!(
        ann.history_of(&bob).len(),
        5,
        "all five names lead to one conversation"
    );
}

#[test]
fn a_ticket_reaches_an_unknown_peer() {
    let lab = Lab::open();
    let office = lab.switch();
    let bob = office.machine("bob").up("bob", &["--no-mdns"]);
    let ann = office.machine("ann").up("ann", &["--no-mdns"]);
    ann.tells(bob.ticket(), "got your ticket");
    bob.shows_once("got your ticket");
}

#[test]
fn a_nickname_of_two_peers_is_an_error_that_lists_both() {
    let lab = Lab::open();
    let office = lab.switch();
    let ann = office.machine("ann").up("ann", &[]);
    let sams = [
        office.machine("one").up("sam", &[]),
        office.machine("two").up("sam", &[]),
    ];
    for sam in &sams {
        ann.sees(sam);
    }
    let names = sams.each_ref().map(|sam| format!("sam~{}", &sam.id()[..4]));
    ann.run(&["send", "sam", "which of you?"])
        .expect(NO_SUCH_PEER)
        .says(&[&names[0], &names[1]]);
    // The command accepts the names that the error lists.
    ann.tells(&names[1], "you");
    sams[1].shows_once("you");
    sams[0].has_not("you");
}

#[test]
fn an_unknown_name_is_an_error_with_a_suggestion() {
    let lab = Lab::open();
    let ann = lab.switch().machine("ann").up("ann", &[]);
    ann.run(&["send", "zoe", "hi"])
        .expect(NO_SUCH_PEER)
        .says(&["zoe", "hobnob peers"]);
    assert!(
        ann.history().is_empty(),
        "nothing is queued for an unknown peer"
    );
}

#[test]
fn malformed_names_are_usage_errors() {
    let lab = Lab::open();
    let ann = lab.switch().machine("ann").up("ann", &[]);
    for name in ["", "host:0", "hobnob:damaged", "a\u{1b}[2J"] {
        let refused = ann.run(&["send", name, "hi"]).expect(USAGE);
        assert!(!refused.stderr.contains('\u{1b}'), "{refused}");
    }
}

#[test]
fn an_address_where_another_peer_answers_is_an_identity_mismatch() {
    let lab = Lab::open();
    let office = lab.switch();
    let ann = office.machine("ann").up("ann", &["--no-mdns"]);
    let bob = office.machine("bob").up("bob", &["--no-mdns"]);
    let cat = office.machine("cat").up("cat", &["--no-mdns"]);
    cat.terminate();
    // The ticket has cat's id and bob's address.
    let ticket = format!("hobnob:{}?a={}:4626", cat.id(), bob.machine().ipv4());
    ann.run(&["send", &ticket, "for cat only"])
        .expect(IDENTITY_MISMATCH);
    ann.tells(format!("{}:4626", bob.machine().ipv4()), "who are you?");
    bob.shows_once("who are you?");
    bob.has_not("for cat only");
}

fn connected_pair(office: &Switch) -> (Node, Node) {
    let (ann, bob) = (
        office.machine("ann").up("ann", &[]),
        office.machine("bob").up("bob", &[]),
    );
    ann.sees(&bob);
    bob.sees(&ann);
    (ann, bob)
}

const USAGE: i32 = 2;
const NO_SUCH_PEER: i32 = 3;
const IDENTITY_MISMATCH: i32 = 6;
