//! Limited places, shared fairly among source networks.
//!
//! One machine, or one network of machines, must not be able to exclude all others. So a node and a
//! relay count who takes their places by source network, and a newcomer from a network that has few
//! places can replace a holder from the network that has the most.
//!
//! - [`Network`]: the source network of an address.
//! - [`Places`]: a fixed number of places, and who holds them.
//! - [`WaitingLine`]: who waits for a place, with turns that alternate between networks.
//!
//! These are plain data structures: no sockets, no clock, no tasks.

mod network;
mod places;
mod waiting_line;

pub use network::Network;
pub use places::{Entrance, Places};
pub use waiting_line::WaitingLine;
