//! Searches the memory of a running process for words, like a core dump.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::process::Pid;

/// Which of these words are in the memory of the process. The process keeps running, so the result
/// is not a consistent snapshot.
pub(super) fn search(process: Pid, words: &[String]) -> BTreeSet<String> {
    let proc = format!("/proc/{}", process.as_raw_nonzero());
    let maps =
        std::fs::read_to_string(format!("{proc}/maps")).expect("the process is a running child");
    let memory = File::open(format!("{proc}/mem")).expect("a parent may trace its child");
    let mut found = BTreeSet::new();
    let mut searched = 0;
    for (from, to) in maps.lines().filter_map(readable) {
        // The kernel's own mappings cannot be read. They contain no data of the program.
        if let Some(bytes) = read(&memory, from, to) {
            searched += bytes.len();
            found.extend(words.iter().filter(|word| contains(&bytes, word)).cloned());
        }
    }
    assert!(searched > 0, "nothing of {proc}/mem could be read");
    found
}

/// The memory that the process uses now, in bytes, without the pages of the program itself and of other
/// files. These grow while parts of the program run for the first time, and the system can drop them.
pub(super) fn resident(process: Pid) -> u64 {
    let path = format!("/proc/{}/status", process.as_raw_nonzero());
    let status = std::fs::read_to_string(path).expect("the process is a running child");
    let kib_of = |field: &str| -> u64 {
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix(field));
        let line = line.expect("Linux reports a process's memory");
        let kib = line.trim().trim_end_matches(" kB");
        kib.parse().expect("a number")
    };
    (kib_of("RssAnon:") + kib_of("RssShmem:")) * 1024
}

/// Whether these bytes contain the word.
pub(super) fn contains(bytes: &[u8], word: &str) -> bool {
    bytes
        .windows(word.len())
        .any(|window| window == word.as_bytes())
}

/// The address range of a line of `maps`, if the process can write to it. Everything that it
/// receives is in such a range.
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
