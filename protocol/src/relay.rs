//! The frames between a node and a relay, on the control stream of a relay connection (ALPN
//! [`ALPN_RELAY`]).
//!
//! The node opens one bidirectional stream and sends Register; the relay answers with Welcome. The
//! framing is the same as between nodes (a four-byte big-endian length, a kind byte, a body), with
//! other kinds. Room tags name rooms to the relay and do not reveal their keys. No frame contains a
//! nickname, a text or a candidate address: these travel only between the two ends.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::codec::{self, FRAME_MAX};
use crate::datagram::ChannelId;
use crate::fleet::FLEET_LIST_BYTES_MAX;
use crate::frame::{FrameError, ROOMS_MAX, or_unknown};
use crate::heartbeat::Handle;
use crate::identity::DeviceId;
use crate::invitation::CodeNumber;
use crate::record::SignedRecord;
use crate::room_key::RoomTag;

/// ALPN (RFC 7301) between a node and a relay. The number is the major version.
pub const ALPN_RELAY: &[u8] = b"hobnob-relay/1";

/// The UDP port of a relay.
pub const PORT_RELAY: u16 = 4627;

/// Major and minor version of this protocol.
pub const VERSION: (u16, u16) = (1, 0);

/// Longest admission token, in bytes.
pub const TOKEN_MAX: usize = 256;

/// Length of a proof that a node knows an admission token, in bytes.
pub const TOKEN_PROOF_LEN: usize = 32;

/// The label under which both ends of a connection export its secret for [`token_proof`] (RFC 8446
/// section 7.5).
pub const TOKEN_EXPORTER_LABEL: &[u8] = b"hobnob 1 relay token";

/// Proves the knowledge of an admission token on the connection with this exported secret.
///
/// The proof is useless on any other connection, so a relay cannot use it at another relay. A relay
/// can still guess a weak token from it, so tokens should be random.
pub fn token_proof(token: &[u8], exporter: &[u8; 32]) -> [u8; TOKEN_PROOF_LEN] {
    blake3::derive_key("hobnob 1 relay token", &[&exporter[..], token].concat())
}

/// Stands for the source network of a peer at a relay: a MAC under a key that the relay changes every
/// day. So a node can share its places fairly among relayed peers, too, without learning their
/// addresses.
pub type Origin = [u8; 4];

/// Maximum changes in one roster frame. With 8 rooms each they fill a frame.
pub const CHANGES_MAX: usize = 200;

/// Maximum shared rooms in one roster change. The relay leaves out further ones.
pub const SHARED_MAX: usize = 8;

/// The bits of [`Register::features`] and [`Welcome::features`]: abilities beyond the first version.
pub mod features {
    /// The relay answers [`DialBack`](super::ToRelay::DialBack).
    pub const DIAL_BACK: u64 = 1;
    /// The relay holds mail for its peers, see [`crate::mailbox`]. A node opens a second stream for
    /// it, whose first byte is [`STREAM_MAILBOX`](crate::mailbox::STREAM_MAILBOX).
    pub const MAILBOX: u64 = 2;
    /// The node accepts an invitation. A relay that does not admit it may admit it as a guest: for
    /// one channel, with the peer whose invitation it finds, and for [`GUEST_STAYS`]. In a Welcome: the
    /// relay has done so.
    ///
    /// [`GUEST_STAYS`]: super::GUEST_STAYS
    pub const GUEST: u64 = 4;
    /// The relay is a member of a fleet, see [`crate::fleet`]. In a Register: the node understands
    /// [`Elsewhere`](super::FromRelay::Elsewhere).
    pub const FLEET: u64 = 32;
    /// The node is registered at another relay of the same fleet, and visits this one for channels
    /// with its peers. It has no rooms and no mailbox here, and is not found here by the peers of
    /// other relays. The relay ends the connection when it has had no channel for two minutes, with
    /// the code [`GUEST`](super::close::GUEST).
    pub const VISITOR: u64 = 64;
    /// In a Register: the node can sleep, see [`crate::heartbeat`]. Then the relay may send
    /// [`MaySleep`](super::FromRelay::MaySleep). In a Welcome: the node slept, and the relay has had it
    /// all the time.
    pub const SLEEP: u64 = 128;
}

/// How long a relay admits a guest.
pub const GUEST_STAYS: std::time::Duration = std::time::Duration::from_secs(120);

/// Maximum invitations that one node registers.
pub const INVITATIONS_MAX: usize = 16;

/// The first bytes of a [`DialBack`](ToRelay::DialBack)'s token, as many as this, are the
/// transaction id of STUN requests to the socket that sent the probe.
pub const TRANSACTION_LEN: usize = 12;

/// How long the socket that sent the probe answers STUN requests.
pub const DIAL_BACK_STAYS: std::time::Duration = std::time::Duration::from_secs(4);

/// Close codes of a relay connection (RFC 9000 section 10.2). The reason beside the code is a
/// sentence for the user.
pub mod close {
    /// The relay stops, or the node leaves.
    pub const BYE: u32 = 0;
    /// A newer connection of the same identity has replaced this one.
    pub const REPLACED: u32 = 1;
    /// A frame could not be decoded, or is not allowed where it arrived.
    pub const PROTOCOL: u32 = 2;
    /// The two ends have different major versions.
    pub const VERSION: u32 = 3;
    /// The relay requires another token, or admits only the peers on its list.
    pub const NOT_ADMITTED: u32 = 4;
    /// The relay's operator has banned this identity.
    pub const BANNED: u32 = 5;
    /// The relay's operator ended the connection. The peer may connect again.
    pub const KICKED: u32 = 6;
    /// The relay has the maximum number of peers, in all or from this network.
    pub const FULL: u32 = 7;
    /// The peer exceeded a limit. The reason names it.
    pub const LIMIT: u32 = 8;
    /// Heartbeats stopped arriving.
    pub const SILENT: u32 = 9;
    /// The relay is about to stop.
    pub const DRAINING: u32 = 10;
    /// The peer has used its quota of today.
    pub const QUOTA: u32 = 11;
    /// The time of a guest is over, or a visitor has had no channel for too long.
    pub const GUEST: u32 = 12;
    /// The node falls asleep, as the two ends have agreed.
    pub const ASLEEP: u32 = 13;

    /// The name of a close code in logs.
    pub fn name(code: u64) -> &'static str {
        const NAMES: [&str; 14] = [
            "bye",
            "replaced",
            "protocol",
            "version",
            "not-admitted",
            "banned",
            "kicked",
            "full",
            "limit",
            "silent",
            "draining",
            "quota",
            "guest",
            "asleep",
        ];
        usize::try_from(code)
            .ok()
            .and_then(|i| NAMES.get(i))
            .copied()
            .unwrap_or("unknown")
    }
}

/// The first frame from a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// See [`VERSION`].
    pub version: (u16, u16),
    /// Abilities that a minor version adds.
    pub features: u64,
    /// Proof that the node knows an admission token of this relay ([`token_proof`]). The token
    /// itself is never sent.
    pub token_proof: Option<[u8; TOKEN_PROOF_LEN]>,
    /// Tags of the node's rooms, at most [`ROOMS_MAX`].
    pub rooms: Vec<RoomTag>,
    /// The address of the relay that the node sends datagrams to. It differs from those that the
    /// relay knows if a router translates addresses. `None` on a stream, which may lead through a
    /// proxy.
    pub reached_at: Option<SocketAddr>,
}

/// The relay's answer to [`Register`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// See [`VERSION`].
    pub version: (u16, u16),
    /// Abilities that a minor version adds, see [`features`].
    pub features: u64,
    /// The node's address as the relay sees it.
    pub observed: SocketAddr,
    /// How often the relay expects a heartbeat, in milliseconds.
    pub heartbeat_ms: u32,
    /// Whether the relay sends the roster of the node's rooms.
    pub roster: bool,
    /// Maximum concurrent channels of the node.
    pub channels_max: u32,
    /// Bytes per second that the relay forwards for the node; 0 means no limit.
    pub rate: u64,
}

/// A change of a peer that shares a room with the receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "ChangeWire", from = "ChangeWire")]
pub enum RosterChange {
    /// The peer is in these of the receiver's rooms, at most [`SHARED_MAX`]. It replaces earlier
    /// changes of the peer.
    Here {
        /// The peer.
        peer: DeviceId,
        /// The shared rooms.
        rooms: Vec<RoomTag>,
    },
    /// The peer has disconnected, or shares no room with the receiver any more.
    Gone {
        /// The peer.
        peer: DeviceId,
    },
    /// A change that this version does not know.
    Unknown(u8),
}

/// A [`RosterChange`] as it travels. Each has the same fields, so that a reader can skip one that it
/// does not know.
type ChangeWire = (u8, DeviceId, Vec<RoomTag>);

impl From<RosterChange> for ChangeWire {
    fn from(change: RosterChange) -> ChangeWire {
        match change {
            RosterChange::Here { peer, rooms } => (0, peer, rooms),
            RosterChange::Gone { peer } => (1, peer, Vec::new()),
            RosterChange::Unknown(number) => (number, DeviceId::from_bytes([0; 32]), Vec::new()),
        }
    }
}

impl From<ChangeWire> for RosterChange {
    fn from((number, peer, rooms): ChangeWire) -> RosterChange {
        match number {
            0 => RosterChange::Here { peer, rooms },
            1 => RosterChange::Gone { peer },
            number => RosterChange::Unknown(number),
        }
    }
}

/// Changes of the roster since a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// The version of the receiver after these changes.
    pub version: u64,
    /// Whether the receiver must first discard its roster, because a whole list begins.
    pub anew: bool,
    /// The changes, at most [`CHANGES_MAX`].
    pub changes: Vec<RosterChange>,
}

/// Why a channel was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", from = "u8")]
pub enum OpenRefusal {
    /// The peer is not registered here.
    NotHere,
    /// The relay does not allow this channel.
    Refused,
    /// One of the two peers, or the relay, has the maximum number of channels.
    Limit,
    /// The peer is not registered here, and the relay cannot ask the other relays of its fleet now.
    Unsure,
    /// A cause that this version does not know.
    Unknown(u8),
}

impl From<OpenRefusal> for u8 {
    fn from(cause: OpenRefusal) -> u8 {
        match cause {
            OpenRefusal::NotHere => 0,
            OpenRefusal::Refused => 1,
            OpenRefusal::Limit => 2,
            OpenRefusal::Unsure => 3,
            OpenRefusal::Unknown(number) => number,
        }
    }
}

impl From<u8> for OpenRefusal {
    fn from(number: u8) -> OpenRefusal {
        match number {
            0 => OpenRefusal::NotHere,
            1 => OpenRefusal::Refused,
            2 => OpenRefusal::Limit,
            3 => OpenRefusal::Unsure,
            number => OpenRefusal::Unknown(number),
        }
    }
}

/// Why a channel has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", from = "u8")]
pub enum ChannelEnd {
    /// The other end is no longer registered.
    PeerGone,
    /// Nothing passed through it for five minutes.
    Idle,
    /// The other end closed it.
    Closed,
    /// A cause that this version does not know.
    Unknown(u8),
}

impl From<ChannelEnd> for u8 {
    fn from(cause: ChannelEnd) -> u8 {
        match cause {
            ChannelEnd::PeerGone => 0,
            ChannelEnd::Idle => 1,
            ChannelEnd::Closed => 2,
            ChannelEnd::Unknown(number) => number,
        }
    }
}

impl From<u8> for ChannelEnd {
    fn from(number: u8) -> ChannelEnd {
        match number {
            0 => ChannelEnd::PeerGone,
            1 => ChannelEnd::Idle,
            2 => ChannelEnd::Closed,
            number => ChannelEnd::Unknown(number),
        }
    }
}

/// A relay's answer to the question for an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "FoundWire", from = "FoundWire")]
pub enum FoundInvitation {
    /// This one. A guest may now open a channel with it.
    At(DeviceId),
    /// No peer at this relay.
    NotHere,
    /// The network of the asking node has named too many wrong numbers.
    TooOften,
    /// An answer that this version does not know.
    Unknown(u8),
}

/// A [`FoundInvitation`] as it travels.
type FoundWire = (u8, Option<DeviceId>);

impl From<FoundInvitation> for FoundWire {
    fn from(found: FoundInvitation) -> FoundWire {
        match found {
            FoundInvitation::At(peer) => (0, Some(peer)),
            FoundInvitation::NotHere => (1, None),
            FoundInvitation::TooOften => (2, None),
            FoundInvitation::Unknown(number) => (number, None),
        }
    }
}

impl From<FoundWire> for FoundInvitation {
    fn from(found: FoundWire) -> FoundInvitation {
        match found {
            (0, Some(peer)) => FoundInvitation::At(peer),
            (1, None) => FoundInvitation::NotHere,
            (2, None) => FoundInvitation::TooOften,
            (number, _) => FoundInvitation::Unknown(number),
        }
    }
}

/// A frame from a node to its relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToRelay {
    /// The first frame.
    Register(Register),
    /// The node is alive and has this version of the roster. The answer is a [`Roster`], which may
    /// have no changes.
    Heartbeat(u64),
    /// The node's new rooms, at most [`ROOMS_MAX`]. They replace the earlier ones.
    Rooms(Vec<RoomTag>),
    /// Asks for a channel to this peer. If there is one already, the relay reports it again.
    Open(DeviceId),
    /// The node no longer needs this channel.
    Close(ChannelId),
    /// Asks the relay to send a probe with this token to the node's address, from a socket to which
    /// the node has never sent anything. It shows whether a firewall or NAT of the node admits
    /// unsolicited datagrams. The answer is [`FromRelay::DialedBack`]. The probe is smaller than
    /// the request and goes only to the address of the connection, so it cannot harm third parties.
    ///
    /// For [`DIAL_BACK_STAYS`] the socket that sent the probe answers STUN requests whose
    /// transaction id is the first [`TRANSACTION_LEN`] bytes of the token, if the answer is no
    /// longer than the request. It shows the node's address as another port sees it.
    DialBack([u8; 16]),
    /// The numbers of the invitations that the node has open, at most [`INVITATIONS_MAX`]. They
    /// replace the earlier ones.
    Invitations(Vec<CodeNumber>),
    /// Asks which peer has the invitation with this number. The answer is
    /// [`FromRelay::Invitation`].
    FindInvitation(CodeNumber),
    /// Asks for the list of the relay's fleet, if its number is higher than this one. The answer is
    /// [`FromRelay::FleetList`]. A node may ask before it registers.
    FleetList(u64),
    /// The node wants to sleep. A relay that agrees answers with [`FromRelay::Sleep`]; otherwise
    /// there is no answer.
    Sleep,
    /// A kind that this version does not know.
    Unknown(u8),
}

/// A frame from a relay to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromRelay {
    /// The answer to Register.
    Welcome(Welcome),
    /// Changes of the roster: the answer to a heartbeat, and a push soon after a change.
    Roster(Roster),
    /// There is a channel with this peer. Either end may have asked for it.
    Opened {
        /// The other end.
        peer: DeviceId,
        /// The name that the receiver uses for the channel.
        channel: ChannelId,
        /// Where the other end connects from.
        origin: Origin,
    },
    /// The channel was not opened.
    NotOpened {
        /// The peer that the receiver named.
        peer: DeviceId,
        /// The cause.
        why: OpenRefusal,
    },
    /// This channel has ended.
    Ended {
        /// The channel.
        channel: ChannelId,
        /// The cause.
        why: ChannelEnd,
    },
    /// The node's address, as the relay sees it, has changed to this one.
    Observed(SocketAddr),
    /// The result of [`ToRelay::DialBack`].
    DialedBack {
        /// The token of the request.
        token: [u8; 16],
        /// The port, at the relay's address, that the probe was sent from. `None` if there was no
        /// probe: the node asks too often, its address has just changed, or the relay is too busy.
        from: Option<u16>,
    },
    /// The answer to [`ToRelay::FindInvitation`].
    Invitation(CodeNumber, FoundInvitation),
    /// The answer to [`ToRelay::FleetList`]. `None`: the relay has no list with a higher number.
    FleetList(Option<SignedRecord>),
    /// The peer that the receiver asked for is registered at this other relay of the fleet. The node
    /// finds the relay's address in the list.
    Elsewhere {
        /// The peer that the receiver named.
        peer: DeviceId,
        /// The identity of the other relay.
        relay: DeviceId,
    },
    /// The node may ask to sleep when it has had nothing to say for a while.
    MaySleep {
        /// After this time without anything to say, in milliseconds.
        after_ms: u32,
        /// How often the relay then expects a heartbeat, in milliseconds.
        every_ms: u32,
    },
    /// The node may sleep now: it closes the connection with [`close::ASLEEP`]. Any other frame from
    /// the node takes this back.
    Sleep {
        /// The name of this sleep.
        handle: Handle,
        /// The token of a [`Reset`](crate::heartbeat::Reset) with this handle.
        reset: [u8; 16],
    },
    /// A kind that this version does not know.
    Unknown(u8),
}

mod kind {
    pub(super) const REGISTER: u8 = 1;
    pub(super) const HEARTBEAT: u8 = 2;
    pub(super) const ROOMS: u8 = 3;
    pub(super) const OPEN: u8 = 4;
    pub(super) const CLOSE: u8 = 5;
    pub(super) const DIAL_BACK: u8 = 6;
    pub(super) const INVITATIONS: u8 = 7;
    pub(super) const FIND_INVITATION: u8 = 8;
    pub(super) const FLEET_LIST: u8 = 16;
    pub(super) const SLEEP: u8 = 20;
    pub(super) const WELCOME: u8 = 65;
    pub(super) const ROSTER: u8 = 66;
    pub(super) const OPENED: u8 = 67;
    pub(super) const NOT_OPENED: u8 = 68;
    pub(super) const ENDED: u8 = 69;
    pub(super) const OBSERVED: u8 = 70;
    pub(super) const DIALED_BACK: u8 = 71;
    pub(super) const INVITATION: u8 = 72;
    pub(super) const LIST_OF_FLEET: u8 = 80;
    pub(super) const ELSEWHERE: u8 = 81;
    pub(super) const MAY_SLEEP: u8 = 84;
    pub(super) const MAY_SLEEP_NOW: u8 = 85;
}

/// Memory that decoding one frame may claim.
const MEMORY_MAX: usize = 4 * FRAME_MAX;

fn frame(kind: u8, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(1 + body.len());
    frame.put_u8(kind);
    frame.extend_from_slice(body);
    debug_assert!(
        frame.len() <= FRAME_MAX,
        "frame of kind {kind} has {} bytes",
        frame.len()
    );
    frame.freeze()
}

fn body<'a, T: Deserialize<'a>>(kind: u8, body: &'a [u8]) -> Result<T, FrameError> {
    codec::decode_extended::<T, MEMORY_MAX>(body).map_err(|cause| FrameError::Body { kind, cause })
}

impl ToRelay {
    /// Encodes kind and body, without the length.
    pub fn encode(&self) -> Bytes {
        match self {
            ToRelay::Register(register) => frame(kind::REGISTER, &codec::encode(register)),
            ToRelay::Heartbeat(version) => frame(kind::HEARTBEAT, &codec::encode(version)),
            ToRelay::Rooms(rooms) => frame(kind::ROOMS, &codec::encode(rooms)),
            ToRelay::Open(peer) => frame(kind::OPEN, &codec::encode(peer)),
            ToRelay::Close(channel) => frame(kind::CLOSE, &codec::encode(channel)),
            ToRelay::DialBack(token) => frame(kind::DIAL_BACK, &codec::encode(token)),
            ToRelay::Invitations(numbers) => frame(kind::INVITATIONS, &codec::encode(numbers)),
            ToRelay::FindInvitation(number) => frame(kind::FIND_INVITATION, &codec::encode(number)),
            ToRelay::FleetList(number) => frame(kind::FLEET_LIST, &codec::encode(number)),
            ToRelay::Sleep => frame(kind::SLEEP, &[]),
            ToRelay::Unknown(kind) => frame(*kind, &[]),
        }
    }

    /// Decodes kind and body of an untrusted frame.
    pub fn decode(bytes: &[u8]) -> Result<ToRelay, FrameError> {
        or_unknown(Self::decode_known(bytes), Self::Unknown)
    }

    fn decode_known(bytes: &[u8]) -> Result<ToRelay, FrameError> {
        let (&kind, rest) = bytes.split_first().ok_or(FrameError::Empty)?;
        let frame = match kind {
            kind::REGISTER => ToRelay::Register(body(kind, rest)?),
            kind::HEARTBEAT => ToRelay::Heartbeat(body(kind, rest)?),
            kind::ROOMS => ToRelay::Rooms(body(kind, rest)?),
            kind::OPEN => ToRelay::Open(body(kind, rest)?),
            kind::CLOSE => ToRelay::Close(body(kind, rest)?),
            kind::DIAL_BACK => ToRelay::DialBack(body(kind, rest)?),
            kind::INVITATIONS => ToRelay::Invitations(body(kind, rest)?),
            kind::FIND_INVITATION => ToRelay::FindInvitation(body(kind, rest)?),
            kind::FLEET_LIST => ToRelay::FleetList(body(kind, rest)?),
            kind::SLEEP => {
                body::<()>(kind, rest)?;
                ToRelay::Sleep
            }
            unknown => ToRelay::Unknown(unknown),
        };
        let fits = match &frame {
            ToRelay::Register(register) => register.rooms.len() <= ROOMS_MAX,
            ToRelay::Rooms(rooms) => rooms.len() <= ROOMS_MAX,
            ToRelay::Invitations(numbers) => numbers.len() <= INVITATIONS_MAX,
            ToRelay::Heartbeat(_)
            | ToRelay::Open(_)
            | ToRelay::Close(_)
            | ToRelay::DialBack(_)
            | ToRelay::FindInvitation(_)
            | ToRelay::FleetList(_)
            | ToRelay::Sleep
            | ToRelay::Unknown(_) => true,
        };
        if fits {
            Ok(frame)
        } else {
            Err(FrameError::TooMany(kind))
        }
    }
}

impl FromRelay {
    /// Encodes kind and body, without the length.
    pub fn encode(&self) -> Bytes {
        match self {
            FromRelay::Welcome(welcome) => frame(kind::WELCOME, &codec::encode(welcome)),
            FromRelay::Roster(roster) => frame(kind::ROSTER, &codec::encode(roster)),
            FromRelay::Opened {
                peer,
                channel,
                origin,
            } => frame(kind::OPENED, &codec::encode(&(peer, channel, origin))),
            FromRelay::NotOpened { peer, why } => {
                frame(kind::NOT_OPENED, &codec::encode(&(peer, why)))
            }
            FromRelay::Ended { channel, why } => {
                frame(kind::ENDED, &codec::encode(&(channel, why)))
            }
            FromRelay::Observed(addr) => frame(kind::OBSERVED, &codec::encode(addr)),
            FromRelay::DialedBack { token, from } => {
                frame(kind::DIALED_BACK, &codec::encode(&(token, from)))
            }
            FromRelay::Invitation(number, found) => {
                frame(kind::INVITATION, &codec::encode(&(number, found)))
            }
            FromRelay::FleetList(list) => frame(kind::LIST_OF_FLEET, &codec::encode(list)),
            FromRelay::Elsewhere { peer, relay } => {
                frame(kind::ELSEWHERE, &codec::encode(&(peer, relay)))
            }
            FromRelay::MaySleep { after_ms, every_ms } => {
                frame(kind::MAY_SLEEP, &codec::encode(&(after_ms, every_ms)))
            }
            FromRelay::Sleep { handle, reset } => {
                frame(kind::MAY_SLEEP_NOW, &codec::encode(&(handle, reset)))
            }
            FromRelay::Unknown(kind) => frame(*kind, &[]),
        }
    }

    /// Decodes kind and body of an untrusted frame.
    pub fn decode(bytes: &[u8]) -> Result<FromRelay, FrameError> {
        or_unknown(Self::decode_known(bytes), Self::Unknown)
    }

    fn decode_known(bytes: &[u8]) -> Result<FromRelay, FrameError> {
        let (&kind, rest) = bytes.split_first().ok_or(FrameError::Empty)?;
        let frame = match kind {
            kind::WELCOME => FromRelay::Welcome(body(kind, rest)?),
            kind::ROSTER => FromRelay::Roster(body(kind, rest)?),
            kind::OPENED => {
                let (peer, channel, origin) = body(kind, rest)?;
                FromRelay::Opened {
                    peer,
                    channel,
                    origin,
                }
            }
            kind::NOT_OPENED => {
                let (peer, why) = body(kind, rest)?;
                FromRelay::NotOpened { peer, why }
            }
            kind::ENDED => {
                let (channel, why) = body(kind, rest)?;
                FromRelay::Ended { channel, why }
            }
            kind::OBSERVED => FromRelay::Observed(body(kind, rest)?),
            kind::DIALED_BACK => {
                let (token, from) = body(kind, rest)?;
                FromRelay::DialedBack { token, from }
            }
            kind::INVITATION => {
                let (number, found) = body(kind, rest)?;
                FromRelay::Invitation(number, found)
            }
            kind::LIST_OF_FLEET => FromRelay::FleetList(body(kind, rest)?),
            kind::ELSEWHERE => {
                let (peer, relay) = body(kind, rest)?;
                FromRelay::Elsewhere { peer, relay }
            }
            kind::MAY_SLEEP => {
                let (after_ms, every_ms) = body(kind, rest)?;
                FromRelay::MaySleep { after_ms, every_ms }
            }
            kind::MAY_SLEEP_NOW => {
                let (handle, reset) = body(kind, rest)?;
                FromRelay::Sleep { handle, reset }
            }
            unknown => FromRelay::Unknown(unknown),
        };
        let fits = match &frame {
            FromRelay::Roster(roster) => {
                roster.changes.len() <= CHANGES_MAX
                    && roster.changes.iter().all(|change| match change {
                        RosterChange::Here { rooms, .. } => rooms.len() <= SHARED_MAX,
                        RosterChange::Gone { .. } | RosterChange::Unknown(_) => true,
                    })
            }
            FromRelay::FleetList(list) => list
                .as_ref()
                .is_none_or(|list| list.as_bytes().len() <= FLEET_LIST_BYTES_MAX),
            FromRelay::Welcome(_)
            | FromRelay::Opened { .. }
            | FromRelay::NotOpened { .. }
            | FromRelay::Ended { .. }
            | FromRelay::Observed(_)
            | FromRelay::DialedBack { .. }
            | FromRelay::Invitation(..)
            | FromRelay::Elsewhere { .. }
            | FromRelay::MaySleep { .. }
            | FromRelay::Sleep { .. }
            | FromRelay::Unknown(_) => true,
        };
        if fits {
            Ok(frame)
        } else {
            Err(FrameError::TooMany(kind))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer() -> DeviceId {
        DeviceId::from_bytes([2; 32])
    }

    fn room(n: u8) -> RoomTag {
        RoomTag::from_bytes([n; 32])
    }

    #[test]
    fn golden_bytes() {
        let channel = ChannelId([1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(ToRelay::Heartbeat(300).encode()[..], [2, 251, 0x2c, 0x01]);
        assert_eq!(
            ToRelay::Open(peer()).encode()[..],
            [&[4][..], &[2; 32]].concat()[..]
        );
        assert_eq!(
            ToRelay::Close(channel).encode()[..],
            [5, 1, 2, 3, 4, 5, 6, 7, 8]
        );
        let opened = FromRelay::Opened {
            peer: peer(),
            channel,
            origin: [9, 8, 7, 6],
        }
        .encode();
        assert_eq!(
            opened[..],
            [
                &[67][..],
                &[2; 32],
                &[1, 2, 3, 4, 5, 6, 7, 8],
                &[9, 8, 7, 6]
            ]
            .concat()[..]
        );
        let ended = FromRelay::Ended {
            channel,
            why: ChannelEnd::Idle,
        }
        .encode();
        assert_eq!(ended[..], [69, 1, 2, 3, 4, 5, 6, 7, 8, 1]);
        assert_eq!(ToRelay::FleetList(300).encode()[..], [16, 251, 0x2c, 0x01]);
        let list = FromRelay::FleetList(Some(SignedRecord::from_bytes(vec![5, 6])));
        assert_eq!(list.encode()[..], [80, 1, 2, 5, 6]);
        let elsewhere = FromRelay::Elsewhere {
            peer: peer(),
            relay: DeviceId::from_bytes([3; 32]),
        };
        assert_eq!(
            elsewhere.encode()[..],
            [&[81][..], &[2; 32], &[3; 32]].concat()[..]
        );
        assert_eq!(
            ToRelay::DialBack([3; 16]).encode()[..],
            [&[6][..], &[3; 16]].concat()[..]
        );
        assert_eq!(ToRelay::Sleep.encode()[..], [20]);
        let may_sleep = FromRelay::MaySleep {
            after_ms: 300,
            every_ms: 25,
        };
        assert_eq!(may_sleep.encode()[..], [84, 251, 0x2c, 0x01, 25]);
        let sleep = FromRelay::Sleep {
            handle: Handle([7; 8]),
            reset: [8; 16],
        };
        assert_eq!(
            sleep.encode()[..],
            [&[85][..], &[7; 8], &[8; 16]].concat()[..]
        );
        let dialed_back = |from| {
            FromRelay::DialedBack {
                token: [3; 16],
                from,
            }
            .encode()
        };
        assert_eq!(
            dialed_back(Some(300))[..],
            [&[71][..], &[3; 16], &[1, 251, 0x2c, 0x01]].concat()[..]
        );
        assert_eq!(
            dialed_back(None)[..],
            [&[71][..], &[3; 16], &[0]].concat()[..]
        );
    }

    #[test]
    fn every_frame_round_trips() {
        let register = Register {
            version: VERSION,
            features: 3,
            token_proof: Some([1; TOKEN_PROOF_LEN]),
            rooms: vec![room(1); ROOMS_MAX],
            reached_at: Some("198.51.100.1:4627".parse().expect("an address")),
        };
        let channel = ChannelId([9; 8]);
        for frame in [
            ToRelay::Register(register),
            ToRelay::Heartbeat(7),
            ToRelay::Rooms(vec![room(1)]),
            ToRelay::Open(peer()),
            ToRelay::Close(channel),
            ToRelay::DialBack([5; 16]),
            ToRelay::Invitations(vec![CodeNumber::random(7); INVITATIONS_MAX]),
            ToRelay::FindInvitation(CodeNumber::random(7)),
            ToRelay::FleetList(300),
            ToRelay::Sleep,
        ] {
            assert_eq!(ToRelay::decode(&frame.encode()), Ok(frame));
        }
        let here = RosterChange::Here {
            peer: peer(),
            rooms: vec![room(3); SHARED_MAX],
        };
        for frame in [
            FromRelay::Welcome(Welcome {
                version: VERSION,
                features: 0,
                observed: "11.0.0.1:4626".parse().expect("an address"),
                heartbeat_ms: 15_000,
                roster: true,
                channels_max: 64,
                rate: 0,
            }),
            FromRelay::Roster(Roster {
                version: 9,
                anew: true,
                changes: vec![here; CHANGES_MAX],
            }),
            FromRelay::Opened {
                peer: peer(),
                channel,
                origin: [9; 4],
            },
            FromRelay::NotOpened {
                peer: peer(),
                why: OpenRefusal::Limit,
            },
            FromRelay::Ended {
                channel,
                why: ChannelEnd::PeerGone,
            },
            FromRelay::Observed("[::1]:9".parse().expect("an address")),
            FromRelay::DialedBack {
                token: [6; 16],
                from: Some(u16::MAX),
            },
            FromRelay::Invitation(CodeNumber::random(7), FoundInvitation::At(peer())),
            FromRelay::Invitation(CodeNumber::random(7), FoundInvitation::TooOften),
            FromRelay::FleetList(None),
            FromRelay::FleetList(Some(SignedRecord::from_bytes(vec![
                7;
                FLEET_LIST_BYTES_MAX
            ]))),
            FromRelay::Elsewhere {
                peer: peer(),
                relay: DeviceId::from_bytes([3; 32]),
            },
            FromRelay::NotOpened {
                peer: peer(),
                why: OpenRefusal::Unsure,
            },
            FromRelay::MaySleep {
                after_ms: 60_000,
                every_ms: 25_000,
            },
            FromRelay::Sleep {
                handle: Handle([7; 8]),
                reset: [8; 16],
            },
        ] {
            assert_eq!(FromRelay::decode(&frame.encode()), Ok(frame));
        }
    }

    #[test]
    fn kinds_from_the_future_are_skipped_and_long_lists_are_refused() {
        assert_eq!(ToRelay::decode(&[200, 1]), Ok(ToRelay::Unknown(200)));
        assert_eq!(FromRelay::decode(&[200, 1]), Ok(FromRelay::Unknown(200)));
        let channel = ChannelId([9; 8]);
        for frame in [
            FromRelay::Ended {
                channel,
                why: ChannelEnd::Unknown(9),
            },
            FromRelay::NotOpened {
                peer: peer(),
                why: OpenRefusal::Unknown(9),
            },
            FromRelay::Invitation(CodeNumber::random(7), FoundInvitation::Unknown(9)),
            FromRelay::Roster(Roster {
                version: 1,
                anew: false,
                changes: vec![
                    RosterChange::Unknown(9),
                    RosterChange::Gone { peer: peer() },
                ],
            }),
        ] {
            assert_eq!(FromRelay::decode(&frame.encode()), Ok(frame));
        }
        let beat = ToRelay::Heartbeat(5).encode();
        let with = |extensions: &[u8]| ToRelay::decode(&[&beat[..], extensions].concat());
        assert_eq!(with(&[1, 7, 0]), Ok(ToRelay::Heartbeat(5)), "an odd tag");
        assert_eq!(with(&[1, 8, 0]), Ok(ToRelay::Unknown(2)), "an even tag");
        assert_eq!(
            ToRelay::decode(&ToRelay::Rooms(vec![room(1); ROOMS_MAX + 1]).encode()),
            Err(FrameError::TooMany(3))
        );
        let numbers = vec![CodeNumber::random(7); INVITATIONS_MAX + 1];
        assert_eq!(
            ToRelay::decode(&ToRelay::Invitations(numbers).encode()),
            Err(FrameError::TooMany(7))
        );
        let changes = vec![RosterChange::Gone { peer: peer() }; CHANGES_MAX + 1];
        let roster = FromRelay::Roster(Roster {
            version: 1,
            anew: false,
            changes,
        });
        assert_eq!(
            FromRelay::decode(&roster.encode()),
            Err(FrameError::TooMany(66))
        );
        let long = SignedRecord::from_bytes(vec![7; FLEET_LIST_BYTES_MAX + 1]);
        assert_eq!(
            FromRelay::decode(&FromRelay::FleetList(Some(long)).encode()),
            Err(FrameError::TooMany(80))
        );
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let _ = ToRelay::decode(&bytes);
            let _ = FromRelay::decode(&bytes);
        }
    }
}
