//! Runs a program to its end with a time limit, and checks its output. Also finds the programs
//! under test.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::wait::{Stopwatch, pause};

/// The exit code and output of a program.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command line, for failure messages.
    pub command: String,
    /// The exit code, or `None` if a signal ended the program.
    pub code: Option<i32>,
    /// Everything on standard output.
    pub stdout: String,
    /// Everything on standard error.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl Output {
    /// Returns the output if the program exited with this code. Otherwise panics and prints it.
    pub fn expect(self, code: i32) -> Self {
        self.expect_one_of(&[code])
    }

    /// Like [`Output::expect`], with several accepted codes.
    pub fn expect_one_of(self, codes: &[i32]) -> Self {
        assert!(
            self.code.is_some_and(|code| codes.contains(&code)),
            "expected exit code {codes:?}, but {self}"
        );
        self
    }

    /// Returns the output if standard error contains each of these words. Ignores case.
    pub fn says(self, words: &[&str]) -> Self {
        let errors = self.stderr.to_lowercase();
        for word in words {
            assert!(
                errors.contains(&word.to_lowercase()),
                "expected {word:?} on standard error, but {self}"
            );
        }
        self
    }

    /// The JSON lines on standard output.
    pub fn json(&self) -> Vec<Value> {
        let line = |line: &str| {
            serde_json::from_str(line)
                .unwrap_or_else(|e| panic!("{line:?} is not JSON ({e}): {self}"))
        };
        self.stdout.lines().map(line).collect()
    }

    /// The only JSON line on standard output.
    pub fn one_json(&self) -> Value {
        let lines = self.json();
        assert_eq!(lines.len(), 1, "expected one line of JSON, but {self}");
        lines.into_iter().next().expect("the length is 1")
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            command,
            code,
            stdout,
            stderr,
            took,
        } = self;
        let code = code.map_or("a signal".to_owned(), |c| format!("code {c}"));
        write!(
            f,
            "`{command}` ended with {code} after {took:?}\n--- standard output:\n{stdout}\n--- standard error:\n{stderr}"
        )
    }
}

/// Writes `input` to the child and waits until it exits. Kills it and panics after `within`.
pub(crate) fn finish(command: String, mut child: Child, input: &str, within: Duration) -> Output {
    let begun = Stopwatch::start();
    let mut stdin = child.stdin.take().expect("piped in `pipes`");
    let out = child.stdout.take().expect("piped in `pipes`");
    let err = child.stderr.take().expect("piped in `pipes`");
    std::thread::scope(|scope| {
        // A program may close its input without reading it.
        scope.spawn(move || {
            stdin
                .write_all(input.as_bytes())
                .and_then(|()| stdin.flush())
                .ok()
        });
        let out = scope.spawn(|| read_all(out));
        let err = scope.spawn(|| read_all(err));
        let status = loop {
            if let Some(status) = child.try_wait().expect("the child is ours") {
                break Some(status);
            }
            if begun.elapsed() > within {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            pause(POLL);
        };
        let took = begun.elapsed();
        let joined = "reading a pipe does not panic";
        let (stdout, stderr) = (out.join().expect(joined), err.join().expect(joined));
        let output = Output {
            command,
            code: status.and_then(|s| s.code()),
            stdout,
            stderr,
            took,
        };
        assert!(status.is_some(), "did not end within {within:?}: {output}");
        output
    })
}

/// Connects all three pipes, as [`finish`] requires.
pub(crate) fn pipes(command: &mut std::process::Command) {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
}

/// The program under test: `HOBNOB_BIN`, or the program in this test's target folder. The tests do
/// not build it.
pub fn hobnob_binary() -> PathBuf {
    built("HOBNOB_BIN", "hobnob", "cargo build -p hobnob-app")
}

/// The checkers example: `HOBNOB_CHECKERS`, or the example in this test's target folder.
pub fn checkers_binary() -> PathBuf {
    built(
        "HOBNOB_CHECKERS",
        "examples/checkers",
        "cargo build -p hobnob --example checkers",
    )
}

/// The drawing example: `HOBNOB_DRAW`, or the example in this test's target folder.
pub fn draw_binary() -> PathBuf {
    built(
        "HOBNOB_DRAW",
        "examples/draw",
        "cargo build -p hobnob --example draw",
    )
}

fn built(variable: &str, path: &str, with: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let this = std::env::current_exe().expect("a test knows its own path");
    // A test is in `target/debug/deps`, a program of this crate in `target/debug`.
    let beside = this
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(path));
    let found = beside.into_iter().find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "{path} not found near {}: run `{with}` first, or set {variable}",
            this.display()
        )
    })
}

fn read_all(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    // An error means that the child was killed. The bytes before the error remain valid.
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Interval between two checks whether a child has exited.
const POLL: Duration = Duration::from_millis(2);
