//! Messages by file: two nodes without any network in common exchange signed entries on a stick.
//!
//! A file is sealed to its reader ([`hobnob_protocol::sealed`]). Its content is the frames that a
//! session would send, each after its length: what this node has of the direct conversation, which
//! is its receipt, and its own entries that the peer has not confirmed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hobnob_core::SessionId;
use hobnob_protocol::frame::{FRAME_MAX, FrameError};
use hobnob_protocol::sealed::{Opener, SealedError, Sealer, cause};
use hobnob_protocol::{Frame, PersonId};
use tokio::sync::{mpsc, oneshot};

use crate::Node;
use crate::clock::random_seed;
use crate::engine::{Begun, Command, ForFile, Taken};
use crate::error::{CarryError, NodeError};

/// Maximum size of the content of a file. A node writes no more, and reads no more.
const CONTENT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Number of frames that are judged at once.
const FRAMES_AT_ONCE: usize = 16;

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The messages in it.
    pub entries: u64,
    /// Its size.
    pub bytes: u64,
}

/// A file that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The peer that wrote it.
    pub from: PersonId,
    /// Messages that are new here.
    pub entries: u64,
    /// Messages of this node that count as delivered from now on.
    pub receipts: u64,
    /// Parts of the file that this node refused.
    pub refused: u64,
}

impl Node {
    /// Writes to a new file what a peer may have of the direct conversation with it and has not
    /// confirmed, and which of its messages are here. Only the peer can read the file.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let ann = hobnob::Node::builder(dir.path().join("ann")).loopback().start().await?;
    /// # let bob = hobnob::Node::builder(dir.path().join("bob")).loopback().start().await?;
    /// # let ticket = hobnob::Ticket { id: bob.id(), addrs: vec![], relays: vec![] };
    /// ann.send(ticket.into(), "by stick".into()).await?;
    /// let file = dir.path().join("for-bob");
    /// ann.export_for(bob.id(), file.clone()).await?;
    ///
    /// let taken = bob.import(file).await?;
    /// assert_eq!((taken.from, taken.entries), (ann.id(), 1));
    /// # Ok(()) }
    /// ```
    pub async fn export_for(&self, peer: PersonId, file: PathBuf) -> Result<Exported, CarryError> {
        let node = self.clone();
        blocking(move || {
            let written = node.write_carried(peer, &file);
            if let Err(error) = &written
                && !error.is_of_existing_file()
            {
                let _ = fs::remove_file(&file);
            }
            written
        })
        .await
    }

    /// Takes what a peer wrote to a file with [`Node::export_for`]. Each entry is judged as one that
    /// arrives over the network.
    pub async fn import(&self, file: PathBuf) -> Result<Imported, CarryError> {
        let node = self.clone();
        blocking(move || node.take_carried(&file)).await
    }

    fn write_carried(&self, peer: PersonId, path: &Path) -> Result<Exported, CarryError> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(at(path))?;
        let (frames, mut queue) = mpsc::unbounded_channel::<ForFile>();
        let begin = |reply| Command::BeginExport(peer, frames, reply);
        let Begun { session, key } = self.ask_blocking(begin)??;
        let mut sealer = Sealer::new(
            BufWriter::new(&file),
            &key,
            peer.only_device(),
            random_seed(),
        )
        .map_err(sealed(path))?;
        let (mut entries, mut room) = (0, Room(CONTENT_BYTES_MAX));
        while let Some(frame) = queue.blocking_recv() {
            let (stream, frame) = frame.map_err(CarryError::Store)?;
            // The rest is for the next file, once the peer has answered this one.
            if room.takes(frame.len() as u64) {
                entries += entries_in(&frame);
                put(&mut sealer, &frame).map_err(at(path))?;
            }
            let written = Command::ExportWritten(session, stream, frame.len());
            self.commands
                .blocking_send(written)
                .map_err(|_| NodeError::Stopped)?;
        }
        let buffered = sealer.finish().map_err(at(path))?;
        drop(buffered);
        file.sync_all().map_err(at(path))?;
        let bytes = file.metadata().map_err(at(path))?.len();
        Ok(Exported { entries, bytes })
    }

    fn take_carried(&self, path: &Path) -> Result<Imported, CarryError> {
        let file = File::open(path).map_err(at(path))?;
        let key = self.ask_blocking(Command::OwnKey)?;
        let mut opener = Opener::new(BufReader::new(file), &key).map_err(sealed(path))?;
        let from = opener.writer();
        let session = self.ask_blocking(|reply| Command::BeginImport(from.person(), reply))??;
        let taken = self.take_frames(session, &mut opener);
        let Taken {
            entries,
            receipts,
            refused,
        } = self.ask_blocking(|reply| Command::EndImport(session, reply))?;
        match taken {
            Ok(()) => Ok(Imported {
                from: from.person(),
                entries,
                receipts,
                refused,
            }),
            Err(Broken::Stopped) => Err(NodeError::Stopped.into()),
            Err(Broken::Content(why)) => Err(CarryError::Content {
                path: path.to_owned(),
                why,
                taken: entries,
            }),
        }
    }

    /// Judges the frames of a file, a few at a time.
    fn take_frames(&self, session: SessionId, input: &mut impl Read) -> Result<(), Broken> {
        let mut room = Room(CONTENT_BYTES_MAX);
        loop {
            let mut frames = Vec::new();
            while frames.len() < FRAMES_AT_ONCE
                && let Some((frame, bytes)) = next(input)?
            {
                if !room.takes(bytes) {
                    return Err(Broken::Content("is too large".to_owned()));
                }
                frames.push(frame);
            }
            let is_last = frames.len() < FRAMES_AT_ONCE;
            self.ask_blocking(|reply| Command::Import(session, frames, reply))
                .map_err(|_| Broken::Stopped)?;
            if is_last {
                return Ok(());
            }
        }
    }

    fn ask_blocking<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, NodeError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .blocking_send(command(reply))
            .map_err(|_| NodeError::Stopped)?;
        answer.blocking_recv().map_err(|_| NodeError::Stopped)
    }
}

/// The bytes of frames that still fit a file.
struct Room(u64);

impl Room {
    /// Whether a frame fits. After one that does not, none fits: frames continue those before them.
    fn takes(&mut self, bytes: u64) -> bool {
        let left = self.0.checked_sub(bytes);
        self.0 = left.unwrap_or_default();
        left.is_some()
    }
}

/// Why a file is not read to its end.
enum Broken {
    Stopped,
    Content(String),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        let cause = cause(error);
        Broken::Content(if let SealedError::Io(error) = cause {
            format!("can't be read: {error}")
        } else {
            format!("is not whole: {cause}")
        })
    }
}

impl From<FrameError> for Broken {
    fn from(error: FrameError) -> Self {
        Broken::Content(format!("has a frame that is not valid: {error}"))
    }
}

fn put(out: &mut impl Write, frame: &Bytes) -> io::Result<()> {
    let length = u32::try_from(frame.len()).expect("a frame is at most FRAME_MAX long");
    out.write_all(&length.to_le_bytes())?;
    out.write_all(frame)
}

/// The next frame, and its length. None at the end.
fn next(input: &mut impl Read) -> Result<Option<(Frame, u64)>, Broken> {
    let mut length = [0; 4];
    if input.read(&mut length[..1])? == 0 {
        return Ok(None);
    }
    input.read_exact(&mut length[1..])?;
    let length = u32::from_le_bytes(length);
    let bytes = usize::try_from(length).unwrap_or(usize::MAX);
    if bytes > FRAME_MAX {
        return Err(Broken::Content("has a frame that is too long".to_owned()));
    }
    let mut frame = vec![0; bytes];
    input.read_exact(&mut frame)?;
    let frame = Frame::decode(&Bytes::from(frame))?;
    if frame.needs_connection() {
        return Err(Broken::Content("has a frame that no file has".to_owned()));
    }
    Ok(Some((frame, length.into())))
}

/// Number of entries in an encoded frame of this node.
fn entries_in(frame: &Bytes) -> u64 {
    let Ok(Frame::Batch(batch)) = Frame::decode(frame) else {
        return 0;
    };
    batch
        .read()
        .map_or(0, |batch| batch.last() - batch.first() + 1)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CarryError> + Send + 'static,
) -> Result<T, CarryError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| NodeError::Stopped)?
}

fn sealed(path: &Path) -> impl Fn(SealedError) -> CarryError + '_ {
    |why| CarryError::Sealed {
        path: path.to_owned(),
        why,
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> CarryError + '_ {
    |error| CarryError::Io {
        path: path.to_owned(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_so_much_content_and_nothing_after_a_gap() {
        let mut room = Room(10);
        assert!(room.takes(4) && room.takes(6));
        assert!(!room.takes(1));
        let mut room = Room(10);
        assert!(room.takes(4) && !room.takes(7));
        assert!(!room.takes(1), "it follows the frame that is left out");
    }

    #[test]
    fn a_frame_is_not_read_beyond_the_longest_one() {
        let length = u32::try_from(FRAME_MAX + 1).expect("it is small");
        let mut frame = length.to_le_bytes().to_vec();
        frame.resize(frame.len() + FRAME_MAX + 1, 0);
        let why = match next(&mut &frame[..]) {
            Err(Broken::Content(why)) => why,
            Err(Broken::Stopped) | Ok(_) => panic!("it is refused"),
        };
        assert_eq!(why, "has a frame that is too long");
    }

    #[test]
    fn a_file_has_no_frame_that_needs_a_connection() {
        let read = |frame: Frame| {
            let mut bytes = Vec::new();
            put(&mut bytes, &frame.encode()).unwrap();
            next(&mut &bytes[..])
        };
        let digest = hobnob_protocol::frame::Digest {
            hash: [0; 32],
            clock: 0,
        };
        let conversation = hobnob_protocol::ConversationId::from_bytes([1; 32]);
        for frame in [Frame::Ping(1), Frame::Digest(conversation, digest)] {
            assert!(matches!(read(frame), Err(Broken::Content(_))));
        }
        assert!(matches!(next(&mut &b""[..]), Ok(None)));
    }
}
