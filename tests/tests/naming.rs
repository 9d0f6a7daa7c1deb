//! A peer can be named in every way, and a name that names nobody, or several, or somebody else, is
//! told as such.

use hobnob_tests::lab::{Lab, Node, Switch};

#[test]
fn a_peer_is_named_by_address_id_prefix_nickname_or_ticket() {
    let lab = Lab::open();
    let (ann, bob) = two_who_see_each_other(&lab.switch());
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
        "it was one conversation all along"
    );
}

#[test]
fn a_ticket_reaches_a_peer_never_heard_of() {
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
    // The names that it lists are names that it takes.
    ann.tells(&names[1], "you");
    sams[1].shows_once("you");
    sams[0].has_not("you");
}

#[test]
fn an_unknown_name_is_an_error_that_says_what_to_try() {
    let lab = Lab::open();
    let ann = lab.switch().machine("ann").up("ann", &[]);
    ann.run(&["send", "zoe", "hi"])
        .expect(NO_SUCH_PEER)
        .says(&["zoe", "hobnob peers"]);
    assert!(ann.history().is_empty(), "nothing is queued for nobody");
}

#[test]
fn words_that_can_name_nobody_are_usage_errors() {
    let lab = Lab::open();
    let ann = lab.switch().machine("ann").up("ann", &[]);
    for word in ["", "host:0", "hobnob:damaged", "a\u{1b}[2J"] {
        let refused = ann.run(&["send", word, "hi"]).expect(USAGE);
        assert!(!refused.stderr.contains('\u{1b}'), "{refused}");
    }
}

#[test]
fn an_address_where_somebody_else_answers_is_an_identity_mismatch() {
    let lab = Lab::open();
    let office = lab.switch();
    let ann = office.machine("ann").up("ann", &["--no-mdns"]);
    let bob = office.machine("bob").up("bob", &["--no-mdns"]);
    let cat = office.machine("cat").up("cat", &["--no-mdns"]);
    cat.terminate();
    // Cat's ticket, but bob has her address now.
    let ticket = format!("hobnob:{}?a={}:4626", cat.id(), bob.machine().ipv4());
    ann.run(&["send", &ticket, "for cat only"])
        .expect(IDENTITY_MISMATCH);
    ann.tells(format!("{}:4626", bob.machine().ipv4()), "who are you?");
    bob.shows_once("who are you?");
    bob.has_not("for cat only");
}

fn two_who_see_each_other(office: &Switch) -> (Node, Node) {
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
