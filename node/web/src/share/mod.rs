//! A file for people without hobnob: one https page with a download, for a while.
//!
//! [`Share::start`] reads the file, makes a certificate and listens. The page is at a path that nobody
//! can guess. It ends after a number of downloads, at a time, or when [`Share::stop`] is called. No node
//! takes part.

mod file;
mod lan;
mod page;
mod range;
mod server;
mod tls;
mod uses;

pub use file::{Shared as SharedFile, SharedFileError};
pub use server::{
    CONNECTIONS_MAX, CONNECTIONS_PER_ADDR_MAX, End, HANDSHAKE_WITHIN, Happened, STALLED_AFTER,
    Share, ShareConfig, ShareError,
};
