//! Profile pictures under the answers to `/whois`: which to make, and those that were made. The event
//! loop makes them. Where there is none, the screen shows initials.

use std::collections::VecDeque;

use hobnob::protocol::{ContentHash, PersonId};
use hobnob_control::wire::PeerLine;
use ratatui::layout::Size;

use super::previews::PICTURES_MAX;
use crate::shared::settings::Previewed;
use crate::tui::picture::Picture;

/// Maximum number of profile pictures in memory. A further one replaces the oldest.
pub(crate) const PORTRAITS_MAX: usize = 4;

/// The largest size of a profile picture, in cells.
pub(crate) const SIZE: Size = Size {
    width: 16,
    height: 8,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Portraits {
    /// Whose pictures the user wants to see.
    which: Previewed,
    made: VecDeque<Portrait>,
    /// Counts up for each picture that is made, to choose its slot and to recognize late results.
    last: usize,
}

#[derive(Debug)]
struct Portrait {
    of: PersonId,
    hash: ContentHash,
    number: usize,
    /// None until it is made, and if the file is no picture that can be shown.
    picture: Option<Picture>,
}

/// A profile picture to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WantedPortrait {
    number: usize,
}

impl WantedPortrait {
    /// The number by which the terminal knows the picture.
    pub(crate) fn slot(self) -> usize {
        PICTURES_MAX + self.number % PORTRAITS_MAX
    }
}

impl Portraits {
    pub(super) fn new(which: Previewed) -> Self {
        Self {
            which,
            made: VecDeque::new(),
            last: 0,
        }
    }

    /// The picture of a peer, if it is made.
    pub(super) fn of(&self, peer: PersonId) -> Option<&Picture> {
        let made = self.made.iter().find(|portrait| portrait.of == peer);
        made?.picture.as_ref()
    }

    /// Begins to make the picture of a peer, unless it is made or may not be shown. Files of people
    /// who are not verified are not decoded, unless the user has set that.
    pub(super) fn begin(&mut self, peer: &PeerLine) -> Option<WantedPortrait> {
        let may_show = match self.which {
            Previewed::None => false,
            Previewed::Verified => peer.policy.verified,
            Previewed::All => true,
        };
        let hash = peer.picture.filter(|_| may_show)?.0;
        let (of, is_of) = (peer.peer.0, |portrait: &Portrait| {
            portrait.of == peer.peer.0
        });
        if self.made.iter().any(|it| is_of(it) && it.hash == hash) {
            return None;
        }
        self.made.retain(|portrait| !is_of(portrait));
        if self.made.len() == PORTRAITS_MAX {
            self.made.pop_front();
        }
        // Slots are used in turn, so the oldest picture is the one whose slot is used again.
        self.last += 1;
        let number = self.last;
        self.made.push_back(Portrait {
            of,
            hash,
            number,
            picture: None,
        });
        Some(WantedPortrait { number })
    }

    /// Takes the result of making a picture. It is void if the picture is not wanted any more.
    pub(super) fn made(&mut self, wanted: WantedPortrait, picture: Option<Picture>) {
        let mut made = self.made.iter_mut();
        if let Some(portrait) = made.find(|portrait| portrait.number == wanted.number) {
            portrait.picture = picture;
        }
    }

    /// Forgets all pictures: the terminal's cells have another size.
    pub(super) fn forget(&mut self) {
        self.made.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::tests::scene::peer;
    use hobnob::PeerState;
    use hobnob_control::wire::Text;

    fn with_picture(byte: u8, verified: bool) -> PeerLine {
        let mut peer = peer(byte, "bob", PeerState::Online);
        peer.picture = Some(Text(ContentHash([byte; 32])));
        peer.policy.verified = verified;
        peer
    }

    #[test]
    fn each_picture_is_made_once_and_few_are_kept() {
        let mut portraits = Portraits::new(Previewed::All);
        let first = portraits.begin(&with_picture(1, false)).unwrap();
        assert_eq!(portraits.begin(&with_picture(1, false)), None);
        let mut slots = vec![first.slot()];
        for byte in 2..=4 {
            slots.push(portraits.begin(&with_picture(byte, false)).unwrap().slot());
        }
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), PORTRAITS_MAX);
        assert!(slots[0] >= PICTURES_MAX, "previews have the others");
        let fifth = portraits.begin(&with_picture(5, false)).unwrap();
        assert_eq!(fifth.slot(), first.slot());
        assert_eq!(portraits.made.len(), PORTRAITS_MAX);
        assert!(portraits.begin(&with_picture(1, false)).is_some());
        // Another picture of the same peer.
        let mut changed = with_picture(5, false);
        changed.picture = Some(Text(ContentHash([99; 32])));
        assert!(portraits.begin(&changed).is_some());
        portraits.forget();
        assert!(portraits.made.is_empty());
    }

    #[test]
    fn strangers_files_are_not_decoded() {
        let mut none = Portraits::new(Previewed::None);
        assert_eq!(none.begin(&with_picture(1, true)), None);
        let mut verified = Portraits::new(Previewed::Verified);
        assert_eq!(verified.begin(&with_picture(1, false)), None);
        assert!(verified.begin(&with_picture(1, true)).is_some());
        let without = peer(2, "bob", PeerState::Online);
        assert_eq!(Portraits::new(Previewed::All).begin(&without), None);
    }
}
