//! The replica: conversations as logs. It decides what is stored, what is sent to whom, and what is
//! reported to the user.
//!
//! It does not contain: bytes on disk (it outputs a [`Commit`](crate::commit::Commit) and waits for
//! the answer), bytes on a wire (it names a session and a frame), who a session's peer is, and how
//! anything looks.
//!
//! How entries move: an author pushes its own entries to every session of the conversation. All
//! other entries are pulled. A replica that learns of missing entries requests that author's logs
//! from *one* session, and receives later entries there as well. So in a full mesh each entry
//! crosses each link about once, and along a line of replicas it flows without waiting.
//!
//! Each entry is first accepted, then durable, then shown, acknowledged and forwarded. This holds
//! for our own entries too.
//!
//! The parts, each with its own fields and tests:
//!
//! - `state` declares [`Replica`], which owns the parts. `dispatch` is its interface.
//! - `conversations` and `conversation` hold the logs (`log`), the Lamport `clock`, the waiting
//!   appends (`appends`), the peers present in an open room (`audiences`), what an open room may
//!   hold (`room_budget`, `disk_cost`) and the sources of entries (`pulls`).
//! - `session` holds the sessions, each with its stream of batches (`outgoing`) and its `budget`.
//!   `session_sync` is what a session and a conversation have in common: `holdings`, `requests`,
//!   `send_queues`, `heads_to_send`, `cut`.
//! - `receipts`, `commits`, `recent`, `strangers` and `timers` are the other parts.
//!
//! The steps that need several parts:
//!
//! - `append`: the user's messages; `receive` and `admission`: entries that arrive
//! - `saving`: the store's answers; `news` and `serve`: entries that leave
//! - `heads` and `pull`: what two ends compare and request; `bodies`: which missing bodies a peer
//!   can send
//! - `links`: sessions; `mail`: sessions by mail
//! - `block`: blocked authors; `consent`: strangers; `erasing`: deletions

mod about;
mod admission;
mod append;
mod appends;
mod arrival;
mod audiences;
mod block;
mod bodies;
mod budget;
mod clock;
mod commits;
mod consent;
mod conversation;
mod conversations;
mod cut;
mod disk_cost;
mod dispatch;
mod erasing;
mod events;
mod handed_out;
mod heads;
mod heads_to_send;
mod holdings;
mod identity;
mod links;
mod log;
mod log_key;
mod mail;
mod marks;
mod may_write;
mod member_budget;
mod news;
mod outgoing;
mod pull;
mod pulls;
mod receipts;
mod receive;
mod recent;
mod refusal;
mod requests;
mod room_budget;
mod saving;
mod send_queue;
mod send_queues;
mod serve;
mod session;
mod session_sync;
mod state;
mod strangers;
#[cfg(test)]
mod testing;
mod timers;

pub use self::audiences::{LINGER_MS, OPEN_ROOM_OFFER_MS};
pub use self::bodies::{AWAITED_DELETIONS_MAX, ERASED_RANGES_MAX};
pub use self::budget::LIVE_ENTRIES_PER_SECOND;
pub use self::clock::LAMPORT_AHEAD_MAX;
pub use self::conversation::ROOM_ENTRIES_PER_AUTHOR_MAX;
pub use self::disk_cost::bytes_on_disk;
pub use self::erasing::UNDELIVERED_LISTED_MAX;
pub use self::events::{EraseWhat, Input, MailedRoom, Output, Token, Undelivered};
pub use self::heads::{NEWCOMER_AGE_MS, NEWCOMER_ENTRIES};
pub use self::holdings::LOGS_ANNOUNCED_MAX;
pub use self::member_budget::{CLOSED_ROOM_BYTES_MAX, CLOSED_ROOM_LOGS_MAX};
pub use self::outgoing::BATCHES_OUTSTANDING_MAX;
pub use self::receipts::STRANGERS_RECEIPTS_MAX;
pub use self::refusal::{LAMPORT_MAX, Refusal};
pub use self::room_budget::{
    BYTES_KEPT_PER_AUTHOR, ENTRY_COST, LOGS_KEPT_PER_AUTHOR, OPEN_ROOM_BYTES_MAX,
    OPEN_ROOM_LOGS_MAX, OPEN_ROOMS_STRANGERS_MAX, RoomLimits,
};
pub use self::state::Replica;
pub use self::strangers::{REQUEST_BYTES_MAX, REQUEST_ENTRIES_MAX, REQUESTS_BYTES_MAX};
