//! What is known of offered files: how far each is, with us and with others. Pure, and bounded.

use std::collections::BTreeMap;

use hobnob::protocol::PeerId;
use hobnob::{ConversationRef, FileState, MessageId};
use hobnob_control::wire::{FileLine, MessageLine, Time};

use crate::shared::offers;
use crate::shared::wording::{self, Names};

/// Files that are remembered, as many as the node lists; those that have ended go first, then the
/// oldest.
const FILES_MAX: usize = 1000;

/// Peers that are remembered of one of our own; further ones are not told of.
const PEERS_MAX: usize = 64;

/// What moves is told of a few times a second: what was silent for so long has stopped for now.
const STILL_AFTER_MS: u64 = 3_000;

/// What is known of all of them.
#[derive(Debug, Default)]
pub(super) struct Transfers(BTreeMap<MessageId, File>);

/// One of them.
#[derive(Debug)]
pub(super) struct File {
    /// The last that was told; of our own: that is about no peer.
    pub(super) line: FileLine,
    told_at: Time,
    /// Of our own: what was told last of each peer.
    peers: BTreeMap<PeerId, (FileLine, Time)>,
}

/// Something that moves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transfer<'a> {
    pub(super) line: &'a FileLine,
    /// To whom; none: to us.
    pub(super) to: Option<PeerId>,
}

impl Transfers {
    /// Takes what the node lists.
    pub(super) fn listed(&mut self, now: Time, lines: Vec<FileLine>) {
        lines.into_iter().for_each(|line| self.told(now, line));
    }

    /// Takes what the node tells of one.
    pub(super) fn told(&mut self, now: Time, line: FileLine) {
        let peer = line.peers.first().map(|peer| peer.0).filter(|_| line.own);
        let file = self.of(now, &line);
        file.told_at = now;
        // Where one's own is, only a list says.
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
                // What was taken back, or can't be had, moves to nobody any more.
                if matches!(line.state, FileState::Declined | FileState::Failed) {
                    file.peers
                        .retain(|_, (line, _)| line.state != FileState::Moving);
                }
                file.line = line;
            }
        }
        file.line.saved = saved;
        self.let_go();
    }

    /// An offer came, or was made; how things stand with it is told later.
    pub(super) fn offered(&mut self, now: Time, message: &MessageLine) {
        let Some(line) = offers::unanswered(message) else {
            return;
        };
        self.of(now, &line);
        self.let_go();
    }

    /// How things stand with one.
    pub(super) fn get(&self, id: MessageId) -> Option<&File> {
        self.0.get(&id)
    }

    /// Those of a conversation, oldest first.
    pub(super) fn of_conversation(&self, of: &ConversationRef) -> Vec<&File> {
        let mut files: Vec<&File> = self.within(of).collect();
        files.sort_by_key(|file| file.place());
        files
    }

    /// What moves in a conversation now, in the order of the offers. Asked at each look at the
    /// screen, so only what moves is sorted.
    pub(super) fn transfers(&self, now: Time, of: &ConversationRef) -> Vec<Transfer<'_>> {
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

    /// Whether something moves in a conversation, or did when it was last told of.
    pub(super) fn any_moves(&self, of: &ConversationRef) -> bool {
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
            told_at: now,
            peers: BTreeMap::new(),
        };
        self.0.entry(line.id.0).or_insert_with(new)
    }

    fn let_go(&mut self) {
        while self.0.len() > FILES_MAX {
            let under_way =
                |file: &File| matches!(file.line.state, FileState::Waiting | FileState::Moving);
            let Some(id) = self
                .0
                .values()
                .min_by_key(|file| (under_way(file), file.line.received_at))
                .map(|file| file.line.id.0)
            else {
                return;
            };
            self.0.remove(&id);
        }
    }
}

impl File {
    fn transfers(&self, now: Time) -> Vec<Transfer<'_>> {
        let moves =
            |line: &FileLine, at: Time| line.state == FileState::Moving && !is_still(now, at);
        if self.line.own {
            let peers = self.peers.iter().filter(|(_, (line, at))| moves(line, *at));
            return peers
                .map(|(peer, (line, _))| Transfer {
                    line,
                    to: Some(*peer),
                })
                .collect();
        }
        let here = moves(&self.line, self.told_at).then_some(Transfer {
            line: &self.line,
            to: None,
        });
        here.into_iter().collect()
    }

    fn moves(&self) -> bool {
        let moves = |line: &FileLine| line.state == FileState::Moving;
        moves(&self.line) || self.peers.values().any(|(line, _)| moves(line))
    }

    /// Where it stands among others.
    fn place(&self) -> (Time, MessageId) {
        (self.line.received_at, self.line.id.0)
    }

    /// How things stand, in words.
    pub(super) fn state(&self, now: Time, names: &Names) -> String {
        if !self.line.own {
            let still = self.line.state == FileState::Moving && is_still(now, self.told_at);
            return if still {
                offers::percent(&self.line)
            } else {
                offers::state(&self.line)
            };
        }
        match self.line.state {
            FileState::Declined => "taken back".to_owned(),
            FileState::Failed => offers::state(&self.line),
            FileState::Offered | FileState::Waiting | FileState::Moving | FileState::Done => {
                self.with_others(now, names)
            }
        }
    }

    /// How it is with those to whom we offered it.
    fn with_others(&self, now: Time, names: &Names) -> String {
        let of = |state: FileState| {
            self.peers
                .iter()
                .filter(move |(_, (line, _))| line.state == state)
        };
        let mut parts: Vec<String> = of(FileState::Moving)
            .map(|(peer, (line, at))| {
                let how_far = if is_still(now, *at) {
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
        if parts.is_empty() {
            "waiting to be accepted".to_owned()
        } else {
            parts.join("; ")
        }
    }
}

fn is_still(now: Time, told_at: Time) -> bool {
    now.0.saturating_sub(told_at.0) >= STILL_AFTER_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_control::wire::Text;

    use crate::shared::offers::tests::line;

    fn peer(byte: u8) -> PeerId {
        PeerId::from_bytes([byte; 32])
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
    fn what_others_do_with_an_own_file_is_told_together() {
        let mut files = Transfers::default();
        let names = Names::default();
        files.told(
            Time(0),
            FileLine {
                own: true,
                ..line(1, "a")
            },
        );
        let id = line(1, "a").id.0;
        let words = |files: &Transfers, now| files.get(id).unwrap().state(Time(now), &names);
        assert_eq!(words(&files, 0), "waiting to be accepted");
        files.told(Time(0), own(FileState::Moving, 2, 420));
        files.told(Time(0), own(FileState::Done, 3, 1000));
        files.told(Time(0), own(FileState::Declined, 4, 0));
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
                .transfers(Time(STILL_AFTER_MS), &line(1, "a").conversation.0)
                .is_empty()
        );
        files.told(
            Time(0),
            FileLine {
                own: true,
                state: FileState::Declined,
                ..line(1, "a")
            },
        );
        assert_eq!(words(&files, 0), "taken back");
        assert!(
            files
                .transfers(Time(100), &line(1, "a").conversation.0)
                .is_empty()
        );
    }

    #[test]
    fn a_thousand_offers_are_remembered_and_what_moves_is_not_forgotten() {
        let mut files = Transfers::default();
        files.told(
            Time(0),
            FileLine {
                state: FileState::Moving,
                ..line(0, "first")
            },
        );
        for log in 1..5_000 {
            files.told(
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
            files.told(
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
