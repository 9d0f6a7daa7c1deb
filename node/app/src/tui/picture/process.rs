//! The process in which pictures are decoded: this program again, with a hidden command. It gets
//! the file by a pipe, and answers with the small picture or ends without a word.
//!
//! A decoder that a hostile file takes over therefore has neither the node's key nor any file or
//! socket ([`sandbox`](super::sandbox)).

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use image::RgbaImage;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::decode::{self, Small};
use super::fit::Fit;
use super::sandbox;

/// The hidden command.
const COMMAND: &str = "decode-picture";

/// Maximum size of a file in bytes.
const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// The process is ended after this long.
const DECODED_WITHIN: Duration = Duration::from_secs(20);

/// The size of an answer without its pixels: columns and rows, as 16-bit numbers with the highest
/// byte first.
const HEADER_LEN: usize = 4;

/// Bytes of a pixel: red, green, blue, alpha.
const PIXEL_LEN: usize = 4;

/// Decodes a file in a process of its own. None if it is not a picture, or beyond the bounds.
pub(super) async fn small(path: PathBuf, fit: Fit) -> Option<Small> {
    let file = tokio::task::spawn_blocking(move || read(&path))
        .await
        .ok()??;
    small_of_bytes(&file, fit).await
}

/// The same for the bytes of a file.
pub(super) async fn small_of_bytes(file: &[u8], fit: Fit) -> Option<Small> {
    let answer = tokio::time::timeout(DECODED_WITHIN, ask(file, fit)).await;
    answer.ok()?.ok().and_then(|answer| parse(&answer, fit))
}

/// Why a file can't be a picture, as far as that is known before it is decoded.
pub(super) fn check_file(path: &Path) -> Result<(), String> {
    let about = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !about.is_file() {
        return Err("it is no file".to_owned());
    }
    if about.len() > FILE_BYTES_MAX {
        let most = FILE_BYTES_MAX / 1024 / 1024;
        return Err(format!(
            "it has {}, and at most {most} MiB are read: make it smaller first",
            hobnob_local::output::size(about.len())
        ));
    }
    Ok(())
}

/// Reads a file that may be a picture.
pub(super) fn read(path: &Path) -> Option<Vec<u8>> {
    // Opening a pipe must not block.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).ok()?;
    let file = File::options()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)
        .ok()?;
    let about = file.metadata().ok()?;
    if !about.is_file() || about.len() > FILE_BYTES_MAX {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Starts the process, gives it the file, and returns its answer.
async fn ask(file: &[u8], fit: Fit) -> io::Result<Vec<u8>> {
    let mut decoder = Command::new(program()?)
        .args([COMMAND, &fit.to_argument()])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut input = decoder.stdin.take().expect("stdin is a pipe");
    let output = decoder.stdout.take().expect("stdout is a pipe");
    let give = async {
        // The decoder ends early if it refuses the file.
        let _ = input.write_all(file).await;
        drop(input);
    };
    let (columns, rows) = fit.pixels(fit.room);
    let most = HEADER_LEN as u64 + u64::from(columns) * u64::from(rows) * PIXEL_LEN as u64;
    let mut answer = Vec::new();
    let mut output = output.take(most);
    let ((), read) = tokio::join!(give, output.read_to_end(&mut answer));
    read?;
    decoder.wait().await?;
    Ok(answer)
}

/// This program, also after its file was replaced by an update.
fn program() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") {
        return Ok(PathBuf::from("/proc/self/exe"));
    }
    std::env::current_exe()
}

/// Reads an answer. None if the decoder found no picture, or says what cannot be.
fn parse(answer: &[u8], fit: Fit) -> Option<Small> {
    let (header, pixels) = answer.split_at_checked(HEADER_LEN)?;
    let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let cells = (number(0), number(2));
    let is_inside = |cells: u16, room: u16| (1..=room.max(1)).contains(&cells);
    if !is_inside(cells.0, fit.room.0) || !is_inside(cells.1, fit.room.1) {
        return None;
    }
    let (width, height) = fit.pixels(cells);
    if pixels.len() != width as usize * height as usize * PIXEL_LEN {
        return None;
    }
    let pixels = RgbaImage::from_raw(width, height, pixels.to_vec())?;
    Some(Small { cells, pixels })
}

/// Whether these are the words of the hidden command, and its result if they are.
pub(crate) fn run(mut words: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if words.next()? != COMMAND {
        return None;
    }
    let answer = words
        .next()
        .and_then(|argument| Fit::of_argument(argument.to_str()?))
        .and_then(decode_stdin);
    Some(match answer.map(|answer| io::stdout().write_all(&answer)) {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(_)) | None => ExitCode::FAILURE,
    })
}

/// Confines this process, and decodes the file from standard input.
fn decode_stdin(fit: Fit) -> Option<Vec<u8>> {
    sandbox::enter().ok()?;
    let mut file = Vec::new();
    let mut input = io::stdin().lock().take(FILE_BYTES_MAX);
    input.read_to_end(&mut file).ok()?;
    let Small { cells, pixels } = decode::small(&file, fit)?;
    let mut answer = Vec::from(cells.0.to_be_bytes());
    answer.extend(cells.1.to_be_bytes());
    answer.extend(pixels.into_raw());
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_fits_is_believed() {
        let fit = Fit {
            cell: (10, 20),
            drawn: (1, 2),
            room: (4, 2),
        };
        let answer = |columns: u16, rows: u16, pixels: usize| {
            let mut answer = Vec::from(columns.to_be_bytes());
            answer.extend(rows.to_be_bytes());
            answer.resize(HEADER_LEN + pixels * PIXEL_LEN, 7);
            parse(&answer, fit).map(|small| (small.cells, small.pixels.dimensions()))
        };
        assert_eq!(answer(3, 2, 12), Some(((3, 2), (3, 4))));
        assert_eq!(answer(3, 2, 11), None, "cut");
        assert_eq!(answer(3, 2, 13), None, "too long");
        assert_eq!(answer(5, 1, 10), None, "wider than the room");
        assert_eq!(answer(0, 0, 0), None);
        assert!(parse(b"", fit).is_none() && parse(b"abc", fit).is_none());
    }
}
