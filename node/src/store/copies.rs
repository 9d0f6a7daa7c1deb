//! The copies of the database that are being made, each by a thread of its own, and what waits for
//! them.
//!
//! A copy reads the write-ahead log for as long as it takes, so the log can't be truncated meanwhile.

use std::path::PathBuf;
use std::thread::JoinHandle;

use super::read::{Answer, give};
use super::{Place, StoreError, snapshot, spawn};

/// Maximum number of copies at once. Another one is refused.
const COPIES_MAX: usize = 2;

/// The running copies, and the truncations of the log that wait for them.
#[derive(Default)]
pub(super) struct Copies {
    threads: Vec<JoinHandle<()>>,
    pub(super) truncations: Vec<Answer<()>>,
}

impl Copies {
    /// Starts a thread that copies the database into a new file, and answers.
    pub(super) fn start(&mut self, place: &Place, into: PathBuf, answer: Answer<()>) {
        self.forget_ended();
        if self.threads.len() >= COPIES_MAX {
            let detail = format!("{COPIES_MAX} copies are being made, the maximum");
            let file = place.file.clone();
            return give(answer, Err(StoreError::Io { file, detail }));
        }
        let from = place.clone();
        let copying = move || give(answer, snapshot::copy(&from, &into));
        match spawn("store-copy", &place.file, copying) {
            Ok(thread) => self.threads.push(thread),
            // The answer was dropped with the thread's closure: the requester sees a closed store.
            Err(error) => tracing::warn!(%error, "the database could not be copied"),
        }
    }

    /// Whether a copy is being made.
    pub(super) fn is_running(&mut self) -> bool {
        self.forget_ended();
        !self.threads.is_empty()
    }

    /// Whether truncations wait for a copy that is still being made.
    pub(super) fn hold_truncations(&mut self) -> bool {
        self.has_truncations() && self.is_running()
    }

    /// Whether truncations wait.
    pub(super) fn has_truncations(&self) -> bool {
        !self.truncations.is_empty()
    }

    /// The truncations that waited.
    pub(super) fn take_truncations(&mut self) -> Vec<Answer<()>> {
        std::mem::take(&mut self.truncations)
    }

    /// Waits for all copies.
    pub(super) fn join(&mut self) {
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that copied the database has panicked");
            }
        }
    }

    fn forget_ended(&mut self) {
        self.threads.retain(|thread| !thread.is_finished());
    }
}
