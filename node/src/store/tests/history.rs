//! Tests of history and search as users request them.

use proptest::prelude::*;

use super::super::words::SearchTerms;
use super::super::{HistoryRequest, HistoryRow};
use super::*;

fn texts(home: &Home, request: HistoryRequest) -> Vec<String> {
    wait(home.store().history(request))
        .unwrap()
        .into_iter()
        .map(|row| text(&row))
        .collect()
}

fn text(row: &HistoryRow) -> String {
    match &row.entry.body {
        Body::Text(text) => text.clone(),
        other @ (Body::App { .. }
        | Body::Offer(_)
        | Body::Reply { .. }
        | Body::Edit { .. }
        | Body::React { .. }
        | Body::Topic(_)
        | Body::Pin { .. }
        | Body::Delete { .. }
        | Body::Erased { .. }
        | Body::Unknown { .. }) => format!("{other:?}"),
    }
}

fn of_lobby(limit: usize) -> HistoryRequest {
    HistoryRequest {
        conversation: Some(lobby()),
        limit,
        ..HistoryRequest::default()
    }
}

/// A page of history. Whether the index has seen an entry is a matter of time.
fn page(home: &Home, request: HistoryRequest) -> Vec<HistoryRow> {
    let mut rows = wait(home.store().history(request)).unwrap();
    rows.iter_mut().for_each(|row| row.mention = None);
    rows
}

/// Checks display order and paging: any page size, in either direction, returns each row once.
fn check_paging(home: &Home, request: HistoryRequest, expected: &[HistoryRow]) {
    for step in [1, 2, 7, 1_000] {
        let mut pages: Vec<HistoryRow> = Vec::new();
        let mut before = None;
        loop {
            let request = HistoryRequest {
                before,
                limit: step,
                ..request.clone()
            };
            let page = page(home, request);
            let Some(first) = page.first() else { break };
            before = Some((first.name.log, first.seq));
            pages.splice(0..0, page);
        }
        assert_eq!(pages, expected, "in steps of {step}");
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let next = HistoryRequest {
                after,
                oldest: true,
                limit: step,
                ..request.clone()
            };
            let page = page(home, next);
            let Some(last) = page.last() else { break };
            after = Some((last.name.log, last.seq));
            pages.extend(page);
        }
        assert_eq!(pages, expected, "forward, in steps of {step}");
    }
}

/// Four authors write at the same time, so that Lamport numbers tie. A direct conversation exists
/// as well.
fn busy_home() -> (Home, Vec<HistoryRow>) {
    let mut home = Home::new();
    home.commit(vec![the_lobby(true), direct(9)]);
    let mut authors: Vec<_> = (1..=4).map(|number| Author::new(number, lobby())).collect();
    authors.push(Author::new(9, ConversationId::direct(peer(0), peer(9))));
    let mut rows = Vec::new();
    for round in 0u64..12 {
        for author in &mut authors {
            let batch = author.chats(if round % 3 == 0 { 2 } else { 1 });
            // The clock jumps back halfway.
            let received_at_ms = 100 + if round > 6 { round - 5 } else { round };
            home.commit(vec![append_at(&batch, received_at_ms)]);
            rows.extend(
                (batch.first()..)
                    .zip(&batch.entries)
                    .map(|(seq, kept)| HistoryRow {
                        name: author.name,
                        seq,
                        entry: kept.entry.clone(),
                        received_at_ms,
                        deleted: false,
                        amendments: Default::default(),
                        client_id: None,
                        mention: None,
                    }),
            );
        }
    }
    (home, rows)
}

#[test]
fn a_conversation_is_paged_in_display_order() {
    let (home, mut rows) = busy_home();
    rows.retain(|row| row.name.conversation == lobby());
    rows.sort_by_key(|row| (row.entry.lamport, row.name.author, row.seq));
    check_paging(&home, of_lobby(0), &rows);
    let since = HistoryRequest {
        since_ms: Some(104),
        ..of_lobby(0)
    };
    rows.retain(|row| row.received_at_ms >= 104);
    check_paging(&home, since.clone(), &rows);
    let search = HistoryRequest {
        search: Some("number 1".into()),
        ..since
    };
    // A search is in arrival order, so that a page of a large result costs only its own rows.
    let (_, mut rows) = busy_home();
    rows.retain(|row| row.name.conversation == lobby() && row.received_at_ms >= 104);
    rows.retain(|row| text(row).contains("number 1"));
    check_paging(&home, search, &rows);
}

#[test]
fn all_conversations_are_paged_in_arrival_order_despite_clock_jumps() {
    let (home, mut rows) = busy_home();
    check_paging(&home, HistoryRequest::default(), &rows);
    let search = HistoryRequest {
        search: Some("number".into()),
        ..HistoryRequest::default()
    };
    check_paging(&home, search, &rows);
    rows.retain(|row| row.received_at_ms >= 104);
    check_paging(
        &home,
        HistoryRequest {
            since_ms: Some(104),
            ..HistoryRequest::default()
        },
        &rows,
    );
}

#[test]
fn continuing_after_the_last_entry_returns_all_later_arrivals() {
    let mut home = Home::new();
    home.commit(vec![the_lobby(true), direct(9)]);
    let [mut ann, mut bob] = [1, 2].map(|number| Author::new(number, lobby()));
    let mut last = None;
    let mut gets = |home: &Home| {
        let request = HistoryRequest {
            after: last,
            oldest: true,
            limit: 99,
            ..HistoryRequest::default()
        };
        let page = wait(home.store().history(request)).unwrap();
        last = page.last().map(|row| (row.name.log, row.seq)).or(last);
        page.len()
    };
    let later = bob.chats(2);
    home.commit(vec![append_at(&ann.chats(3), 1_000)]);
    home.commit(vec![append_at(&ann.chats(3), 1_000)]);
    assert_eq!(gets(&home), 6);
    // These entries have lower Lamport numbers, and the clock has jumped back.
    home.commit(vec![append_at(&later, 10)]);
    assert_eq!(gets(&home), 2);
    home.restart();
    home.commit(vec![append_at(&ann.chats(1), 5)]);
    assert_eq!((gets(&home), gets(&home)), (1, 0));
}

#[test]
fn continuing_after_a_deleted_entry_is_an_error() {
    let mut home = Home::new();
    let mut ann = Author::new(1, lobby());
    home.commit(vec![
        the_lobby(true),
        append(&ann.chats(5)),
        Op::Trim(ann.name, 4),
    ]);
    let request = HistoryRequest {
        after: Some((ann.name.log, 3)),
        ..of_lobby(9)
    };
    assert_eq!(
        wait(home.store().history(request)),
        Err(StoreError::NotHeld)
    );
}

#[test]
fn requests_without_a_match_return_nothing() {
    let (home, _) = busy_home();
    let cases = [
        HistoryRequest {
            conversation: Some(ConversationId::from_bytes([0; 32])),
            limit: 9,
            ..HistoryRequest::default()
        },
        HistoryRequest {
            before: Some((LogId(1), 1)),
            ..of_lobby(9)
        },
        HistoryRequest {
            before: Some((LogId(u64::MAX - 1), Seq::MAX)),
            ..of_lobby(9)
        },
        HistoryRequest {
            since_ms: Some(u64::MAX),
            ..of_lobby(9)
        },
        HistoryRequest {
            search: Some("nowhere".into()),
            ..of_lobby(9)
        },
        HistoryRequest {
            search: Some("!!".into()),
            ..of_lobby(9)
        },
        of_lobby(0),
    ];
    for request in cases {
        assert!(texts(&home, request.clone()).is_empty(), "{request:?}");
    }
    assert_eq!(wait(home.store().message(LogId(1), 1)), Ok(None));
    let found = wait(home.store().message(LogId(u64::MAX - 1), 2))
        .unwrap()
        .expect("ann's second");
    assert_eq!((found.name.author, found.seq), (peer(1), 2));
}

#[test]
fn an_entry_is_found_by_the_name_that_a_program_gave_it_also_after_a_restart() {
    let mut home = Home::new();
    let mut ann = Author::new(1, lobby());
    let named = |home: &Home, id: &str| wait(home.store().named(id.parse().unwrap())).unwrap();
    home.commit(vec![
        the_lobby(true),
        append(&ann.chats(2)),
        Op::ClientId(ann.name, 2, "order-1".parse().unwrap()),
    ]);
    home.restart();
    assert_eq!(named(&home, "order-1"), Some((ann.name, 2)));
    assert_eq!(named(&home, "order-2"), None);
    let rows = wait(home.store().history(of_lobby(9))).unwrap();
    let names: Vec<_> = rows.iter().map(|row| row.client_id.as_deref()).collect();
    assert_eq!(names, [None, Some("order-1")]);
}

#[test]
fn words_are_found_as_users_type_them() {
    let mut home = Home::new();
    let mut ann = Author::new(1, lobby());
    let said = [
        "the quick brown fox",
        "Grüße aus München",
        "say \"cheese\"",
        "foo-bar AND baz",
        "日本語 です",
        "brown bread",
        "c'est ça",
    ];
    home.commit(vec![the_lobby(true), append(&ann.says(&said))]);
    let app = Body::App {
        kind: "org.example.fox".into(),
        bytes: b"fox".to_vec(),
    };
    home.commit(vec![append(&ann.writes(vec![app]))]);
    let cases: [(&str, &[usize]); 28] = [
        ("fox", &[0]),
        ("FOX", &[0]),
        ("fo", &[0, 3]),
        ("fo fox", &[0]),
        ("brown", &[0, 5]),
        ("brown quick", &[0]),
        ("brown qui", &[0]),
        ("bro quick", &[0]),
        ("munchen", &[1]),
        ("gru", &[1]),
        ("日本", &[4]),
        ("\"cheese\"", &[2]),
        ("\"che", &[1, 2]),
        ("\"", &[2]),
        ("foo-bar", &[3]),
        ("AND", &[3]),
        ("foo AND", &[3]),
        ("foo OR quick", &[]),
        ("NEAR(quick fox)", &[]),
        ("text:fox", &[]),
        ("fox*", &[0]),
        ("quick - fox", &[0]),
        ("rown", &[0, 5]),
        ("ow", &[]),
        ("本", &[4]),
        ("本語 です", &[4]),
        ("語日", &[]),
        ("-", &[3]),
    ];
    for (typed, expected) in cases {
        let found = texts(
            &home,
            HistoryRequest {
                search: Some(typed.into()),
                ..of_lobby(99)
            },
        );
        assert_eq!(
            found,
            expected.iter().map(|i| said[*i]).collect::<Vec<_>>(),
            "{typed}"
        );
    }
    assert_eq!(
        texts(
            &home,
            HistoryRequest {
                search: Some("  ".into()),
                ..of_lobby(99)
            }
        )
        .len(),
        8,
        "no words: no search"
    );
}

/// Texts in many scripts, each with a search that finds it and one that does not.
#[test]
fn texts_of_every_script_are_found_by_their_words_and_not_by_others() {
    let mut home = Home::new();
    let mut ann = Author::new(1, lobby());
    home.commit(vec![the_lobby(true)]);
    let lines = include_str!("../../../../tests/inputs/texts.jsonl").lines();
    let cases: Vec<serde_json::Value> = lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    for case in &cases {
        let text = case["text"].as_str().expect("a text");
        home.commit(vec![append(&ann.says(&[text]))]);
    }
    assert_eq!(cases.len(), 60);
    for case in &cases {
        let [name, text, hits, misses] = ["name", "text", "search_hits", "search_misses"]
            .map(|field| case[field].as_str().expect("a text"));
        let finds = |typed: &str| {
            let request = HistoryRequest {
                search: Some(typed.to_owned()),
                ..of_lobby(99)
            };
            texts(&home, request).iter().any(|found| found == text)
        };
        assert!(finds(hits), "{name}: {hits}");
        assert!(!finds(misses), "{name}: {misses}");
    }
}

#[test]
fn a_search_sees_all_earlier_commits_and_no_trimmed_entries() {
    let mut home = Home::new();
    let mut ann = Author::new(1, lobby());
    let search = || HistoryRequest {
        search: Some("message".into()),
        ..of_lobby(9_999)
    };
    home.hand_over(vec![the_lobby(true)]);
    for round in 1..=40 {
        home.hand_over(vec![append(&ann.chats(100))]);
        let found = home.store().history(search());
        home.hand_over(vec![append(&ann.chats(1))]);
        let found = wait(found).unwrap().len();
        assert!(found >= round * 101 - 1, "{found} in round {round}");
    }
    home.hand_over(vec![Op::Trim(ann.name, 4_000)]);
    assert_eq!(wait(home.store().history(search())).unwrap().len(), 41);
    home.restart();
    assert_eq!(wait(home.store().history(search())).unwrap().len(), 41);
    // Search also finds entries after a gap, and later those that fill the gap.
    let (hole, beyond) = (
        ann.says(&["message in a hole"]),
        ann.says(&["message beyond"]),
    );
    home.hand_over(vec![append(&beyond)]);
    assert_eq!(wait(home.store().history(search())).unwrap().len(), 42);
    home.hand_over(vec![append(&hole)]);
    assert_eq!(wait(home.store().history(search())).unwrap().len(), 43);
}

#[test]
fn the_index_is_updated_while_the_store_is_idle() {
    let mut home = Home::new();
    let mut ann = Author::new(1, lobby());
    home.commit(vec![
        the_lobby(true),
        append(&ann.chats(1_200)),
        append(&ann.chats(1_300)),
    ]);
    let conn = rusqlite::Connection::open(home.file()).unwrap();
    let indexed = || {
        conn.query_row("SELECT coalesce(max(last), 0) FROM indexed", [], |row| {
            row.get::<_, i64>(0)
        })
        .unwrap()
    };
    while indexed() < 2_500 {
        std::thread::yield_now();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_search_text_is_valid(typed in ".{0,30}", operators in "[\"*^():+{} a-z-]{0,30}") {
        thread_local! {
            static INDEX: rusqlite::Connection = {
                let conn = rusqlite::Connection::open_in_memory().unwrap();
                conn.execute_batch("CREATE VIRTUAL TABLE words USING fts5 (text, content = '', tokenize = 'ascii')").unwrap();
                conn
            };
        }
        for typed in [typed, operators] {
            let terms = SearchTerms::of(&typed);
            let Some(query) = terms.and_then(|terms| terms.query(Some(1))) else { continue };
            let found = INDEX.with(|conn| {
                conn.query_row("SELECT count(*) FROM words WHERE words MATCH ?1", [&query], |row| row.get::<_, i64>(0))
            });
            prop_assert_eq!(found, Ok(0), "{}", query);
        }
    }
}
