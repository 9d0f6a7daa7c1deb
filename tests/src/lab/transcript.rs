//! Everything that a node has printed in all its runs, and waiting for more.

use std::fmt::Write;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

/// Output of a node. The threads that read its pipes write it, and the test reads it.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    printed: Mutex<Printed>,
    changed: Condvar,
    kept: Mutex<Option<Filter>>,
}

/// Which events are kept.
type Filter = fn(&Value) -> bool;

/// The output so far.
#[derive(Debug, Default)]
pub(super) struct Printed {
    /// All events, in the order of printing.
    events: Vec<Value>,
    /// The index in `events` at which the current run begins.
    run_began: usize,
    /// Lines of standard output that are not JSON. There should be none.
    not_json: Vec<String>,
    /// Lines of standard error.
    errors: Vec<String>,
    /// Whether the node has closed its output in the current run.
    ended: bool,
}

impl Printed {
    /// The events of all runs.
    pub(super) fn all_runs(&self) -> &[Value] {
        &self.events
    }

    /// The events of the current run.
    pub(super) fn this_run(&self) -> &[Value] {
        &self.events[self.run_began..]
    }

    /// The last lines of the output, for failure messages.
    fn tail(&self) -> String {
        let mut tail = String::from("--- the last events:\n");
        for event in &self.events[self.events.len().saturating_sub(TAIL_LINES)..] {
            let _ = writeln!(tail, "{event}");
        }
        tail.push_str("--- standard error:\n");
        for line in &self.errors[self.errors.len().saturating_sub(TAIL_LINES)..] {
            let _ = writeln!(tail, "{line}");
        }
        tail
    }
}

impl Transcript {
    /// Begins a new run.
    pub(super) fn begin_run(&self) {
        let mut printed = self.lock();
        printed.run_began = printed.events.len();
        printed.ended = false;
    }

    /// Keeps only those events from now on that fit.
    pub(super) fn keep_only(&self, fits: Filter) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some(fits);
    }

    fn keeps(&self, event: &Value) -> bool {
        let kept = *self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.is_none_or(|fits| fits(event))
    }

    /// Reads events until the pipe closes.
    pub(super) fn read_events(&self, pipe: impl Read) {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let parsed = serde_json::from_slice(&line);
            let mut printed = self.lock();
            match parsed {
                Ok(event) if self.keeps(&event) => printed.events.push(event),
                Ok(_) => {}
                Err(_) => printed
                    .not_json
                    .push(String::from_utf8_lossy(&line).into_owned()),
            }
            self.changed.notify_all();
        }
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Reads lines of standard error until the pipe closes. Copies them to the test's standard
    /// error with the name `copy_as` in front.
    pub(super) fn read_errors(&self, pipe: impl Read, copy_as: Option<&str>) {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            if let Some(name) = copy_as {
                eprintln!("{name}: {line}");
            }
            self.lock().errors.push(line);
        }
    }

    /// Waits until `check` returns a value. The error contains the last output.
    pub(super) fn wait<T>(
        &self,
        within: Duration,
        mut check: impl FnMut(&Printed) -> Option<T>,
    ) -> Result<T, String> {
        let mut found = None;
        let looking = |printed: &mut Printed| {
            found = check(printed);
            found.is_none() && !printed.ended && printed.not_json.is_empty()
        };
        let guard = self.lock();
        let (printed, _) = self
            .changed
            .wait_timeout_while(guard, within, looking)
            .unwrap_or_else(PoisonError::into_inner);
        match (found, printed.not_json.first()) {
            (_, Some(line)) => Err(format!(
                "the node printed a line that is not JSON: {line:?}\n{}",
                printed.tail()
            )),
            (Some(found), None) => Ok(found),
            (None, None) if printed.ended => {
                Err(format!("the node has exited\n{}", printed.tail()))
            }
            (None, None) => Err(format!("not within {within:?}\n{}", printed.tail())),
        }
    }

    /// Passes the output so far to a function.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Printed) -> T) -> T {
        look(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Printed> {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many lines of events and of standard error a failed wait shows.
const TAIL_LINES: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    fn anything(printed: &Printed) -> Option<Value> {
        printed.this_run().first().cloned()
    }

    #[test]
    fn a_wait_returns_the_found_value_or_the_reason_for_its_failure() {
        let transcript = Transcript::default();
        let error = transcript
            .wait(SOON, anything)
            .expect_err("nothing was printed");
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
            .expect_err("nothing was printed in this run");
        assert!(
            error.contains("has exited") && error.contains("a warning") && error.contains("peer"),
            "{error}"
        );
    }

    #[test]
    fn a_transcript_may_keep_only_some_events() {
        let transcript = Transcript::default();
        transcript.read_events("{\"event\":\"peer\"}\n".as_bytes());
        transcript.keep_only(|event| event["event"] == "message");
        transcript.read_events("{\"event\":\"peer\"}\n{\"event\":\"message\"}\n".as_bytes());
        let kept = transcript.look(|printed| printed.all_runs().to_vec());
        let kinds: Vec<_> = kept.iter().map(|event| &event["event"]).collect();
        assert_eq!(kinds, ["peer", "message"]);
    }

    #[test]
    fn a_line_that_is_not_json_fails_every_wait() {
        let transcript = Transcript::default();
        transcript.read_events("{}\noops\n".as_bytes());
        let error = transcript
            .wait(SOON, anything)
            .expect_err("a line was not JSON");
        assert!(error.contains("oops"), "{error}");
    }
}
