//! Decodes pictures within bounds, and scales them down. Runs in a process of its own (`process`).
//!
//! A hostile file may try to use all memory or all time. So its header is checked before the pixels
//! are decoded, and only the first frame of an animation is decoded.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbaImage};

use super::fit::Fit;

/// Maximum number of pixels of a side.
const SIDE_MAX: u32 = 16_384;

/// Maximum number of pixels, and of their bytes. The slowest pictures of this size (a progressive
/// JPEG of a hundred scans, and WebP) took 1.6 s and 220 MB on a busy machine.
const PIXELS_MAX: u64 = 32 * 1024 * 1024;
const DECODED_BYTES_MAX: u64 = 3 * PIXELS_MAX;

/// A picture that fits into its cells.
pub(super) struct Small {
    /// Columns and rows.
    pub(super) cells: (u16, u16),
    pub(super) pixels: RgbaImage,
}

/// Decodes a file and scales the picture down. None if it is not a picture of a supported kind, or
/// beyond the bounds.
pub(super) fn small(file: &[u8], fit: Fit) -> Option<Small> {
    let decoded = decoded(file)?;
    let cells = fit.cells(decoded.size());
    let pixels = decoded.scaled(fit.pixels(cells)).into_rgba8();
    Some(Small { cells, pixels })
}

/// A decoded picture.
struct Decoded {
    image: DynamicImage,
    /// The rotation that the camera has recorded.
    orientation: Orientation,
}

impl Decoded {
    /// Width and height after the rotation.
    fn size(&self) -> (u32, u32) {
        let size = (self.image.width(), self.image.height());
        if self.is_on_its_side() {
            (size.1, size.0)
        } else {
            size
        }
    }

    /// Rotates the picture and scales it down.
    fn scaled(self, (width, height): (u32, u32)) -> DynamicImage {
        let (width, height) = if self.is_on_its_side() {
            (height, width)
        } else {
            (width, height)
        };
        let mut small = self.image.thumbnail_exact(width, height);
        small.apply_orientation(self.orientation);
        small
    }

    /// Whether the rotation swaps width and height.
    fn is_on_its_side(&self) -> bool {
        match self.orientation {
            Orientation::NoTransforms
            | Orientation::Rotate180
            | Orientation::FlipHorizontal
            | Orientation::FlipVertical => false,
            Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH => true,
        }
    }
}

fn decoded(file: &[u8]) -> Option<Decoded> {
    let mut reader = ImageReader::new(Cursor::new(file))
        .with_guessed_format()
        .ok()?;
    let shown = [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::Gif,
        ImageFormat::WebP,
    ];
    if !reader
        .format()
        .is_some_and(|format| shown.contains(&format))
    {
        return None;
    }
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(SIDE_MAX), Some(SIDE_MAX));
    limits.max_alloc = Some(DECODED_BYTES_MAX);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().ok()?;
    if !is_within_bounds(decoder.dimensions(), decoder.total_bytes()) {
        return None;
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Some(Decoded {
        image: DynamicImage::from_decoder(decoder).ok()?,
        orientation,
    })
}

fn is_within_bounds((width, height): (u32, u32), bytes: u64) -> bool {
    let pixels = u64::from(width) * u64::from(height);
    width.max(height) <= SIDE_MAX
        && (1..=PIXELS_MAX).contains(&pixels)
        && bytes <= DECODED_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photographs_are_within_the_bounds_and_bombs_are_not() {
        let in_colours = |width: u32, height: u32, each: u64| {
            is_within_bounds(
                (width, height),
                u64::from(width)
                    .saturating_mul(u64::from(height))
                    .saturating_mul(each),
            )
        };
        for (width, height, each) in [
            (4000, 3000, 3),
            (6000, 4000, 4),
            (8192, 4096, 3),
            (16_384, 2048, 1),
            (1, 1, 8),
        ] {
            assert!(
                in_colours(width, height, each),
                "{width} by {height}, {each} bytes each"
            );
        }
        for (width, height, each) in [
            (15_000, 15_000, 1),
            (16_385, 1, 1),
            (1, 60_000, 1),
            (u32::MAX, u32::MAX, 8),
            (8192, 4096, 4),
            (16_384, 2049, 1),
            (0, 8, 3),
        ] {
            assert!(
                !in_colours(width, height, each),
                "{width} by {height}, {each} bytes each"
            );
        }
    }
}
