//! Replaces `share` in a build without the feature `web`.

use super::args::ShareArgs;
use crate::shared::exit_code::{Exit, Usage};
use crate::shared::output::Output;

/// Fails.
pub(crate) async fn share(_: Output, args: ShareArgs) -> anyhow::Result<Exit> {
    tracing::debug!(?args, "files can't be shared");
    Err(Usage("this hobnob was built without links to files (feature `web`)".into()).into())
}
