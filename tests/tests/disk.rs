//! Disks that are full or read-only, and unreadable databases: the node reports a clear error and
//! never confirms a message that it did not store.

use std::time::Duration;

use hobnob_tests::lab::{Home, Lab, Output, until};

#[test]
fn a_node_with_a_full_disk_confirms_only_stored_messages_and_recovers_when_there_is_room() {
    let lab = Lab::open();
    let office = lab.switch();
    let home = office.machine("ann").home("ann");
    home.put_on_small_disk("16m");
    let (ann, bob) = (home.up(&[]), office.machine("bob").up("bob", &[]));
    ann.sees(&bob);
    ann.tells(&bob, "there is room");
    bob.befriends(&ann);

    home.fill_disk();
    let mut acknowledged = vec!["there is room".to_owned()];
    // The database may store a few more messages in space that it has reserved.
    let refused = (0..1_000).find_map(|number| {
        let text = format!("{number} {}", "x".repeat(8_000));
        let sent = ann.run(&["send", "--wait", "queued", bob.id(), &text]);
        if sent.code == Some(0) {
            acknowledged.push(text);
            return None;
        }
        Some(sent)
    });
    let refused = refused
        .expect("a full disk cannot store 8 MB")
        .expect(FAULT);
    is_clear(&refused, &["disk", "space", "full"]);
    assert!(!refused.stdout.contains("\"sent\""), "{refused}");

    home.free_disk();
    let again = until("sending works again", Duration::from_secs(30), || {
        let sent = ann.run(&["send", bob.id(), "there is room again"]);
        if sent.code == Some(0) {
            Ok("there is room again".to_owned())
        } else {
            Err(sent.to_string())
        }
    });
    acknowledged.push(again);
    ann.shows_conversation(&bob, &acknowledged, Duration::from_secs(30));
    bob.shows_conversation(&ann, &acknowledged, Duration::from_secs(30));
    ann.restart();
    ann.shows_conversation(&bob, &acknowledged, Duration::from_secs(5));
}

#[test]
fn a_recipient_with_a_full_disk_sends_no_receipt_before_it_has_stored_the_message() {
    let lab = Lab::open();
    let office = lab.switch();
    let home = office.machine("bob").home("bob");
    home.put_on_small_disk("16m");
    let (ann, bob) = (office.machine("ann").up("ann", &[]), home.up(&[]));
    ann.sees(&bob);
    ann.tells(&bob, "there is room");
    bob.befriends(&ann);
    home.fill_disk();
    let mut texts = vec!["there is room".to_owned()];
    for number in 0..200 {
        let text = format!("{number} {}", "x".repeat(16_000));
        ann.queues(&bob, &text);
        texts.push(text);
    }
    // The recipient cannot store 3 MB, so the messages cannot be delivered.
    ann.run(&["send", "--timeout", "3s", bob.id(), "the last"])
        .expect(STILL_QUEUED);
    texts.push("the last".to_owned());
    home.free_disk();
    bob.shows_conversation(&ann, &texts, Duration::from_secs(90));
}

#[test]
fn a_database_of_a_newer_program_is_not_modified() {
    let lab = Lab::open();
    let home = used_home(&lab);
    let database = home.database();
    let connection = rusqlite::Connection::open(&database).expect("the database opens");
    connection
        .pragma_update(None, "user_version", 9_999)
        .expect("the database can be changed");
    connection
        .close()
        .map_err(|(_, error)| error)
        .expect("the database closes");
    let before = std::fs::read(&database).expect("the database can be read");
    is_clear(&home.run(&["up"]).expect(FAULT), &["newer"]);
    is_clear(&home.run(&["history"]).expect(FAULT), &["newer"]);
    assert_eq!(
        std::fs::read(&database).expect("the database can be read"),
        before,
        "the database was not modified"
    );
}

#[test]
fn a_damaged_database_is_an_error_and_is_not_replaced() {
    let lab = Lab::open();
    let home = used_home(&lab);
    let database = home.database();
    let length = std::fs::metadata(&database)
        .expect("the database exists")
        .len();
    let garbage = vec![0xa5; usize::try_from(length).expect("a small file")];
    std::fs::write(&database, &garbage).expect("the database can be written to");
    is_clear(
        &home.run(&["up"]).expect(FAULT),
        &["damaged", "corrupt", "not a database"],
    );
    assert_eq!(
        std::fs::read(&database).expect("the database can be read"),
        garbage,
        "the database was not replaced"
    );
}

#[test]
fn a_read_only_home_is_an_error() {
    let lab = Lab::open();
    let home = used_home(&lab);
    home.make_read_only();
    is_clear(
        &home.run(&["up"]).expect(FAULT),
        &["read-only", "readonly", "read only"],
    );
    is_clear(
        &home
            .run(&["send", "--timeout", "1s", "10.77.0.1:4626", "hi"])
            .expect(FAULT),
        &["read-only", "readonly", "read only"],
    );
}

#[test]
fn a_home_that_cannot_be_created_is_an_error() {
    let lab = Lab::open();
    let ann = lab.machine("ann");
    let refused = ann
        .hobnob(&["--home", "/proc/no/such/place", "up"])
        .expect(FAULT);
    is_clear(&refused, &["/proc/no/such/place"]);
}

#[test]
fn only_the_owner_can_read_the_key_and_the_messages() {
    let lab = Lab::open();
    let home = used_home(&lab);
    let find = |arguments: &[&str]| {
        let path = home.path().to_string_lossy();
        home.machine()
            .run("find", &[&[&*path], arguments].concat())
            .expect(0)
            .stdout
    };
    assert_ne!(
        find(&["-type", "f", "-perm", "600"]),
        "",
        "there is a key file that only its owner can read"
    );
    let folder_is_open = !find(&["-maxdepth", "0", "-perm", "/077"]).is_empty();
    let open_files = find(&["-type", "f", "-perm", "/077"]);
    assert!(
        !folder_is_open || open_files.is_empty(),
        "others can read {open_files}"
    );
}

/// A home in which a node has run and exited normally.
fn used_home(lab: &Lab) -> Home {
    let home = lab.switch().machine("ann").home("ann");
    home.up(&[]).terminate();
    home
}

/// Checks that an error contains one of these words and no panic or backtrace.
fn is_clear(refused: &Output, one_of: &[&str]) {
    let error = refused.stderr.to_lowercase();
    assert!(
        one_of.iter().any(|word| error.contains(word)),
        "none of {one_of:?}: {refused}"
    );
    assert!(
        !error.contains("panicked") && !error.contains("backtrace"),
        "{refused}"
    );
}

const FAULT: i32 = 1;
const STILL_QUEUED: i32 = 4;
