//! The full-screen chat.
//!
//! [`app`] is the state, pure: keys, events and answers go in, requests and what to draw come out.
//! [`view`] draws it. [`window`] keeps the part of a conversation that is in memory, [`seen`] what
//! was read, [`delivery`] how far our messages have come, [`files`] how far files are, [`editor`]
//! the line being typed. [`shell`] joins these with the terminal and the node, to which it speaks
//! over the control socket alone, as every other command.

mod app;
mod complete;
mod delivery;
mod editor;
mod entry;
mod files;
mod layout;
mod looks;
mod paths;
mod picture;
mod previews;
mod seen;
mod shell;
mod terminal;
#[cfg(test)]
mod tests;
mod text;
mod view;
mod window;

pub(crate) use shell::{fits, run};
