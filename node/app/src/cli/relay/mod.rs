//! `hobnob relay`: runs a relay, or asks the one that runs in this home.
//!
//! The relay lives in the folder `relay` of the home, with a key, a lock and a socket of its own:
//! it is no node, and one may run beside it.

mod args;
mod ask;
mod desk;
mod lines;
mod run;
mod show;

pub(crate) use args::Relay;

use crate::shared::common_flags::Common;
use crate::shared::exit_code::Exit;
use crate::shared::output::Output;

/// Does what `hobnob relay …` says.
pub(crate) async fn relay(common: &Common, out: Output, relay: Relay) -> anyhow::Result<Exit> {
    relay.check(common)?;
    let home = common.relay_home()?;
    match relay.ask {
        Some(ask) => ask::ask(&home, ask, out).await,
        None => run::run(common, &home, relay.run, out).await,
    }
}
