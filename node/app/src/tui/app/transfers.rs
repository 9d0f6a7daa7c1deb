//! The state of offered files: the progress of downloads here, and of uploads to each peer. Pure,
//! and bounded.

use std::collections::BTreeMap;

use hobnob::protocol::PersonId;
use hobnob::{ConversationRef, FileState, MessageId};
use hobnob_control::wire::{FileLine, MessageLine, Time};

use crate::shared::offers;
use crate::shared::wording::{self, Names};

/// Maximum number of files in memory, the same as the node lists. Files without a transfer are
/// dropped first, then the oldest.
const FILES_MAX: usize = 1000;

/// Maximum number of peers whose progress is shown for one own file.
const PEERS_MAX: usize = 64;

/// The node reports progress several times a second. Without a report for this time, a transfer
/// counts as stalled.
const STALLED_AFTER_MS: u64 = 3_000;

/// All files that were offered.
#[derive(Debug, Default)]
pub(crate) struct Transfers(BTreeMap<MessageId, File>);

/// One offered file.
#[derive(Debug)]
pub(crate) struct File {
    /// The last report. Reports about one peer of a file of this node are in `peers`.
    pub(crate) line: FileLine,
    reported_at: Time,
    /// Own files: the last report about each peer.
    peers: BTreeMap<PersonId, (FileLine, Time)>,
}

/// A transfer that is in progress.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transfer<'a> {
    pub(crate) line: &'a FileLine,
    /// The recipient of an upload; none for a download.
    pub(crate) to: Option<PersonId>,
}

impl Transfers {
    /// Takes the node's list of files.
    pub(crate) fn update_all(&mut self, now: Time, lines: Vec<FileLine>) {
        lines.into_iter().for_each(|line| self.update(now, line));
    }

    /// Takes the node's report about one file.
    pub(crate) fn update(&mut self, now: Time, line: FileLine) {
        let peer = line.peers.first().map(|peer| peer.0).filter(|_| line.own);
        let file = self.of(now, &line);
        file.reported_at = now;
        // Only lists, and no events, say where own files are.
        let saved = line
            .saved
            .clone()
            .or_else(|| file.line.saved.take().filter(|_| line.own));
        match peer {
            Some(peer) if file.peers.len() < PEERS_MAX || file.peers.contains_key(&peer) => {
                file.peers.insert(peer, (line, now));
            }
            Some(_) => {}
            None => {
                // An offer that was withdrawn or has failed has no transfers any more.
                if matches!(line.state, FileState::Declined | FileState::Failed) {
                    file.peers
                        .retain(|_, (line, _)| line.state != FileState::Moving);
                }
                file.line = line;
            }
        }
        file.line.saved = saved;
        self.drop_excess();
    }

    /// A message offers a file. The node reports its state later.
    pub(crate) fn offered(&mut self, now: Time, message: &MessageLine) {
        let Some(line) = offers::unanswered(message) else {
            return;
        };
        self.of(now, &line);
        self.drop_excess();
    }

    pub(crate) fn get(&self, id: MessageId) -> Option<&File> {
        self.0.get(&id)
    }

    /// The files of a conversation, the oldest first.
    pub(crate) fn of_conversation(&self, of: &ConversationRef) -> Vec<&File> {
        let mut files: Vec<&File> = self.within(of).collect();
        files.sort_by_key(|file| file.place());
        files
    }

    /// The transfers in progress in a conversation, in the order of the offers. Each drawing calls
    /// this, so only these are sorted.
    pub(crate) fn transfers(&self, now: Time, of: &ConversationRef) -> Vec<Transfer<'_>> {
        let mut moving: Vec<_> = self
            .within(of)
            .map(|file| (file.place(), file.transfers(now)))
            .filter(|(_, them)| !them.is_empty())
            .collect();
        moving.sort_by_key(|(place, _)| *place);
        moving
            .into_iter()
            .flat_map(|(_, transfers)| transfers)
            .collect()
    }

    /// Short ids for `/accept` and for `/decline` in a conversation, the newest first.
    pub(crate) fn ids_to_answer(&self, of: &ConversationRef) -> [Vec<String>; 2] {
        let ids = |fits: fn(&FileLine) -> bool| {
            self.of_conversation(of)
                .into_iter()
                .rev()
                .filter(|file| fits(&file.line))
                .map(|file| offers::short(file.line.id.0))
                .collect()
        };
        [ids(offers::waits_for_answer), ids(offers::can_end)]
    }

    /// Whether the last report about some file of a conversation was about a transfer.
    pub(crate) fn any_moves(&self, of: &ConversationRef) -> bool {
        self.within(of).any(File::moves)
    }

    fn within(&self, of: &ConversationRef) -> impl Iterator<Item = &File> {
        self.0
            .values()
            .filter(move |file| file.line.conversation.0 == *of)
    }

    fn of(&mut self, now: Time, line: &FileLine) -> &mut File {
        let new = || File {
            line: FileLine {
                peers: vec![],
                ..line.clone()
            },
            reported_at: now,
            peers: BTreeMap::new(),
        };
        self.0.entry(line.id.0).or_insert_with(new)
    }

    fn drop_excess(&mut self) {
        while self.0.len() > FILES_MAX {
            let is_wanted =
                |file: &File| matches!(file.line.state, FileState::Waiting | FileState::Moving);
            let first = self
                .0
                .values()
                .min_by_key(|file| (is_wanted(file), file.line.received_at))
                .expect("more than FILES_MAX files");
            let id = first.line.id.0;
            self.0.remove(&id);
        }
    }
}

impl File {
    fn transfers(&self, now: Time) -> Vec<Transfer<'_>> {
        let moves =
            |line: &FileLine, at: Time| line.state == FileState::Moving && !is_stalled(now, at);
        if self.line.own {
            let peers = self.peers.iter().filter(|(_, (line, at))| moves(line, *at));
            return peers
                .map(|(peer, (line, _))| Transfer {
                    line,
                    to: Some(*peer),
                })
                .collect();
        }
        let here = moves(&self.line, self.reported_at).then_some(Transfer {
            line: &self.line,
            to: None,
        });
        here.into_iter().collect()
    }

    fn moves(&self) -> bool {
        let moves = |line: &FileLine| line.state == FileState::Moving;
        moves(&self.line) || self.peers.values().any(|(line, _)| moves(line))
    }

    /// The order of the files of a conversation.
    fn place(&self) -> (Time, MessageId) {
        (self.line.received_at, self.line.id.0)
    }

    /// The state in words.
    pub(crate) fn state(&self, now: Time, names: &Names) -> String {
        if !self.line.own {
            let stalled = self.line.state == FileState::Moving && is_stalled(now, self.reported_at);
            return if stalled {
                offers::percent(&self.line)
            } else {
                offers::state(&self.line)
            };
        }
        match self.line.state {
            FileState::Declined => "withdrawn".to_owned(),
            FileState::Failed => offers::state(&self.line),
            FileState::Offered
            | FileState::Waiting
            | FileState::Paused
            | FileState::Moving
            | FileState::Done => self.with_others(now, names),
        }
    }

    /// The states of a file of this node at its recipients.
    fn with_others(&self, now: Time, names: &Names) -> String {
        let of = |state: FileState| {
            self.peers
                .iter()
                .filter(move |(_, (line, _))| line.state == state)
        };
        let mut parts: Vec<String> = of(FileState::Moving)
            .map(|(peer, (line, at))| {
                let how_far = if is_stalled(now, *at) {
                    offers::percent(line)
                } else {
                    offers::how_far(line)
                };
                format!("to {}: {how_far}", names.of(peer))
            })
            .collect();
        let some = |state| {
            wording::some_of(
                &of(state)
                    .map(|(peer, _)| names.of(peer))
                    .collect::<Vec<_>>(),
            )
        };
        let direct = match (&self.line.conversation.0, self.line.state) {
            (ConversationRef::Direct(peer), FileState::Done) => Some(names.of(peer)),
            (ConversationRef::Direct(_) | ConversationRef::Room(_), _) => None,
        };
        let have = some(FileState::Done).or(direct);
        parts.extend(have.map(|who| format!("saved by {who}")));
        parts.extend(some(FileState::Declined).map(|who| format!("declined by {who}")));
        parts.extend(some(FileState::Failed).map(|who| format!("failed at {who}")));
        if parts.is_empty() {
            "waiting to be accepted".to_owned()
        } else {
            parts.join("; ")
        }
    }
}

fn is_stalled(now: Time, reported_at: Time) -> bool {
    now.0.saturating_sub(reported_at.0) >= STALLED_AFTER_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_control::wire::Text;

    use crate::shared::offers::tests::line;

    fn peer(byte: u8) -> PersonId {
        PersonId::from_bytes([byte; 32])
    }

    fn own(state: FileState, to: u8, bytes: u64) -> FileLine {
        FileLine {
            own: true,
            state,
            bytes,
            peers: vec![Text(peer(to))],
            ..line(1, "a")
        }
    }

    #[test]
    fn one_line_says_what_all_recipients_do_with_an_own_file() {
        let mut files = Transfers::default();
        let names = Names::default();
        files.update(
            Time(0),
            FileLine {
                own: true,
                ..line(1, "a")
            },
        );
        let id = line(1, "a").id.0;
        let words = |files: &Transfers, now| files.get(id).unwrap().state(Time(now), &names);
        assert_eq!(words(&files, 0), "waiting to be accepted");
        files.update(Time(0), own(FileState::Moving, 2, 420));
        files.update(Time(0), own(FileState::Done, 3, 1000));
        files.update(Time(0), own(FileState::Declined, 4, 0));
        let [moves, has, declines] = [2, 3, 4].map(|byte| peer(byte).short());
        assert_eq!(
            words(&files, 100),
            format!("to {moves}: 42 %; saved by {has}; declined by {declines}")
        );
        assert_eq!(
            files
                .transfers(Time(100), &line(1, "a").conversation.0)
                .len(),
            1
        );
        assert!(
            files
                .transfers(Time(STALLED_AFTER_MS), &line(1, "a").conversation.0)
                .is_empty()
        );
        files.update(
            Time(0),
            FileLine {
                own: true,
                state: FileState::Declined,
                ..line(1, "a")
            },
        );
        assert_eq!(words(&files, 0), "withdrawn");
        assert!(
            files
                .transfers(Time(100), &line(1, "a").conversation.0)
                .is_empty()
        );
    }

    #[test]
    fn a_thousand_files_stay_in_memory_and_those_in_transfer_before_others() {
        let mut files = Transfers::default();
        files.update(
            Time(0),
            FileLine {
                state: FileState::Moving,
                ..line(0, "first")
            },
        );
        for log in 1..5_000 {
            files.update(
                Time(0),
                FileLine {
                    received_at: Time(log),
                    ..line(log, "x")
                },
            );
        }
        assert_eq!(files.0.len(), FILES_MAX);
        assert!(files.get(line(0, "").id.0).is_some() && files.get(line(1, "").id.0).is_none());
        for byte in 0..=255 {
            files.update(
                Time(0),
                FileLine {
                    id: line(4_999, "").id,
                    ..own(FileState::Moving, byte, 1)
                },
            );
        }
        assert_eq!(
            files.get(line(4_999, "").id.0).unwrap().peers.len(),
            PEERS_MAX
        );
    }
}
