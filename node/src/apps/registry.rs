//! The programs of this node, and the sessions on which they reach others.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use hobnob_core::SessionId;
use hobnob_limits::{Bucket, Pace};
use hobnob_protocol::app::{APP_DATAGRAM_MAX, AppTag, decode_datagram, encode_datagram, reset};
use hobnob_protocol::frame::features::APPS;
use hobnob_protocol::{AppName, DeviceId, PersonId};
use quinn::{Connection, SendDatagramError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::datagram::AppDatagram;
use super::error::AppError;
use crate::clock::Clock;
use crate::net::app_stream::{self, APP_STREAMS_MAX, Halves, StreamTask};
use crate::net::mail::OpenedByPeer;

/// Maximum programs of a node.
const APPS_MAX: usize = 64;

/// Maximum streams of all programs of a node. Each can occupy a window in memory.
const STREAMS_MAX: usize = 64;

/// Datagrams that wait for a program. Of more, the oldest are dropped.
const DATAGRAMS_MAX: usize = 256;

/// Streams that wait for a program to accept them. Further ones are refused.
const INCOMING_MAX: usize = 16;

/// Datagrams that the programs of this node may send to one peer. QUIC sends datagrams before
/// messages, so more could delay messages for long.
const DATAGRAM_PACE: Pace = Pace::per_second(4000, 512);

/// How long a stream may take until the program at the other end has accepted it.
const ACCEPT_WITHIN: Duration = Duration::from_secs(10);

/// Programs and sessions. Clones share them.
#[derive(Clone)]
pub(crate) struct Apps(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    streams: Arc<Semaphore>,
    clock: Clock,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

#[derive(Default)]
struct State {
    programs: BTreeMap<AppTag, Arc<Program>>,
    links: BTreeMap<SessionId, Link>,
}

/// A program of this node.
pub(super) struct Program {
    name: AppName,
    datagrams: Mutex<VecDeque<AppDatagram>>,
    arrived: Notify,
    incoming: mpsc::Sender<Incoming>,
}

/// A session on which programs may talk.
struct Link {
    peer: DeviceId,
    connection: Connection,
    /// Whether the peer is a contact.
    accepted: bool,
    /// Ends streams and the reading of datagrams when the peer is a contact no longer, or with the
    /// session.
    over: CancellationToken,
    /// Ends the reading of datagrams, which goes on while a program runs.
    reading: Option<CancellationToken>,
    sent: Bucket,
    streams: Arc<Semaphore>,
}

/// The places that a stream takes as long as it is open.
struct Places {
    _of_link: OwnedSemaphorePermit,
    _of_node: OwnedSemaphorePermit,
}

/// A stream of a peer that waits for the program.
pub(super) struct Incoming {
    from: PersonId,
    opened: OpenedByPeer,
    over: CancellationToken,
    places: Places,
}

impl Apps {
    pub(crate) fn new(clock: Clock, tasks: TaskTracker, stopping: CancellationToken) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            clock,
            tasks,
            stopping,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, but not beyond the end of the node.
    pub(super) async fn until_stop<T>(&self, work: impl Future<Output = T>) -> Result<T, AppError> {
        tokio::select! {
            biased;
            () = self.0.stopping.cancelled() => Err(AppError::Stopped),
            result = work => Ok(result),
        }
    }

    // What programs ask for.

    pub(super) fn register(
        &self,
        name: AppName,
    ) -> Result<(Arc<Program>, mpsc::Receiver<Incoming>), AppError> {
        if self.0.stopping.is_cancelled() {
            return Err(AppError::Stopped);
        }
        let mut state = self.state();
        if state.programs.contains_key(&name.tag()) {
            return Err(AppError::Taken(name));
        }
        if state.programs.len() >= APPS_MAX {
            return Err(AppError::TooManyApps(APPS_MAX));
        }
        let (incoming, waiting) = mpsc::channel(INCOMING_MAX);
        let tag = name.tag();
        let program = Arc::new(Program {
            name,
            datagrams: Mutex::default(),
            arrived: Notify::new(),
            incoming,
        });
        state.programs.insert(tag, program.clone());
        self.read_where_needed(&mut state);
        Ok((program, waiting))
    }

    pub(super) fn unregister(&self, program: &Program) {
        let mut state = self.state();
        state.programs.remove(&program.name.tag());
        self.read_where_needed(&mut state);
    }

    pub(super) fn send_datagram(
        &self,
        program: &Program,
        to: PersonId,
        bytes: &[u8],
    ) -> Result<(), AppError> {
        if bytes.len() > APP_DATAGRAM_MAX {
            return Err(AppError::TooLong(bytes.len()));
        }
        let mut state = self.state();
        let link = self.link_to(&mut state, to)?;
        if !link.sent.take(self.0.clock.now().mono, DATAGRAM_PACE) {
            return Err(AppError::TooFast);
        }
        let datagram = encode_datagram(program.name.tag(), bytes);
        let sent = link.connection.send_datagram(datagram.into());
        sent.map_err(|error| match error {
            SendDatagramError::ConnectionLost(_) => AppError::NotConnected,
            SendDatagramError::UnsupportedByPeer
            | SendDatagramError::Disabled
            | SendDatagramError::TooLarge => AppError::Unsupported,
        })
    }

    pub(super) async fn open_stream(
        &self,
        program: &Program,
        to: PersonId,
    ) -> Result<Halves, AppError> {
        let (connection, over, places) = {
            let mut state = self.state();
            let link = self.link_to(&mut state, to)?;
            let places = self.places(link).ok_or(AppError::Busy)?;
            (link.connection.clone(), link.over.clone(), places)
        };
        let opening = app_stream::open(&connection, program.name.tag());
        let opened = tokio::select! {
            opened = timeout(ACCEPT_WITHIN, opening) => opened,
            () = over.cancelled() => return Err(AppError::Lost),
        };
        let (halves, task) = opened.map_err(|_| AppError::NoAnswer)??;
        self.start(task, over, places);
        Ok(halves)
    }

    pub(super) fn accept(&self, incoming: Incoming) -> Halves {
        let Incoming {
            opened,
            over,
            places,
            from: _,
        } = incoming;
        let (halves, task) = app_stream::accept(opened);
        self.start(task, over, places);
        halves
    }

    fn start(&self, task: StreamTask, over: CancellationToken, places: Places) {
        self.0.tasks.spawn(async move {
            task.run(over).await;
            drop(places);
        });
    }

    /// The newest session with a contact.
    fn link_to<'a>(&self, state: &'a mut State, to: PersonId) -> Result<&'a mut Link, AppError> {
        if self.0.stopping.is_cancelled() {
            return Err(AppError::Stopped);
        }
        let mut newest_first = state.links.values_mut().rev();
        let link = newest_first.find(|link| link.peer.person() == to);
        let link = link.ok_or(AppError::NotConnected)?;
        if !link.accepted {
            return Err(AppError::NotAContact);
        }
        if link.connection.max_datagram_size().is_none() {
            return Err(AppError::Unsupported);
        }
        Ok(link)
    }

    fn places(&self, link: &Link) -> Option<Places> {
        Some(Places {
            _of_link: link.streams.clone().try_acquire_owned().ok()?,
            _of_node: self.0.streams.clone().try_acquire_owned().ok()?,
        })
    }

    // What the engine reports.

    /// A session is up. With a peer whose node does not know programs, they do not talk.
    pub(crate) fn session_up(
        &self,
        id: SessionId,
        peer: DeviceId,
        features: u64,
        connection: Connection,
        accepted: bool,
    ) {
        if features & APPS == 0 {
            return;
        }
        let link = Link {
            peer,
            connection,
            accepted,
            over: self.0.stopping.child_token(),
            reading: None,
            sent: Bucket::default(),
            streams: Arc::new(Semaphore::new(APP_STREAMS_MAX)),
        };
        let mut state = self.state();
        state.links.insert(id, link);
        self.read_where_needed(&mut state);
    }

    /// The node stops: programs release all connections.
    pub(crate) fn stop(&self) {
        self.0.stopping.cancel();
        self.state().links.clear();
    }

    /// Whether a program has a stream on this session.
    pub(crate) fn has_streams(&self, id: SessionId) -> bool {
        let state = self.state();
        let link = state.links.get(&id);
        link.is_some_and(|link| link.streams.available_permits() < APP_STREAMS_MAX)
    }

    pub(crate) fn session_down(&self, id: SessionId) {
        if let Some(link) = self.state().links.remove(&id) {
            link.over.cancel();
        }
    }

    /// The user has accepted a peer, or no longer.
    pub(crate) fn set_accepted(&self, peer: PersonId, accepted: bool) {
        let mut state = self.state();
        let of_peer = |link: &&mut Link| link.peer.person() == peer;
        for link in state.links.values_mut().filter(of_peer) {
            if link.accepted && !accepted {
                link.over.cancel();
                link.over = self.0.stopping.child_token();
                link.reading = None;
            }
            link.accepted = accepted;
        }
        self.read_where_needed(&mut state);
    }

    /// The peer has opened a stream.
    pub(crate) fn stream_opened(&self, id: SessionId, mut opened: OpenedByPeer) {
        let state = self.state();
        let link = state.links.get(&id).filter(|link| link.accepted);
        let Some(link) = link else {
            // To a stranger this looks as if no program ran here.
            return app_stream::refuse(opened, reset::NOT_HERE);
        };
        let Some(places) = self.places(link) else {
            debug!(peer = ?link.peer, "refused: a stream of a program, since there are too many");
            return app_stream::refuse(opened, reset::BUSY);
        };
        let (from, over) = (link.peer.person(), link.over.clone());
        drop(state);
        let apps = self.clone();
        self.0.tasks.spawn(async move {
            let asking = timeout(ACCEPT_WITHIN, app_stream::wanted_app(&mut opened));
            let tag = tokio::select! {
                asked = asking => asked,
                () = over.cancelled() => return app_stream::refuse(opened, reset::NOT_HERE),
            };
            let Ok(Ok(tag)) = tag else {
                return app_stream::refuse(opened, reset::PROTOCOL);
            };
            let program = apps.state().programs.get(&tag).cloned();
            let Some(program) = program else {
                return app_stream::refuse(opened, reset::NOT_HERE);
            };
            let incoming = Incoming {
                from,
                opened,
                over,
                places,
            };
            if let Err(refused) = program.incoming.try_send(incoming) {
                app_stream::refuse(refused.into_inner().opened, reset::BUSY);
            }
        });
    }

    /// Reads the datagrams of contacts while there is a program, and only then. QUIC drops those
    /// that nobody reads.
    fn read_where_needed(&self, state: &mut State) {
        let any = !state.programs.is_empty();
        for link in state.links.values_mut() {
            match (&link.reading, any && link.accepted) {
                (None, true) => {
                    // What arrived while nobody read is too old to be of use.
                    while let Some(Ok(_)) = link.connection.read_datagram().now_or_never() {}
                    let reading = link.over.child_token();
                    link.reading = Some(reading.clone());
                    let work = read_datagrams(
                        link.connection.clone(),
                        link.peer.person(),
                        Arc::downgrade(&self.0),
                    );
                    self.0.tasks.spawn(async move {
                        tokio::select! {
                            () = work => {}
                            () = reading.cancelled() => {}
                        }
                    });
                }
                (Some(reading), false) => {
                    reading.cancel();
                    link.reading = None;
                }
                (None, false) | (Some(_), true) => {}
            }
        }
    }
}

/// Passes the datagrams of a peer to the programs, until the connection ends.
async fn read_datagrams(connection: Connection, from: PersonId, shared: std::sync::Weak<Shared>) {
    while let Ok(datagram) = connection.read_datagram().await {
        let Some((tag, bytes)) = decode_datagram(&datagram) else {
            continue;
        };
        let bytes = datagram.slice_ref(bytes);
        let Some(apps) = shared.upgrade().map(Apps) else {
            return;
        };
        let program = apps.state().programs.get(&tag).cloned();
        if let Some(program) = program {
            program.push(AppDatagram { from, bytes });
        }
    }
}

impl Program {
    pub(super) fn name(&self) -> &AppName {
        &self.name
    }

    fn datagrams(&self) -> MutexGuard<'_, VecDeque<AppDatagram>> {
        self.datagrams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Of too many datagrams, the newest count.
    fn push(&self, datagram: AppDatagram) {
        let mut datagrams = self.datagrams();
        if datagrams.len() >= DATAGRAMS_MAX {
            datagrams.pop_front();
        }
        datagrams.push_back(datagram);
        drop(datagrams);
        self.arrived.notify_waiters();
    }

    pub(super) async fn next_datagram(&self) -> AppDatagram {
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if let Some(datagram) = self.datagrams().pop_front() {
                return datagram;
            }
            arrived.await;
        }
    }
}

impl Incoming {
    pub(super) fn from(&self) -> PersonId {
        self.from
    }
}

impl fmt::Debug for Apps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Apps(..)")
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> (Program, mpsc::Receiver<Incoming>) {
        let (incoming, waiting) = mpsc::channel(INCOMING_MAX);
        let program = Program {
            name: "pong".parse().expect("a name"),
            datagrams: Mutex::default(),
            arrived: Notify::new(),
            incoming,
        };
        (program, waiting)
    }

    fn apps() -> Apps {
        Apps::new(Clock::start(), TaskTracker::new(), CancellationToken::new())
    }

    #[tokio::test]
    async fn of_too_many_datagrams_the_newest_are_kept() {
        let (program, _waiting) = program();
        let datagram = |n: usize| AppDatagram {
            from: PersonId::from_bytes([1; 32]),
            bytes: n.to_string().into(),
        };
        for n in 0..DATAGRAMS_MAX + 3 {
            program.push(datagram(n));
        }
        assert_eq!(program.next_datagram().await, datagram(3));
        assert_eq!(program.datagrams().len(), DATAGRAMS_MAX - 1);
    }

    #[tokio::test]
    async fn a_name_belongs_to_one_program_until_it_ends() {
        let apps = apps();
        let name = || -> AppName { "pong".parse().expect("a name") };
        let (first, _incoming) = apps.register(name()).expect("it is free");
        let taken = apps.register(name()).map(|_| ()).expect_err("it is taken");
        assert_eq!(taken, AppError::Taken(name()));
        apps.unregister(&first);
        apps.register(name()).expect("it is free again");
    }

    #[tokio::test]
    async fn a_node_has_64_programs_at_most() {
        let apps = apps();
        let name = |n: usize| -> AppName { format!("app-{n}").parse().expect("a name") };
        for n in 0..APPS_MAX {
            apps.register(name(n)).expect("there is room");
        }
        let refused = apps.register(name(APPS_MAX)).map(|_| ());
        assert_eq!(refused, Err(AppError::TooManyApps(APPS_MAX)));
    }

    #[tokio::test]
    async fn nothing_waits_for_a_program_beyond_the_end_of_the_node() {
        let apps = apps();
        apps.0.stopping.cancel();
        let waited = apps.until_stop(std::future::pending::<()>()).await;
        assert_eq!(waited, Err(AppError::Stopped));
        let refused = apps.register("pong".parse().expect("a name")).map(|_| ());
        assert_eq!(refused, Err(AppError::Stopped));
    }
}
