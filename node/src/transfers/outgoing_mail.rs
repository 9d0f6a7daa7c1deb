//! Reads the content of a small own offer, to send it by mail.

use bytes::Bytes;
use hobnob_core::commit::OfferState;
use hobnob_protocol::OfferId;
use hobnob_protocol::mailbox::MAILED_CONTENT_MAX;
use tracing::info;

use super::context::Context;
use super::messages::MailContent;
use crate::store::WhichOffers;

/// The content of an offer of this node. There is none if it is withdrawn, too large, or can't be
/// read: then the recipient downloads it when both are connected.
pub(super) async fn read(context: &Context, id: OfferId) -> MailContent {
    if context.paused.contains(id) {
        return MailContent::Paused;
    }
    let content = read_whole(context, id).await;
    // The user may have paused it meanwhile.
    match content {
        Some(_) if context.paused.contains(id) => MailContent::Paused,
        Some(bytes) => MailContent::Read(bytes),
        None => MailContent::None,
    }
}

async fn read_whole(context: &Context, id: OfferId) -> Option<Bytes> {
    let rows = context.store.read(WhichOffers::One(id.name.log, id.seq));
    let rows = rows.await.ok()?.ok()?;
    let row = rows.into_iter().find(|row| row.offer.id == id)?;
    let offer = row.offer.offer;
    if row.record.state == OfferState::Declined || offer.size > MAILED_CONTENT_MAX {
        return None;
    }
    let index = context.files.index.clone();
    let read = move || {
        let content = index.find(offer.hash, offer.size)?;
        content.pieces(0..content.shape.pieces())
    };
    match tokio::task::spawn_blocking(read).await.ok()? {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            info!("a file can't be sent by mail: {error}");
            None
        }
    }
}
