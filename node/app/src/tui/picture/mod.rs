//! Small pictures: makes them from picture files for the cells of this terminal, and draws them
//! over rows of messages.
//!
//! `capabilities` finds out what the terminal can show, and `fit` computes the size of a picture.
//! `profile` makes profile pictures. Files may be hostile, so `decode` runs in a process of its own
//! (`process`) without rights (`sandbox`).

mod capabilities;
mod decode;
mod fit;
pub(crate) mod process;
mod profile;
mod sandbox;

pub(crate) use profile::profile_picture;

use std::path::PathBuf;
use std::sync::Arc;

use image::{DynamicImage, Rgb, RgbaImage};
use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};
use ratatui::style::Color;
use ratatui::widgets::Widget;
use ratatui_image::Image;
use ratatui_image::protocol::Protocol;
use ratatui_image::protocol::halfblocks::Halfblocks;
use ratatui_image::protocol::kitty::Kitty;
use ratatui_image::protocol::sixel::Sixel;
use ratatui_image::sliced::{SignedPosition, SlicedImage, SlicedProtocol};

use self::decode::Small;
use self::fit::Fit;
use super::terminal;

/// Maximum size of a cell in pixels. Larger sizes that a terminal reports are not believed.
const CELL_MAX: (u16, u16) = (64, 128);

/// How this terminal shows pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Canvas {
    protocol: GraphicsProtocol,
    /// Pixels of a cell.
    cell: (u16, u16),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GraphicsProtocol {
    /// Kitty's protocol: each picture is sent once, and placeholders in the text show it.
    Kitty,
    Sixel,
    /// `▀` in two colours: any colours, or the 256 that every terminal with colours has.
    HalfBlocks {
        all_colours: bool,
    },
}

/// A picture that is ready to be drawn. Cloning it is cheap.
#[derive(Clone)]
pub(super) struct Picture(Arc<Drawable>);

enum Drawable {
    /// Drawn as far as it is on the screen.
    Rows(SlicedProtocol),
    /// The same, in 256 colours.
    RowsOf256(SlicedProtocol),
    /// Drawn only if all of it is on the screen.
    Whole(Protocol),
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({} rows)", self.rows())
    }
}

impl Canvas {
    /// Measures the cells of the terminal again. Returns whether their size has changed.
    pub(super) fn measure(&mut self) -> bool {
        let cell = match self.protocol {
            GraphicsProtocol::HalfBlocks { .. } => None,
            GraphicsProtocol::Kitty | GraphicsProtocol::Sixel => capabilities::cell(),
        };
        cell.is_some_and(|cell| std::mem::replace(&mut self.cell, cell) != cell)
    }

    /// The control sequences that free the terminal's memory for pictures.
    pub(super) fn farewell(self, slots: usize) -> String {
        let forget = |slot| format!("\x1b_Ga=d,d=I,i={},q=2\x1b\\", number(slot));
        if self.protocol == GraphicsProtocol::Kitty {
            (0..slots).map(forget).collect()
        } else {
            String::new()
        }
    }

    /// The size that a picture may have in this room.
    fn fit(self, room: Size) -> Fit {
        let drawn = match self.protocol {
            GraphicsProtocol::HalfBlocks { .. } => (1, 2),
            GraphicsProtocol::Kitty | GraphicsProtocol::Sixel => self.cell,
        };
        Fit {
            cell: self.cell,
            drawn,
            room: (room.width, room.height),
        }
    }

    fn show(self, small: Small, slot: usize) -> Option<Drawable> {
        let size = Size::from(small.cells);
        let image = DynamicImage::from(small.pixels);
        Some(match self.protocol {
            GraphicsProtocol::HalfBlocks { all_colours } => {
                let rows = SlicedProtocol::Halfblocks(
                    Halfblocks::new(on_black(&image.into_rgba8()), size).ok()?,
                );
                if all_colours {
                    Drawable::Rows(rows)
                } else {
                    Drawable::RowsOf256(rows)
                }
            }
            GraphicsProtocol::Kitty => Drawable::Rows(SlicedProtocol::Kitty(
                Kitty::new(image, size, number(slot), false, false).ok()?,
            )),
            GraphicsProtocol::Sixel => {
                Drawable::Whole(Protocol::Sixel(Sixel::new(image, size, false).ok()?))
            }
        })
    }
}

impl Picture {
    /// Makes a picture of a file. None if it is not one, or beyond the bounds.
    pub(super) async fn of(
        path: PathBuf,
        canvas: Canvas,
        room: Size,
        slot: usize,
    ) -> Option<Picture> {
        let small = process::small(path, canvas.fit(room)).await?;
        Self::drawn(small, canvas, slot).await
    }

    /// The same for the bytes of a file.
    pub(super) async fn of_bytes(
        file: Vec<u8>,
        canvas: Canvas,
        room: Size,
        slot: usize,
    ) -> Option<Picture> {
        let small = process::small_of_bytes(&file, canvas.fit(room)).await?;
        Self::drawn(small, canvas, slot).await
    }

    async fn drawn(small: Small, canvas: Canvas, slot: usize) -> Option<Picture> {
        tokio::task::spawn_blocking(move || Self::shown(small, canvas, slot))
            .await
            .ok()?
    }

    fn shown(small: Small, canvas: Canvas, slot: usize) -> Option<Picture> {
        // The encoders of terminals' protocols may have errors. After a panic, there is no picture.
        terminal::contained(|| canvas.show(small, slot))?
            .map(|drawable| Picture(Arc::new(drawable)))
    }

    pub(super) fn rows(&self) -> u16 {
        match &*self.0 {
            Drawable::Rows(rows) | Drawable::RowsOf256(rows) => rows.size().height,
            Drawable::Whole(whole) => whole.size().height,
        }
    }

    /// Draws the part of the picture that is inside the area. `top`: the row of the area at which
    /// the picture begins; negative above the area.
    pub(super) fn render(&self, top: i16, area: Rect, buffer: &mut Buffer) {
        let rows_of = |rows| SlicedImage::new(rows, SignedPosition { x: 0, y: top });
        match &*self.0 {
            Drawable::Rows(rows) => rows_of(rows).render(area, buffer),
            Drawable::RowsOf256(rows) => {
                rows_of(rows).render(area, buffer);
                in_256_colours(area, buffer);
            }
            Drawable::Whole(whole) => {
                let Ok(down) = u16::try_from(top) else { return };
                let inside = down.saturating_add(whole.size().height) <= area.height;
                if inside && whole.size().width <= area.width {
                    Image::new(whole).render(
                        Rect {
                            y: area.y + down,
                            height: area.height - down,
                            ..area
                        },
                        buffer,
                    );
                }
            }
        }
    }
}

/// The number by which kitty knows the picture of a slot. The process id keeps it apart from the
/// pictures of other programs.
fn number(slot: usize) -> u32 {
    std::process::id() << 8 | u32::try_from(slot + 1).unwrap_or(u32::MAX) & 0xff
}

/// Draws the picture on black, where it is transparent.
fn on_black(image: &RgbaImage) -> DynamicImage {
    let dim = |value: u8, alpha: u8| {
        u8::try_from(u16::from(value) * u16::from(alpha) / 255).expect("at most the value")
    };
    let pixel = |x, y| {
        let [r, g, b, alpha] = image.get_pixel(x, y).0;
        Rgb([r, g, b].map(|value| dim(value, alpha)))
    };
    image::RgbImage::from_fn(image.width(), image.height(), pixel).into()
}

/// Replaces each colour by the nearest of the 256.
fn in_256_colours(area: Rect, buffer: &mut Buffer) {
    for position in area.positions() {
        if let Some(cell) = buffer.cell_mut(position) {
            (cell.fg, cell.bg) = (one_of_256(cell.fg), one_of_256(cell.bg));
        }
    }
}

/// The nearest colour of xterm's cube of 6 by 6 by 6 colours, or of its 24 greys.
fn one_of_256(colour: Color) -> Color {
    const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let Color::Rgb(r, g, b) = colour else {
        return colour;
    };
    let nearest = |value: u8| {
        (0..6_u8)
            .min_by_key(|level| LEVELS[usize::from(*level)].abs_diff(value))
            .unwrap_or(0)
    };
    let [red, green, blue] = [r, g, b].map(nearest);
    let average = u8::try_from((u16::from(r) + u16::from(g) + u16::from(b)) / 3)
        .expect("an average of bytes");
    let grey = (average.saturating_sub(3) / 10).min(23);
    let far = |of: [u8; 3]| -> u32 {
        of.into_iter()
            .zip([r, g, b])
            .map(|(one, other)| u32::from(one.abs_diff(other)).pow(2))
            .sum()
    };
    let cube = [red, green, blue].map(|level| LEVELS[usize::from(level)]);
    Color::Indexed(if far([8 + 10 * grey; 3]) < far(cube) {
        232 + grey
    } else {
        16 + 36 * red + 6 * green + blue
    })
}

#[cfg(test)]
pub(super) mod tests;
