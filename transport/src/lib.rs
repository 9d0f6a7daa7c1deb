//! What a hobnob node and a hobnob relay share below their protocols.
//!
//! - [`lock`]: one process at a time holds a home folder.

pub mod lock;
