//! What a person must hear of: faults of the disk, of clocks and of copies, and what the socket
//! dropped.

use std::collections::VecDeque;

use hobnob_protocol::PeerId;
use tracing::{info, warn};

use super::Engine;
use crate::store::StoreError;
use crate::{Event, Notice};

/// Notices of a run that are kept for those who come later; the oldest are let go. Their numbers go
/// on.
const NOTICES_MAX: usize = 32;

/// The latest notices of this run.
#[derive(Debug, Default)]
pub(super) struct Notices {
    kept: VecDeque<Notice>,
    last: u64,
}

impl Notices {
    /// The notices for somebody who has just come.
    pub(super) fn told(&self) -> Vec<Notice> {
        self.kept.iter().cloned().collect()
    }

    fn keep(&mut self, code: &'static str, text: String, peer: Option<PeerId>) -> Notice {
        self.last += 1;
        let notice = Notice {
            number: self.last,
            code,
            text,
            peer,
        };
        if self.kept.len() == NOTICES_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(notice.clone());
        notice
    }
}

impl Engine {
    /// Tells the user, in the log, and those who come later.
    pub(crate) fn notice(&mut self, code: &'static str, text: String, peer: Option<PeerId>) {
        info!(code, "{text}");
        let notice = self.notices.keep(code, text, peer);
        self.say(Event::Notice(notice));
    }

    pub(super) fn store_failed(&mut self, error: &StoreError) {
        warn!("a commit failed: {error}");
        if !std::mem::replace(&mut self.store_failing, true) {
            let text = format!(
                "Messages can't be stored: {error}. Nothing is acknowledged until they can be."
            );
            self.notice("store-error", text, None);
        }
    }

    pub(super) fn store_recovered(&mut self) {
        if std::mem::take(&mut self.store_failing) {
            self.notice(
                "store-recovered",
                "Messages can be stored again.".to_owned(),
                None,
            );
        }
    }

    /// Says what the socket dropped since the last time, if anything: the only trace that some
    /// attacks and faults leave.
    pub(super) fn log_counters(&mut self) {
        let counted = self.bound.counters.snapshot();
        if counted != self.counted {
            info!("datagrams dropped so far, by cause: {counted:?}");
            self.counted = counted;
        }
    }
}
