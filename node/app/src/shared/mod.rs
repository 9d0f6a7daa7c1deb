//! What the command line and both chats have in common: the table of actions, settings, flags,
//! wording, and one command's session with a node. Nothing here knows `cli` or `tui`.

pub(crate) mod actions;
pub(crate) mod chat_input;
pub(crate) mod common_flags;
pub(crate) mod diagnosis;
pub(crate) mod event_stream;
pub(crate) mod exit_code;
pub(crate) mod log_output;
pub(crate) mod offers;
pub(crate) mod output;
pub(crate) mod policy;
pub(crate) mod session;
pub(crate) mod settings;
pub(crate) mod status;
pub(crate) mod typed_path;
pub(crate) mod values;
pub(crate) mod verification;
pub(crate) mod wording;
