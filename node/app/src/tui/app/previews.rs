//! Small pictures beside the offers of picture files: which to make, and those that were made. The
//! event loop makes them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hobnob::MessageId;
use hobnob_control::wire::MessageLine;
use ratatui::layout::Size;

use super::people::People;
use super::transfers::{File, Transfers};
use crate::shared::settings::Previewed;
use crate::tui::picture::Picture;

/// Maximum number of pictures in memory. A further one replaces one that is not near the screen.
pub(crate) const PICTURES_MAX: usize = 24;

/// The largest size of a picture, in cells.
const MOST: Size = Size {
    width: 32,
    height: 10,
};

/// The smallest size. A screen without room for it shows no pictures.
const LEAST: Size = Size {
    width: 16,
    height: 4,
};

/// A picture takes at most one of this many rows of the screen.
const ROWS_ONE_OF: u16 = 4;

/// See the module.
#[derive(Debug)]
pub(crate) struct Previews {
    /// Whose pictures the user wants to see.
    which: Previewed,
    made: BTreeMap<MessageId, Made>,
    /// The size for which they were made.
    room: Size,
    /// Counts how often all were forgotten, to recognize late results.
    generation: u64,
    is_busy: bool,
}

#[derive(Debug)]
struct Made {
    /// The number by which the terminal knows the picture. No two pictures share one.
    slot: usize,
    /// None: the file is not a picture that can be shown.
    picture: Option<Picture>,
}

/// A picture to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) id: MessageId,
    pub(crate) room: Size,
    pub(crate) slot: usize,
    generation: u64,
}

impl Previews {
    pub(super) fn new(which: Previewed) -> Previews {
        Previews {
            which,
            made: BTreeMap::new(),
            room: Size::default(),
            generation: 0,
            is_busy: false,
        }
    }

    /// The picture of the file that a message offers, if it is made and may be shown.
    pub(super) fn shown(
        &self,
        message: &MessageLine,
        files: &Transfers,
        people: &People,
    ) -> Option<&Picture> {
        let file = files.get(message.id.0)?;
        if !self.may_show(file, people) {
            return None;
        }
        self.made.get(&message.id.0)?.picture.as_ref()
    }

    /// The next picture to make and its file. `near`: the messages on the screen and close to it,
    /// the nearest first. `room`: the size for pictures; none if the screen is too small.
    pub(super) fn next<'a>(
        &mut self,
        near: impl Iterator<Item = &'a MessageLine>,
        room: Option<Size>,
        files: &Transfers,
        people: &People,
    ) -> Option<(Wanted, PathBuf)> {
        let near: Vec<MessageId> = near
            .filter(|message| message.body.file.is_some())
            .filter_map(|message| files.get(message.id.0))
            .filter(|file| self.may_show(file, people))
            .map(|file| file.line.id.0)
            .collect();
        if near.is_empty() {
            return None;
        }
        let Some(room) = room else {
            self.forget();
            return None;
        };
        let wanted = self.next_of(&near, room)?;
        let picture = files.get(wanted.id)?.line.picture.as_ref();
        let path = &picture.expect("may_show requires a picture").path;
        Some((wanted, path.clone()))
    }

    /// Files of people who are not verified are not even opened, unless the user has set that.
    fn may_show(&self, file: &File, people: &People) -> bool {
        let is_verified = || {
            let author = people.peers.get(&file.line.from.0);
            author.is_some_and(|peer| peer.policy.verified)
        };
        let is_trusted = match self.which {
            Previewed::None => false,
            Previewed::Verified => file.line.own || is_verified(),
            Previewed::All => true,
        };
        is_trusted && file.line.picture.is_some()
    }

    /// The first of these that is not made yet. One picture is made at a time.
    fn next_of(&mut self, near: &[MessageId], room: Size) -> Option<Wanted> {
        if self.room != room {
            self.forget();
            self.room = room;
        }
        // With more than that, each new picture would replace one that is needed.
        let near = &near[..near.len().min(PICTURES_MAX)];
        if self.is_busy {
            return None;
        }
        let id = *near.iter().find(|id| !self.made.contains_key(id))?;
        if self.made.len() >= PICTURES_MAX {
            let far = *self
                .made
                .keys()
                .find(|id| !near.contains(id))
                .expect("`id` is near and not made, so not all of those made are near");
            self.made.remove(&far);
        }
        let slot = (0..PICTURES_MAX)
            .find(|slot| self.made.values().all(|made| made.slot != *slot))
            .expect("fewer pictures than slots");
        self.is_busy = true;
        Some(Wanted {
            id,
            room,
            slot,
            generation: self.generation,
        })
    }

    /// Takes the result of making a picture. It is void if all were forgotten meanwhile.
    pub(super) fn made(&mut self, wanted: Wanted, picture: Option<Picture>) {
        self.is_busy = false;
        if wanted.generation == self.generation {
            let slot = wanted.slot;
            self.made.insert(wanted.id, Made { slot, picture });
        }
    }

    /// Forgets all pictures: they have to be made again for another size of pictures or cells.
    pub(super) fn forget(&mut self) {
        self.made.clear();
        self.generation += 1;
    }
}

/// The size of pictures beside texts of this many columns, on a screen of this many rows.
pub(super) fn room(text_columns: usize, screen_rows: u16) -> Option<Size> {
    let width = u16::try_from(text_columns)
        .unwrap_or(MOST.width)
        .min(MOST.width);
    // Not the rows of the messages: those change with every line that the user types.
    let height = (screen_rows / ROWS_ONE_OF).min(MOST.height);
    (width >= LEAST.width && height >= LEAST.height).then_some(Size { width, height })
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
    fn each_picture_is_made_once_and_one_after_the_other() {
        let mut previews = Previews::new(Previewed::All);
        let near = ids(1..3);
        let first = previews.next_of(&near, ROOM).unwrap();
        assert_eq!((first.id, previews.next_of(&near, ROOM)), (near[0], None));
        previews.made(first, None);
        let second = previews.next_of(&near, ROOM).unwrap();
        assert!(second.id == near[1] && second.slot != first.slot);
        previews.made(second, None);
        assert_eq!(previews.next_of(&near, ROOM), None);
        // Another size forgets all of them, also the one that is being made.
        let smaller = Size { width: 20, ..ROOM };
        let begun = previews.next_of(&near, smaller).unwrap();
        assert_eq!(previews.next_of(&near, ROOM), None);
        previews.made(begun, None);
        let begun = previews.next_of(&near, ROOM).unwrap();
        assert_eq!(begun.id, near[0]);
        // So does another size of the terminal's cells.
        previews.forget();
        assert_eq!(previews.next_of(&near, ROOM), None);
        previews.made(begun, None);
        assert_eq!(previews.next_of(&near, ROOM).unwrap().id, near[0]);
    }

    #[test]
    fn with_many_pictures_near_the_nearest_are_made_and_then_no_more() {
        let mut previews = Previews::new(Previewed::All);
        for near in [ids(1..200), ids(150..190), ids(1..5)] {
            let mut rounds = 0;
            while let Some(wanted) = previews.next_of(&near, ROOM) {
                previews.made(wanted, None);
                rounds += 1;
                assert!(rounds <= PICTURES_MAX);
            }
            assert!(
                near.iter()
                    .take(PICTURES_MAX)
                    .all(|id| previews.made.contains_key(id))
            );
            let mut slots: Vec<usize> = previews.made.values().map(|made| made.slot).collect();
            slots.sort_unstable();
            slots.dedup();
            assert_eq!(slots.len(), PICTURES_MAX.min(previews.made.len()));
        }
    }

    #[test]
    fn a_small_screen_has_no_room_for_pictures() {
        assert_eq!(room(60, 24), Some(Size::new(32, 6)));
        assert_eq!(room(60, 200), Some(Size::new(32, 10)));
        assert_eq!(room(60, 15), None);
        assert_eq!(room(15, 24), None);
    }
}
