//! Datagrams between programs.

use bytes::Bytes;
use hobnob_protocol::PersonId;

/// A datagram from a program of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppDatagram {
    /// The peer, which is a contact.
    pub from: PersonId,
    /// The bytes, at most [`APP_DATAGRAM_MAX`](hobnob_protocol::app::APP_DATAGRAM_MAX).
    pub bytes: Bytes,
}
