//! Lines of the local socket: requests, and the events that clients read.

use std::sync::LazyLock;

use hobnob_control::wire::{EventLine, parse_request, to_line};
use hobnob_local::line::{Line, Lines};
use tokio::io::BufReader;
use tokio::runtime::{Builder, Runtime};

/// Longest line that is read here. The real limit is longer than most inputs of the fuzzer.
const LINE_MAX: usize = 1_000;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().build();
    runtime.expect("a runtime without drivers can be built")
});

/// Lines are split as they are in the stream. A request or event that is written again has the same
/// meaning, and the answer to anything else is one line.
pub(crate) fn run(data: &[u8]) {
    // The first byte chooses how many bytes arrive at once.
    let Some((&at_once, stream)) = data.split_first() else {
        return;
    };
    let lines = RUNTIME.block_on(lines(usize::from(at_once).max(1), stream));
    // The last one is not complete.
    let (complete, _rest) = stream.split_at(
        stream
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1),
    );
    let expected = complete.split_inclusive(|byte| *byte == b'\n');
    let expected =
        expected.map(|line| Some(&line[..line.len() - 1]).filter(|line| line.len() <= LINE_MAX));
    assert!(lines.iter().map(Option::as_deref).eq(expected));
    for line in lines.into_iter().flatten() {
        read(&line);
    }
}

/// The lines of a stream. `None` is one that is too long.
async fn lines(at_once: usize, stream: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut lines = Lines::new(BufReader::with_capacity(at_once, stream), LINE_MAX);
    let mut read = Vec::new();
    loop {
        match lines.next().await.expect("memory can be read") {
            Line::Whole(line) => read.push(Some(line.to_vec())),
            Line::TooLong => read.push(None),
            Line::End => return read,
        }
    }
}

fn read(line: &[u8]) {
    match parse_request(line) {
        Ok(request) => {
            let written = to_line(&request);
            assert_eq!(
                parse_request(written.as_bytes()).ok(),
                Some(request),
                "{written}"
            );
        }
        Err(answer) => {
            let written = to_line(&answer);
            let (end, line) = written.as_bytes().split_last().expect("it has a line feed");
            assert!(*end == b'\n' && !line.contains(end), "{written:?}");
        }
    }
    if let Ok(event) = serde_json::from_slice::<EventLine>(line) {
        let written = to_line(&event);
        let again: EventLine = serde_json::from_str(&written).expect("it was written here");
        assert_eq!(to_line(&again), written);
    }
}

pub(crate) fn samples() -> Vec<Vec<u8>> {
    let lines = [
        r#"{"id":1,"cmd":"ping"}"#,
        r#"{"id":2,"cmd":"send","target":"bob","text":"hello"}"#,
        r#"{"id":3,"cmd":"history","target":"bob","limit":10}"#,
        r##"{"id":4,"cmd":"broadcast","room":"#ops","text":"\u00e9"}"##,
        r#"{"id":5,"cmd":"join","room":"ops","secret":"YQ=="}"#,
        r#"{"id":6,"cmd":"subscribe"}"#,
        r#"{"id":7,"cmd":"dance"}"#,
        r#"{"v":1,"event":"lagged","missed":3}"#,
    ];
    let mut samples: Vec<_> = lines
        .iter()
        .map(|line| [&[9], line.as_bytes(), b"\n"].concat())
        .collect();
    samples.push([b"\x40", lines.join("\n").as_bytes(), b"\n{"].concat());
    samples
}
