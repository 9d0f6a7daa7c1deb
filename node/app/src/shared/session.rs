//! The session of one command with a node: attach, ask, disconnect. A signal ends it early.

use std::time::Duration;

use hobnob_control::attach::attach;
use hobnob_control::{Attached, Client, Home};
use hobnob_local::signals::Signals;

use super::common_flags::CommonFlags;
use super::exit_code::Exit;
use super::output;
use crate::backup::daily;

/// After this time, a finished command explains why it does not exit.
const STAY_UNEXPLAINED: Duration = Duration::from_secs(1);

/// Runs `command` with the node of the home, and starts a node for it if none runs.
pub(crate) async fn ask(
    common: &CommonFlags,
    room_is_used: bool,
    command: impl AsyncFnOnce(&Client) -> anyhow::Result<Exit>,
) -> anyhow::Result<Exit> {
    let mut signals = Signals::new()?;
    let (_, attached) = open(common, room_is_used).await?;
    let outcome = tokio::select! {
        outcome = command(&attached.client) => outcome,
        () = signals.any() => Err(anyhow::anyhow!("interrupted; messages that were already sent stay queued")),
    };
    leave(attached, &mut signals).await;
    outcome
}

/// Attaches, and rejects flags that only a starting node uses if one runs already.
pub(crate) async fn open(
    common: &CommonFlags,
    room_is_used: bool,
) -> anyhow::Result<(Home, Attached)> {
    let home = common.home()?;
    let config = common.config(&home)?;
    let attached = attach(&home, || config.clone()).await?;
    if attached.host.is_none() {
        common.check_running(&home, room_is_used)?;
    }
    Ok((home, attached))
}

/// Attaches for a program that stays, such as a chat. If it runs the node, it makes the automatic
/// backups, too, and takes settings that change.
pub(crate) async fn stay(common: &CommonFlags) -> anyhow::Result<(Home, Attached)> {
    let (home, attached) = open(common, true).await?;
    if let Some(host) = &attached.host {
        common.reread_by(host, &home);
        daily::watch(&home)?;
    }
    Ok((home, attached))
}

/// Disconnects from the node. A node in this process continues as long as other commands use it, or
/// until a signal.
pub(crate) async fn leave(attached: Attached, signals: &mut Signals) {
    drop(attached.client);
    let Some(mut host) = attached.host else {
        return;
    };
    let explain = async {
        tokio::time::sleep(STAY_UNEXPLAINED).await;
        output::say_on_terminal(
            "another hobnob uses this node: it stops when that one is done, or on Ctrl-C",
        );
        std::future::pending().await
    };
    tokio::select! {
        () = host.finish() => return,
        () = explain => {}
        () = signals.any() => {}
    }
    host.stop().await;
}
