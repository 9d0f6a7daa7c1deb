//! The engine's connection to the transfer task.

use hobnob_core::SessionId;
use hobnob_protocol::frame::features::CONTENT;
use hobnob_protocol::{DeviceId, Offer, OfferId};
use tokio::sync::{mpsc, oneshot};

use crate::files::Picture;
use crate::net::content::ContentOpener;
use crate::store::StoredOffer;
use crate::transfers::messages::ToTransfers;
use crate::transfers::pictures::Pictures;

/// Informs the transfer task of sessions and offers.
pub(super) struct Files {
    transfers: mpsc::UnboundedSender<ToTransfers>,
    /// The pictures among offers. The transfer task finds them.
    pictures: Pictures,
}

impl Files {
    pub(super) fn new(transfers: mpsc::UnboundedSender<ToTransfers>, pictures: Pictures) -> Self {
        Self {
            transfers,
            pictures,
        }
    }

    /// A session is up. A peer that does not serve content is not asked for any.
    pub(super) fn session_up(
        &self,
        id: SessionId,
        peer: DeviceId,
        features: u64,
        content: ContentOpener,
    ) {
        if features & CONTENT != 0 {
            self.send(ToTransfers::SessionUp(id, peer, content));
        }
    }

    /// An offer is on disk.
    pub(super) fn offered(&self, id: OfferId, offer: Offer, verified: bool, received_at_ms: u64) {
        let offer = StoredOffer {
            id,
            offer,
            received_at_ms,
        };
        self.send(ToTransfers::Offered { offer, verified });
    }

    /// Asks the task to remove the contents that no offer names any more.
    pub(super) fn remove_contents(&self) -> oneshot::Receiver<Result<(), String>> {
        let (reply, removed) = oneshot::channel();
        self.send(ToTransfers::RemoveContents(reply));
        removed
    }

    /// The size of the picture that an offer is, if it is one.
    pub(super) fn picture(&self, offer: &Offer) -> Option<Picture> {
        self.pictures.of(offer)
    }

    /// Sends something to the task. When the node stops, the task may end first.
    pub(super) fn send(&self, message: ToTransfers) {
        let _ = self.transfers.send(message);
    }
}
