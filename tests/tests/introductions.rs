//! Introductions: two contacts of a node become contacts of each other, if both accept.

use hobnob_tests::lab::{Lab, Node};

const USAGE: i32 = 2;

/// Whether a node has the other as a contact.
fn is_contact(node: &Node, other: &Node) -> bool {
    let peers = node.peers();
    let found = peers.iter().find(|peer| peer["peer"] == other.id());
    found.is_some_and(|peer| peer["contact"] == true)
}

#[test]
fn two_contacts_are_introduced_once_both_accept_even_if_one_was_away() {
    let lab = Lab::open();
    let internet = lab.internet();
    let relay = internet.machine("relay").relay(&[]);
    let up = |nick| internet.machine(nick).up(nick, &["--relay", &relay.name()]);
    let (ann, bob, carol) = (up("ann"), up("bob"), up("carol"));
    for friend in [&bob, &carol] {
        ann.sees(friend);
        friend.sees(&ann);
        ann.are_contacts(friend);
    }
    carol.terminate();
    ann.run(&["introduce", bob.id(), carol.id()]).expect(0);
    let notice = bob.notices("introduction");
    assert_eq!(notice["peer"], carol.id());
    assert_eq!(
        (&notice["name"], &notice["introducer"]),
        (&"carol".into(), &"ann".into())
    );
    bob.run(&["contacts", "accept", carol.id()]).expect(0);
    // Proposals and answers survive a restart of each node.
    bob.restart();
    ann.restart();
    carol.start();
    assert_eq!(carol.notices("introduction")["peer"], bob.id());
    assert!(!is_contact(&carol, &bob));
    carol.run(&["contacts", "accept", bob.id()]).expect(0);
    bob.notices("introduced");
    carol.notices("introduced");
    assert!(is_contact(&bob, &carol) && is_contact(&carol, &bob));
    bob.tells(&carol, "ann told me about you");
    carol.shows_once("ann told me about you");
}

#[test]
fn only_two_different_contacts_are_introduced() {
    let lab = Lab::open();
    let office = lab.switch();
    let up = |nick| office.machine(nick).up(nick, &[]);
    let (ann, bob, eve) = (up("ann"), up("bob"), up("eve"));
    for other in [&bob, &eve] {
        ann.sees(other);
    }
    bob.sees(&ann);
    ann.are_contacts(&bob);
    ann.run(&["introduce", "bob", "eve"])
        .expect(USAGE)
        .says(&["eve is no contact"]);
    ann.run(&["introduce", "bob", "bob"])
        .expect(USAGE)
        .says(&["different"]);
}
