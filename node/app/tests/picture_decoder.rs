//! The process that decodes pictures: its answers, and what it may do.

#![cfg(feature = "pictures")]

use std::fs;
use std::io::{Cursor, Read, Write};
use std::process::{Child, Command, Stdio};

/// Cells of 10 by 20 pixels, drawn as half-blocks, in a room of 20 by 8.
const FIT: &str = "10,20,1,2,20,8";

fn decoder(argument: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_hobnob"))
        .args(["decode-picture", argument])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

fn answer(file: &[u8], argument: &str) -> (bool, Vec<u8>) {
    let mut decoder = decoder(argument);
    // The decoder may end before it has read everything.
    let _ = decoder.stdin.take().expect("a pipe").write_all(file);
    let mut answer = Vec::new();
    let mut output = decoder.stdout.take().expect("a pipe");
    output.read_to_end(&mut answer).expect("a pipe");
    let status = decoder.wait().expect("it ends");
    (status.success(), answer)
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image::RgbImage::from_pixel(width, height, image::Rgb([200, 30, 30]))
        .write_to(&mut file, image::ImageFormat::Png)
        .expect("it can be encoded");
    file.into_inner()
}

#[test]
fn a_picture_comes_back_small_and_anything_else_not_at_all() {
    let (success, small) = answer(&png(400, 400), FIT);
    assert!(success);
    assert_eq!(small[..8], [0, 16, 0, 8, 200, 30, 30, 255]);
    assert_eq!(small.len(), 4 + 16 * 16 * 4);
    let whole = png(400, 400);
    for (file, argument) in [
        (&b"no picture"[..], FIT),
        (b"", FIT),
        (&whole[..whole.len() / 2], FIT),
        (&whole, "1,2,3"),
    ] {
        assert_eq!(answer(file, argument), (false, Vec::new()));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_decoder_is_confined_before_it_reads() {
    let mut decoder = decoder(FIT);
    let about = format!("/proc/{}", decoder.id());
    // The test runner ends a test that waits forever.
    let status = loop {
        let status = fs::read_to_string(format!("{about}/status")).expect("it waits for the file");
        if status.contains("Seccomp:\t2") {
            break status;
        }
        std::thread::yield_now();
    };
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    let limits = fs::read_to_string(format!("{about}/limits")).expect("it waits");
    for name in ["Max open files", "Max file size", "Max core file size"] {
        let line = limits.lines().find(|line| line.starts_with(name));
        let hard = line.and_then(|line| line[name.len()..].split_whitespace().next());
        assert_eq!(hard, Some("0"), "{name}: {limits}");
    }
    drop(decoder.stdin.take());
    assert!(!decoder.wait().expect("it ends").success());
}
