//! Files and folders: a task beside the engine that downloads and serves content.
//!
//! [`TransferTask`] owns the parts and dispatches between them:
//!
//! - `downloads`: accepted offers, until they are complete in the downloads folder
//! - `content_sessions`, `fetch`: the streams on which this node requests content
//! - `serve`, `uploads`: the streams on which peers request content, and how far each peer is
//! - `paused_uploads`: own offers whose sending the user has paused
//! - `peer_words`: what peers report about offers
//! - `mailed`, `outgoing_mail`: small contents that travel by mail
//! - `commands`, `restore`, `cleanup`: users' commands, and the work at the start of a run
//! - `local_files`, `content_index`, `partial`, `folder`: the disk
//!
//! All disk access runs on blocking threads. Neither the engine nor this task waits for the disk.
//!
//! Not here: which piece to request from whom ([`hobnob_core::transfers`]), and which peer may have
//! an offer. The replica decides that, and this task asks the engine for each request.

mod active_downloads;
mod attributes;
mod auto_accept;
mod cleanup;
mod commands;
mod content_conversion;
mod content_index;
mod content_sessions;
mod context;
mod downloads;
mod fetch;
mod finish;
mod folder;
mod folder_writer;
mod jobs;
mod leaf_file;
mod local_files;
mod mailed;
pub(super) mod messages;
mod meter;
mod names;
mod offering;
mod outgoing_mail;
mod partial;
mod paused_uploads;
mod peer_words;
pub(super) mod pictures;
mod restore;
mod serve;
mod sources;
mod task;
#[cfg(test)]
mod tests;
mod throttle;
mod uploads;
mod waiting_downloads;

pub(crate) use self::content_conversion::convert as convert_content;
pub use self::folder_writer::clean_paths;
pub(crate) use self::local_files::CONTENT_FOLDER;
pub(super) use self::task::{Parts, TransferTask};
