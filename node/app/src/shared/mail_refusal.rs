//! The reasons for which a holder takes no messages, as clauses.

use hobnob::MailRefusal;

/// Why messages for this peer stay queued.
pub(crate) fn reason(peer: &str, refusal: MailRefusal) -> String {
    match refusal {
        MailRefusal::Full => format!("the mailbox of {peer} is full"),
        MailRefusal::NotAccepted => {
            format!("the holder of {peer}'s mailbox takes no messages from this node")
        }
        MailRefusal::Failed | MailRefusal::Unknown => {
            format!("the holder of {peer}'s mailbox can't store messages now")
        }
    }
}
