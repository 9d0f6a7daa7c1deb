//! Lines about offered files.

use std::path::PathBuf;

use hobnob_protocol::offer::Folder;
use hobnob_protocol::{ContentHash, Offer, PeerId};
use serde::{Deserialize, Serialize};

use hobnob::{ConversationRef, FileInfo, FileState, MessageId, PathKind, Picture};
use hobnob_local::json::{Text, Time};

/// What is offered, as a field of the line it is in: see [`Offer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferFields {
    /// The name that its author gave it.
    pub name: String,
    /// The media type that its author gave it.
    pub media: String,
    /// Bytes of content.
    pub size: u64,
    /// The BLAKE3 hash of the content.
    pub hash: Text<ContentHash>,
    /// How many files it holds, if it is a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// How many bytes at the start of the content are the folder's list of files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<u64>,
}

/// How things stand with an offered file: see [`FileInfo`]. A line comes when an offer is new,
/// whenever its state changes, and a few times a second while it moves. Each tells everything anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLine {
    /// The id of the message that offers it.
    pub id: Text<MessageId>,
    /// Where it was offered.
    pub conversation: Text<ConversationRef>,
    /// Who offers it.
    pub from: Text<PeerId>,
    /// Their name to show.
    pub nick: String,
    /// What is offered.
    #[serde(flatten)]
    pub offer: OfferFields,
    /// Whether it is our own.
    pub own: bool,
    /// How things stand; with our own, at the first of `peers`.
    pub state: FileState,
    /// Bytes that are here; of our own: that this run has sent.
    pub bytes: u64,
    /// Bytes per second, while it moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// Seconds that are left at this speed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_s: Option<u64>,
    /// Who sends it; of our own: to whom it goes or went.
    pub peers: Vec<Text<PeerId>>,
    /// By which way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathKind>,
    /// Where it is, once it is here. Of our own, [`FileList`] tells it, events do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<PathBuf>,
    /// What picture it is, once its content is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<PictureFields>,
    /// Why it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When the offer came or was made.
    pub received_at: Time,
}

/// A picture file whose content is here: see [`Picture`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureFields {
    /// Pixels, as the file says.
    pub width: u32,
    /// Likewise.
    pub height: u32,
    /// Where the file is.
    pub path: PathBuf,
}

/// Answers `files`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
            picture: info.picture.map(PictureFields::from),
            why: info.why,
            received_at: Time(info.received_at_ms),
            offer: info.offer.into(),
        }
    }
}

impl From<Picture> for PictureFields {
    fn from(
        Picture {
            width,
            height,
            path,
        }: Picture,
    ) -> Self {
        PictureFields {
            width,
            height,
            path: shown(path),
        }
    }
}

/// A path that is not UTF-8 can't be told in JSON: what can be shown of it is.
fn shown(path: PathBuf) -> PathBuf {
    path.into_os_string()
        .into_string()
        .unwrap_or_else(|path| path.to_string_lossy().into_owned())
        .into()
}
