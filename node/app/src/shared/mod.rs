//! The code that the command line and both chats share: the table of actions, settings, flags,
//! wording, and the session of one command with a node. Nothing here imports `cli` or `tui`.

pub(crate) mod actions;
pub(crate) mod activity;
pub(crate) mod alerting;
pub(crate) mod amending;
pub(crate) mod browser;
pub(crate) mod chat_input;
pub(crate) mod common_flags;
pub(crate) mod diagnosis;
pub(crate) mod erasing;
pub(crate) mod exit_code;
pub(crate) mod invitation;
pub(crate) mod key_bindings;
#[cfg_attr(not(feature = "keyring"), path = "no_keyring.rs")]
pub(crate) mod keyring;
pub(crate) mod links;
pub(crate) mod log_output;
pub(crate) mod mail_refusal;
pub(crate) mod mailbox;
pub(crate) mod notices;
pub(crate) mod offers;
pub(crate) mod output;
pub(crate) mod passphrase;
pub(crate) mod pin_words;
pub(crate) mod pins;
pub(crate) mod policy;
#[cfg_attr(not(feature = "invitations"), path = "no_qr.rs")]
pub(crate) mod qr;
pub(crate) mod quotes;
pub(crate) mod receipts;
pub(crate) mod room_secrets;
pub(crate) mod session;
pub(crate) mod settings;
#[cfg(feature = "web")]
pub(crate) mod settings_file;
pub(crate) mod speed;
pub(crate) mod status;
pub(crate) mod strangers;
#[cfg(test)]
pub(crate) mod test_messages;
pub(crate) mod typed_path;
pub(crate) mod values;
pub(crate) mod verification;
pub(crate) mod wording;
