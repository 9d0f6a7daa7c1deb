//! What a program has: [`App`], and the streams that it opens and accepts.

use std::sync::Arc;

use bytes::Bytes;
use hobnob_protocol::{AppName, PersonId};
use tokio::sync::{Mutex, mpsc};

use super::datagram::AppDatagram;
use super::error::AppError;
use super::registry::{Apps, Incoming, Program};
use crate::Node;
use crate::net::app_stream::{Halves, ReadHalf, WriteHalf};

impl Node {
    /// Registers a program under a name, so that it can exchange datagrams and streams with
    /// programs that run under the same name at contacts. Each name is used by one program of a
    /// node at a time, until it drops the [`App`].
    ///
    /// Nothing of it is stored or sent again later: both programs must run, and the nodes must have
    /// a session. Messages ([`Node::send`]) need neither.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let ann = hobnob::Node::builder(dir.path().join("ann")).nick("ann".parse()?).loopback().start().await?;
    /// # let bob = hobnob::Node::builder(dir.path().join("bob")).nick("bob".parse()?).loopback().start().await?;
    /// // Each accepts the other: by writing first, by answering, or with `accept_contact`.
    /// let sent = ann.send(bob.status().await?.ticket.into(), "a game?".into()).await?;
    /// ann.wait_for(sent.id, hobnob::DeliveryState::Delivered).await?;
    /// bob.accept_contact(ann.id()).await?;
    /// let (at_ann, at_bob) = (ann.app("pong")?, bob.app("pong")?);
    /// let (stream, accepted) = tokio::join!(at_ann.open_stream(bob.id()), at_bob.accept_stream());
    /// let (mut stream, mut accepted) = (stream?, accepted?);
    /// stream.write(b"new game?").await?;
    /// assert_eq!(accepted.read().await?.as_deref(), Some(&b"new game?"[..]));
    ///
    /// at_bob.send_datagram(ann.id(), b"ball at 3,4")?;
    /// let datagram = at_ann.recv_datagram().await?;
    /// assert_eq!((datagram.from, &datagram.bytes[..]), (bob.id(), &b"ball at 3,4"[..]));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`AppError::Name`], [`AppError::Taken`], [`AppError::TooManyApps`] and
    /// [`AppError::Stopped`].
    pub fn app(&self, name: &str) -> Result<App, AppError> {
        let (program, incoming) = self.apps.register(name.parse()?)?;
        Ok(App {
            apps: self.apps.clone(),
            program,
            incoming: Mutex::new(incoming),
        })
    }
}

/// A program that uses the node: see [`Node::app`]. Dropping it frees the name. Its streams
/// continue.
#[derive(Debug)]
pub struct App {
    apps: Apps,
    program: Arc<Program>,
    incoming: Mutex<mpsc::Receiver<Incoming>>,
}

impl App {
    /// The program's name.
    pub fn name(&self) -> &AppName {
        self.program.name()
    }

    /// Sends a datagram to the program of a contact: at most
    /// [`APP_DATAGRAM_MAX`](hobnob_protocol::app::APP_DATAGRAM_MAX) bytes, now or never. It may be
    /// lost, also if no such program runs there, and overtake others. If the connection is slower
    /// than the program, the oldest that wait are dropped.
    ///
    /// # Errors
    ///
    /// [`AppError::NotAContact`], [`AppError::NotConnected`], [`AppError::Unsupported`],
    /// [`AppError::TooLong`] and [`AppError::TooFast`].
    pub fn send_datagram(&self, to: PersonId, bytes: &[u8]) -> Result<(), AppError> {
        self.apps.send_datagram(&self.program, to, bytes)
    }

    /// The next datagram from a program of a contact. At most 256 wait; of more, the oldest are
    /// dropped. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`AppError::Stopped`].
    pub async fn recv_datagram(&self) -> Result<AppDatagram, AppError> {
        self.apps.until_stop(self.program.next_datagram()).await
    }

    /// Opens a stream to the program of a contact, which must accept it within ten seconds. Both
    /// ends read and write bytes, which arrive all and in order. A stream ends with the session
    /// under it, also when another session, such as one by a direct path, replaces that one.
    ///
    /// # Errors
    ///
    /// [`AppError::NotAContact`], [`AppError::NotConnected`], [`AppError::Unsupported`],
    /// [`AppError::NotRunning`], [`AppError::Busy`], [`AppError::NoAnswer`] and [`AppError::Lost`].
    pub async fn open_stream(&self, to: PersonId) -> Result<AppStream, AppError> {
        let halves = self.apps.open_stream(&self.program, to).await?;
        Ok(AppStream::new(to, halves))
    }

    /// Accepts the next stream that a program of a contact opens. At most 16 wait; further ones are
    /// refused.
    ///
    /// # Errors
    ///
    /// [`AppError::Stopped`].
    pub async fn accept_stream(&self) -> Result<AppStream, AppError> {
        let next = async { self.incoming.lock().await.recv().await };
        let incoming = self.apps.until_stop(next).await?;
        // The program is registered as long as this handle exists.
        let incoming = incoming.ok_or(AppError::Stopped)?;
        let from = incoming.from();
        Ok(AppStream::new(from, self.apps.accept(incoming)))
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.apps.unregister(&self.program);
    }
}

/// A stream between two programs: ordered bytes in both directions. Dropping it ends it.
#[derive(Debug)]
pub struct AppStream {
    peer: PersonId,
    reader: AppReader,
    writer: AppWriter,
}

/// The bytes from the other end of an [`AppStream`].
#[derive(Debug)]
pub struct AppReader(ReadHalf);

/// The bytes to the other end of an [`AppStream`]. Dropping it ends them.
#[derive(Debug)]
pub struct AppWriter(WriteHalf);

impl AppStream {
    fn new(peer: PersonId, halves: Halves) -> Self {
        Self {
            peer,
            reader: AppReader(halves.reading),
            writer: AppWriter(halves.writing),
        }
    }

    /// The peer at the other end.
    pub fn peer(&self) -> PersonId {
        self.peer
    }

    /// As [`AppReader::read`].
    pub async fn read(&mut self) -> Result<Option<Bytes>, AppError> {
        self.reader.read().await
    }

    /// As [`AppWriter::write`].
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), AppError> {
        self.writer.write(bytes).await
    }

    /// The two directions, to use them side by side.
    pub fn split(self) -> (AppReader, AppWriter) {
        (self.reader, self.writer)
    }
}

impl AppReader {
    /// The next bytes: at least one, and at most 16 KiB. `None`: the other end has ended its bytes.
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`AppError::Closed`] and [`AppError::Lost`].
    pub async fn read(&mut self) -> Result<Option<Bytes>, AppError> {
        Ok(self.0.read().await?)
    }
}

impl AppWriter {
    /// Writes all bytes, as fast as the program at the other end reads them: at most 256 KiB wait
    /// there. Dropping the future leaves out the rest of the bytes.
    ///
    /// # Errors
    ///
    /// [`AppError::Closed`] and [`AppError::Lost`].
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), AppError> {
        Ok(self.0.write(bytes).await?)
    }

    /// Ends the bytes in this direction. The other end reads all that was written, and then `None`.
    pub async fn finish(self) {
        self.0.finish().await;
    }
}
