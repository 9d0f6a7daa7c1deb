//! What a node has printed so far, over all its runs, and waiting for more of it.

use std::fmt::Write;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

/// Filled by the threads that read a node's pipes, read by the test.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    said: Mutex<Said>,
    changed: Condvar,
}

/// Everything said so far.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// All events, in the order in which they were printed.
    events: Vec<Value>,
    /// Where in `events` the present run began.
    run_began: usize,
    /// Lines of standard output that were no JSON. There should be none.
    not_json: Vec<String>,
    /// Lines of standard error.
    errors: Vec<String>,
    /// Whether the node of the present run has closed its output.
    ended: bool,
}

impl Said {
    /// The events of all runs.
    pub(super) fn ever(&self) -> &[Value] {
        &self.events
    }

    /// The events of the present run.
    pub(super) fn this_run(&self) -> &[Value] {
        &self.events[self.run_began..]
    }

    /// What a person needs to see of it when something did not come.
    fn tail(&self) -> String {
        let mut tail = String::from("--- the last it printed:\n");
        for event in &self.events[self.events.len().saturating_sub(TAIL_LINES)..] {
            let _ = writeln!(tail, "{event}");
        }
        tail.push_str("--- its errors:\n");
        for line in &self.errors[self.errors.len().saturating_sub(TAIL_LINES)..] {
            let _ = writeln!(tail, "{line}");
        }
        tail
    }
}

impl Transcript {
    /// From here on, what is said belongs to a new run.
    pub(super) fn begin_run(&self) {
        let mut said = self.lock();
        said.run_began = said.events.len();
        said.ended = false;
    }

    /// Takes lines of events until the pipe closes.
    pub(super) fn read_events(&self, pipe: impl Read) {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let parsed = serde_json::from_slice(&line);
            let mut said = self.lock();
            match parsed {
                Ok(event) => said.events.push(event),
                Err(_) => said
                    .not_json
                    .push(String::from_utf8_lossy(&line).into_owned()),
            }
            self.changed.notify_all();
        }
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Takes lines of diagnostics until the pipe closes; copies them, under this name, to this
    /// program's own.
    pub(super) fn read_errors(&self, pipe: impl Read, copy_as: Option<&str>) {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            if let Some(name) = copy_as {
                eprintln!("{name}: {line}");
            }
            self.lock().errors.push(line);
        }
    }

    /// Waits until `check` finds what it looks for. The error says what there was instead.
    pub(super) fn wait<T>(
        &self,
        within: Duration,
        mut check: impl FnMut(&Said) -> Option<T>,
    ) -> Result<T, String> {
        let mut found = None;
        let looking = |said: &mut Said| {
            found = check(said);
            found.is_none() && !said.ended && said.not_json.is_empty()
        };
        let guard = self.lock();
        let (said, _) = self
            .changed
            .wait_timeout_while(guard, within, looking)
            .unwrap_or_else(PoisonError::into_inner);
        match (found, said.not_json.first()) {
            (_, Some(line)) => Err(format!(
                "it printed a line that is no JSON: {line:?}\n{}",
                said.tail()
            )),
            (Some(found), None) => Ok(found),
            (None, None) if said.ended => Err(format!("the node has ended\n{}", said.tail())),
            (None, None) => Err(format!("not within {within:?}\n{}", said.tail())),
        }
    }

    /// Looks at what has been said.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Said) -> T) -> T {
        look(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of output and of errors, when a wait fails.
const TAIL_LINES: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    fn anything(said: &Said) -> Option<Value> {
        said.this_run().first().cloned()
    }

    #[test]
    fn a_wait_ends_with_what_it_looks_for_or_says_why_not() {
        let transcript = Transcript::default();
        let error = transcript
            .wait(SOON, anything)
            .expect_err("nothing was said");
        assert!(error.contains("not within"), "{error}");

        transcript.read_errors("a warning\n".as_bytes(), None);
        transcript.read_events("{\"event\":\"peer\"}\n".as_bytes());
        assert_eq!(
            transcript.wait(SOON, anything).map(|e| e["event"].clone()),
            Ok("peer".into())
        );

        transcript.begin_run();
        transcript.read_events("".as_bytes());
        let error = transcript
            .wait(SOON, anything)
            .expect_err("nothing was said in this run");
        assert!(
            error.contains("has ended") && error.contains("a warning") && error.contains("peer"),
            "{error}"
        );
    }

    #[test]
    fn a_line_that_is_no_json_fails_every_wait() {
        let transcript = Transcript::default();
        transcript.read_events("{}\noops\n".as_bytes());
        let error = transcript
            .wait(SOON, anything)
            .expect_err("a line was no JSON");
        assert!(error.contains("oops"), "{error}");
    }
}
