//! Makes a profile picture from any picture file: small, and without what the file says about
//! camera and place. The file is decoded in the process for
//! decoding.

use std::path::PathBuf;

use hobnob::protocol::picture::PICTURE_BYTES_MAX;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, RgbaImage, imageops};

use super::fit::Fit;
use super::process;

/// The sides of a profile picture in pixels. The largest whose file is small enough is used; the
/// last one always is.
const SIDES: [u16; 3] = [128, 96, 64];

/// Reads a picture file and makes a profile picture of it. The error says what to do.
pub(crate) async fn profile_picture(path: PathBuf) -> Result<Vec<u8>, String> {
    let shown = path.display().to_string();
    let checked = tokio::task::spawn_blocking({
        let path = path.clone();
        move || process::check_file(&path)
    });
    let checked = checked.await.map_err(|error| error.to_string())?;
    checked.map_err(|why| format!("can't use {shown} as a profile picture: {why}"))?;
    let fit = Fit {
        cell: (1, 1),
        drawn: (1, 1),
        room: (SIDES[0], SIDES[0]),
    };
    let small = process::small(path, fit).await.ok_or_else(|| {
        format!("can't use {shown} as a profile picture: it is no PNG, JPEG, GIF or WebP picture, or too large")
    })?;
    let encoded = tokio::task::spawn_blocking(move || {
        SIDES.iter().find_map(|side| encoded(&small.pixels, *side))
    });
    encoded
        .await
        .ok()
        .flatten()
        .ok_or_else(|| format!("can't make a profile picture of {shown}"))
}

/// The picture as a PNG file of at most this many pixels on each side, if the file is small enough.
fn encoded(pixels: &RgbaImage, side: u16) -> Option<Vec<u8>> {
    let (width, height) = pixels.dimensions();
    let side = u32::from(side);
    let scaled;
    let pixels = if width.max(height) <= side {
        pixels
    } else {
        let part = |length: u32| (length * side / width.max(height)).max(1);
        scaled = imageops::thumbnail(pixels, part(width), part(height));
        &scaled
    };
    let (width, height) = pixels.dimensions();
    let mut file = Vec::new();
    PngEncoder::new_with_quality(&mut file, CompressionType::Best, FilterType::Adaptive)
        .write_image(pixels, width, height, ExtendedColorType::Rgba8)
        .ok()?;
    (file.len() <= PICTURE_BYTES_MAX).then_some(file)
}

#[cfg(test)]
mod tests {
    use hobnob::protocol::picture;

    use super::*;

    /// A picture that can't be compressed.
    fn noise(side: u32) -> RgbaImage {
        let mut state = 1_u32;
        RgbaImage::from_fn(side, side, |_, _| {
            image::Rgba([(); 4].map(|()| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            }))
        })
    }

    #[test]
    fn any_picture_becomes_small_enough() {
        let file = SIDES.iter().find_map(|side| encoded(&noise(128), *side));
        let file = file.expect("the smallest size always fits");
        assert!(picture::check(&file).is_ok());
        let plain = RgbaImage::from_pixel(128, 40, image::Rgba([9, 9, 9, 255]));
        let file = encoded(&plain, 128).expect("it is small");
        let decoded = image::load_from_memory(&file).expect("a PNG");
        assert_eq!((decoded.width(), decoded.height()), (128, 40));
        let file = encoded(&plain, 64).expect("it is small");
        let decoded = image::load_from_memory(&file).expect("a PNG");
        assert_eq!((decoded.width(), decoded.height()), (64, 20));
    }
}
