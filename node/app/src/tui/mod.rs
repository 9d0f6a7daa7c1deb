//! The full-screen chat.
//!
//! [`app`] holds the state. It is pure: keys, events and answers go in, requests come out.
//! [`view`] draws the state. The parts of the state with a file of their own here are [`window`]
//! (the messages in memory), [`read_markers`] (what the user has read), [`deliveries`] (who has
//! our messages), [`transfers`] (the progress of files) and [`editor`] (the line being typed).
//! [`event_loop`] connects all of them with the terminal and the node. Like every other command,
//! it talks to the node only over the control socket.

mod app;
mod completion;
mod deliveries;
mod editor;
mod event_loop;
mod folder_names;
mod layout;
#[cfg_attr(not(feature = "pictures"), path = "no_pictures.rs")]
mod picture;
mod previews;
mod read_markers;
mod terminal;
#[cfg(test)]
mod tests;
mod text;
mod theme;
mod timeline;
mod transfers;
mod view;
mod window;

pub(crate) use event_loop::{fits, run};
