//! The engine's state: one field for each part.
//!
//! A part is a struct in a file of its own, with its fields, methods and tests. Parts know neither
//! the engine nor each other. The files that extend [`Engine`] pass the results of one part to
//! others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hobnob_core::Rng;
use hobnob_core::address_checks::AddressChecks;
use hobnob_core::past_names::PastNames;
use hobnob_core::paths::{self, Instance, MetPeer, Paths};
use hobnob_core::peers::Peers;
use hobnob_core::picture_exchange::PictureExchange;
use hobnob_core::policy::{DirectWith, Policies, Sharing};
use hobnob_core::record_exchange::RecordExchange;
use hobnob_core::rendezvous::{self, Rendezvous};
use hobnob_core::replica::{self, Replica};
use hobnob_protocol::fleet::FleetList;
use hobnob_protocol::record::Checked;
use hobnob_protocol::{DeviceId, Nickname, PersonId, RelayToken, SecretKey};
use hobnob_transport::lock::Lock;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::activities::Activities;
use super::attention::Attention;
use super::carried::CarriedSessions;
use super::command::Command;
use super::dialback::DialBacks;
use super::discovery::Discovery;
use super::erasing::Erasing;
use super::files::Files;
use super::handshakes::Handshakes;
use super::holding::Holding;
use super::internal::Internal;
use super::introductions::Introductions;
use super::inviting::Inviting;
use super::joins::Joins;
use super::known_relays::KnownRelays;
use super::lending::Lending;
use super::lifecycle::Lifecycle;
use super::mail::Mail;
use super::network::Network;
use super::outbox::Outbox;
use super::own_records::OwnRecords;
use super::policy::Policy;
use super::proofs::KnownMembers;
use super::recent_peers::RecentPeers;
use super::relays::{Relays, Tokens};
use super::reports::Reports;
use super::restored::Restored;
use super::router_port::RouterPort;
use super::sessions::Sessions;
use super::shared_relays::SharedRelays;
use super::tasks::Tasks;
use crate::api::{NoticeReason, ProxyConfig};
use crate::apps::Apps;
use crate::clock::{Clock, random_seed};
use crate::events::Publisher;
use crate::net::demux::SideDatagram;
use crate::net::endpoint::{Accepted, Endpoint};
use crate::net::interfaces::Interfaces;
use crate::net::session::SessionEvent;
use crate::net::socket::BoundSocket;
use crate::store::{KnownPeer, Repaired, Store};
use crate::transfers::messages::ToTransfers;
use crate::transfers::pictures::Pictures;

/// The parts from which an engine is made.
pub(crate) struct Parts {
    pub(crate) clock: Clock,
    pub(crate) key: Arc<SecretKey>,
    pub(crate) run: u64,
    pub(crate) nick: Nickname,
    pub(crate) own: OwnRecords,
    pub(crate) profile_pictures: PictureExchange,
    pub(crate) past_names: PastNames,
    pub(crate) mail: Mail,
    pub(crate) holding: Holding,
    pub(crate) introductions: Introductions,
    pub(crate) replica: Replica,
    pub(crate) store: Store,
    pub(crate) endpoint: Endpoint,
    pub(crate) bound: BoundSocket,
    pub(crate) side_datagrams: mpsc::Receiver<SideDatagram>,
    pub(crate) policies: Policies,
    pub(crate) direct_with: DirectWith,
    pub(crate) sharing: Sharing,
    pub(crate) relay_ids: BTreeMap<String, DeviceId>,
    pub(crate) fleet_lists: BTreeMap<DeviceId, Checked<FleetList>>,
    pub(crate) relay_token: Option<RelayToken>,
    pub(crate) shared_relays: SharedRelays,
    pub(crate) proxy: ProxyConfig,
    pub(crate) lending: Lending,
    pub(crate) contacts: watch::Sender<BTreeSet<PersonId>>,
    pub(crate) external_port: Option<u16>,
    pub(crate) erasing: Erasing,
    pub(crate) attention: Attention,
    pub(crate) interfaces: Interfaces,
    pub(crate) accepted: mpsc::Receiver<Accepted>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) internal: mpsc::UnboundedSender<Internal>,
    pub(crate) internal_events: mpsc::UnboundedReceiver<Internal>,
    pub(crate) session_events: mpsc::Sender<SessionEvent>,
    pub(crate) session_queue: mpsc::Receiver<SessionEvent>,
    pub(crate) events: Publisher,
    pub(crate) met: watch::Sender<u64>,
    pub(crate) transfers: mpsc::UnboundedSender<ToTransfers>,
    pub(crate) pictures: Pictures,
    pub(crate) apps: Apps,
    pub(crate) tasks: TaskTracker,
    pub(crate) stopping: CancellationToken,
    pub(crate) lock: Option<Lock>,
}

/// The queues that the engine reads. Relays, discovery and network have theirs in their own parts.
pub(super) struct Queues {
    pub(super) accepted: mpsc::Receiver<Accepted>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) internal: mpsc::UnboundedReceiver<Internal>,
    pub(super) sessions: mpsc::Receiver<SessionEvent>,
    pub(super) side_datagrams: mpsc::Receiver<SideDatagram>,
}

/// One task that owns all state machines of a node.
pub(crate) struct Engine {
    pub(super) me: PersonId,
    /// The device that this node is.
    pub(super) device: DeviceId,
    pub(super) instance: Instance,
    /// See [`RoomProofs`](super::proofs::RoomProofs).
    pub(super) proof_filler: [u8; 32],
    pub(super) clock: Clock,
    pub(super) queues: Queues,
    pub(super) tasks: Tasks,
    pub(super) lifecycle: Lifecycle,
    pub(super) store: Store,
    pub(super) network: Network,

    pub(super) replica: Replica,
    pub(super) activities: Activities,
    pub(super) paths: Paths,
    pub(super) address_checks: AddressChecks,
    pub(super) rendezvous: Rendezvous,
    pub(super) peers: Peers,
    /// This node's own records.
    pub(super) own: OwnRecords,
    pub(super) records: RecordExchange,
    pub(super) profile_pictures: PictureExchange,
    pub(super) past_names: PastNames,
    pub(super) mail: Mail,
    /// The mail that this node holds for others.
    pub(super) holding: Holding,
    pub(super) carried: CarriedSessions,
    pub(super) known_relays: KnownRelays,
    /// Peers that the user has forgotten in this run. Others do not bring back their names.
    pub(super) forgotten: RecentPeers,
    /// Counts up whenever a session began or a name changed, for callers that wait for a name.
    pub(super) met: watch::Sender<u64>,

    pub(super) handshakes: Handshakes,
    pub(super) sessions: Sessions,
    /// Peers whose last session broke, as opposed to those that said goodbye.
    pub(super) lost: RecentPeers,
    pub(super) outbox: Outbox,
    pub(super) joins: Joins,
    pub(super) inviting: Inviting,
    pub(super) introductions: Introductions,
    pub(super) members: KnownMembers,
    pub(super) erasing: Erasing,
    pub(super) attention: Attention,
    pub(super) policy: Policy,
    pub(super) relays: Relays,
    pub(super) shared_relays: SharedRelays,
    pub(super) lending: Lending,
    /// The contacts that are not blocked, for programs that run beside this node.
    pub(super) contacts: watch::Sender<BTreeSet<PersonId>>,
    pub(super) dial_backs: DialBacks,
    pub(super) router_port: RouterPort,
    pub(super) discovery: Discovery,
    pub(super) restored: Restored,
    pub(super) files: Files,
    /// Programs that talk over the sessions.
    pub(super) apps: Apps,
    pub(super) reports: Reports,
}

impl Engine {
    pub(crate) fn new(parts: Parts) -> Self {
        let me = parts.key.id();
        let started = parts.clock.now();
        Self {
            me: me.person(),
            device: me,
            instance: Instance {
                started_at_ms: started.wall_ms,
                number: parts.run,
            },
            proof_filler: random_seed(),
            clock: parts.clock,
            queues: Queues {
                accepted: parts.accepted,
                commands: parts.commands,
                internal: parts.internal_events,
                sessions: parts.session_queue,
                side_datagrams: parts.side_datagrams,
            },
            tasks: Tasks::new(parts.tasks, parts.stopping, parts.internal),
            lifecycle: Lifecycle::new(parts.lock),
            store: parts.store,
            network: Network::new(parts.endpoint, parts.bound, parts.interfaces),
            replica: parts.replica,
            paths: Paths::new(me, Rng::new(parts.run ^ 1)),
            address_checks: AddressChecks::new(random_seed(), Rng::new(parts.run ^ 2)),
            rendezvous: Rendezvous::default(),
            peers: Peers::new(me.person(), parts.nick),
            own: parts.own,
            records: RecordExchange::new(me.person()),
            profile_pictures: parts.profile_pictures,
            past_names: parts.past_names,
            mail: parts.mail,
            holding: parts.holding,
            carried: CarriedSessions::default(),
            known_relays: KnownRelays::default(),
            forgotten: RecentPeers::default(),
            met: parts.met,
            handshakes: Handshakes::default(),
            sessions: Sessions::new(parts.session_events),
            lost: RecentPeers::default(),
            outbox: Outbox::default(),
            joins: Joins::default(),
            inviting: Inviting::default(),
            introductions: parts.introductions,
            members: KnownMembers::default(),
            erasing: parts.erasing,
            attention: parts.attention,
            policy: Policy::new(parts.policies, parts.direct_with),
            activities: Activities::new(parts.sharing),
            relays: Relays::new(
                parts.relay_ids,
                parts.fleet_lists,
                Tokens {
                    own: parts.relay_token,
                    shared: parts.shared_relays.tokens(),
                },
                parts.proxy,
                parts.clock,
            ),
            shared_relays: parts.shared_relays,
            lending: parts.lending,
            contacts: parts.contacts,
            dial_backs: DialBacks::default(),
            router_port: RouterPort::new(parts.external_port),
            discovery: Discovery::default(),
            restored: Restored::default(),
            files: Files::new(parts.transfers, parts.pictures),
            apps: parts.apps,
            reports: Reports::new(parts.events),
        }
    }

    /// Reports a problem at the start of the node.
    pub(crate) fn notice(&mut self, reason: NoticeReason) {
        self.reports.notice(reason, None);
    }

    /// Reports that the start dropped what was damaged.
    pub(crate) fn database_repaired(&mut self, repaired: Repaired) {
        self.reports.repaired(repaired);
    }

    /// Restores what earlier runs knew about peers.
    pub(crate) fn remember(&mut self, known: Vec<KnownPeer>) {
        // A full directory keeps those that it learned last, so those seen last come last.
        for known in known.iter().rev() {
            let public = known.public.clone().map(|record| record.check(known.peer));
            if let Some(Ok(record)) = public {
                self.peers.learn_record(known.peer, record);
            } else {
                // A damaged record is requested again.
                self.peers.learn(known.peer, None);
            }
            if let Some(Ok(record)) = known.contact.clone().map(|it| it.check(known.peer)) {
                self.known_relays.learn(known.peer, record);
            }
            self.known_relays.name(known.peer, known.relays.clone());
        }
        let met = known.into_iter().map(|known| MetPeer {
            peer: known.peer.only_device(),
            addrs: known.addrs,
            named: known.named,
        });
        self.tell_paths(paths::Input::Remembered(met.collect()));
        self.restore_policies();
        // Users can name every peer that they have a conversation with, even without an address.
        for peer in self.talked_with() {
            self.peers.keep(peer);
        }
        self.remove_unnamed_pictures();
    }

    pub(super) fn tell_replica(&mut self, input: replica::Input) {
        self.replica.handle(self.clock.now(), input);
    }

    pub(super) fn tell_paths(&mut self, input: paths::Input) {
        self.paths.handle(self.clock.now(), input);
    }

    pub(super) fn tell_rendezvous(&mut self, input: rendezvous::Input) {
        self.rendezvous.handle(self.clock.now(), input);
    }

    /// Wakes callers that wait until a name is known.
    pub(super) fn peers_changed(&self) {
        self.met.send_modify(|count| *count += 1);
    }
}
