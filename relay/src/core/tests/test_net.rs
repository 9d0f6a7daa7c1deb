//! A relay with simulated nodes, and a plane that stores the routes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use hobnob_protocol::datagram::ChannelId;
use hobnob_protocol::heartbeat::Handle;
use hobnob_protocol::relay::{
    ChannelEnd, FromRelay, OpenRefusal, Roster, RosterChange, ToRelay, Welcome,
};
use hobnob_protocol::{DeviceId, RoomTag};

use crate::core::{
    ConnectionId, Counts, EndReason, Input, Limits, Output, Relay, Role, Row, State,
};
use crate::route::{Route, Update};

/// One connection as its node sees it.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) welcome: Option<Welcome>,
    pub(super) version: u64,
    pub(super) roster: BTreeMap<DeviceId, Vec<RoomTag>>,
    pub(super) channels: BTreeMap<DeviceId, ChannelId>,
    pub(super) not_opened: Vec<(DeviceId, OpenRefusal)>,
    /// Peers, and the relays of the fleet at which they are.
    pub(super) elsewhere: Vec<(DeviceId, DeviceId)>,
    pub(super) ended: Vec<(ChannelId, ChannelEnd)>,
    pub(super) observed: Option<SocketAddr>,
    /// The results of its dial-backs.
    pub(super) called: Vec<Option<u16>>,
    /// Roster frames since the test last read them.
    pub(super) frames: Vec<Roster>,
    pub(super) end: Option<EndReason>,
    pub(super) may_sleep: bool,
    /// The sleep that the relay has agreed to.
    pub(super) granted: Option<Handle>,
}

impl Node {
    fn hear(&mut self, frame: FromRelay) {
        assert!(self.end.is_none(), "{frame:?} came after the end");
        match frame {
            FromRelay::Welcome(welcome) => {
                self.observed = Some(welcome.observed);
                assert!(self.welcome.replace(welcome).is_none(), "welcomed twice");
            }
            FromRelay::Roster(roster) => self.read(roster),
            FromRelay::Opened { peer, channel, .. } => drop(self.channels.insert(peer, channel)),
            FromRelay::NotOpened { peer, why } => self.not_opened.push((peer, why)),
            FromRelay::Ended { channel, why } => {
                let before = self.channels.len();
                self.channels.retain(|_, mine| *mine != channel);
                assert_eq!(
                    self.channels.len() + 1,
                    before,
                    "{channel:?} ended and was not there"
                );
                self.ended.push((channel, why));
            }
            FromRelay::Observed(addr) => self.observed = Some(addr),
            FromRelay::DialedBack { from, .. } => self.called.push(from),
            FromRelay::Elsewhere { peer, relay } => self.elsewhere.push((peer, relay)),
            FromRelay::Invitation(..) => {}
            FromRelay::FleetList(_) => panic!("the core has no list"),
            FromRelay::MaySleep { .. } => self.may_sleep = true,
            FromRelay::Sleep { .. } => panic!("the shell sends it"),
            FromRelay::Unknown(kind) => panic!("kind {kind}"),
        }
    }

    fn read(&mut self, roster: Roster) {
        // Every frame must survive its encoding.
        let frame = FromRelay::Roster(roster.clone());
        assert_eq!(FromRelay::decode(&frame.encode()).expect("decodes"), frame);
        if roster.anew {
            self.roster.clear();
        }
        for change in &roster.changes {
            match change.clone() {
                RosterChange::Here { peer, rooms } => drop(self.roster.insert(peer, rooms)),
                RosterChange::Gone { peer } => drop(self.roster.remove(&peer)),
                RosterChange::Unknown(_) => panic!("a relay sends what it knows"),
            }
        }
        self.version = roster.version;
        self.frames.push(roster);
    }
}

pub(super) struct TestNet {
    pub(super) relay: Relay,
    pub(super) now: Duration,
    pub(super) nodes: BTreeMap<ConnectionId, Node>,
    pub(super) routes: BTreeMap<ChannelId, Route>,
    /// The latest connection of each peer.
    pub(super) latest: BTreeMap<DeviceId, ConnectionId>,
    /// The peers that the other relays of the fleet are asked for, and who asks.
    pub(super) sought: Vec<(ConnectionId, DeviceId)>,
    /// The rooms of peers that the other relays of the fleet are told.
    pub(super) shared: Vec<(ConnectionId, Vec<RoomTag>)>,
    next: u64,
    /// The sleeps that the plane knows.
    pub(super) sleeps: BTreeSet<Handle>,
    /// The wakes that the plane has sent since the test last read them.
    pub(super) wakes: Vec<(Handle, DeviceId)>,
    /// The sleepers that the relay has removed, and why.
    pub(super) sleeps_ended: Vec<(DeviceId, EndReason)>,
    /// The number of dial-backs.
    calls: u16,
}

impl TestNet {
    pub(super) fn new(limits: Limits) -> Self {
        let relay = Relay::new(limits, [7; 32]);
        let (nodes, routes, latest) = Default::default();
        Self {
            relay,
            now: Duration::from_secs(1_000),
            nodes,
            routes,
            latest,
            sought: Vec::new(),
            shared: Vec::new(),
            next: 1,
            sleeps: BTreeSet::new(),
            wakes: Vec::new(),
            sleeps_ended: Vec::new(),
            calls: 0,
        }
    }

    pub(super) fn tell(&mut self, input: Input) {
        self.relay.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.relay.poll_output() {
            match output {
                Output::Send(connection, frame) => {
                    self.nodes.entry(connection).or_default().hear(frame)
                }
                Output::End(connection, reason) => {
                    let before = self
                        .nodes
                        .entry(connection)
                        .or_default()
                        .end
                        .replace(reason);
                    assert!(before.is_none(), "ended twice");
                }
                Output::DialBack(connection, token) => {
                    self.calls += 1;
                    let called = FromRelay::DialedBack {
                        token,
                        from: Some(self.calls),
                    };
                    self.nodes.entry(connection).or_default().hear(called);
                }
                Output::Find(asker, peer) => self.sought.push((asker, peer)),
                Output::Rooms(connection, rooms) => self.shared.push((connection, rooms)),
                Output::Grant(connection, handle) => {
                    assert!(self.sleeps.insert(handle), "{handle:?} is in use");
                    self.nodes.entry(connection).or_default().granted = Some(handle);
                }
                Output::Wake(handle, by) => {
                    assert!(self.sleeps.contains(&handle), "nobody sleeps as {handle:?}");
                    self.wakes.push((handle, by));
                }
                Output::Forget(handle) => assert!(self.sleeps.remove(&handle)),
                Output::EndSleep {
                    handle,
                    peer,
                    reason,
                    ..
                } => {
                    assert!(self.sleeps.remove(&handle));
                    self.sleeps_ended.push((peer, reason));
                }
                Output::Route(Update::Set(route)) => drop(self.routes.insert(route.channel, route)),
                Output::Route(Update::Remove(channel)) => {
                    assert!(
                        self.routes.remove(&channel).is_some(),
                        "{channel:?} was no route"
                    );
                }
            }
        }
    }

    /// Lets time pass and passes every timeout to the relay.
    pub(super) fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        let mut wakes = 0;
        while let Some(at) = self.relay.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.tell(Input::Timeout);
            wakes += 1;
            assert!(
                wakes < 1_000_000,
                "the relay wants to be woken again and again at {at:?}"
            );
        }
        self.now = until;
    }

    pub(super) fn wait_secs(&mut self, seconds: u64) {
        self.wait(Duration::from_secs(seconds));
    }

    pub(super) fn register_at(&mut self, peer: DeviceId, addr: &str, rooms: &[u8]) -> ConnectionId {
        self.register_as(Role::Peer, peer, addr, rooms)
    }

    pub(super) fn register_as(
        &mut self,
        role: Role,
        peer: DeviceId,
        addr: &str,
        rooms: &[u8],
    ) -> ConnectionId {
        let connection = ConnectionId(self.next);
        self.next += 1;
        self.nodes.insert(connection, Node::default());
        let addr = addr.parse().expect("an address");
        self.tell(Input::Registered {
            stream: None,
            connection,
            peer,
            addr,
            rooms: rooms.iter().map(|n| room(*n)).collect(),
            role,
            sleeps: true,
        });
        self.latest.insert(peer, connection);
        connection
    }

    pub(super) fn register(&mut self, peer: DeviceId, rooms: &[u8]) -> ConnectionId {
        let addr = format!("11.0.{}.1:4626", peer.as_bytes()[1]);
        self.register_at(peer, &addr, rooms)
    }

    pub(super) fn says(&mut self, connection: ConnectionId, frame: ToRelay) {
        self.tell(Input::Frame { connection, frame });
    }

    /// The node sends a heartbeat with its version of the roster.
    pub(super) fn beats(&mut self, connection: ConnectionId) {
        let version = self.nodes[&connection].version;
        self.says(connection, ToRelay::Heartbeat(version));
    }

    pub(super) fn moves_rooms(&mut self, connection: ConnectionId, rooms: &[u8]) {
        self.says(
            connection,
            ToRelay::Rooms(rooms.iter().map(|n| room(*n)).collect()),
        );
    }

    pub(super) fn node(&self, connection: ConnectionId) -> &Node {
        &self.nodes[&connection]
    }

    pub(super) fn node_mut(&mut self, connection: ConnectionId) -> &mut Node {
        self.nodes.get_mut(&connection).expect("a node")
    }

    /// The peer of this connection.
    pub(super) fn id(&self, connection: ConnectionId) -> DeviceId {
        self.latest
            .iter()
            .find(|(_, latest)| **latest == connection)
            .map(|(peer, _)| *peer)
            .expect("it is the latest")
    }

    /// Why the relay ended a connection, if it did.
    pub(super) fn end(&self, connection: ConnectionId) -> Option<EndReason> {
        self.node(connection).end
    }

    /// The peers in the node's roster, with their rooms.
    pub(super) fn sees(&self, connection: ConnectionId) -> Vec<(DeviceId, Vec<RoomTag>)> {
        self.node(connection).roster.clone().into_iter().collect()
    }

    pub(super) fn frames(&mut self, connection: ConnectionId) -> Vec<Roster> {
        std::mem::take(&mut self.node_mut(connection).frames)
    }

    pub(super) fn row(&self, peer: DeviceId) -> Option<Row> {
        self.relay
            .table(usize::MAX)
            .into_iter()
            .find(|row| row.peer == peer)
    }

    pub(super) fn state(&self, peer: DeviceId) -> Option<State> {
        self.row(peer).map(|row| row.state)
    }

    pub(super) fn counts(&self) -> Counts {
        self.relay.counts()
    }

    /// The routes of the plane, as pairs of sender and receiver.
    pub(super) fn forwards(&self) -> BTreeSet<(SocketAddr, ChannelId, SocketAddr, ChannelId)> {
        self.routes
            .values()
            .map(|route| (route.from, route.channel, route.to, route.becomes))
            .collect()
    }
}

/// A peer's id, in the order of these numbers.
pub(super) fn peer(n: u16) -> DeviceId {
    let mut bytes = [9; 32];
    bytes[..2].copy_from_slice(&n.to_be_bytes());
    DeviceId::from_bytes(bytes)
}

pub(super) fn room(n: u8) -> RoomTag {
    RoomTag::from_bytes([n; 32])
}
