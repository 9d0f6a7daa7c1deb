//! One command's time with a node: attach, ask, leave; and signals, which end that early.

use std::time::Duration;

use hobnob_control::attach::attach;
use hobnob_control::{Attached, Client, Home};
use hobnob_local::signals::Signals;

use super::common_flags::CommonFlags;
use super::exit_code::Exit;
use super::output;

/// When a command that is done says why it stays.
const STAY_UNEXPLAINED: Duration = Duration::from_secs(1);

/// Asks the node of the home, one that runs or one run for this, and leaves it again.
pub(crate) async fn ask(
    common: &CommonFlags,
    room_is_used: bool,
    command: impl AsyncFnOnce(&Client) -> anyhow::Result<Exit>,
) -> anyhow::Result<Exit> {
    let mut signals = Signals::new()?;
    let (_, attached) = open(common, room_is_used).await?;
    let outcome = tokio::select! {
        outcome = command(&attached.client) => outcome,
        () = signals.any() => Err(anyhow::anyhow!("interrupted; what was already sent stays queued")),
    };
    leave(attached, &mut signals).await;
    outcome
}

/// Attaches, and refuses flags that a running node can't obey.
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

/// Leaves the node. One that runs here goes on for as long as other commands use it, or until a
/// signal.
pub(crate) async fn leave(attached: Attached, signals: &mut Signals) {
    drop(attached.client);
    let Some(mut host) = attached.host else {
        return;
    };
    let explain = async {
        tokio::time::sleep(STAY_UNEXPLAINED).await;
        output::say_on_terminal(
            "another hobnob uses this node: it goes on until that is done, or Ctrl-C",
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
