//! The peers that this node has discovered, or lost, lately.

use hobnob_limits::RecentSet;
use hobnob_protocol::PersonId;

/// Maximum peers in one set.
pub(super) const RECENT_PEERS_MAX: usize = 10_000;

/// The last peers that were added.
pub(super) type RecentPeers = RecentSet<PersonId, RECENT_PEERS_MAX>;
