//! `hobnob export --for` and `hobnob import`: messages that are carried by hand.

use std::path::{self, Path, PathBuf};

use anyhow::Context;
use hobnob::protocol::Target;
use hobnob_control::wire::{ExportFor, ExportedFile, ImportFile, ImportedFile, Text, to_line};

use crate::shared::common_flags::CommonFlags;
use crate::shared::exit_code::Exit;
use crate::shared::output::{self, Output};
use crate::shared::session;
use crate::shared::wording::{self, Names};

/// `hobnob export --for`.
pub(crate) async fn export_for(
    flags: &CommonFlags,
    out: Output,
    reader: Target,
    file: &Path,
) -> anyhow::Result<Exit> {
    let path = absolute(file)?;
    session::ask(flags, false, async |client| {
        let target = Text(reader);
        let exported: ExportedFile = client.ask(ExportFor { target, path }).await?;
        if out.json {
            output::raw(&to_line(&exported))?;
        } else {
            let what = wording::count_u64(exported.messages, "message");
            output::say(&format!("{} has {what}", file.display()));
        }
        Ok(Exit::Done)
    })
    .await
}

/// `hobnob import`.
pub(crate) async fn import(flags: &CommonFlags, out: Output, file: &Path) -> anyhow::Result<Exit> {
    let path = absolute(file)?;
    session::ask(flags, false, async |client| {
        let imported: ImportedFile = client.ask(ImportFile { path }).await?;
        if out.json {
            output::raw(&to_line(&imported))?;
            return Ok(Exit::Done);
        }
        let names = Names::ask(client).await?;
        let from = names.of(&imported.from.0);
        let new = wording::count_u64(imported.messages, "new message");
        let delivered = wording::count_u64(imported.delivered, "message");
        output::line(&format!(
            "{new} from {from}; {delivered} of yours delivered"
        ))?;
        if imported.refused > 0 {
            let refused = wording::count_u64(imported.refused, "part");
            output::say(&format!(
                "{refused} of the file refused. If you do not know {from} yet, only the first \
                 messages are taken: accept {from} (`hobnob contacts accept`), then import again"
            ));
        }
        Ok(Exit::Done)
    })
    .await
}

/// The node may run in another folder.
fn absolute(file: &Path) -> anyhow::Result<PathBuf> {
    path::absolute(file).with_context(|| format!("can't use the path {}", file.display()))
}
