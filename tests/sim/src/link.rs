//! Simulated sessions: two ordered, reliable streams each way, until the wire is cut.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use hobnob_core::SessionId;
use hobnob_core::commit::NetworkId;
use hobnob_protocol::ConversationId;

/// Maximum unread bytes of one stream, like QUIC's flow control.
pub(super) const WINDOW: usize = 256 * 1024;

/// Batches that a session may pass to its replica before the replica releases one.
pub(super) const PERMITS: usize = 16;

pub(super) const CONTROL: usize = 0;
pub(super) const BATCHES: usize = 1;

/// An item on a stream.
#[derive(Clone)]
pub(super) enum Item {
    Frame(Bytes),
    /// The sender's rooms: a Profile frame.
    Rooms(BTreeSet<ConversationId>),
}

impl Item {
    pub(super) fn len(&self) -> usize {
        match self {
            Item::Frame(bytes) => bytes.len(),
            Item::Rooms(_) => 64,
        }
    }
}

/// One stream, one way.
#[derive(Default)]
pub(super) struct StreamSlot {
    /// Queued by the sender, not on the wire yet.
    pub(super) queue: VecDeque<Item>,
    /// Bytes on the wire or in the inbox. They count against the window.
    pub(super) unread: usize,
    /// Arrived and unread items.
    pub(super) inbox: VecDeque<Item>,
    pub(super) busy_until: u64,
    pub(super) last_arrival: u64,
    /// Bytes of frames that are queued and not written.
    pub(super) outstanding: usize,
}

/// One end of a session.
pub(super) struct End {
    pub(super) node: usize,
    pub(super) session: SessionId,
    pub(super) up: bool,
    pub(super) gone: bool,
    /// The peer's rooms as this end knows them.
    pub(super) peer_rooms: BTreeSet<ConversationId>,
    /// The shared rooms that the replica knows.
    pub(super) shared: BTreeSet<ConversationId>,
    /// The network by which this end reaches the peer. `None` for a relay.
    pub(super) network: Option<NetworkId>,
    /// Whether the peer was confirmed by this network.
    pub(super) confirmed: bool,
    pub(super) permits: usize,
    pub(super) stalled: bool,
    /// The streams that this end sends: control frames and batches.
    pub(super) streams: [StreamSlot; 2],
}

impl End {
    pub(super) fn new(
        node: usize,
        session: SessionId,
        peer_rooms: BTreeSet<ConversationId>,
    ) -> Self {
        Self {
            node,
            session,
            up: false,
            gone: false,
            peer_rooms,
            shared: BTreeSet::new(),
            network: None,
            confirmed: true,
            permits: PERMITS,
            stalled: false,
            streams: [StreamSlot::default(), StreamSlot::default()],
        }
    }

    pub(super) fn live(&self) -> bool {
        self.up && !self.gone
    }
}

/// A session between two nodes.
pub(super) struct Conn {
    pub(super) ends: [End; 2],
    /// Whether bytes still pass.
    pub(super) wire: bool,
    pub(super) latency_us: u64,
    pub(super) jitter_us: u64,
    pub(super) bytes_per_s: u64,
}

impl Conn {
    pub(super) fn nodes(&self) -> (usize, usize) {
        (self.ends[0].node, self.ends[1].node)
    }

    pub(super) fn joins(&self, a: usize, b: usize) -> bool {
        let [x, y] = [self.ends[0].node, self.ends[1].node];
        (x, y) == (a, b) || (x, y) == (b, a)
    }
}
