//! Notices: what a node reports to the user about its condition, as reasons with data. The user
//! interfaces turn them into sentences.

use std::net::SocketAddr;

use hobnob_core::carrier::Carrier;
use hobnob_core::mail_refusal::MailRefusal;
use hobnob_core::policy::DenyReason;
use hobnob_protocol::{DeviceId, PersonId};
use serde::{Deserialize, Serialize};

/// A message to the user about the node's condition. This type is also the JSON form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Notice {
    /// Counts the notices of a run, from 1.
    pub number: u64,
    /// The reason for it.
    #[serde(flatten)]
    pub reason: NoticeReason,
    /// The peer that the notice is about.
    pub peer: Option<PersonId>,
}

/// The reason for a notice, with its data. In JSON, the field `code` names the variant. A `name` is
/// the name to show for the peer that the notice is about. Names, and the texts in `why`, come from
/// other machines: clean them before you print them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum NoticeReason {
    /// A peer returned messages that this node wrote but does not have. This home is an older copy,
    /// such as a backup. The messages are in the history again.
    OwnEntriesRestored {
        /// The peer.
        name: String,
        /// The number of messages.
        count: u64,
    },
    /// An identity is in use in two places.
    IdentityCopied(CopyEvidence),
    /// A peer sent messages that contradict earlier ones of the same author. They were rejected.
    Conflict {
        /// The peer.
        name: String,
    },
    /// Messages cannot be stored. Nothing is acknowledged until they can be stored again.
    StoreError {
        /// The disk's error.
        why: String,
    },
    /// Messages can be stored again.
    StoreRecovered {},
    /// A part of the database is damaged. Its entries are not shown and not sent. The next start drops
    /// them, and peers send them again.
    DatabaseDamaged {},
    /// The database was damaged. The start dropped what could not be read, and peers send it again.
    DatabaseRepaired {
        /// The number of entries that were dropped, as far as it is known.
        lost: u64,
    },
    /// An automatic backup was not made.
    BackupFailed {
        /// The cause.
        why: String,
    },
    /// An automatic backup was made, after one that failed.
    BackupMade {},
    /// A peer's clock and this machine's differ.
    Clock {
        /// The peer.
        name: String,
        /// How far the peer's clock is ahead, in milliseconds; negative: behind.
        ahead_ms: i64,
    },
    /// Peers on the local network are not found.
    NoDiscovery {
        /// The cause.
        why: String,
    },
    /// A peer refuses sessions with this node.
    TurnedAway {
        /// The peer.
        name: String,
        /// Its reason.
        reason: DenyReason,
    },
    /// A stranger has sent more than it may before the user accepts it. Its further messages wait
    /// there.
    RequestFull {
        /// The stranger.
        name: String,
    },
    /// A peer is away, and no holder takes messages for it. They stay queued, and are offered again.
    MailRefused {
        /// The peer.
        name: String,
        /// The holder's reason.
        reason: MailRefusal,
    },
    /// A peer has proved that it knows the code of an invitation. It is a verified contact now.
    InvitationAccepted {
        /// The peer.
        name: String,
    },
    /// A contact proposes to introduce the peer that the notice is about. If both users accept the
    /// other one, they are contacts.
    Introduction {
        /// The peer.
        name: String,
        /// The contact that proposes it.
        introducer: String,
    },
    /// Both users have accepted an introduction: this peer can be reached now.
    Introduced {
        /// The peer.
        name: String,
    },
    /// Somebody has typed wrong words for an invitation. Its code is dead.
    InvitationWrong {
        /// The six digits of the code.
        code_number: String,
    },
    /// All places for sessions are taken: peers that are not contacts are refused, or lose theirs.
    PlacesFull {},
    /// A room holds as much as it may: messages of those who sent most are dropped or refused.
    RoomFull {
        /// The room's name.
        room: String,
    },
    /// Another peer uses the name of a verified peer. It was refused, and nothing was sent.
    VerifiedName {
        /// The name.
        name: String,
        /// The peer that the user verified under this name.
        verified: PersonId,
    },
    /// This node is registered with a relay.
    RelayUp {
        /// The relay's address.
        relay: String,
        /// The relay's identity.
        id: DeviceId,
        /// The address at which it sees this node.
        observed: SocketAddr,
        /// The carrier of the datagrams between this node and the relay.
        carrier: Carrier,
    },
    /// A relay cannot be used now. The node keeps trying.
    RelayDown {
        /// The relay's address.
        relay: String,
        /// The cause.
        why: String,
    },
    /// A relay's machine answers over TCP, but not over UDP. The node keeps trying.
    UdpBlocked {
        /// The relay's address.
        relay: String,
        /// The cause.
        why: String,
    },
    /// A relay refuses this node.
    RelayRefused {
        /// The relay's address.
        relay: String,
        /// The fixed word for the kind of refusal.
        kind: String,
        /// The relay's own words.
        why: String,
    },
    /// A relay has another identity than it had before, or than the user or a ticket gave. Nothing was
    /// sent to it.
    RelayChanged {
        /// The relay's address.
        relay: String,
        /// The identity that it must have.
        expected: DeviceId,
        /// The identity that it has now.
        found: DeviceId,
        /// Whether it had the expected identity before.
        was_expected: bool,
    },
    /// A relay connected this node with another peer than the one that the notice is about. Nothing
    /// was sent.
    RelayLies {
        /// The relay's address.
        relay: String,
        /// The peer that answered.
        found: DeviceId,
    },
    /// A relay names peers, and none of them is reached through it.
    RelayDoubtful {
        /// The relay's address.
        relay: String,
        /// The least number of peers that it names.
        peers: usize,
    },
    /// A reason that only a newer version knows.
    #[serde(other)]
    Unknown,
}

/// How a node learned that an identity is in use in two places. In JSON, the field `evidence` names
/// the variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "evidence", rename_all = "kebab-case")]
pub enum CopyEvidence {
    /// Another running node has this node's identity.
    RunsAt {
        /// Its address.
        addr: SocketAddr,
    },
    /// A node with this node's identity was started later, and has this node's session with a peer.
    StartedLater {
        /// The peer.
        name: String,
    },
    /// A peer has messages under this node's identity that this node never wrote.
    UnknownEntries {
        /// The peer.
        name: String,
    },
    /// A peer runs in two places. This node uses the connection with the one that started last.
    PeerRunsTwice {
        /// The peer.
        name: String,
    },
}

impl NoticeReason {
    /// The fixed word for the reason, as in the JSON field `code`.
    pub fn code(&self) -> &'static str {
        match self {
            NoticeReason::OwnEntriesRestored { .. } => "own-entries-restored",
            NoticeReason::IdentityCopied(_) => "identity-copied",
            NoticeReason::Conflict { .. } => "conflict",
            NoticeReason::StoreError { .. } => "store-error",
            NoticeReason::StoreRecovered {} => "store-recovered",
            NoticeReason::DatabaseDamaged {} => "database-damaged",
            NoticeReason::DatabaseRepaired { .. } => "database-repaired",
            NoticeReason::BackupFailed { .. } => "backup-failed",
            NoticeReason::BackupMade {} => "backup-made",
            NoticeReason::Clock { .. } => "clock",
            NoticeReason::NoDiscovery { .. } => "no-discovery",
            NoticeReason::TurnedAway { .. } => "turned-away",
            NoticeReason::RequestFull { .. } => "request-full",
            NoticeReason::MailRefused { .. } => "mail-refused",
            NoticeReason::InvitationAccepted { .. } => "invitation-accepted",
            NoticeReason::Introduction { .. } => "introduction",
            NoticeReason::Introduced { .. } => "introduced",
            NoticeReason::InvitationWrong { .. } => "invitation-wrong",
            NoticeReason::PlacesFull {} => "places-full",
            NoticeReason::RoomFull { .. } => "room-full",
            NoticeReason::VerifiedName { .. } => "verified-name",
            NoticeReason::RelayUp { .. } => "relay-up",
            NoticeReason::RelayDown { .. } => "relay-down",
            NoticeReason::UdpBlocked { .. } => "udp-blocked",
            NoticeReason::RelayRefused { .. } => "relay-refused",
            NoticeReason::RelayChanged { .. } => "relay-changed",
            NoticeReason::RelayLies { .. } => "relay-lies",
            NoticeReason::RelayDoubtful { .. } => "relay-doubtful",
            NoticeReason::Unknown => "unknown",
        }
    }

    /// Bytes of text in the reason.
    pub(crate) fn text_len(&self) -> usize {
        match self {
            NoticeReason::OwnEntriesRestored { name, .. }
            | NoticeReason::Conflict { name }
            | NoticeReason::Clock { name, .. }
            | NoticeReason::TurnedAway { name, .. }
            | NoticeReason::RequestFull { name }
            | NoticeReason::MailRefused { name, .. }
            | NoticeReason::InvitationAccepted { name }
            | NoticeReason::Introduced { name }
            | NoticeReason::VerifiedName { name, .. }
            | NoticeReason::IdentityCopied(
                CopyEvidence::StartedLater { name }
                | CopyEvidence::UnknownEntries { name }
                | CopyEvidence::PeerRunsTwice { name },
            ) => name.len(),
            NoticeReason::RoomFull { room } => room.len(),
            NoticeReason::InvitationWrong { code_number } => code_number.len(),
            NoticeReason::Introduction { name, introducer } => name.len() + introducer.len(),
            NoticeReason::StoreError { why }
            | NoticeReason::BackupFailed { why }
            | NoticeReason::NoDiscovery { why } => why.len(),
            NoticeReason::RelayDown { relay, why }
            | NoticeReason::UdpBlocked { relay, why }
            | NoticeReason::RelayRefused { relay, why, .. } => relay.len() + why.len(),
            NoticeReason::RelayUp { relay, .. }
            | NoticeReason::RelayChanged { relay, .. }
            | NoticeReason::RelayLies { relay, .. }
            | NoticeReason::RelayDoubtful { relay, .. } => relay.len(),
            NoticeReason::IdentityCopied(CopyEvidence::RunsAt { .. })
            | NoticeReason::StoreRecovered {}
            | NoticeReason::DatabaseDamaged {}
            | NoticeReason::DatabaseRepaired { .. }
            | NoticeReason::BackupMade {}
            | NoticeReason::PlacesFull {}
            | NoticeReason::Unknown => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(reason: NoticeReason) -> String {
        serde_json::to_string(&Notice {
            number: 1,
            reason,
            peer: None,
        })
        .expect("a notice is JSON")
    }

    #[test]
    fn a_notice_is_one_flat_object() {
        assert_eq!(
            json(NoticeReason::Clock {
                name: "bob".to_owned(),
                ahead_ms: -7_200_000,
            }),
            r#"{"number":1,"code":"clock","name":"bob","ahead_ms":-7200000,"peer":null}"#
        );
        let addr = "192.0.2.1:4626".parse().expect("an address");
        let copied = NoticeReason::IdentityCopied(CopyEvidence::RunsAt { addr });
        let line = json(copied.clone());
        assert_eq!(
            line,
            r#"{"number":1,"code":"identity-copied","evidence":"runs-at","addr":"192.0.2.1:4626","peer":null}"#
        );
        let read: Notice = serde_json::from_str(&line).expect("a notice");
        assert_eq!(read.reason, copied);
    }

    #[test]
    fn each_code_is_the_name_of_its_variant_in_json() {
        let (name, why, relay) = ("bob".to_owned(), "so".to_owned(), "r:1".to_owned());
        let id = PersonId::from_bytes([1; 32]);
        for reason in [
            NoticeReason::OwnEntriesRestored {
                name: name.clone(),
                count: 1,
            },
            NoticeReason::Conflict { name: name.clone() },
            NoticeReason::StoreError { why: why.clone() },
            NoticeReason::StoreRecovered {},
            NoticeReason::DatabaseDamaged {},
            NoticeReason::DatabaseRepaired { lost: 7 },
            NoticeReason::BackupFailed { why: why.clone() },
            NoticeReason::BackupMade {},
            NoticeReason::NoDiscovery { why: why.clone() },
            NoticeReason::TurnedAway {
                name: name.clone(),
                reason: DenyReason::NameTaken,
            },
            NoticeReason::RequestFull { name: name.clone() },
            NoticeReason::MailRefused {
                name: name.clone(),
                reason: MailRefusal::Full,
            },
            NoticeReason::InvitationAccepted { name: name.clone() },
            NoticeReason::InvitationWrong {
                code_number: name.clone(),
            },
            NoticeReason::Introduction {
                name: name.clone(),
                introducer: name.clone(),
            },
            NoticeReason::Introduced { name: name.clone() },
            NoticeReason::PlacesFull {},
            NoticeReason::RoomFull { room: name.clone() },
            NoticeReason::VerifiedName { name, verified: id },
            NoticeReason::RelayUp {
                relay: relay.clone(),
                id: id.only_device(),
                observed: "192.0.2.1:1".parse().expect("an address"),
                carrier: Carrier::Udp,
            },
            NoticeReason::RelayDown {
                relay: relay.clone(),
                why: why.clone(),
            },
            NoticeReason::UdpBlocked {
                relay: relay.clone(),
                why: why.clone(),
            },
            NoticeReason::RelayRefused {
                relay: relay.clone(),
                kind: "banned".to_owned(),
                why,
            },
            NoticeReason::RelayChanged {
                relay: relay.clone(),
                expected: id.only_device(),
                found: id.only_device(),
                was_expected: true,
            },
            NoticeReason::RelayLies {
                relay: relay.clone(),
                found: id.only_device(),
            },
            NoticeReason::RelayDoubtful { relay, peers: 8 },
        ] {
            let code = format!(r#""code":"{}""#, reason.code());
            let line = json(reason);
            assert!(line.contains(&code), "{line}");
        }
    }

    #[test]
    fn a_reason_of_a_newer_version_is_read() {
        let line = r#"{"number":1,"code":"teapot","spout":1,"peer":null}"#;
        let read: Notice = serde_json::from_str(line).expect("a notice");
        assert_eq!(read.reason, NoticeReason::Unknown);
    }
}
