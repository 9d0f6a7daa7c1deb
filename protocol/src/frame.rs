//! Frames: the messages that two nodes exchange on a session's streams.
//!
//! On a stream a frame is a four-byte big-endian length, a kind byte and a body. The length counts
//! kind and body and is at most [`FRAME_MAX`]. A node skips kinds that it does not know, and a body
//! may end with tagged extensions ([`codec::decode_extended`]), so old and new nodes can talk to
//! each other.

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::net::SocketAddr;

use crate::activity::Activity;
use crate::batch::Batch;
pub use crate::codec::FRAME_MAX;
use crate::codec::{self, CodecError, Raw};
use crate::conversation::ConversationId;
use crate::identity::{DeviceId, PersonId};
use crate::invitation::InviteFrame;
use crate::log::{LogId, LogName, Seq, device_from_wire, device_to_wire};
use crate::mailbox::parts::{CONTENT_PART_BYTES, CONTENT_PARTS_MAX};
use crate::mailbox::room::RoomMail;
use crate::mailbox::token::DepositToken;
use crate::offer::{ContentHash, OfferId, OfferWord};
use crate::picture::PICTURE_BYTES_MAX;
use crate::ranges::Ranges;
use crate::record::{
    CONTACT_BYTES_MAX, MAILBOX_BYTES_MAX, PUBLIC_BYTES_MAX, RECORD_RELAYS_MAX, SignedRecord,
};
use crate::room_key::RoomProof;

/// Maximum rooms of one node, and maximum membership proofs in one frame.
pub const ROOMS_MAX: usize = 256;

/// The number of proofs in one frame is a multiple of this.
pub const PROOFS_MULTIPLE: usize = 8;

/// Maximum listening addresses in a Hello. A sender leaves out further ones; a receiver rejects a
/// frame with more.
pub const HELLO_ADDRS_MAX: usize = 16;

/// Maximum public records in one frame, and maximum peers in one request for records.
pub const RECORDS_MAX: usize = 64;

/// The first frame on a session's control stream, from both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Major and minor version, see [`crate::VERSION`].
    pub version: (u16, u16),
    /// Abilities that a minor version adds, see [`features`]. Unknown bits are ignored.
    pub features: u64,
    /// A random number from the node's start. It distinguishes a restart from a copy that runs
    /// elsewhere.
    pub instance: u64,
    /// When the node started, by its clock, in milliseconds since the Unix epoch. Of two copies the
    /// newer one stays.
    pub started_at_ms: u64,
    /// The node's clock now. Nodes whose clocks differ can warn their users.
    pub clock_ms: u64,
    /// The facts about the node that the peer may know.
    pub profile: Profile,
}

/// The bits of [`Hello::features`].
pub mod features {
    /// The node announces itself by mDNS on its networks. A peer on one of them that receives no
    /// announcement has a network fault.
    pub const DISCOVERABLE: u64 = 1;
    /// The node answers [`DialBack`](super::Frame::DialBack).
    pub const DIAL_BACK: u64 = 2;
    /// The node serves content on separate streams, see [`crate::content`].
    pub const CONTENT: u64 = 4;
    /// The node takes datagrams and streams of application programs, see [`crate::app`].
    pub const APPS: u64 = 8;
    /// The node answers [`WantPicture`](super::Frame::WantPicture).
    pub const PICTURES: u64 = 16;
    /// The node lets idle sessions with neighbours sleep: its QUIC idle timeout is longer than the
    /// pause between the pings of such a session.
    pub const SLEEP: u64 = 32;
    /// The node reads compressed batches and compressed pieces of content, see
    /// [`crate::compression`] and
    /// [`Answer::HereCompressed`](crate::content::Answer::HereCompressed).
    pub const COMPRESSION: u64 = 64;
}

/// A node's report about itself to each peer, at the start and after each change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The sender's public record. Its signature is not checked yet.
    pub record: SignedRecord,
    /// The addresses that the node listens on, at most [`HELLO_ADDRS_MAX`].
    pub addrs: Vec<SocketAddr>,
    /// Whether the node exchanges addresses with the receiver through a relay, to find a direct
    /// path. Both ends must agree before either sends [`Frame::Candidates`].
    pub direct: bool,
    /// Proofs of the node's rooms, at most [`ROOMS_MAX`], see [`crate::RoomKey::proof`]. Random
    /// ones fill the list up to a multiple of [`PROOFS_MULTIPLE`], so it does not show the number
    /// of rooms. A peer that is not in a room cannot recognize its proof.
    pub proofs: Vec<RoomProof>,
}

/// A short form of what a node holds of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// A hash over all heads: [`AuthorHeads::digest`].
    pub hash: [u8; 32],
    /// The highest Lamport number that the sender has seen. A newcomer, who may not have the
    /// earlier entries of an open room, writes its entries after this number.
    pub clock: u64,
}

/// The logs that one author wrote on one device, in a conversation, as far as the sender has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorHeads {
    /// The author.
    pub author: PersonId,
    /// The device.
    pub device: DeviceId,
    /// Each log with the entries that the sender has.
    pub logs: Vec<(LogId, Holding)>,
}

/// As it travels: author, the device if its key is not the author's own, logs.
impl Serialize for AuthorHeads {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let device = device_to_wire(self.author, self.device);
        (self.author, device, &self.logs).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for AuthorHeads {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (author, device, logs) = Deserialize::deserialize(deserializer)?;
        let device = device_from_wire(author, device).map_err(D::Error::custom)?;
        Ok(Self {
            author,
            device,
            logs,
        })
    }
}

/// The entries of one log that a node has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// The entries that are settled: the node had the body on disk once, or has the author's
    /// deletion of it.
    pub settled: Ranges,
    /// Settled entries whose body the node can't send any more.
    pub erased: Ranges,
}

impl From<Ranges> for Holding {
    /// Entries that are all held with their bodies.
    fn from(settled: Ranges) -> Self {
        let erased = Ranges::new();
        Self { settled, erased }
    }
}

impl Holding {
    /// The entries whose bodies the node can send.
    pub fn servable(&self) -> Ranges {
        self.settled.minus(&self.erased)
    }

    /// As much as fits a frame. If the second list is too long, its newest ranges remain. Then a
    /// peer may ask without success for the body of an older entry, once.
    pub fn for_frame(&self) -> Self {
        Self {
            settled: self.settled.for_frame(),
            erased: self.erased.for_frame(),
        }
    }
}

impl AuthorHeads {
    /// Hash of a list of heads, without the lists of erased bodies. Two replicas compare it to find
    /// differences with one frame.
    pub fn digest(all: &[AuthorHeads]) -> [u8; 32] {
        let settled = |heads: &AuthorHeads| {
            let logs = heads.logs.iter();
            let logs: Vec<_> = logs
                .map(|(log, held)| (*log, held.settled.clone()))
                .collect();
            let device = device_to_wire(heads.author, heads.device);
            (heads.author, device, logs)
        };
        let all: Vec<_> = all.iter().map(settled).collect();
        blake3::derive_key("hobnob 1 heads digest", &codec::encode(&all))
    }
}

/// A message from one node to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The first frame each way.
    Hello(Hello),
    /// Asks whether the peer is alive. The answer is a Pong with the same number, except for
    /// [`PING_LIGHT`].
    Ping(u64),
    /// The answer to a Ping.
    Pong(u64),
    /// The sender's new profile. It replaces the earlier one.
    Profile(Profile),
    /// Addresses at which the sender of a relayed session may be reachable directly, at most
    /// [`HELLO_ADDRS_MAX`]. Sent only if both profiles have [`Profile::direct`].
    Candidates(Vec<SocketAddr>),
    /// Asks the peer to send a probe with this token to the session's address, from a socket to
    /// which the sender has never sent anything. It shows whether a firewall admits unsolicited
    /// datagrams. A peer sends at most one probe every few seconds, and only to that address.
    DialBack([u8; 16]),
    /// The peer has sent the probe with this token.
    DialedBack([u8; 16]),
    /// Public records of other peers, at most [`RECORDS_MAX`], each signed by its peer. The sender
    /// passes on only those of members of rooms that it shares with the receiver.
    Records {
        /// Whether this answers [`Frame::WantRecords`].
        answer: bool,
        /// The records.
        records: Vec<(PersonId, SignedRecord)>,
    },
    /// Requests the public records of peers, at most [`RECORDS_MAX`], that have a higher number
    /// than the one here. The sender waits for the answer before it requests more.
    WantRecords(Vec<(PersonId, u64)>),
    /// The sender's contact record, for contacts only. Its signature is not checked yet.
    ContactRecord(SignedRecord),
    /// The sender's mailbox, for a contact: the key, and a permission to deposit for each holder,
    /// at most [`RECORD_RELAYS_MAX`]. In an envelope, it asks to seal again all that the sender has
    /// not confirmed, because the sender has lost an older key.
    Mailbox {
        /// The sender's mailbox record. Its signature is not checked yet.
        record: SignedRecord,
        /// The holders, and the receiver's token at each.
        tokens: Vec<(DeviceId, DepositToken)>,
    },
    /// Whether the sender holds mail for the receiver from now on. If so, the receiver may open a
    /// stream about mailboxes on the session's connection, see
    /// [`STREAM_MAILBOX`](crate::mailbox::STREAM_MAILBOX). Without this frame it does not.
    HoldsMail(bool),
    /// Requests the profile picture with this hash, which the public record of the receiver, or of
    /// a member of a room with a key that both share, names. The sender waits for the answer before
    /// it requests another one. Only for nodes with [`features::PICTURES`].
    WantPicture(ContentHash),
    /// A profile picture, of at most [`PICTURE_BYTES_MAX`] bytes. No bytes: the sender does not
    /// have it, or the receiver may not have it. An own picture may follow unasked once the
    /// receiver may have it.
    Picture(ContentHash, Bytes),
    /// A digest of the sender's heads of a conversation, as far as the receiver may have the
    /// entries.
    Digest(ConversationId, Digest),
    /// The sender's heads of a conversation, as far as the receiver may have the entries.
    Heads {
        /// The conversation.
        conversation: ConversationId,
        /// Whether the list continues in the next frame.
        more: bool,
        /// The heads.
        authors: Vec<AuthorHeads>,
    },
    /// Entries.
    Batch(Batch),
    /// The entries of a log that the sender has on disk. It is the receipt, and it announces
    /// entries that the receiver can request.
    Have(LogName, Holding),
    /// Requests the entries of a log in a range.
    Want {
        /// The log.
        name: LogName,
        /// The first entry wanted.
        from: Seq,
        /// The last entry wanted. `None` also requests later entries, as they arrive.
        to: Option<Seq>,
    },
    /// The sender receives this author's entries of this conversation from another peer. It asks
    /// the receiver to stop pushing them.
    Prune(ConversationId, PersonId),
    /// The receiver's entries of this log do not continue the sender's: the author wrote two
    /// chains.
    Conflict(LogName),
    /// The sender does not store the receiver's entries in this direct conversation, because its
    /// user has not accepted the receiver. It will request them with [`Frame::Want`].
    Waiting(ConversationId),
    /// The state of an offer, which needs no entry in the log. Nodes without [`features::CONTENT`]
    /// skip it.
    Offer(OfferId, OfferWord),
    /// A part of the content of an offer, in an envelope beside the offer's entry. The envelope's
    /// sender has made the offer. Only contents of at most
    /// [`MAILED_CONTENT_MAX`](crate::mailbox::MAILED_CONTENT_MAX) travel so.
    Content {
        /// The offer.
        id: OfferId,
        /// The number of the part, from 0. All parts but the last have
        /// [`CONTENT_PART_BYTES`].
        part: u8,
        /// The bytes.
        bytes: Bytes,
    },
    /// Frames of a room with a key: only in envelopes.
    Room(RoomMail),
    /// A step of an invitation by code.
    Invite(InviteFrame),
    /// What the sender's user does at the moment: for contacts and members only, and not stored.
    Activity(Activity),
    /// A kind that this version does not know.
    Unknown(u8),
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame has not even a kind.
    #[error("an empty frame")]
    Empty,
    /// The body does not decode, or bytes follow it.
    #[error("frame of kind {kind}: {cause}")]
    Body {
        /// The frame's kind.
        kind: u8,
        /// The decoding error.
        cause: CodecError,
    },
    /// A list in the frame is longer than its limit.
    #[error("frame of kind {0}: a list is too long")]
    TooMany(u8),
}

/// Skips a frame with an extension that a reader must know, like a frame of an unknown kind.
pub(crate) fn or_unknown<F>(
    frame: Result<F, FrameError>,
    unknown: fn(u8) -> F,
) -> Result<F, FrameError> {
    match frame {
        Err(FrameError::Body {
            kind,
            cause: CodecError::NeedsNewerVersion(_),
        }) => Ok(unknown(kind)),
        frame => frame,
    }
}

/// The number of a ping that gets no Pong. QUIC's acknowledgement suffices as an answer, and this
/// saves one packet of three.
pub const PING_LIGHT: u64 = 0;

mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const PING: u8 = 2;
    pub(super) const PONG: u8 = 3;
    pub(super) const PROFILE: u8 = 4;
    pub(super) const CANDIDATES: u8 = 5;
    pub(super) const DIAL_BACK: u8 = 6;
    pub(super) const DIALED_BACK: u8 = 7;
    pub(super) const RECORDS: u8 = 8;
    pub(super) const WANT_RECORDS: u8 = 9;
    pub(super) const CONTACT_RECORD: u8 = 10;
    pub(super) const MAILBOX: u8 = 11;
    pub(super) const INVITE: u8 = 12;
    pub(super) const HOLDS_MAIL: u8 = 13;
    pub(super) const WANT_PICTURE: u8 = 14;
    pub(super) const PICTURE: u8 = 15;
    pub(super) const DIGEST: u8 = 16;
    pub(super) const HEADS: u8 = 17;
    pub(super) const BATCH: u8 = 18;
    pub(super) const HAVE: u8 = 19;
    pub(super) const WANT: u8 = 20;
    pub(super) const PRUNE: u8 = 21;
    pub(super) const CONFLICT: u8 = 22;
    pub(super) const WAITING: u8 = 23;
    pub(super) const ACTIVITY: u8 = 24;
    pub(super) const OFFER: u8 = 32;
    pub(super) const CONTENT: u8 = 33;
    pub(super) const ROOM: u8 = 34;
}

/// Memory that decoding a small frame may claim. The length of the frame bounds the others.
const SMALL: usize = 2 * 1024;

/// Memory that decoding a request for records, or one record, may claim.
const WANT_MEMORY_MAX: usize = 8 * 1024;

/// Memory that decoding a Have may claim: two full lists of ranges.
const HAVE_MEMORY_MAX: usize = 4 * 1024;

impl Frame {
    /// Whether this is of use only in a session with a connection: files have no such frame, and
    /// mail only [`Frame::Mailbox`]. A frame of a newer version may be of use anywhere.
    pub fn needs_connection(&self) -> bool {
        match self {
            Frame::Have(..)
            | Frame::Batch(_)
            | Frame::Want { .. }
            | Frame::Content { .. }
            | Frame::Room(_)
            | Frame::Unknown(_) => false,
            Frame::Hello(_)
            | Frame::Ping(_)
            | Frame::Pong(_)
            | Frame::Profile(_)
            | Frame::Candidates(_)
            | Frame::DialBack(_)
            | Frame::DialedBack(_)
            | Frame::Records { .. }
            | Frame::WantRecords(_)
            | Frame::ContactRecord(_)
            | Frame::Mailbox { .. }
            | Frame::HoldsMail(_)
            | Frame::WantPicture(_)
            | Frame::Picture(..)
            | Frame::Digest(..)
            | Frame::Heads { .. }
            | Frame::Prune(..)
            | Frame::Conflict(_)
            | Frame::Waiting(_)
            | Frame::Offer(..)
            | Frame::Invite(_)
            | Frame::Activity(_) => true,
        }
    }

    /// Whether a session stays awake for this frame. The others are those of a session that nobody
    /// uses.
    pub fn keeps_awake(&self) -> bool {
        !matches!(
            self,
            Frame::Ping(_)
                | Frame::Pong(_)
                | Frame::Digest(..)
                | Frame::DialBack(_)
                | Frame::DialedBack(_)
        )
    }

    /// As [`Frame::keeps_awake`], for the result of [`Frame::encode`].
    pub fn encoded_keeps_awake(encoded: &[u8]) -> bool {
        !matches!(
            encoded.first().copied(),
            Some(kind::PING | kind::PONG | kind::DIGEST | kind::DIAL_BACK | kind::DIALED_BACK)
        )
    }

    /// Encodes kind and body, without the length. The same bytes can be sent on many sessions.
    pub fn encode(&self) -> Bytes {
        let (kind, body) = match self {
            Frame::Hello(hello) => (kind::HELLO, codec::encode(hello)),
            Frame::Ping(token) => (kind::PING, codec::encode(token)),
            Frame::Pong(token) => (kind::PONG, codec::encode(token)),
            Frame::Profile(profile) => (kind::PROFILE, codec::encode(profile)),
            Frame::Candidates(addrs) => (kind::CANDIDATES, codec::encode(addrs)),
            Frame::DialBack(token) => (kind::DIAL_BACK, codec::encode(token)),
            Frame::DialedBack(token) => (kind::DIALED_BACK, codec::encode(token)),
            Frame::Records { answer, records } => {
                (kind::RECORDS, codec::encode(&(answer, records)))
            }
            Frame::WantRecords(peers) => (kind::WANT_RECORDS, codec::encode(peers)),
            Frame::ContactRecord(record) => (kind::CONTACT_RECORD, codec::encode(record)),
            Frame::Mailbox { record, tokens } => (kind::MAILBOX, codec::encode(&(record, tokens))),
            Frame::HoldsMail(holds) => (kind::HOLDS_MAIL, codec::encode(holds)),
            Frame::WantPicture(hash) => (kind::WANT_PICTURE, codec::encode(hash)),
            Frame::Picture(hash, bytes) => (kind::PICTURE, codec::encode(&(hash, Raw(bytes)))),
            Frame::Content { id, part, bytes } => {
                (kind::CONTENT, codec::encode(&(id, part, Raw(bytes))))
            }
            Frame::Room(mail) => (kind::ROOM, codec::encode(mail)),
            Frame::Digest(conversation, digest) => {
                (kind::DIGEST, codec::encode(&(conversation, digest)))
            }
            Frame::Heads {
                conversation,
                more,
                authors,
            } => (kind::HEADS, codec::encode(&(conversation, more, authors))),
            Frame::Batch(batch) => (kind::BATCH, batch.encode()),
            Frame::Have(name, held) => (kind::HAVE, codec::encode(&(name, held.for_frame()))),
            Frame::Want { name, from, to } => (kind::WANT, codec::encode(&(name, from, to))),
            Frame::Prune(conversation, author) => {
                (kind::PRUNE, codec::encode(&(conversation, author)))
            }
            Frame::Conflict(name) => (kind::CONFLICT, codec::encode(name)),
            Frame::Waiting(conversation) => (kind::WAITING, codec::encode(conversation)),
            Frame::Offer(offer, word) => (kind::OFFER, codec::encode(&(offer, word.code()))),
            Frame::Invite(step) => (kind::INVITE, codec::encode(step)),
            Frame::Activity(activity) => (kind::ACTIVITY, activity.encode()),
            Frame::Unknown(kind) => (*kind, Vec::new()),
        };
        let mut frame = BytesMut::with_capacity(1 + body.len());
        frame.put_u8(kind);
        frame.extend_from_slice(&body);
        debug_assert!(
            frame.len() <= FRAME_MAX,
            "frame of kind {kind} has {} bytes",
            frame.len()
        );
        frame.freeze()
    }

    /// Decodes a frame from a peer, of at most [`FRAME_MAX`] bytes.
    pub fn decode(frame: &Bytes) -> Result<Frame, FrameError> {
        let kind = *frame.first().ok_or(FrameError::Empty)?;
        let body = frame.slice(1..);
        let frame = Self::decode_body(kind, &body);
        let frame = frame.map_err(|cause| FrameError::Body { kind, cause });
        or_unknown(frame, Frame::Unknown)?.within_limits(kind)
    }

    fn decode_body(kind: u8, body: &Bytes) -> Result<Frame, CodecError> {
        Ok(match kind {
            kind::HELLO => Frame::Hello(codec::decode_extended::<_, FRAME_MAX>(body)?),
            kind::PING => Frame::Ping(codec::decode_extended::<_, SMALL>(body)?),
            kind::PONG => Frame::Pong(codec::decode_extended::<_, SMALL>(body)?),
            kind::PROFILE => Frame::Profile(codec::decode_extended::<_, FRAME_MAX>(body)?),
            kind::CANDIDATES => Frame::Candidates(codec::decode_extended::<_, SMALL>(body)?),
            kind::DIAL_BACK => Frame::DialBack(codec::decode_extended::<_, SMALL>(body)?),
            kind::DIALED_BACK => Frame::DialedBack(codec::decode_extended::<_, SMALL>(body)?),
            kind::RECORDS => {
                let (answer, records) = codec::decode_extended::<_, FRAME_MAX>(body)?;
                Frame::Records { answer, records }
            }
            kind::WANT_RECORDS => {
                Frame::WantRecords(codec::decode_extended::<_, WANT_MEMORY_MAX>(body)?)
            }
            kind::CONTACT_RECORD => {
                Frame::ContactRecord(codec::decode_extended::<_, WANT_MEMORY_MAX>(body)?)
            }
            kind::MAILBOX => {
                let (record, tokens) = codec::decode_extended::<_, WANT_MEMORY_MAX>(body)?;
                Frame::Mailbox { record, tokens }
            }
            kind::CONTENT => {
                let (id, part, bytes) =
                    codec::decode_extended::<(OfferId, u8, &[u8]), FRAME_MAX>(body)?;
                Frame::Content {
                    id,
                    part,
                    bytes: body.slice_ref(bytes),
                }
            }
            kind::ROOM => Frame::Room(codec::decode_extended::<_, FRAME_MAX>(body)?),
            kind::HOLDS_MAIL => Frame::HoldsMail(codec::decode_extended::<_, SMALL>(body)?),
            kind::WANT_PICTURE => Frame::WantPicture(codec::decode_extended::<_, SMALL>(body)?),
            kind::PICTURE => {
                let (hash, bytes) =
                    codec::decode_extended::<(ContentHash, &[u8]), FRAME_MAX>(body)?;
                Frame::Picture(hash, body.slice_ref(bytes))
            }
            kind::DIGEST => {
                let (conversation, digest) = codec::decode_extended::<_, SMALL>(body)?;
                Frame::Digest(conversation, digest)
            }
            kind::HEADS => {
                let (conversation, more, authors) =
                    codec::decode_extended::<_, HEADS_MEMORY_MAX>(body)?;
                Frame::Heads {
                    conversation,
                    more,
                    authors,
                }
            }
            kind::BATCH => Frame::Batch(Batch::decode(body)?),
            kind::HAVE => {
                let (name, held) = codec::decode_extended::<_, HAVE_MEMORY_MAX>(body)?;
                Frame::Have(name, held)
            }
            kind::WANT => {
                let (name, from, to) = codec::decode_extended::<_, SMALL>(body)?;
                Frame::Want { name, from, to }
            }
            kind::PRUNE => {
                let (conversation, author) = codec::decode_extended::<_, SMALL>(body)?;
                Frame::Prune(conversation, author)
            }
            kind::CONFLICT => Frame::Conflict(codec::decode_extended::<_, SMALL>(body)?),
            kind::WAITING => Frame::Waiting(codec::decode_extended::<_, SMALL>(body)?),
            kind::OFFER => {
                let (offer, code) = codec::decode_extended::<_, SMALL>(body)?;
                Frame::Offer(offer, OfferWord::of_code(code))
            }
            kind::INVITE => InviteFrame::decode(body)?.map_or(Frame::Unknown(kind), Frame::Invite),
            kind::ACTIVITY => Frame::Activity(Activity::decode(body)?),
            unknown => Frame::Unknown(unknown),
        })
    }

    fn within_limits(self, kind: u8) -> Result<Frame, FrameError> {
        let fits = match &self {
            Frame::Hello(Hello { profile, .. }) | Frame::Profile(profile) => {
                profile.record.as_bytes().len() <= PUBLIC_BYTES_MAX
                    && profile.addrs.len() <= HELLO_ADDRS_MAX
                    && profile.proofs.len() <= ROOMS_MAX
            }
            Frame::Candidates(addrs) => addrs.len() <= HELLO_ADDRS_MAX,
            Frame::Records { records, .. } => {
                let is_short = |(_, record): &(PersonId, SignedRecord)| {
                    record.as_bytes().len() <= PUBLIC_BYTES_MAX
                };
                records.len() <= RECORDS_MAX && records.iter().all(is_short)
            }
            Frame::WantRecords(peers) => peers.len() <= RECORDS_MAX,
            Frame::Activity(activity) => activity.is_within_limits(),
            Frame::ContactRecord(record) => record.as_bytes().len() <= CONTACT_BYTES_MAX,
            Frame::Mailbox { record, tokens } => {
                record.as_bytes().len() <= MAILBOX_BYTES_MAX && tokens.len() <= RECORD_RELAYS_MAX
            }
            Frame::Invite(step) => step.is_within_limits(),
            Frame::Content { part, bytes, .. } => {
                usize::from(*part) < CONTENT_PARTS_MAX && bytes.len() <= CONTENT_PART_BYTES
            }
            Frame::Room(mail) => mail.is_within_limits(),
            Frame::Picture(_, bytes) => bytes.len() <= PICTURE_BYTES_MAX,
            Frame::HoldsMail(_)
            | Frame::WantPicture(_)
            | Frame::Ping(_)
            | Frame::Pong(_)
            | Frame::DialBack(_)
            | Frame::DialedBack(_)
            | Frame::Digest(..)
            | Frame::Heads { .. }
            | Frame::Batch(_)
            | Frame::Have(..)
            | Frame::Want { .. }
            | Frame::Prune(..)
            | Frame::Conflict(_)
            | Frame::Waiting(_)
            | Frame::Offer(..)
            | Frame::Unknown(_) => true,
        };
        if fits {
            Ok(self)
        } else {
            Err(FrameError::TooMany(kind))
        }
    }
}

/// Memory that decoding a Heads frame may claim. In memory its small numbers need up to eight times
/// their encoded size.
const HEADS_MEMORY_MAX: usize = 16 * FRAME_MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Signature;
    use crate::log::EntryHash;
    use proptest::prelude::*;

    const PROOF: RoomProof = RoomProof {
        epoch: 300,
        hash: [7; 32],
    };

    fn name() -> LogName {
        LogName {
            conversation: ConversationId::from_bytes([1; 32]),
            author: PersonId::from_bytes([2; 32]),
            device: PersonId::from_bytes([2; 32]).only_device(),
            log: LogId(3),
        }
    }

    #[test]
    fn a_frame_keeps_a_session_awake_whether_encoded_or_not() {
        let digest = Digest {
            hash: [7; 32],
            clock: 1,
        };
        for (frame, keeps_awake) in [
            (Frame::Ping(PING_LIGHT), false),
            (Frame::Pong(7), false),
            (Frame::Digest(name().conversation, digest), false),
            (Frame::DialBack([7; 16]), false),
            (Frame::DialedBack([7; 16]), false),
            (Frame::HoldsMail(true), true),
            (Frame::Conflict(name()), true),
            (Frame::Candidates(Vec::new()), true),
        ] {
            assert_eq!(frame.keeps_awake(), keeps_awake, "{frame:?}");
            let encoded = Frame::encoded_keeps_awake(&frame.encode());
            assert_eq!(encoded, keeps_awake, "{frame:?}");
        }
    }

    fn record(bytes: usize) -> SignedRecord {
        SignedRecord::from_bytes(vec![6; bytes])
    }

    fn round_trips(frame: &Frame) {
        assert_eq!(Frame::decode(&frame.encode()).as_ref(), Ok(frame));
    }

    #[test]
    fn golden_bytes() {
        let name_bytes = [vec![1; 32], vec![2; 32], vec![0, 3]].concat();
        let cases = [
            (Frame::Ping(5), vec![2, 5]),
            (Frame::Pong(300), vec![3, 251, 0x2c, 0x01]),
            (
                Frame::Have(name(), Ranges::span(1, 9).into()),
                [vec![19], name_bytes.clone(), vec![1, 1, 9, 0]].concat(),
            ),
            (
                Frame::Have(
                    name(),
                    Holding {
                        settled: Ranges::span(1, 9),
                        erased: Ranges::span(3, 4),
                    },
                ),
                [vec![19], name_bytes.clone(), vec![1, 1, 9, 1, 3, 4]].concat(),
            ),
            (
                Frame::Want {
                    name: name(),
                    from: 4,
                    to: None,
                },
                [vec![20], name_bytes.clone(), vec![4, 0]].concat(),
            ),
            (
                Frame::Want {
                    name: name(),
                    from: 4,
                    to: Some(6),
                },
                [vec![20], name_bytes.clone(), vec![4, 1, 6]].concat(),
            ),
            (
                Frame::Records {
                    answer: true,
                    records: vec![(name().author, record(2))],
                },
                [vec![8, 1, 1], vec![2; 32], vec![2, 6, 6]].concat(),
            ),
            (
                Frame::WantRecords(vec![(name().author, 300)]),
                [vec![9, 1], vec![2; 32], vec![251, 0x2c, 0x01]].concat(),
            ),
            (Frame::ContactRecord(record(1)), vec![10, 1, 6]),
            (
                Frame::Mailbox {
                    record: record(1),
                    tokens: Vec::new(),
                },
                vec![11, 1, 6, 0],
            ),
            (Frame::HoldsMail(true), vec![13, 1]),
            (
                Frame::WantPicture(ContentHash([7; 32])),
                [vec![14], vec![7; 32]].concat(),
            ),
            (
                Frame::Picture(ContentHash([7; 32]), Bytes::from_static(b"png")),
                [vec![15], vec![7; 32], vec![3], b"png".to_vec()].concat(),
            ),
            (
                Frame::Conflict(name()),
                [vec![22], name_bytes.clone()].concat(),
            ),
            (
                Frame::Waiting(name().conversation),
                [vec![23], vec![1; 32]].concat(),
            ),
            (
                Frame::Offer(
                    OfferId {
                        name: name(),
                        seq: 4,
                    },
                    OfferWord::Whole,
                ),
                [vec![32], name_bytes.clone(), vec![4, 1]].concat(),
            ),
            (
                Frame::Content {
                    id: OfferId {
                        name: name(),
                        seq: 4,
                    },
                    part: 2,
                    bytes: Bytes::from_static(b"abc"),
                },
                [vec![33], name_bytes.clone(), vec![4, 2, 3], b"abc".to_vec()].concat(),
            ),
            (
                Frame::Batch(Batch {
                    name: name(),
                    first: 1,
                    prev: EntryHash::from_bytes([4; 32]),
                    entries: Bytes::from_static(b"ee"),
                    signature: Signature::from_bytes([5; 64]),
                }),
                [
                    vec![18, 1],
                    name_bytes,
                    vec![1],
                    vec![4; 32],
                    vec![2, b'e', b'e', 64],
                    vec![5; 64],
                ]
                .concat(),
            ),
        ];
        for (frame, bytes) in cases {
            assert_eq!(frame.encode(), bytes, "{frame:?}");
            round_trips(&frame);
        }
    }

    #[test]
    fn every_other_frame_round_trips() {
        let profile = Profile {
            record: record(PUBLIC_BYTES_MAX),
            addrs: vec![
                "10.0.0.1:4626".parse().expect("an address"),
                "[::1]:9".parse().expect("an address"),
            ],
            direct: true,
            proofs: vec![PROOF; 3],
        };
        round_trips(&Frame::Hello(Hello {
            version: crate::VERSION,
            features: 0,
            instance: u64::MAX,
            started_at_ms: 1,
            clock_ms: 2,
            profile: profile.clone(),
        }));
        round_trips(&Frame::Candidates(profile.addrs.clone()));
        round_trips(&Frame::DialBack([7; 16]));
        round_trips(&Frame::DialedBack([8; 16]));
        round_trips(&Frame::Profile(profile));
        round_trips(&Frame::Digest(
            name().conversation,
            Digest {
                hash: [9; 32],
                clock: 300,
            },
        ));
        round_trips(&Frame::Prune(name().conversation, name().author));
        round_trips(&Frame::Heads {
            conversation: name().conversation,
            more: true,
            authors: vec![AuthorHeads {
                author: name().author,
                device: name().author.only_device(),
                logs: vec![(LogId(1), Ranges::span(1, 5).into())],
            }],
        });
    }

    #[test]
    fn a_kind_from_the_future_is_skipped_and_a_damaged_frame_is_not() {
        assert_eq!(
            Frame::decode(&Bytes::from_static(&[200, 1, 2, 3])),
            Ok(Frame::Unknown(200))
        );
        assert_eq!(Frame::decode(&Bytes::new()), Err(FrameError::Empty));
        let ping = Frame::Ping(5).encode();
        let with = |extensions: &[u8]| Frame::decode(&[&ping[..], extensions].concat().into());
        assert_eq!(with(&[1, 7, 2, 0, 0]), Ok(Frame::Ping(5)), "an odd tag");
        assert_eq!(with(&[1, 8, 0]), Ok(Frame::Unknown(2)), "an even tag");
        assert!(with(&[1, 7, 9]).is_err(), "no list of extensions");
        let step = Bytes::from_static(&[kind::INVITE, 7, 1, 2]);
        assert_eq!(Frame::decode(&step), Ok(Frame::Unknown(kind::INVITE)));
        assert!(matches!(
            Frame::decode(&Bytes::from_static(&[2])),
            Err(FrameError::Body { kind: 2, .. })
        ));
        assert!(matches!(
            Frame::decode(&Bytes::from_static(&[2, 5, 5])),
            Err(FrameError::Body { kind: 2, .. })
        ));
    }

    #[test]
    fn erased_bodies_do_not_change_a_digest() {
        let heads = |erased| {
            let settled = Ranges::span(1, 5);
            vec![AuthorHeads {
                author: name().author,
                device: name().author.only_device(),
                logs: vec![(LogId(1), Holding { settled, erased })],
            }]
        };
        let whole = AuthorHeads::digest(&heads(Ranges::new()));
        assert_eq!(whole, AuthorHeads::digest(&heads(Ranges::span(2, 3))));
        assert_ne!(whole, AuthorHeads::digest(&[]));
    }

    #[test]
    fn the_longest_have_fits_its_limit() {
        let mut ranges = Ranges::new();
        (1..=64).for_each(|n| ranges.insert(n * 1_000_000_000_000, n * 1_000_000_000_000));
        round_trips(&Frame::Have(
            name(),
            Holding {
                settled: ranges.clone(),
                erased: ranges,
            },
        ));
    }

    #[test]
    fn long_lists_are_rejected() {
        let crowded = Profile {
            proofs: vec![PROOF; ROOMS_MAX + 1],
            ..Profile::default()
        };
        assert_eq!(
            Frame::decode(&Frame::Profile(crowded).encode()),
            Err(FrameError::TooMany(4))
        );
        let records = |count, bytes| Frame::Records {
            answer: false,
            records: vec![(name().author, record(bytes)); count],
        };
        round_trips(&records(RECORDS_MAX, PUBLIC_BYTES_MAX));
        round_trips(&Frame::WantRecords(vec![
            (name().author, u64::MAX);
            RECORDS_MAX
        ]));
        round_trips(&Frame::ContactRecord(record(CONTACT_BYTES_MAX)));
        let picture = |bytes| Frame::Picture(ContentHash([7; 32]), vec![1; bytes].into());
        round_trips(&picture(0));
        round_trips(&picture(PICTURE_BYTES_MAX));
        for (kind, frame) in [
            (8, records(RECORDS_MAX + 1, 1)),
            (8, records(1, PUBLIC_BYTES_MAX + 1)),
            (
                9,
                Frame::WantRecords(vec![(name().author, 1); RECORDS_MAX + 1]),
            ),
            (10, Frame::ContactRecord(record(CONTACT_BYTES_MAX + 1))),
            (15, picture(PICTURE_BYTES_MAX + 1)),
        ] {
            let refused = Err(FrameError::TooMany(kind));
            assert_eq!(Frame::decode(&frame.encode()), refused);
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let _ = Frame::decode(&Bytes::from(bytes));
        }
    }
}
