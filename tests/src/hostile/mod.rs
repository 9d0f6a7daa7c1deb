//! Hostile peers: what attacks real nodes, over real QUIC and TLS, and what must still hold then.
//!
//! A [`Town`] has two honest nodes, ann and bob, in a session with each other; ann is the victim. A
//! [`Mallory`] connects to her with a [`Passport`] of its choice and says any bytes on a [`Line`].
//! Afterwards [`Town::stands`] checks what every attack has to leave alone: both nodes run, their
//! messages arrive, ann's memory is bounded, her output is clean, and her log names the cause. A
//! [`Caller`] does to relays what their limits forbid.
//!
//! Nothing here uses the node's own network code, so that a mistake there isn't made on both sides.

#![expect(
    clippy::disallowed_methods,
    reason = "attackers are random strangers, on the real clock, as real nodes take them"
)]

mod caller;
mod forge;
mod host;
mod line;
mod mallory;
mod passport;
mod town;

pub use caller::{Caller, Registration, Told};
pub use forge::{Forger, garbled_entry, text_entry};
pub use host::{Host, is_clean};
pub use line::Line;
pub use mallory::{Mallory, random_key};
pub use passport::Passport;
pub use town::{MIB, Town};
