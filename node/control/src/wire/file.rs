//! Lines about offered files.

use std::path::PathBuf;

use hobnob_protocol::offer::Folder;
use hobnob_protocol::{ContentHash, Offer, PersonId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use hobnob::{ConversationRef, FileInfo, FileState, MessageId, PathKind, Picture};
use hobnob_local::json::{Text, Time};

/// The offered file or folder, as fields of its line: see [`Offer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OfferFields {
    /// The name that its author gave it.
    pub name: String,
    /// The media type that its author gave it.
    pub media: String,
    /// The size of the content in bytes.
    pub size: u64,
    /// The BLAKE3 hash of the content.
    pub hash: Text<ContentHash>,
    /// The number of files, if it is a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// The size of the folder's list of files, at the start of the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<u64>,
    /// What its author says about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub caption: String,
}

/// The state of an offered file: see [`FileInfo`]. A line is written when an offer is new, when its
/// state changes, and a few times a second during a transfer. Each line has all fields. The field
/// `left_s` is computed, and times are text, so serde cannot derive the line from that type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileLine {
    /// The id of the message that offers it.
    pub id: Text<MessageId>,
    /// The conversation of the offer.
    pub conversation: Text<ConversationRef>,
    /// The author of the offer.
    pub from: Text<PersonId>,
    /// The author's name to show.
    pub nick: String,
    /// The offered file or folder.
    #[serde(flatten)]
    pub offer: OfferFields,
    /// Whether this node offers it.
    pub own: bool,
    /// The state of the transfer. For a file of this node: with the first of `peers`.
    pub state: FileState,
    /// Bytes on this disk. For a file of this node: bytes sent in this run.
    pub bytes: u64,
    /// Bytes per second, during a transfer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// The remaining seconds at this rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_s: Option<u64>,
    /// The sources. For a file of this node: the receivers.
    pub peers: Vec<Text<PersonId>>,
    /// The kind of path to the first of `peers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathKind>,
    /// Its path, once it is complete. Own files have it in [`FileList`] only, not in events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<PathBuf>,
    /// Its size in pixels, if it is a picture whose content is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<Picture>,
    /// The reason for its state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When the offer arrived or was made.
    pub received_at: Time,
}

/// Answers `files`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileList {
    /// The newest offers, at most a thousand, oldest first.
    pub files: Vec<FileLine>,
}

impl From<Offer> for OfferFields {
    fn from(offer: Offer) -> Self {
        let Offer {
            name,
            media,
            size,
            hash,
            folder,
            caption,
            attributes: _,
        } = offer;
        let (files, manifest) = folder
            .map(
                |Folder {
                     manifest_bytes,
                     files,
                 }| (files, manifest_bytes),
            )
            .unzip();
        OfferFields {
            name,
            media,
            size,
            hash: Text(hash),
            files,
            manifest,
            caption,
        }
    }
}

impl From<FileInfo> for FileLine {
    fn from(info: FileInfo) -> Self {
        let left = info.offer.size.saturating_sub(info.bytes);
        FileLine {
            id: Text(info.id),
            conversation: Text(info.conversation),
            from: Text(info.from),
            nick: info.name,
            own: info.own,
            state: info.state,
            bytes: info.bytes,
            rate: info.rate,
            left_s: info
                .rate
                .filter(|rate| *rate > 0)
                .map(|rate| left.div_ceil(rate)),
            peers: info.peers.into_iter().map(Text).collect(),
            path: info.path,
            saved: info.place.map(shown),
            picture: info.picture,
            why: info.why,
            received_at: Time(info.received_at_ms),
            offer: info.offer.into(),
        }
    }
}

/// JSON cannot hold a path that is not UTF-8: its displayable form is written instead.
fn shown(path: PathBuf) -> PathBuf {
    path.into_os_string()
        .into_string()
        .unwrap_or_else(|path| path.to_string_lossy().into_owned())
        .into()
}
