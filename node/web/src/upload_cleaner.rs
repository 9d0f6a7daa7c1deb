//! Removes uploads that are over, when the node reports so. Without uploads, nothing waits for events
//! and no timer runs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hobnob::FileState;
use hobnob_control::wire::{ListFiles, WireEvent};
use hobnob_control::{Client, ClientError};

use crate::shared::Shared;

/// How often the list of files is read again after an event, at this interval: the list may not have the
/// news of the event yet.
const LOOKS_AGAIN: u8 = 5;
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Removes uploads when they are over, until the server stops.
pub(crate) async fn clean(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.kept_uploads.changed() => {}
            () = shared.stop.cancelled() => return,
        }
        tokio::select! {
            followed = follow(&shared) => if let Err(error) = followed {
                tracing::debug!(%error, "uploads are not looked after until a browser connects");
            },
            () = shared.stop.cancelled() => return,
        }
    }
}

/// Why nobody looks after uploads at the moment.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Node(#[from] ClientError),
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// Follows the node's events as long as there are uploads.
async fn follow(shared: &Shared) -> Result<(), FollowError> {
    let uploads = &shared.kept_uploads;
    if uploads.kept()?.is_empty() {
        return Ok(());
    }
    let client = Client::connect(&shared.home).await?;
    let mut events = client.events().await?;
    let mut looks = LOOKS_AGAIN;
    loop {
        let files = client.ask(ListFiles {}).await?.files;
        uploads.sweep(&files)?;
        if uploads.kept()?.is_empty() {
            return Ok(());
        }
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = uploads.changed() => {
                    looks = LOOKS_AGAIN;
                    break;
                }
                () = tokio::time::sleep(LOOK_EVERY), if looks > 0 => {
                    looks -= 1;
                    break;
                }
            };
            match event {
                None => return Ok(()),
                Some(event) if may_end_an_upload(&event) => {
                    looks = LOOKS_AGAIN;
                    break;
                }
                Some(_) => {}
            }
        }
    }
}

fn may_end_an_upload(event: &WireEvent) -> bool {
    match event {
        WireEvent::File(file) => {
            file.own && matches!(file.state, FileState::Done | FileState::Declined)
        }
        WireEvent::Erased(_) | WireEvent::Lagged { .. } => true,
        WireEvent::Listening(_)
        | WireEvent::Peer(_)
        | WireEvent::Message(_)
        | WireEvent::Receipt(_)
        | WireEvent::Amended(_)
        | WireEvent::Activity(_)
        | WireEvent::Sent(_)
        | WireEvent::Room(_)
        | WireEvent::Status(_)
        | WireEvent::Datagram(_)
        | WireEvent::Stream(_)
        | WireEvent::Notice(_)
        | WireEvent::Goodbye
        | WireEvent::Unknown => false,
    }
}
