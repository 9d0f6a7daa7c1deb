//! The datagrams and streams of the program behind one control connection. They end with it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use hobnob::{App, AppError, AppName, AppReader, AppStream, AppWriter, Node, PersonId};
use tokio::sync::{
    Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard, OwnedSemaphorePermit, Semaphore, mpsc,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::wire::{
    Base64, DatagramLine, EventLine, Failure, StreamBytes, StreamLine, Text, WireEvent, to_line,
};

/// Maximum streams of one connection. Those of peers wait until one is closed.
const STREAMS_MAX: usize = 16;

/// The registered names and open streams of one connection.
pub(super) struct Programs {
    node: Node,
    out: mpsc::Sender<String>,
    tasks: TaskTracker,
    /// The client asks nothing more.
    ended: CancellationToken,
    places: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    apps: BTreeMap<AppName, Arc<App>>,
    streams: BTreeMap<u64, Arc<Stream>>,
    last: u64,
}

struct Stream {
    reader: AsyncMutex<AppReader>,
    /// None: its bytes have ended.
    writer: AsyncMutex<Option<AppWriter>>,
    closed: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Programs {
    pub(super) fn new(
        node: Node,
        out: mpsc::Sender<String>,
        tasks: TaskTracker,
        ended: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            node,
            out,
            tasks,
            ended,
            places: Arc::new(Semaphore::new(STREAMS_MAX)),
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a program. Its datagrams and streams are reported as events from now on.
    pub(super) fn register(self: &Arc<Self>, name: &AppName) -> Result<(), Failure> {
        let app = Arc::new(self.node.app(name.as_str())?);
        self.state().apps.insert(name.clone(), app.clone());
        let ended = self.ended.clone();
        let (datagrams, streams) = (self.clone(), self.clone());
        let in_turn = async move {
            tokio::join!(
                datagrams.report_datagrams(app.clone()),
                streams.report_streams(app)
            );
        };
        self.tasks.spawn(async move {
            tokio::select! {
                () = in_turn => {}
                () = ended.cancelled() => {}
            }
        });
        Ok(())
    }

    /// A client that reads slowly misses the oldest datagrams, which the node drops.
    async fn report_datagrams(self: Arc<Self>, app: Arc<App>) {
        while let Ok(datagram) = app.recv_datagram().await {
            let line = DatagramLine {
                app: Text(app.name().clone()),
                peer: Text(datagram.from),
                bytes: Base64(datagram.bytes.into()),
            };
            if self.report(WireEvent::Datagram(line)).await.is_err() {
                return;
            }
        }
    }

    async fn report_streams(self: Arc<Self>, app: Arc<App>) {
        loop {
            let Ok(place) = self.places.clone().acquire_owned().await else {
                return;
            };
            let Ok(stream) = app.accept_stream().await else {
                return;
            };
            let line = StreamLine {
                app: Text(app.name().clone()),
                peer: Text(stream.peer()),
                stream: self.add(stream, place),
            };
            if self.report(WireEvent::Stream(line)).await.is_err() {
                return;
            }
        }
    }

    async fn report(&self, event: WireEvent) -> Result<(), ()> {
        let line = to_line(&EventLine::from(event));
        self.out.send(line).await.map_err(|_| ())
    }

    fn add(&self, stream: AppStream, place: OwnedSemaphorePermit) -> u64 {
        let (reader, writer) = stream.split();
        let stream = Stream {
            reader: AsyncMutex::new(reader),
            writer: AsyncMutex::new(Some(writer)),
            closed: CancellationToken::new(),
            _place: place,
        };
        let mut state = self.state();
        state.last += 1;
        let number = state.last;
        state.streams.insert(number, Arc::new(stream));
        number
    }

    fn app(&self, name: &AppName) -> Result<Arc<App>, Failure> {
        let app = self.state().apps.get(name).cloned();
        app.ok_or_else(|| {
            Failure::usage(format!(
                "{name} is not registered on this connection: send `app` first"
            ))
        })
    }

    fn stream(&self, number: u64) -> Result<Arc<Stream>, Failure> {
        let stream = self.state().streams.get(&number).cloned();
        stream.ok_or_else(|| no_stream(number))
    }

    pub(super) fn send_datagram(
        &self,
        name: &AppName,
        to: PersonId,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        Ok(self.app(name)?.send_datagram(to, bytes)?)
    }

    pub(super) async fn open_stream(&self, name: &AppName, to: PersonId) -> Result<u64, Failure> {
        let app = self.app(name)?;
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| AppError::Busy)?;
        let stream = app.open_stream(to).await?;
        Ok(self.add(stream, place))
    }

    /// Waits for the next bytes, or until the stream is closed here or `over` ends.
    pub(super) async fn read(
        &self,
        number: u64,
        over: impl Future<Output = ()>,
    ) -> Result<StreamBytes, Failure> {
        let stream = self.stream(number)?;
        let Ok(mut reader) = stream.reader.try_lock() else {
            return Err(Failure::usage(
                "this stream is being read: wait for the answer",
            ));
        };
        tokio::select! {
            read = reader.read() => {
                let bytes = read?.map(|bytes| Base64(bytes.into()));
                Ok(StreamBytes { bytes })
            }
            () = stream.closed.cancelled() => Err(no_stream(number)),
            () = over => Err(AppError::Stopped.into()),
            () = self.ended.cancelled() => Err(AppError::Stopped.into()),
        }
    }

    /// Writes bytes behind those of earlier calls. `is_in_line` is called once later calls can be
    /// made.
    pub(super) async fn write(
        &self,
        number: u64,
        bytes: &[u8],
        is_in_line: impl FnOnce(),
    ) -> Result<(), Failure> {
        let stream = self.stream(number)?;
        let mut writer = in_order(&stream.writer, is_in_line).await;
        let Some(writer) = writer.as_mut() else {
            return Err(Failure::usage(
                "this stream has been ended: open another one",
            ));
        };
        tokio::select! {
            written = writer.write(bytes) => Ok(written?),
            () = stream.closed.cancelled() => Err(no_stream(number)),
            () = self.ended.cancelled() => Err(AppError::Stopped.into()),
        }
    }

    /// Ends the bytes to the other end, after those that were written. `is_in_line`: see
    /// [`Programs::write`].
    pub(super) async fn end(&self, number: u64, is_in_line: impl FnOnce()) -> Result<(), Failure> {
        let stream = self.stream(number)?;
        let writer = tokio::select! {
            mut writer = in_order(&stream.writer, is_in_line) => writer.take(),
            () = stream.closed.cancelled() => None,
            () = self.ended.cancelled() => None,
        };
        if let Some(writer) = writer {
            writer.finish().await;
        }
        Ok(())
    }

    /// Closes a stream in both directions.
    pub(super) fn close(&self, number: u64) -> Result<(), Failure> {
        let stream = self.state().streams.remove(&number);
        let stream = stream.ok_or_else(|| no_stream(number))?;
        // Requests that wait for it end, and with them the stream.
        stream.closed.cancel();
        Ok(())
    }
}

/// Waits for the lock. Locks are given in the order in which the callers stood in line.
async fn in_order<'a, T>(
    lock: &'a AsyncMutex<T>,
    is_in_line: impl FnOnce(),
) -> AsyncMutexGuard<'a, T> {
    let mut waiting = pin!(lock.lock());
    // The first poll takes a place in the line.
    let first = poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await;
    is_in_line();
    match first {
        Poll::Ready(guard) => guard,
        Poll::Pending => waiting.await,
    }
}

fn no_stream(number: u64) -> Failure {
    Failure::usage(format!("there is no stream {number} on this connection"))
}
