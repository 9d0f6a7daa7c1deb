//! The engine: one task that owns the state machines, gives them their inputs, and carries out
//! their outputs.
//!
//! It never blocks: sessions, the store and the system report through channels. Inputs that arrive
//! together are handled together before the outputs are carried out, so that a thousand appends
//! become one batch and a thousand batches one receipt.
//!
//! `state` lists the parts. Each part is a struct with its fields, methods and tests in its own
//! file: `sessions`, `handshakes`, `outbox`, `waiters`, `joins`, `policy`, `relays`, `dialback`,
//! `discovery`, `network`, `files`, `lost`, `reports`, `tasks` and `lifecycle`.
//!
//! The other files say what an input leads to where it concerns more than one part. `run` is the
//! loop. From there on: `commands` of users, `session_events`, `relay_events`, `network_events` and
//! so on.

mod command;
mod commands;
mod dialback;
mod dialback_requests;
mod dialing;
mod direct;
mod discovery;
mod evidence;
mod files;
mod handshakes;
mod internal;
mod joining;
mod joins;
mod lifecycle;
mod lost;
mod network;
mod network_events;
mod offers;
mod outbox;
mod policy;
mod policy_changes;
mod profiles;
mod reading;
mod relay_events;
mod relays;
mod reports;
mod rosters;
mod run;
mod sending;
mod session_events;
mod sessions;
mod state;
mod stopping;
mod tasks;
mod waiters;

pub(crate) use self::command::{Command, NICK_SETTING, PolicyChange};
pub(crate) use self::internal::Internal;
pub(crate) use self::relays::RELAY_SETTING;
pub(crate) use self::state::{Engine, Parts};
