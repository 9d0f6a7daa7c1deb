//! Lines about datagrams and streams between programs.

use hobnob_protocol::{AppName, PersonId, Target};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::Base64;
use hobnob_local::json::Text;

/// Registers the program of this connection. See [`AnyRequest::OpenApp`](super::AnyRequest::OpenApp).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenApp {
    /// The name of the program, the same at both ends.
    pub app: Text<AppName>,
}

/// See [`AnyRequest::SendDatagram`](super::AnyRequest::SendDatagram).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SendDatagram {
    /// The name of the program.
    pub app: Text<AppName>,
    /// The contact. A name is looked up each time, an id is not.
    pub target: Text<Target>,
    /// The content: at most 1,100 bytes.
    pub bytes: Base64,
}

/// See [`AnyRequest::OpenStream`](super::AnyRequest::OpenStream).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenStream {
    /// The name of the program.
    pub app: Text<AppName>,
    /// The contact.
    pub target: Text<Target>,
}

/// See [`AnyRequest::ReadStream`](super::AnyRequest::ReadStream).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadStream {
    /// The stream.
    pub stream: u64,
}

/// See [`AnyRequest::WriteStream`](super::AnyRequest::WriteStream).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteStream {
    /// The stream.
    pub stream: u64,
    /// The bytes, as many as fit into a request.
    pub bytes: Base64,
}

/// See [`AnyRequest::EndStream`](super::AnyRequest::EndStream).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndStream {
    /// The stream.
    pub stream: u64,
}

/// See [`AnyRequest::CloseStream`](super::AnyRequest::CloseStream).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseStream {
    /// The stream.
    pub stream: u64,
}

/// Answers `open-stream`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenedStream {
    /// The number of the stream on this connection.
    pub stream: u64,
}

/// Answers `read-stream`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StreamBytes {
    /// The next bytes: at least one and at most 16,384. None: the other end has ended its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Base64>,
}

/// A datagram from the program of a contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatagramLine {
    /// The name of the program.
    pub app: Text<AppName>,
    /// The contact.
    pub peer: Text<PersonId>,
    /// The content.
    pub bytes: Base64,
}

/// A stream that the program of a contact has opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StreamLine {
    /// The name of the program.
    pub app: Text<AppName>,
    /// The contact.
    pub peer: Text<PersonId>,
    /// The number of the stream on this connection.
    pub stream: u64,
}
