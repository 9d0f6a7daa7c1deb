//! The node: the shell around core that owns the tasks, the store and the sessions.

mod api;

pub use api::*;
