//! The engine: one task that owns the state machines, gives them their inputs, and carries out
//! their outputs.
//!
//! It never blocks: sessions, the store and the system report through channels. Inputs that arrive
//! together are handled together before the outputs are carried out, so that a thousand appends
//! become one batch and a thousand batches one receipt.
//!
//! [`Engine`] has one field for each part; see `state`. A part is a struct with its fields, methods
//! and tests in its own file:
//!
//! - `sessions`, with `session_state`, `membership`, `overslept`, `reach` and `limits`, and
//!   `handshakes` for connections that are not sessions yet. `hello` and `dialer` make such
//!   connections.
//! - `activities` for typing, read markers and away, passed on by `activity`.
//! - `amending` for replies, edits and reactions, with its `amend_target`.
//! - `attention` for mentions and the rules about alerts, carried out by `attention_requests`.
//! - `erasing` for what the user erases, carried out by `erasing_requests`.
//! - `outbox` and `waiters` for messages, `joins` for rooms, `policy` for decisions about peers.
//! - `own_records` and `known_relays` for signed records, carried out by `records`.
//! - `profile_pictures` for the pictures that these records name, `past_names` for earlier names.
//! - `mail` for mailboxes, carried out by `mail::events`. `holding` is the mail of others.
//! - `lending` for the relays that contacts lend to each other, carried out by `lent_relays`.
//! - `relays` (with `fleets`), `shared_relays`, `network`, `router_port`, `discovery` and
//!   `dialback` for the paths to peers.
//! - `apps` for programs that talk over sessions: see [`crate::apps`].
//! - `files`, `lost`, `reports`, `tasks` and `lifecycle`.
//!
//! The other files pass the results of one part to others, by the kind of input: `commands` of
//! users, `session_events`, `relay_events`, `network_events` and so on. `run` is the loop.

mod activities;
mod activity;
mod amend_target;
mod amending;
mod attention;
mod attention_requests;
mod carried;
mod carrying;
mod claims;
mod command;
mod commands;
mod configuring;
mod conversation_setting;
mod dialback;
mod dialback_requests;
mod dialer;
mod dialing;
mod direct;
mod discovery;
mod erasing;
mod erasing_requests;
mod evidence;
mod files;
mod fleets;
mod handshakes;
mod hello;
mod holding;
mod internal;
mod introductions;
mod inviting;
mod joining;
mod joins;
mod known_relays;
mod lending;
mod lent_relays;
mod lifecycle;
mod limits;
mod mail;
mod membership;
mod network;
mod network_events;
mod offers;
mod outbox;
mod overslept;
mod own_records;
mod past_names;
mod policy;
mod policy_changes;
mod profile_pictures;
mod profiles;
mod proofs;
mod reach;
mod reading;
mod recent_peers;
mod records;
mod relay_events;
mod relays;
mod reports;
mod restored;
mod router_port;
mod run;
mod sending;
mod session_events;
mod session_state;
mod sessions;
mod shared_relays;
mod state;
mod stopping;
mod tasks;
mod waiters;

pub(crate) use self::amend_target::AmendTarget;
pub(crate) use self::attention::Attention;
pub(crate) use self::carried::{Begun, ForFile, Taken};
pub(crate) use self::command::{Command, NICK_SETTING, PolicyChange, RELAY_SETTING};
pub(crate) use self::erasing::Erasing;
pub(crate) use self::fleets::restore_lists as restore_fleet_lists;
pub(crate) use self::holding::Holding;
pub(crate) use self::internal::Internal;
pub(crate) use self::introductions::Introductions;
pub(crate) use self::lending::Lending;
pub(crate) use self::mail::Mail;
pub(crate) use self::own_records::OwnRecords;
pub(crate) use self::shared_relays::SharedRelays;
pub(crate) use self::state::{Engine, Parts};
