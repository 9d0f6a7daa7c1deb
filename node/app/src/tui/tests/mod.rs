//! The chat without a terminal: what it does with keys and events, and pictures of every state.

mod behaviour;
mod file_transfers;
#[cfg(feature = "pictures")]
mod pictures;
pub(super) mod scene;
mod screens;
