//! Replaces `web` in a build without the feature `web`: there is no page.

use std::net::SocketAddr;

use hobnob_control::Home;

use super::args::{TokenCommand, WebArgs};
use crate::shared::common_flags::CommonFlags;
use crate::shared::exit_code::{Exit, Usage};
use crate::shared::output::Output;
use crate::shared::settings::Settings;

const ABSENT: &str = "this hobnob was built without the web page (feature `web`)";

/// No page.
pub(crate) struct Served;

impl Served {
    /// Fails if an address was given.
    pub(crate) async fn start(home: &Home, flag: Option<SocketAddr>) -> anyhow::Result<Served> {
        match flag.or(Settings::of(home)?.web) {
            Some(_) => Err(Usage(ABSENT.into()).into()),
            None => Ok(Served),
        }
    }

    /// No sentence.
    pub(crate) fn line(&self) -> Option<String> {
        None
    }

    /// Nothing to stop.
    pub(crate) async fn stop(self) {}
}

/// Fails.
pub(crate) async fn web(_: &CommonFlags, args: WebArgs) -> anyhow::Result<Exit> {
    let WebArgs { no_open, code } = args;
    tracing::debug!(no_open, code, "there is no page");
    Err(Usage(ABSENT.into()).into())
}

/// Fails.
pub(crate) fn token(_: &CommonFlags, _: Output, command: TokenCommand) -> anyhow::Result<Exit> {
    match command {
        TokenCommand::Create {
            name,
            rights,
            expires,
        } => tracing::debug!(name, ?rights, expires, "there are no tokens"),
        TokenCommand::List => tracing::debug!("there are no tokens"),
        TokenCommand::Revoke { name } => tracing::debug!(name, "there are no tokens"),
    }
    Err(Usage(ABSENT.into()).into())
}
