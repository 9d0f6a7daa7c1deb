//! Tests of replies, edits and reactions: what the history and the search show of them.

use hobnob_protocol::EntryRef;

use super::super::history::HistoryRow;
use super::super::{HistoryRequest, Mentions, amendments};
use super::*;

fn ann() -> Author {
    Author::new(1, lobby())
}

fn bob() -> Author {
    Author::new(2, lobby())
}

fn edit(author: &mut Author, seq: Seq, text: &str) -> Arc<CheckedBatch> {
    let (log, text) = (author.name.log, text.to_owned());
    author.writes(vec![Body::Edit { log, seq, text }])
}

fn to(name: LogName, seq: Seq) -> EntryRef {
    EntryRef {
        author: Some(name.author),
        log: name.log,
        seq,
    }
}

fn reply(author: &mut Author, to: EntryRef, text: &str) -> Arc<CheckedBatch> {
    let text = text.to_owned();
    author.writes(vec![Body::Reply { to, text }])
}

fn react(author: &mut Author, to: EntryRef, emoji: &str, on: bool) -> Arc<CheckedBatch> {
    let emoji = emoji.to_owned();
    author.writes(vec![Body::React { to, emoji, on }])
}

fn erase(home: &mut Home, name: LogName, seq: Seq, by_author: bool) {
    let seqs = Ranges::span(seq, seq);
    home.commit(vec![Op::Erase {
        name,
        seqs,
        by_author,
    }]);
}

fn read(home: &Home, request: HistoryRequest) -> Vec<HistoryRow> {
    let request = HistoryRequest {
        shown: true,
        limit: 100,
        ..request
    };
    wait(home.store().history(request)).unwrap()
}

fn search(home: &Home, words: &str) -> usize {
    let search = Some(words.to_owned());
    let request = HistoryRequest {
        search,
        ..HistoryRequest::default()
    };
    read(home, request).len()
}

fn in_lobby(home: &Home) -> Vec<HistoryRow> {
    let conversation = Some(lobby());
    read(
        home,
        HistoryRequest {
            conversation,
            ..HistoryRequest::default()
        },
    )
}

fn texts(row: &HistoryRow) -> Vec<&str> {
    let edits = row.amendments.edits.iter();
    edits.map(|edit| edit.text.as_str()).collect()
}

/// A home with one message of Ann.
fn home(text: &str) -> (Home, Author) {
    let (mut home, mut ann) = (Home::new(), ann());
    let batch = ann.says(&[text]);
    home.commit(vec![the_lobby(true), append(&batch)]);
    (home, ann)
}

#[test]
fn an_edited_message_is_found_by_its_newest_words_only() {
    for indexed_before in [true, false] {
        let (mut home, mut ann) = home("trombone");
        if indexed_before {
            assert_eq!(search(&home, "trombone"), 1);
        }
        for text in ["xylophone", "marimba"] {
            home.commit(vec![append(&edit(&mut ann, 1, text))]);
            if indexed_before {
                assert_eq!(search(&home, text), 1);
            }
        }
        let found = |word| search(&home, word);
        assert_eq!(
            [found("trombone"), found("xylophone"), found("marimba")],
            [0, 0, 1]
        );
        let rows = in_lobby(&home);
        assert_eq!(rows.len(), 1, "edits are part of the message");
        assert_eq!(texts(&rows[0]), ["xylophone", "marimba"]);
    }
}

#[test]
fn a_search_without_the_index_compares_the_newest_words_only() {
    let (mut home, mut ann) = home("今晩は");
    home.commit(vec![append(&edit(&mut ann, 1, "明日は晴"))]);
    // The index has pairs of Han characters, and no single ones.
    assert_eq!([search(&home, "今"), search(&home, "明")], [0, 1]);
    assert_eq!([search(&home, "今晩"), search(&home, "明日")], [0, 1]);
    erase(&mut home, ann.name, 2, true);
    assert_eq!([search(&home, "今"), search(&home, "明")], [1, 0]);
}

#[test]
fn an_edit_that_arrives_before_its_message_counts() {
    let (mut home, mut ann) = (Home::new(), ann());
    let message = ann.says(&["trombone"]);
    let mut later = Author {
        name: LogName {
            log: LogId(7),
            ..ann.name
        },
        ..self::ann()
    };
    (later.head, later.lamport) = (later.name.genesis(), 9);
    let (log, seq, text) = (ann.name.log, 1, "marimba".to_owned());
    let edit = later.writes(vec![Body::Edit { log, seq, text }]);
    home.commit(vec![the_lobby(true), append(&edit)]);
    assert_eq!(search(&home, "marimba"), 0);
    home.commit(vec![append(&message)]);
    assert_eq!(
        [search(&home, "marimba"), search(&home, "trombone")],
        [1, 0]
    );
}

#[test]
fn an_erased_edit_gives_way_to_the_one_before_it() {
    let (mut home, mut ann) = home("trombone");
    for text in ["xylophone", "marimba"] {
        home.commit(vec![append(&edit(&mut ann, 1, text))]);
    }
    assert_eq!(search(&home, "marimba"), 1);
    erase(&mut home, ann.name, 3, true);
    assert_eq!(
        [search(&home, "marimba"), search(&home, "xylophone")],
        [0, 1]
    );
    erase(&mut home, ann.name, 2, true);
    assert_eq!(
        [search(&home, "xylophone"), search(&home, "trombone")],
        [0, 1]
    );
    erase(&mut home, ann.name, 1, true);
    assert_eq!(search(&home, "trombone"), 0);
    let rows = in_lobby(&home);
    assert!(
        rows.len() == 1 && rows[0].deleted,
        "the deleted edits have no places of their own"
    );
}

#[test]
fn no_file_contains_an_edited_message_and_its_edits_when_they_are_erased() {
    let (mut home, mut ann) = home("quick trombone");
    home.commit(vec![append(&edit(&mut ann, 1, "quick xylophone"))]);
    let quoting = reply(&mut bob(), to(ann.name, 1), "never heard one");
    home.commit(vec![append(&quoting)]);
    assert_eq!(search(&home, "xylophone"), 1);
    let edits = wait(home.store().edits_of(ann.name, 1)).unwrap();
    assert_eq!(edits, [(ann.name, Ranges::span(2, 2))].into());
    for seq in [2, 1] {
        erase(&mut home, ann.name, seq, true);
    }
    wait(home.store().scrub()).unwrap();
    for word in ["rombone", "ylophone"] {
        assert!(!super::erase::some_file_contains(&home, word), "{word}");
    }
    // The quote is gone with the message.
    let rows = in_lobby(&home);
    let mut replies = rows.iter();
    let quoted = replies.find_map(|row| row.amendments.reply_to.as_ref());
    let quoted = quoted.unwrap();
    assert_eq!((quoted.seq, &quoted.body), (1, &None));
}

#[test]
fn old_edits_leave_with_their_message() {
    let (mut home, mut ann) = home("trombone");
    let late = edit(&mut ann, 1, "xylophone");
    home.commit(vec![append_at(&late, 900_000)]);
    let older = wait(home.store().older_than(lobby(), 800_000)).unwrap();
    assert_eq!(older, [(ann.name, Ranges::span(1, 2))].into());
}

#[test]
fn the_newest_decision_about_an_emoji_counts() {
    let (mut home, ann) = home("shall we?");
    let (message, mut bob) = (to(ann.name, 1), bob());
    let mut carol = Author::new(3, lobby());
    for batch in [
        react(&mut bob, message, "👍", true),
        react(&mut carol, message, "👍", true),
        react(&mut bob, message, "🎉", true),
        react(&mut bob, message, "👍", false),
    ] {
        home.commit(vec![append(&batch)]);
    }
    let rows = in_lobby(&home);
    assert_eq!(rows.len(), 1);
    let by = |peer: u8| vec![super::peer(peer)];
    let expected = [("👍".to_owned(), by(3)), ("🎉".to_owned(), by(2))];
    let mut reactions = rows[0].amendments.reactions.clone();
    reactions.sort_by_key(|(emoji, _)| emoji != "👍");
    assert_eq!(reactions, expected);
}

#[test]
fn a_reply_has_the_newest_text_that_it_answers() {
    let (mut home, mut ann) = home("noon?");
    let answer = reply(&mut bob(), to(ann.name, 1), "yes");
    home.commit(vec![append(&answer)]);
    home.commit(vec![append(&edit(&mut ann, 1, "one?"))]);
    let rows = in_lobby(&home);
    let answer = rows.iter().find(|row| row.name.author == super::peer(2));
    let quoted = answer.unwrap().amendments.reply_to.clone().unwrap();
    assert_eq!(quoted.body, Some(Body::Text("one?".into())));
    assert_eq!(search(&home, "yes"), 1, "a reply is a text");
}

#[test]
fn a_thread_has_the_message_that_began_it_and_all_replies() {
    let (mut home, mut ann) = home("lunch?");
    let mut bob = bob();
    let first = reply(&mut bob, to(ann.name, 1), "where?");
    let second = reply(&mut ann, to(bob.name, 1), "here");
    let other = ann.says(&["unrelated"]);
    for batch in [&first, &second, &other] {
        home.commit(vec![append(batch)]);
    }
    for of in [(ann.name.log, 1), (bob.name.log, 1), (ann.name.log, 2)] {
        let request = HistoryRequest {
            thread: Some(of),
            ..HistoryRequest::default()
        };
        let found: Vec<_> = read(&home, request)
            .iter()
            .map(|row| (row.name.log, row.seq))
            .collect();
        assert_eq!(
            found,
            [(ann.name.log, 1), (bob.name.log, 1), (ann.name.log, 2)]
        );
    }
}

#[test]
fn an_entry_about_another_one_is_alone_in_its_batch() {
    let (mut home, mut ann) = home("a");
    for batch in [
        ann.says(&["b"]),
        edit(&mut ann, 1, "c"),
        ann.says(&["d"]),
        ann.says(&["e"]),
    ] {
        home.commit(vec![append(&batch)]);
    }
    let batches = wait(home.store().read_batches(ann.name, 1, 5, 1_000_000)).unwrap();
    let firsts: Vec<_> = batches.iter().map(|batch| batch.first).collect();
    assert_eq!(firsts, [1, 3, 4]);
}

#[test]
fn the_own_deletion_of_a_message_is_known() {
    let (mut home, mut ann) = home("a");
    let log = ann.name.log;
    let deletion = ann.writes(vec![Body::Delete { log, seq: 1 }]);
    home.commit(vec![append(&deletion)]);
    erase(&mut home, ann.name, 1, true);
    let rows = in_lobby(&home);
    assert_eq!(rows[0].amendments.deletion, Some((ann.name, 2)));
}

#[test]
fn trimmed_edits_leave_the_index() {
    let (mut home, mut ann) = home("trombone");
    home.commit(vec![append(&edit(&mut ann, 1, "xylophone"))]);
    home.commit(vec![append(&ann.says(&["kazoo"]))]);
    assert_eq!(search(&home, "xylophone"), 1);
    home.commit(vec![Op::Trim(ann.name, 3)]);
    let found = |word| search(&home, word);
    assert_eq!(
        [found("trombone"), found("xylophone"), found("kazoo")],
        [0, 0, 1]
    );
}

#[test]
fn the_list_of_mentions_follows_edits_and_deletions() {
    let bob_is_called = Mentions::new(
        bob().name.author,
        &hobnob_protocol::Nickname::new("bob").unwrap(),
        &[],
    );
    for indexed_before in [true, false] {
        let mut home = Home::new();
        home.store().set_mentions(bob_is_called.clone());
        let (mut ann, mut bob) = (ann(), bob());
        let called = |home: &Home| {
            let request = HistoryRequest {
                mentions: true,
                ..HistoryRequest::default()
            };
            let rows = read(home, request).into_iter();
            rows.map(|row| (row.name.author, row.seq))
                .collect::<Vec<_>>()
        };
        let look = |home: &Home| drop(called(home));
        let batch = ann.says(&["hi", "@bob look", "@bob too"]);
        home.commit(vec![the_lobby(true), append(&batch)]);
        home.commit(vec![append(&bob.says(&["@bob is me"]))]);
        if indexed_before {
            look(&home);
        }
        home.commit(vec![append(&edit(&mut ann, 1, "hi @bob"))]);
        home.commit(vec![append(&edit(&mut ann, 2, "never mind"))]);
        let author = ann.name.author;
        assert_eq!(called(&home), [(author, 1), (author, 3)]);
        erase(&mut home, ann.name, 3, true);
        assert_eq!(called(&home), [(author, 1)]);
        // Without its last edit, the message calls nobody.
        erase(&mut home, ann.name, 4, true);
        assert_eq!(called(&home), []);
    }
}

#[test]
fn a_message_that_was_judged_stays_a_mention_or_none() {
    let named = |name: &str| {
        let nick = hobnob_protocol::Nickname::new(name).unwrap();
        Mentions::new(bob().name.author, &nick, &[])
    };
    let mut home = Home::new();
    home.store().set_mentions(named("bob"));
    let judged = |home: &Home| {
        let rows = read(home, HistoryRequest::default());
        rows.into_iter().map(|row| row.mention).collect::<Vec<_>>()
    };
    let batch = ann().says(&["@bob look", "@rob look"]);
    home.commit(vec![the_lobby(true), append(&batch)]);
    for words in ["rob", "bob"] {
        // The first change of the name puts all messages into the index.
        home.store().set_mentions(named(words));
        home.commit(vec![]);
        assert_eq!(judged(&home), [Some(true), Some(false)], "{words}");
    }
}

#[test]
fn the_newest_topic_counts_and_deleting_it_brings_the_one_before_back() {
    let (mut home, mut ann, mut bob) = (Home::new(), ann(), bob());
    let shown = |home: &Home| {
        let topics = wait(home.store().topics()).unwrap();
        topics.get(&lobby()).map(|topic| topic.text.clone())
    };
    let topic = |author: &mut Author, text: &str| author.writes(vec![Body::Topic(text.to_owned())]);
    assert_eq!(shown(&home), None);
    home.commit(vec![the_lobby(true), append(&topic(&mut ann, "one"))]);
    assert_eq!(shown(&home).as_deref(), Some("one"));
    let both = [topic(&mut ann, "two"), topic(&mut bob, "of bob")];
    home.commit(both.iter().map(append).collect());
    // The order of the conversation decides, on every node.
    let place =
        |at: usize, name: LogName| (both[at].entries[0].entry.lamport, name.author, name.log);
    let bob_wins = place(1, bob.name) > place(0, ann.name);
    let expected = if bob_wins { "of bob" } else { "two" };
    assert_eq!(shown(&home).as_deref(), Some(expected));
    for _ in 0..3 {
        let last = topic(&mut ann, "three");
        home.commit(vec![append(&last)]);
    }
    assert_eq!(shown(&home).as_deref(), Some("three"));
    home.commit(vec![append(&topic(&mut ann, ""))]);
    assert_eq!(shown(&home), None, "an empty topic removes it");
    erase(&mut home, ann.name, 6, true);
    assert_eq!(shown(&home).as_deref(), Some("three"));
}

#[test]
fn pins_follow_the_newest_decision_and_deletions() {
    let (mut home, mut ann) = home("first");
    let of = |seq| EntryRef {
        author: None,
        log: ann.name.log,
        seq,
    };
    let refs = [of(1), of(2), of(3)];
    let pinned = |home: &Home| -> Vec<Seq> {
        let rows = wait(home.store().pinned(lobby())).unwrap();
        rows.iter().map(|row| row.seq).collect()
    };
    let pin = |author: &mut Author, to, on| author.writes(vec![Body::Pin { to, on }]);
    home.commit(vec![append(&ann.says(&["second", "third"]))]);
    for to in refs {
        home.commit(vec![append(&pin(&mut ann, to, true))]);
    }
    assert_eq!(pinned(&home), [1, 2, 3]);
    home.commit(vec![append(&pin(&mut ann, refs[1], false))]);
    assert_eq!(pinned(&home), [1, 3]);
    home.commit(vec![append(&pin(&mut ann, refs[0], true))]);
    assert_eq!(pinned(&home), [3, 1], "the one pinned last is at the end");
    erase(&mut home, ann.name, 3, true);
    assert_eq!(pinned(&home), [1], "a deleted message is not pinned");
    // Without its last two pins, the newest decision is the first one.
    erase(&mut home, ann.name, 8, true);
    assert_eq!(pinned(&home), [1]);
    erase(&mut home, ann.name, 7, true);
    assert_eq!(pinned(&home), [1, 2]);
}

#[test]
fn only_the_messages_pinned_last_are_shown() {
    let (mut home, mut ann) = home("first");
    let count = amendments::PINS_SHOWN_MAX + 1;
    let texts = vec!["more"; count];
    home.commit(vec![append(&ann.says(&texts))]);
    for seq in (2..).take(count) {
        let to = EntryRef {
            author: None,
            log: ann.name.log,
            seq,
        };
        home.commit(vec![append(&ann.writes(vec![Body::Pin { to, on: true }]))]);
    }
    let rows = wait(home.store().pinned(lobby())).unwrap();
    assert_eq!((rows.len(), rows[0].seq), (amendments::PINS_SHOWN_MAX, 3));
}
