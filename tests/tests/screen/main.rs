//! The user interfaces in a real terminal: the plain chat and the full-screen chat.

mod files;
mod full;
mod lost_node;
mod pictures;
mod plain;
