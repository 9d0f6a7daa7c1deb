//! The user interfaces in a real terminal: the plain chat and the full-screen chat.

mod ends;
mod files;
mod full;
mod pictures;
mod plain;
