//! Small pictures of files: which are to be made, and which are kept. Pure: the event loop makes them.

use std::collections::BTreeMap;

use hobnob::MessageId;
use ratatui::layout::Size;

use super::picture::Picture;

/// Pictures that are kept; with one more, one goes that is nowhere near, and is made again when it
/// comes into sight.
pub(super) const KEPT_MAX: usize = 24;

/// What was made of files.
#[derive(Debug, Default)]
pub(super) struct Previews {
    made: BTreeMap<MessageId, Made>,
    /// For which they were made.
    room: Size,
    /// How often all were forgotten.
    turn: u64,
    under_way: bool,
}

#[derive(Debug)]
struct Made {
    /// Of those that are kept, no two have the same.
    slot: usize,
    /// None: nothing could be made of the file.
    picture: Option<Picture>,
}

/// A picture that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) id: MessageId,
    pub(super) room: Size,
    pub(super) slot: usize,
    turn: u64,
}

impl Previews {
    pub(super) fn get(&self, id: MessageId) -> Option<&Picture> {
        self.made.get(&id)?.picture.as_ref()
    }

    /// The next that is to be made, of those that are near: one after the other, each once.
    pub(super) fn next(&mut self, near: &[MessageId], room: Size) -> Option<Wanted> {
        if self.room != room {
            self.forget();
            self.room = room;
        }
        let near = &near[..near.len().min(KEPT_MAX)];
        if self.under_way {
            return None;
        }
        let id = *near.iter().find(|id| !self.made.contains_key(id))?;
        if self.made.len() >= KEPT_MAX {
            let far = *self.made.keys().find(|id| !near.contains(id))?;
            self.made.remove(&far);
        }
        let slot = (0..KEPT_MAX).find(|slot| self.made.values().all(|made| made.slot != *slot))?;
        self.under_way = true;
        Some(Wanted {
            id,
            room,
            slot,
            turn: self.turn,
        })
    }

    /// What has come of it.
    pub(super) fn made(&mut self, wanted: Wanted, picture: Option<Picture>) {
        self.under_way = false;
        if wanted.turn == self.turn {
            self.made.insert(
                wanted.id,
                Made {
                    slot: wanted.slot,
                    picture,
                },
            );
        }
    }

    /// All are to be made anew, what is under way as well: the room is another, or the cells of the
    /// terminal are.
    pub(super) fn forget(&mut self) {
        self.made.clear();
        self.turn += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob::protocol::LogId;

    const ROOM: Size = Size {
        width: 32,
        height: 10,
    };

    fn ids(seqs: std::ops::Range<u64>) -> Vec<MessageId> {
        seqs.map(|seq| MessageId { log: LogId(1), seq }).collect()
    }

    #[test]
    fn each_is_made_once_and_one_after_the_other() {
        let mut previews = Previews::default();
        let near = ids(1..3);
        let first = previews.next(&near, ROOM).unwrap();
        assert_eq!((first.id, previews.next(&near, ROOM)), (near[0], None));
        previews.made(first, None);
        let second = previews.next(&near, ROOM).unwrap();
        assert!(second.id == near[1] && second.slot != first.slot);
        previews.made(second, None);
        assert_eq!(previews.next(&near, ROOM), None);
        // In another room all are made anew, and what was begun for the old one does not count.
        let smaller = Size { width: 20, ..ROOM };
        let begun = previews.next(&near, smaller).unwrap();
        assert_eq!(previews.next(&near, ROOM), None);
        previews.made(begun, None);
        let begun = previews.next(&near, ROOM).unwrap();
        assert_eq!(begun.id, near[0]);
        // So they are when the terminal's cells are others.
        previews.forget();
        assert_eq!(previews.next(&near, ROOM), None);
        previews.made(begun, None);
        assert_eq!(previews.next(&near, ROOM).unwrap().id, near[0]);
    }

    #[test]
    fn however_many_are_near_it_comes_to_an_end_and_what_is_near_stays() {
        let mut previews = Previews::default();
        for near in [ids(1..200), ids(150..190), ids(1..5)] {
            let mut rounds = 0;
            while let Some(wanted) = previews.next(&near, ROOM) {
                previews.made(wanted, None);
                rounds += 1;
                assert!(rounds <= KEPT_MAX);
            }
            assert!(
                near.iter()
                    .take(KEPT_MAX)
                    .all(|id| previews.made.contains_key(id))
            );
            let mut slots: Vec<usize> = previews.made.values().map(|made| made.slot).collect();
            slots.sort_unstable();
            slots.dedup();
            assert_eq!(slots.len(), KEPT_MAX.min(previews.made.len()));
        }
    }
}
