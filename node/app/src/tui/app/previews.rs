//! Small pictures beside the offers of picture files: whose are shown, and which are to be made.

use hobnob_control::wire::MessageLine;
use ratatui::layout::Size;

use super::{App, Output};
use crate::shared::settings::Previewed;
use crate::tui::layout;
use crate::tui::picture::Picture;
use crate::tui::transfers::File;

/// Cells of a picture at most; and at least, below which the screen has no room for pictures.
const MOST: Size = Size {
    width: 32,
    height: 10,
};
const LEAST: Size = Size {
    width: 16,
    height: 4,
};

/// Of how many rows of the screen a picture takes one.
const ROWS_ONE_OF: u16 = 4;

impl App {
    /// The picture that a message offers, small, if it is made and may be shown.
    pub(in crate::tui) fn preview(&self, message: &MessageLine) -> Option<&Picture> {
        let file = self.files.get(message.id.0)?;
        if self.may_preview(file) {
            self.previews.get(message.id.0)
        } else {
            None
        }
    }

    /// Has one made of a file that is on the screen, or near.
    pub(super) fn want_preview(&mut self) {
        let below = self.window.scroll().map_or(0, |scroll| scroll.below);
        let near = self
            .window
            .entries()
            .iter()
            .rev()
            .skip(below)
            .take(2 * usize::from(self.size.1));
        let offers = near
            .filter_map(|entry| entry.message())
            .filter(|message| message.body.file.is_some());
        let files = offers
            .filter_map(|message| self.files.get(message.id.0))
            .filter(|file| self.may_preview(file));
        let ids: Vec<_> = files.map(|file| file.line.id.0).collect();
        if ids.is_empty() {
            return;
        }
        let Some(room) = self.room_for_previews() else {
            return self.previews.forget();
        };
        let Some(wanted) = self.previews.next(&ids, room) else {
            return;
        };
        if let Some(picture) = self
            .files
            .get(wanted.id)
            .and_then(|file| file.line.picture.clone())
        {
            self.outputs.push_back(Output::Picture {
                wanted,
                path: picture.path,
            });
        }
    }

    /// A file from somebody whom the user has not verified is not even opened, unless that is set.
    fn may_preview(&self, file: &File) -> bool {
        let is_verified = || {
            self.people
                .peers
                .get(&file.line.from.0)
                .is_some_and(|peer| peer.policy.verified)
        };
        let trusted = match self.settings.previews {
            Previewed::None => false,
            Previewed::Verified => file.line.own || is_verified(),
            Previewed::All => true,
        };
        trusted && file.line.picture.is_some()
    }

    fn room_for_previews(&self) -> Option<Size> {
        let columns = layout::text_columns(usize::from(self.layout().body.width));
        let width = u16::try_from(columns).unwrap_or(MOST.width).min(MOST.width);
        // What is typed takes rows from the messages: pictures stay as they are.
        let height = (self.size.1 / ROWS_ONE_OF).min(MOST.height);
        (width >= LEAST.width && height >= LEAST.height).then_some(Size { width, height })
    }
}
