//! Benchmark of the search: the pages of common and rare results in a large database of short texts
//! in several scripts.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use anyhow::Context;
use hobnob::store::{HistoryRequest, HistoryRow, Opened, Pending, Store};
use hobnob_core::commit::{AudienceId, Commit, CommitId, ConversationKind, ConversationRecord, Op};
use hobnob_protocol::{
    Body, CheckedBatch, Entry, LogId, LogName, Ranges, RoomKey, RoomName, Salts, SecretKey, Seq,
};
use hobnob_tests::lab::Stopwatch;

use crate::plan::Plan;
use crate::report::{Aim, Report};
use crate::stats::Samples;

/// Texts in one batch.
const BATCH: u64 = 200;

/// Commits that the store has not carried out yet.
const UNDER_WAY: usize = 64;

/// The log with all texts.
const LOG: LogId = LogId(1);

/// Pages that end at these parts of all texts are read, too: half of them, a quarter and so on.
const DEPTHS: [u64; 6] = [2, 4, 8, 16, 32, 64];

/// Messages on a page.
const PAGE: usize = 50;

/// Pages that are read one after the other.
const PAGES: usize = 40;

/// Words of five scripts. Earlier ones of a list are more frequent.
const WORDS: [&[&str]; 5] = [
    &[
        "the",
        "water",
        "is",
        "cold",
        "today",
        "lunch",
        "at",
        "noon",
        "release",
        "server",
        "disk",
        "window",
        "garden",
        "meeting",
        "tomorrow",
        "keyboard",
        "mountain",
        "bicycle",
        "orchestra",
    ],
    &[
        "добрый",
        "день",
        "сегодня",
        "вода",
        "окно",
        "встреча",
        "завтра",
        "сервер",
        "велосипед",
    ],
    &[
        "今天",
        "天气",
        "很好",
        "我们",
        "开会",
        "服务器",
        "明天",
        "自行车",
        "图书馆",
        "音乐会",
    ],
    &[
        "おはよう",
        "ございます",
        "会議",
        "サーバー",
        "自転車",
        "図書館",
        "ありがとう",
    ],
    &["สวัสดี", "วันนี้", "ประชุม", "พรุ่งนี้", "จักรยาน", "ห้องสมุด"],
];

/// One text in this many has this word.
const RARE: (u64, &str) = (50_000, "xylophone");

/// What is searched for, with a description.
const SEARCHES: [(&str, &str); 8] = [
    ("a word of every third text", "water"),
    ("part of a word", "arde"),
    ("two common words", "water lunch"),
    ("a rare word", "xylophone"),
    ("a pair of Chinese characters", "服务"),
    (
        "one Chinese character, which is compared with the newest texts",
        "务",
    ),
    ("a Thai word", "ประชุม"),
    ("a Russian word", "встреча"),
];

/// Numbers that are the same in each run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// A short text in one script.
    fn text(&mut self, number: u64) -> String {
        let script = usize::try_from(self.below(8)).expect("below 8");
        // Half of the texts are English.
        let words = WORDS.get(script).unwrap_or(&WORDS[0]);
        let len = u64::try_from(words.len()).expect("a short list");
        let mut text = Vec::new();
        for _ in 0..3 + self.below(4) {
            // The smaller of two numbers: the first words are more frequent.
            let (one, other) = (self.below(len), self.below(len));
            text.push(words[usize::try_from(one.min(other)).expect("below a length")]);
        }
        if number.is_multiple_of(RARE.0) {
            text.push(RARE.1);
        }
        text.join(" ")
    }
}

pub(crate) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let count: u64 = if plan.is_alone() {
        400_000
    } else {
        plan.pick(400_000, 10_000_000)
    };
    let folder = plan.folder("search")?;
    let file = folder.join("messages.db");
    let begun = Stopwatch::start();
    let store = filled(&file, count)?;
    let once = |seconds: f64| Samples::new(vec![seconds]).context("one value");
    report.figure(
        format!("writing {count} texts"),
        "s",
        once(begun.elapsed().as_secs_f64())?,
    );
    // A search waits until the index has all texts.
    let begun = Stopwatch::start();
    page(&store, "xylophone", None)?;
    report.figure(
        format!("indexing {count} texts"),
        "s",
        once(begun.elapsed().as_secs_f64())?,
    );
    let megabytes = std::fs::metadata(&file)?.len() as f64 / 1e6;
    report.figure("size of the database", "MB", once(megabytes)?);
    for (what, words) in SEARCHES {
        let (mut first, mut pages) = (Vec::new(), Vec::new());
        let mut before = None;
        let mut seen = 0;
        for number in 0..PAGES {
            let begun = Stopwatch::start();
            let rows = page(&store, words, before)?;
            let took = begun.elapsed().as_secs_f64() * 1e3;
            match number {
                0 => first.push(took),
                _ if rows.len() == PAGE => pages.push(took),
                _ => {}
            }
            let Some(oldest) = rows.first() else { break };
            before = Some((oldest.name.log, oldest.seq));
            seen = oldest.seq;
        }
        let first = Samples::new(first).context("a page")?;
        let whole = Some(Aim::AtMost(100.0));
        report.line(format!("{what}: the first page"), "ms", first, None, whole);
        if let Some(pages) = Samples::new(pages) {
            report.line(format!("{what}: further pages"), "ms", pages, None, whole);
        }
        // The place of a page in the result must not matter.
        let mut deep = Vec::new();
        for part in DEPTHS {
            let at = count / part;
            if at >= seen {
                continue;
            }
            let begun = Stopwatch::start();
            let rows = page(&store, words, Some((LOG, at)))?;
            let took = begun.elapsed().as_secs_f64() * 1e3;
            deep.extend((rows.len() == PAGE).then_some(took));
        }
        if let Some(deep) = Samples::new(deep) {
            report.line(
                format!("{what}: pages deep in the result"),
                "ms",
                deep,
                None,
                whole,
            );
        }
    }
    store.shutdown();
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

/// A page of a search, oldest first.
fn page(
    store: &Store,
    words: &str,
    before: Option<(LogId, Seq)>,
) -> anyhow::Result<Vec<HistoryRow>> {
    wait(store.history(HistoryRequest {
        search: Some(words.to_owned()),
        before,
        shown: true,
        limit: PAGE,
        ..HistoryRequest::default()
    }))
}

fn wait<T>(pending: Pending<T>) -> anyhow::Result<T> {
    Ok(pending.blocking_recv().context("the store has ended")??)
}

/// A store with this many texts in a room, of one author.
fn filled(file: &Path, count: u64) -> anyhow::Result<Store> {
    let (done, finished) = sync_channel(UNDER_WAY + 1);
    let report = move |_, result: Result<(), _>| {
        // Nobody waits for the last ones.
        let _ = done.send(result);
    };
    let Opened { store, .. } = Store::open(file, 0, report)?;
    let name: RoomName = "ops".parse().context("a name")?;
    let key = RoomKey::random([7; 32]);
    let conversation = key.conversation();
    let author = SecretKey::from_seed([1; 32]);
    let log = LogName {
        conversation,
        author: author.id().person(),
        device: author.id(),
        log: LOG,
    };
    let kind = ConversationKind::Room {
        name,
        key,
        joined: true,
    };
    let record = ConversationRecord {
        id: conversation,
        kind,
    };
    let (mut salts, mut numbers) = (Salts::new([3; 32]), Numbers(1));
    let (mut prev, mut under_way, mut commits) = (log.genesis(), 0, 0);
    let mut first = 1;
    while first <= count {
        let last = count.min(first + BATCH - 1);
        let entries = (first..=last).map(|seq| {
            let text = numbers.text(seq);
            Entry::new(seq, 1_700_000_000_000 + seq, Body::Text(text))
        });
        let batch = CheckedBatch::author(&author, log, first, prev, entries.collect(), &mut salts);
        prev = batch.head();
        let append = Op::Append {
            from: first,
            to: last,
            batch: Arc::new(batch),
            audience: AudienceId::MEMBERS,
            received_at_ms: 1_700_000_000_000 + last,
            deleted: Ranges::new(),
        };
        let ops = match commits {
            0 => vec![Op::Conversation(record.clone()), append],
            _ => vec![append],
        };
        commits += 1;
        store.commit(Commit {
            id: CommitId(commits),
            ops,
        });
        under_way += 1;
        while under_way >= UNDER_WAY {
            finished.recv()??;
            under_way -= 1;
        }
        first = last + 1;
    }
    for _ in 0..under_way {
        finished.recv()??;
    }
    // The writer reports nothing more, and must not wait for a reader.
    drop(finished);
    Ok(store)
}
