//! The commands that erase: `delete`, `clear`, `forget`, `contacts delete` and `keep`. Afterwards no
//! file of the home contains the texts, the database's log and its search index included.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hobnob_tests::lab::{Lab, Node, until};

/// How long a node takes at most to erase what its peer has deleted.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn erased_texts_are_in_no_file_of_the_home() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    ann.are_contacts(&bob);

    let deleted = ann.tells(&bob, "xylophone");
    bob.tells(&ann, "marmalade");
    ann.says("saxophone");
    bob.shows_once("saxophone");
    bob.says("trombone");
    ann.shows_once("trombone");
    let path = lab.file("accordion.txt", "no secret");
    ann.run(&["send", bob.id(), "--wait", "queued", "--file", &path])
        .expect(0);
    // The search index is filled by the first search.
    ann.run(&["search", "saxophone"]).expect(0);
    // The search for bytes finds all of them while they are there.
    for word in [
        "xylophone",
        "marmalade",
        "saxophone",
        "trombone",
        "accordion",
    ] {
        assert!(holds(&ann, word), "{word} is not found");
    }

    ann.run(&["delete", &deleted]).expect(0);
    assert!(!holds(&ann, "xylophone"));
    until("bob erases what ann deleted", SOON, || {
        if holds(&bob, "xylophone") {
            return Err("it is still there".to_owned());
        }
        Ok(())
    });

    ann.run(&["clear", "#lobby"]).expect(0);
    assert!(!holds(&ann, "saxophone") && !holds(&ann, "trombone"));
    assert!(holds(&ann, "marmalade"), "another conversation stays");

    ann.run(&["forget", bob.id(), "--yes"]).expect(0);
    assert!(!holds(&ann, "marmalade"));
    assert!(!holds(&ann, "accordion"), "the place of the offered file");

    bob.says("glockenspiel");
    ann.shows_once("glockenspiel");
    assert!(holds(&ann, "glockenspiel"));
    // A forgotten peer whose session has not ended is known again when it writes, so the short id
    // that is shown names it.
    let short = &bob.id()[..8];
    let found = ann.run(&["whois", short]).expect(0).one_json();
    assert_eq!(found["peer"], bob.id());
    ann.run(&["ignore", short]).expect(0);
    ann.run(&["unignore", short]).expect(0);
    ann.run(&["keep", "#lobby", "1s"]).expect(0);
    until("the text is too old", SOON, || {
        ann.run(&["keep", "#lobby", "1s"]).expect(0);
        if holds(&ann, "glockenspiel") {
            return Err("it is still there".to_owned());
        }
        Ok(())
    });

    ann.restart();
    for word in [
        "xylophone",
        "marmalade",
        "saxophone",
        "trombone",
        "accordion",
        "glockenspiel",
    ] {
        assert!(!holds(&ann, word), "{word} is back");
    }
}

#[test]
fn a_request_is_deleted_with_the_name_and_the_addresses_of_the_stranger() {
    let lab = Lab::open();
    let office = lab.switch();
    let (ann, eve) = (
        office.machine("ann").up("ann", &["--no-mdns"]),
        office.machine("eve").up("evangeline", &["--no-mdns"]),
    );
    let address = format!("{}:4626", ann.machine().ipv4());
    eve.run(&["send", &address, "bandoneon"]).expect(0);
    ann.shows_once("bandoneon");
    eve.terminate();
    ann.loses_within(&eve, SOON);
    let listed = ann.run(&["contacts"]).expect(0).one_json();
    assert_eq!(
        (&listed["peer"], &listed["request"]),
        (&eve.id().into(), &1.into())
    );
    assert!(holds(&ann, "bandoneon") && holds(&ann, "evangeline"));
    ann.run(&["contacts", "accept", eve.id()]).expect(0);
    ann.run(&["contacts", "delete", eve.id()])
        .expect(2)
        .says(&["is a contact", "hobnob forget"]);
    assert!(holds(&ann, "bandoneon"));
    ann.run(&["contacts", "remove", eve.id()]).expect(0);
    ann.run(&["contacts", "delete", eve.id()]).expect(0);
    assert!(!holds(&ann, "bandoneon"));
    assert_eq!(ann.run(&["contacts"]).expect(0).stdout, "");
    ann.restart();
    assert!(!holds(&ann, "evangeline"));
    let peers = ann.peers();
    assert!(
        peers.iter().all(|peer| peer["nick"] != "evangeline"),
        "{peers:?}"
    );
}

/// Whether any file of the node's home contains these bytes.
fn holds(node: &Node, word: &str) -> bool {
    let mut files = Vec::new();
    list(node.home().path(), &mut files);
    assert!(files.len() > 1, "a home has a key and a database");
    files.iter().any(|path| {
        // A file that is gone by now contains nothing.
        let bytes = fs::read(path).unwrap_or_default();
        bytes
            .windows(word.len())
            .any(|part| part == word.as_bytes())
    })
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the home can be read") {
        let entry = entry.expect("the home can be read");
        let kind = entry.file_type().expect("the home can be read");
        if kind.is_dir() {
            list(&entry.path(), files);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
}
