//! Relays: links to them, who is there, and channels on demand.
//!
//! What a relay says is a hint, as an mDNS record is: who answers through a channel proves who it
//! is, and a relay that names the wrong one connects nobody.

pub(super) mod roster;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use hobnob_core::diagnosis::{self, RelayState};
use hobnob_protocol::relay::ToRelay;
use hobnob_protocol::{ConversationId, HostPort, PeerId, RelayAddr};
use tokio::sync::{mpsc, oneshot};

use crate::api::RelayInfo;
use crate::net::channels::RelayId;
use crate::net::demux::SideDatagram;
use crate::net::relay::{LinkCommand, LinkDown, LinkEvent};

/// Events of relays that wait for the engine; further ones make their relay wait.
const EVENTS_MAX: usize = 256;

/// The setting that holds a relay's identity is named so, then its address.
pub(crate) const RELAY_SETTING: &str = "relay ";

/// Whoever waits for a channel.
pub(super) type Opening = oneshot::Sender<Result<(), OpenFailed>>;

/// Why there is no channel with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum OpenFailed {
    #[error("the peer is not at that relay now")]
    NotHere,
    #[error("the relay does not allow it")]
    Refused,
    #[error("too many channels are open")]
    Limit,
}

/// All relays of a node.
pub(super) struct Relays {
    pub(in crate::engine) list: BTreeMap<RelayId, Relay>,
    /// Identities proved in earlier runs, by address.
    pub(in crate::engine) known: BTreeMap<String, PeerId>,
    /// The admission token of the relays that the user named.
    pub(in crate::engine) token: Option<Vec<u8>>,
    pub(in crate::engine) events: mpsc::Sender<(RelayId, LinkEvent)>,
    pub(super) queue: mpsc::Receiver<(RelayId, LinkEvent)>,
    pub(super) beside: mpsc::Receiver<SideDatagram>,
}

pub(super) struct Relay {
    pub(in crate::engine) at: HostPort,
    pub(in crate::engine) id: Option<PeerId>,
    pub(in crate::engine) commands: mpsc::UnboundedSender<LinkCommand>,
    /// While there is a connection.
    pub(in crate::engine) up: Option<Up>,
    /// Why there was none the last time, if the user was told.
    pub(in crate::engine) told: Option<LinkDown>,
    /// Whether its people are to be found in our rooms, as they are if the user named it for all to
    /// come.
    pub(in crate::engine) in_rooms: bool,
    pub(in crate::engine) roster: BTreeMap<PeerId, BTreeSet<ConversationId>>,
    /// Those of the roster that this node connects with.
    pub(in crate::engine) wanted: BTreeSet<PeerId>,
    /// Those of the roster that could not be reached since they were last named: others take their
    /// places.
    pub(in crate::engine) missing: BTreeSet<PeerId>,
    pub(in crate::engine) opening: BTreeMap<PeerId, Vec<Opening>>,
}

pub(super) struct Up {
    pub(in crate::engine) addr: SocketAddr,
    pub(in crate::engine) observed: SocketAddr,
    /// Whether it calls nodes that want to be called.
    pub(in crate::engine) calls: bool,
    /// Whether the user was told that nobody is reached through it.
    pub(in crate::engine) doubted: bool,
}

impl Relays {
    pub(super) fn new(
        known: BTreeMap<String, PeerId>,
        token: Option<Vec<u8>>,
        beside: mpsc::Receiver<SideDatagram>,
    ) -> Self {
        let (events, queue) = mpsc::channel(EVENTS_MAX);
        Self {
            list: BTreeMap::new(),
            known,
            token,
            events,
            queue,
            beside,
        }
    }

    /// Whether the user named a relay of this identity.
    pub(in crate::engine) fn user_named(&self, id: PeerId) -> bool {
        let mut named = self.list.values().filter(|relay| relay.in_rooms);
        named.any(|relay| relay.id == Some(id))
    }

    pub(super) fn infos(&self) -> Vec<RelayInfo> {
        let info = |relay: &Relay| RelayInfo {
            at: relay.at.clone(),
            id: relay.id,
            observed: relay.up.as_ref().map(|up| up.observed),
            why: relay
                .told
                .as_ref()
                .filter(|_| relay.up.is_none())
                .map(ToString::to_string),
        };
        self.list.values().map(info).collect()
    }

    /// How things stand with each.
    pub(super) fn evidence(
        &self,
        call: impl Fn(RelayId) -> diagnosis::RelayCall,
    ) -> Vec<diagnosis::Relay> {
        let state = |relay: &Relay| match (&relay.up, &relay.told) {
            (Some(up), _) => {
                RelayState::Up(hobnob_transport::addr::canonical(up.addr), up.observed)
            }
            (None, None) => RelayState::Connecting,
            (None, Some(LinkDown::Identity { .. })) => RelayState::OtherIdentity,
            (None, Some(LinkDown::NoAddress(why))) => RelayState::NoAddress(why.clone()),
            (None, Some(down @ LinkDown::Refused { .. })) if down.is_refusal() => {
                RelayState::Refused(down.to_string())
            }
            (None, Some(down)) => RelayState::Down(down.to_string()),
        };
        let evidence = |(id, relay): (&RelayId, &Relay)| diagnosis::Relay {
            at: relay.at.to_string(),
            state: state(relay),
            probe: None,
            call: call(*id),
        };
        self.list.iter().map(evidence).collect()
    }

    /// Those that can call this node.
    pub(super) fn callers(&self) -> Vec<RelayId> {
        let calls = |relay: &Relay| relay.up.as_ref().is_some_and(|up| up.calls);
        self.list
            .iter()
            .filter(|(_, relay)| calls(relay))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Where those are that there is a connection with.
    pub(super) fn addrs_up(&self) -> impl Iterator<Item = SocketAddr> {
        self.list
            .values()
            .filter_map(|relay| relay.up.as_ref())
            .map(|up| up.addr)
    }

    /// Where a relay is, as the socket has it, while there is a connection.
    pub(super) fn addr_of(&self, relay: RelayId) -> Option<SocketAddr> {
        self.list.get(&relay)?.up.as_ref().map(|up| up.addr)
    }

    /// Those that are there and do not name this peer.
    pub(super) fn not_at(&self, peer: PeerId) -> Vec<String> {
        let without = self
            .list
            .values()
            .filter(|relay| relay.up.is_some() && !relay.roster.contains_key(&peer));
        without.map(|relay| relay.at.to_string()).collect()
    }

    /// For a ticket: those that this node is to be found at. It may be given away before they have
    /// answered.
    pub(super) fn addrs(&self) -> Vec<RelayAddr> {
        let named = self.list.values().filter(|relay| relay.in_rooms);
        named
            .map(|relay| RelayAddr {
                id: relay.id,
                at: relay.at.clone(),
            })
            .collect()
    }

    pub(super) fn observed(&self) -> impl Iterator<Item = SocketAddr> {
        self.list
            .values()
            .filter_map(|relay| relay.up.as_ref())
            .map(|up| up.observed)
    }

    pub(super) fn say(&self, relay: RelayId, frame: ToRelay) {
        if let Some(relay) = self.list.get(&relay) {
            // A link that has ended takes nothing; the node is stopping then.
            let _ = relay.commands.send(LinkCommand::Say(frame));
        }
    }

    pub(super) fn wake(&self) {
        for relay in self.list.values() {
            let _ = relay.commands.send(LinkCommand::Wake);
        }
    }
}
