//! Looking for words in all that a running process remembers, as a core dump would show it.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::process::Pid;

/// Which of these words are in the process's memory. What it does meanwhile may be seen half done.
pub(super) fn search(process: Pid, words: &[String]) -> BTreeSet<String> {
    let proc = format!("/proc/{}", process.as_raw_nonzero());
    let maps =
        std::fs::read_to_string(format!("{proc}/maps")).expect("the process runs, and is ours");
    let memory = File::open(format!("{proc}/mem")).expect("we may trace what we started");
    let mut found = BTreeSet::new();
    let mut looked_at = 0;
    for (from, to) in maps.lines().filter_map(readable) {
        // Some mappings can't be read (the kernel's own): they hold nothing of the program's.
        if let Some(bytes) = read(&memory, from, to) {
            looked_at += bytes.len();
            found.extend(words.iter().filter(|word| contains(&bytes, word)).cloned());
        }
    }
    assert!(looked_at > 0, "nothing of {proc}/mem could be read");
    found
}

/// Whether these bytes hold the word.
pub(super) fn contains(bytes: &[u8], word: &str) -> bool {
    bytes
        .windows(word.len())
        .any(|window| window == word.as_bytes())
}

/// From where to where a line of `maps` goes, if the process can write there itself: everything it
/// has heard of is there.
fn readable(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split(' ');
    let (range, rights) = (words.next()?, words.next()?);
    let (from, to) = range.split_once('-')?;
    rights.starts_with("rw").then_some(())?;
    Some((
        u64::from_str_radix(from, 16).ok()?,
        u64::from_str_radix(to, 16).ok()?,
    ))
}

fn read(memory: &File, from: u64, to: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(to - from).ok()?];
    memory.read_exact_at(&mut bytes, from).ok()?;
    Some(bytes)
}
