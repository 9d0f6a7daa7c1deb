//! Limited places, shared fairly among source networks, and limited rates.
//!
//! One machine, or one network of machines, must not be able to exclude all others. So a node and a
//! relay count who takes their places by source network, and a newcomer from a network that has few
//! places can replace a holder from the network that has the most.
//!
//! - [`Network`]: the source network of an address.
//! - [`Places`]: a fixed number of places, and their holders.
//! - [`WaitingLine`]: newcomers that wait for a place, with turns that alternate between networks.
//! - [`Pace`] and [`Bucket`]: how often something may happen, and how much of that is used.
//! - [`Failures`]: how often somebody has failed lately.
//! - [`RecentSet`]: a bounded set that replaces its oldest members.
//!
//! These are plain data structures: no sockets, no clock, no tasks.

mod failures;
mod network;
mod pace;
mod places;
mod recent_set;
mod waiting_line;

pub use failures::Failures;
pub use network::Network;
pub use pace::{Bucket, Pace};
pub use places::{Entrance, Place, Places};
pub use recent_set::RecentSet;
pub use waiting_line::WaitingLine;
