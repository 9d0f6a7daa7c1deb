//! Picture files of every kind, and other files, on every kind of terminal.

use std::fs;
use std::path::Path;

use image::{Rgba, RgbaImage};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

const ROOM: Size = Size {
    width: 20,
    height: 8,
};
const AREA: Rect = Rect {
    x: 0,
    y: 0,
    width: 20,
    height: 8,
};

/// A picture file in this folder, red on the left and blue on the right.
pub(in crate::tui) fn file(folder: &Path, name: &str, width: u32, height: u32) -> PathBuf {
    let path = folder.join(name);
    let half = |x: u32| {
        if x < width / 2 {
            Rgb([200, 30, 30])
        } else {
            Rgb([30, 30, 200])
        }
    };
    image::RgbImage::from_fn(width, height, |x, _| half(x))
        .save(&path)
        .unwrap();
    path
}

/// Makes a picture of a file in this process.
pub(in crate::tui) fn made(
    path: &Path,
    canvas: Canvas,
    room: Size,
    slot: usize,
) -> Option<Picture> {
    let small = decode::small(&process::read(path)?, canvas.fit(room))?;
    Picture::shown(small, canvas, slot)
}

fn picture(path: &Path) -> Option<Picture> {
    made(path, Canvas::HALF_BLOCKS, ROOM, 0)
}

fn drawn(picture: &Picture, top: i16) -> Buffer {
    let mut buffer = Buffer::empty(AREA);
    picture.render(top, AREA, &mut buffer);
    buffer
}

#[test]
fn files_of_four_kinds_are_shown_in_cells_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.png", "a.jpg", "a.gif", "a.webp"] {
        let shown = picture(&file(folder.path(), name, 64, 64)).expect(name);
        assert_eq!(shown.rows(), 4);
        let buffer = drawn(&shown, -2);
        let coloured = |x, y| buffer[(x, y)].bg != Color::Reset;
        assert!(
            coloured(0, 0) && coloured(5, 1) && !coloured(0, 2),
            "the last two rows are inside"
        );
        assert_ne!(buffer[(0, 0)].bg, buffer[(5, 0)].bg);
    }
    let other = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        picture(&path).is_none()
    };
    let png = fs::read(folder.path().join("a.png")).unwrap();
    assert!(other("text.png", b"this is none") && other("empty.png", b""));
    assert!(other("cut.png", &png[..png.len() / 2]));
    assert!(other(
        "bitmap.png",
        b"BM\x1e\0\0\0\0\0\0\0\x1a\0\0\0\x0c\0\0\0\x01\0\x01\0\x01\0\x18\0\0\0\xff\0"
    ));
    assert!(picture(folder.path()).is_none());
    assert!(picture(&folder.path().join("none.png")).is_none());
    let pipe = folder.path().join("pipe.png");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
    assert!(picture(&pipe).is_none());
}

/// A PNG whose header claims other sides, with a valid checksum.
fn with_false_size(folder: &Path, width: u32, height: u32) -> PathBuf {
    let mut png = fs::read(file(folder, "small.png", 8, 8)).unwrap();
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&sum.to_be_bytes());
    let path = folder.join("lying.png");
    fs::write(&path, &png).unwrap();
    path
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 {
                (sum >> 1) ^ 0xedb8_8320
            } else {
                sum >> 1
            }
        })
    })
}

#[test]
fn a_file_that_would_take_all_memory_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (width, height) in [
        (100, 100),
        (15_000, 15_000),
        (16_385, 1),
        (1, 60_000),
        (u32::MAX, u32::MAX),
        (0, 8),
    ] {
        assert!(
            picture(&with_false_size(folder.path(), width, height)).is_none(),
            "{width} by {height}"
        );
    }
    let large = folder.path().join("large.png");
    fs::copy(file(folder.path(), "a.png", 8, 8), &large).unwrap();
    assert!(picture(&large).is_some());
    fs::File::options()
        .write(true)
        .open(&large)
        .unwrap()
        .set_len(100 * 1024 * 1024)
        .unwrap();
    assert!(picture(&large).is_none(), "100 MiB");
}

#[test]
fn only_the_first_frame_of_an_endless_animation_is_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("endless.gif");
    let mut bytes = fs::read(file(folder.path(), "a.gif", 64, 64)).unwrap();
    // Its frame a hundred thousand times over, and no end.
    assert_eq!(bytes.pop(), Some(0x3b));
    let frame = bytes[bytes.iter().position(|byte| *byte == 0x2c).unwrap()..].to_vec();
    for _ in 0..(8 * 1024 * 1024 / frame.len()) {
        bytes.extend_from_slice(&frame);
    }
    fs::write(&path, bytes).unwrap();
    assert_eq!(picture(&path).map(|picture| picture.rows()), Some(4));
}

#[test]
fn the_rotation_of_the_camera_is_applied() {
    let folder = tempfile::tempdir().unwrap();
    let mut jpeg = fs::read(file(folder.path(), "a.jpg", 64, 32)).unwrap();
    // EXIF of one entry: orientation 6, to be turned right.
    let exif =
        b"\xff\xe1\0\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    jpeg.splice(2..2, exif.iter().copied());
    let path = folder.path().join("turned.jpg");
    fs::write(&path, jpeg).unwrap();
    let buffer = drawn(&picture(&path).unwrap(), 0);
    let red = |x: u16, y: u16| matches!(buffer[(x, y)].bg, Color::Rgb(r, _, b) if r > b);
    assert!(
        red(0, 0) && red(3, 0) && !red(0, 3) && !red(3, 3),
        "what was left is on top"
    );
    assert_eq!(buffer[(4, 0)].bg, Color::Reset, "it is high, not wide");
}

#[test]
fn transparent_pixels_are_black() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("glass.png");
    RgbaImage::from_pixel(20, 20, Rgba([255, 255, 255, 0]))
        .save(&path)
        .unwrap();
    assert_eq!(
        drawn(&picture(&path).unwrap(), 0)[(0, 0)].bg,
        Color::Rgb(0, 0, 0)
    );
}

#[test]
fn kitty_and_sixel_terminals_get_their_own_protocol() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "a.png", 64, 64);
    let shown = |protocol| {
        made(
            &path,
            Canvas {
                protocol,
                cell: (10, 20),
            },
            ROOM,
            3,
        )
        .unwrap()
    };
    let first = |picture: &Picture| drawn(picture, 0)[(0, 0)].symbol().to_owned();
    let kitty = shown(GraphicsProtocol::Kitty);
    assert!(first(&kitty).starts_with(&format!(
        "\x1b_Gq=2,i={},a=T,U=1,f=32,t=d,s=70,v=80,m=1;",
        number(3)
    )));
    assert!(first(&kitty).starts_with('\u{10eeee}'), "it is sent once");
    let sixel = shown(GraphicsProtocol::Sixel);
    assert!(first(&sixel).contains("\x1bP"));
    // A picture that is partly outside of the screen is not drawn.
    assert!(drawn(&sixel, -1) == Buffer::empty(AREA) && drawn(&sixel, 5) == Buffer::empty(AREA));
    assert!(!first(&shown(GraphicsProtocol::HalfBlocks { all_colours: true })).contains('\x1b'));
    assert!(matches!(
        drawn(
            &shown(GraphicsProtocol::HalfBlocks { all_colours: false }),
            0
        )[(0, 0)]
            .bg,
        Color::Indexed(16..)
    ));
}

#[test]
fn kitty_frees_its_pictures_at_the_end() {
    let canvas = |protocol| Canvas {
        protocol,
        cell: (10, 20),
    };
    let farewell = canvas(GraphicsProtocol::Kitty).farewell(2);
    assert_eq!(farewell.matches("a=d,d=I,i=").count(), 2);
    assert!(
        farewell.contains(&format!("i={},", number(0)))
            && farewell.contains(&format!("i={},", number(1)))
    );
    assert_eq!(canvas(GraphicsProtocol::Sixel).farewell(2), "");
}

#[test]
fn colours_become_the_nearest_of_256() {
    for (rgb, index) in [
        ((0, 0, 0), 16),
        ((255, 255, 255), 231),
        ((255, 0, 0), 196),
        ((128, 128, 128), 244),
        ((90, 140, 220), 68),
    ] {
        assert_eq!(
            one_of_256(Color::Rgb(rgb.0, rgb.1, rgb.2)),
            Color::Indexed(index),
            "{rgb:?}"
        );
    }
    assert_eq!(one_of_256(Color::Reset), Color::Reset);
}

/// The cells that a terminal was sent while it showed these screens one after the other.
fn written(screens: &[Buffer]) -> Vec<(u16, u16)> {
    let [before, after] = screens else {
        panic!("two screens")
    };
    before
        .diff(after)
        .into_iter()
        .map(|(x, y, _)| (x, y))
        .collect()
}

#[test]
fn a_picture_that_moves_or_disappears_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "a.png", 64, 64);
    for protocol in [
        GraphicsProtocol::Kitty,
        GraphicsProtocol::Sixel,
        GraphicsProtocol::HalfBlocks { all_colours: true },
    ] {
        let picture = made(
            &path,
            Canvas {
                protocol,
                cell: (10, 20),
            },
            ROOM,
            0,
        )
        .unwrap();
        let covered: Vec<(u16, u16)> = (2..6).flat_map(|y| (0..7).map(move |x| (x, y))).collect();
        let gone = written(&[drawn(&picture, 2), Buffer::empty(AREA)]);
        assert!(
            covered.iter().all(|cell| gone.contains(cell)),
            "{protocol:?}: each of its cells is written when it goes"
        );
        let moved = written(&[drawn(&picture, 2), drawn(&picture, 1)]);
        assert!(
            (0..7).all(|x| moved.contains(&(x, 5))),
            "{protocol:?}: the row that it leaves is written"
        );
        assert!(
            moved.contains(&(0, 1)),
            "{protocol:?}: it is drawn where it is now"
        );
    }
}

#[test]
fn a_panic_in_a_decoder_only_means_no_picture() {
    assert_eq!(
        terminal::contained(|| -> u8 { panic!("as a decoder might") }),
        None
    );
    assert_eq!(terminal::contained(|| 7), Some(7));
}
