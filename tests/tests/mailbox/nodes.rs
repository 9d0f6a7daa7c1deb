//! Nodes that hold mail for their contacts. Carol is always on, Ann and Bob are never on together.

use hobnob_tests::lab::{Home, Lab, Node, until};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::net::{LIMIT, all_are, texts};

struct Office {
    ann: Node,
    bob: Node,
    carol: Node,
    _lab: Lab,
}

fn with_settings(home: Home, settings: &str) -> Node {
    std::fs::create_dir_all(home.path()).expect("the lab's folder can be written to");
    let file = home.path().join("config.toml");
    std::fs::write(file, settings).expect("the lab's folder can be written to");
    home.up(&[])
}

impl Office {
    /// All three are contacts. Carol has these settings.
    fn with(settings: &str) -> Self {
        let lab = Lab::open();
        let office = lab.switch();
        let carol = with_settings(office.machine("carol").home("carol"), settings);
        let up = |nick| office.machine(nick).up(nick, &[]);
        let (ann, bob) = (up("ann"), up("bob"));
        for (one, other) in [(&ann, &bob), (&ann, &carol), (&bob, &carol)] {
            one.sees(other);
            other.sees(one);
            one.are_contacts(other);
        }
        ann.tells(&bob, "hello");
        bob.tells(&ann, "hello yourself");
        Self {
            ann,
            bob,
            carol,
            _lab: lab,
        }
    }
}

fn mailbox(node: &Node) -> Value {
    node.run(&["mailbox"]).expect(0).json()[0].clone()
}

fn is_held_by(node: &Node, holder: &Node) {
    until("a holder", LIMIT, || {
        let shown = mailbox(node);
        let first = &shown["held_by"][0];
        match first["id"] == holder.id() && first["fetched_at"].is_string() {
            true => Ok(()),
            false => Err(shown.to_string()),
        }
    });
}

/// Whether a holder has all receipts of a node.
fn owes_nothing(node: &Node) -> Result<(), String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let db = Connection::open_with_flags(node.home().database(), flags).expect("it is there");
    // The kind of a row that says what is owed by mail.
    let owed = "SELECT count(*) FROM mail WHERE kind = 4";
    match db.query_row(owed, [], |row| row.get::<_, i64>(0)) {
        Ok(0) => Ok(()),
        owed => Err(format!("{owed:?}")),
    }
}

/// The envelopes that a node holds for others.
fn holds(node: &Node) -> u64 {
    mailbox(node)["holding"]["envelopes"]
        .as_u64()
        .expect("it holds mail")
}

#[test]
fn a_node_holds_mail_between_contacts_that_never_meet() {
    let office = Office::with("hold-for = \"contacts\"\n");
    let Office {
        ann, bob, carol, ..
    } = &office;
    for node in [ann, bob] {
        is_held_by(node, carol);
    }
    // Both have told each other since.
    ann.tells(bob, "carol holds my mail");
    bob.tells(ann, "mine, too");
    bob.terminate();
    let sent = texts(300);
    let mut client = ann.client();
    assert!(client.is_open());
    for text in &sent {
        let to = bob.id().parse().expect("an id");
        client.submit(to, text).expect("ann stores it");
    }
    all_are(ann, bob, "held");
    assert_eq!(mailbox(ann)["deposited"][0]["holder"], carol.id());
    assert!(holds(carol) > 0);
    drop(client);
    ann.terminate();

    bob.start();
    let mut all = [
        "hello",
        "hello yourself",
        "carol holds my mail",
        "mine, too",
    ]
    .map(str::to_owned)
    .to_vec();
    all.extend(sent);
    bob.shows_conversation(ann, &all, LIMIT);
    until("bob's receipts are held", LIMIT, || owes_nothing(bob));
    assert!(holds(carol) > 0);
    bob.terminate();
    ann.start();
    all_are(ann, bob, "delivered");
    let shown = carol.run(&["mailbox"]).expect(0);
    assert_eq!(shown.json()[0]["holding"]["recipients"], 2);
}

#[test]
fn only_named_contacts_have_their_mail_held() {
    let office = Office::with("hold-for = [\"bob\"]\nhold-max = \"1M\"\n");
    let Office {
        ann, bob, carol, ..
    } = &office;
    is_held_by(bob, carol);
    let holding = mailbox(carol)["holding"].clone();
    assert_eq!(
        (&holding["recipients"], &holding["bytes_max"]),
        (&1.into(), &1_000_000.into())
    );
    assert_eq!(mailbox(ann)["held_by"], Value::Array(Vec::new()));
    assert_eq!(mailbox(bob)["holding"], Value::Null);
}
