//! The full-screen chat.
//!
//! [`app`] holds the state. It is pure: keys, events and answers go in; requests and other outputs
//! come out. [`view`] draws the state. [`event_loop`] connects both with the [`terminal`], and with
//! the node through [`node_link`]. Like every other command, the chat talks to the node only over
//! the control socket.
//!
//! [`layout`], [`text`] and [`markup`] measure, so both the state and the drawing use them. [`cells`]
//! puts characters in their places where terminals disagree. [`picture`] makes small pictures. [`queries`] asks the terminal.
//! [`folder_names`], [`read_markers`] and [`typed_commands`] read and write files.

mod app;
mod cells;
mod event_loop;
mod folder_names;
mod home_files;
mod layout;
mod markup;
mod node_link;
#[cfg_attr(not(feature = "pictures"), path = "no_pictures.rs")]
mod picture;
mod queries;
mod read_markers;
mod terminal;
#[cfg(test)]
mod tests;
mod text;
mod typed_commands;
mod view;

pub(crate) use event_loop::{fits, run};
#[cfg(feature = "pictures")]
pub(crate) use picture::process::run as decode_picture;
pub(crate) use picture::profile_picture;
