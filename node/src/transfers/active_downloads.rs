//! The downloads whose partial files are open, with the state machine that requests their pieces.
//!
//! [`Transfers`] decides which piece to request from whom. The map has exactly the contents that it
//! requests. Not here: the files before and after, and the stored states ([`super::downloads`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hobnob_core::transfers::{Held, Input, Output, Progress, Transfers};
use hobnob_protocol::{DeviceId, OfferId};

use super::messages::FileUpdate;
use super::meter::Meter;
use super::partial::Partial;
use crate::FileState;

/// Why a download waits whose author has paused the sending.
const SENDER_PAUSES: &str = "its sender has paused it";

/// A download whose partial file is open.
#[derive(Debug)]
struct ActiveDownload {
    partial: Arc<Partial>,
    meter: Meter,
    /// Whether its author has paused the sending.
    sender_pauses: bool,
}

/// The downloads that the state machine knows.
#[derive(Debug, Default)]
pub(super) struct ActiveDownloads {
    machine: Transfers,
    list: BTreeMap<OfferId, ActiveDownload>,
}

impl ActiveDownloads {
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn contains(&self, id: OfferId) -> bool {
        self.list.contains_key(&id)
    }

    pub(super) fn handle(&mut self, now: Duration, input: Input) {
        self.machine.handle(now, input);
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.machine.poll_output()
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.machine.poll_timeout()
    }

    /// Starts to request the pieces that a partial download lacks, from these sources and the author.
    pub(super) fn start(
        &mut self,
        now: Duration,
        partial: Arc<Partial>,
        held: Held,
        sources: impl Iterator<Item = DeviceId>,
    ) {
        let (id, shape, folder) = (
            partial.stored.id,
            partial.shape,
            partial.stored.offer.folder,
        );
        let meter = Meter::starting_at(held.bytes(shape));
        let active = ActiveDownload {
            partial,
            meter,
            sender_pauses: false,
        };
        self.list.insert(id, active);
        let want = Input::Want {
            offer: id,
            shape,
            head: folder.map_or(0, |folder| folder.manifest_bytes),
            held,
        };
        self.machine.handle(now, want);
        for peer in sources {
            self.machine.handle(now, Input::Source(id, peer));
        }
    }

    /// The author of an offer has paused the sending, or sends again.
    pub(super) fn sender_pauses(&mut self, id: OfferId, paused: bool) {
        if let Some(active) = self.list.get_mut(&id) {
            active.sender_pauses = paused;
        }
    }

    /// Removes a download that the machine has reported as whole, and returns its partial file.
    pub(super) fn take_whole(&mut self, id: OfferId) -> Arc<Partial> {
        let active = self.list.remove(&id);
        active
            .expect("the machine reports each active download once as whole")
            .partial
    }

    /// Ends a download. Returns its partial file if it was active.
    pub(super) fn end(&mut self, now: Duration, id: OfferId) -> Option<Arc<Partial>> {
        self.machine.handle(now, Input::Drop(id));
        self.list.remove(&id).map(|active| active.partial)
    }

    /// The partial download that the state machine requests pieces for.
    pub(super) fn partial(&self, id: OfferId) -> Arc<Partial> {
        let active = self.list.get(&id);
        let active = active.expect("the machine requests only pieces of active downloads");
        active.partial.clone()
    }

    /// The name of an offer for the log. Empty if the download has ended.
    pub(super) fn name(&self, id: OfferId) -> String {
        let active = self.list.get(&id);
        active.map_or_else(String::new, |active| active.partial.stored.visible_name())
    }

    /// The downloads whose progress has changed since the last call.
    pub(super) fn progress(&mut self, now: Duration) -> Vec<FileUpdate> {
        let machine = &self.machine;
        let mut updates = Vec::new();
        for (id, active) in &mut self.list {
            let (progress, is_full) = progress_of(machine, *id);
            active.meter.measure(now, progress.bytes);
            if active
                .meter
                .has_changed((!progress.from.is_empty(), is_full || active.sender_pauses))
            {
                updates.push(active.update(progress, is_full));
            }
        }
        updates
    }

    /// The state of every active download.
    pub(super) fn current(&self) -> impl Iterator<Item = FileUpdate> {
        self.list.iter().map(|(id, active)| {
            let (progress, is_full) = progress_of(&self.machine, *id);
            active.update(progress, is_full)
        })
    }
}

/// The progress of an active download, and whether it waits for space on the disk.
fn progress_of(machine: &Transfers, id: OfferId) -> (Progress, bool) {
    let progress = machine
        .progress(id)
        .expect("an active download is in the machine until its output is carried out");
    (progress, machine.waits_for_room(id))
}

impl ActiveDownload {
    fn update(&self, progress: Progress, is_full: bool) -> FileUpdate {
        let is_moving = !progress.from.is_empty();
        let state = if is_moving {
            FileState::Moving
        } else {
            FileState::Waiting
        };
        let why = if is_full {
            Some("the disk is full: the download resumes when there is space")
        } else {
            (self.sender_pauses && !is_moving).then_some(SENDER_PAUSES)
        };
        FileUpdate {
            bytes: progress.bytes,
            rate: self.meter.rate().filter(|_| is_moving),
            peers: progress.from.into_iter().map(DeviceId::person).collect(),
            why: why.map(str::to_owned),
            ..FileUpdate::new(self.partial.stored.clone(), state)
        }
    }
}
