//! `hobnob backup` and `hobnob restore`.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use serde::Serialize;

use crate::backup::sealing::{Lock, PrivateKey, Unlock};
use crate::backup::{self, ADVICE, Secrets, restored_lines};
use crate::shared::common_flags::CommonFlags;
use crate::shared::exit_code::{Exit, Usage};
use crate::shared::output::{self, Output};
use crate::shared::{passphrase, session};

/// The arguments of `hobnob backup`.
#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// The new file.
    #[arg(required_unless_present = "new_key")]
    file: Option<PathBuf>,
    /// Read the passphrase from the first line of this file, or of stdin if it is `-`.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Make a key for automatic backups instead: write the private key to this file, and print the
    /// public key.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "passphrase_file"])]
    new_key: Option<PathBuf>,
}

/// The arguments of `hobnob restore`.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// The backup.
    file: PathBuf,
    /// Read the passphrase from the first line of this file, or of stdin if it is `-`.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Open an automatic backup with the private key in this file.
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_file")]
    key_file: Option<PathBuf>,
    /// Replace the home, if it exists.
    #[arg(long)]
    replace: bool,
}

/// A line of JSON about a backup.
#[derive(Serialize)]
struct MadeLine {
    file: PathBuf,
    bytes: u64,
}

/// `hobnob backup`.
pub(crate) async fn backup(
    flags: &CommonFlags,
    out: Output,
    args: BackupArgs,
) -> anyhow::Result<Exit> {
    if let Some(file) = args.new_key {
        output::line(&backup::make_key(&file)?)?;
        return Ok(Exit::Done);
    }
    let file = std::path::absolute(args.file.expect("required without --new-key"))?;
    if file.exists() {
        return Err(Usage(format!("{} exists: name another file", file.display())).into());
    }
    // Before the node is asked: its snapshot is not to wait for somebody who types.
    let lock = Lock::Passphrase(passphrase::new(args.passphrase_file.as_deref())?);
    let home = flags.home()?;
    session::ask(flags, false, async |client| {
        let made = backup::make(client, &home, lock, file.clone()).await?;
        if out.json {
            let bytes = made.bytes;
            output::raw(&hobnob_control::wire::to_line(&MadeLine { file, bytes }))?;
        } else {
            output::line(&format!(
                "{} has everything, in {} bytes. Only the passphrase opens it",
                file.display(),
                made.bytes
            ))?;
        }
        Ok(Exit::Done)
    })
    .await
}

/// `hobnob restore`.
pub(crate) fn restore(flags: &CommonFlags, args: RestoreArgs) -> anyhow::Result<Exit> {
    let home = flags.home()?;
    let unlock = match args.key_file {
        Some(file) => {
            let shown = file.display();
            let text = fs::read_to_string(&file).with_context(|| format!("can't read {shown}"))?;
            let key = PrivateKey::in_text(&text).map_err(|why| Usage(format!("{shown}: {why}")))?;
            Unlock::Key(key)
        }
        None => Unlock::Passphrase(passphrase::existing(args.passphrase_file.as_deref())?),
    };
    let outcome = backup::restore(
        &home,
        &args.file,
        &Secrets {
            backup: &unlock,
            home: &flags.unlock(),
            new_passphrase: flags.home_passphrase_file(),
        },
        args.replace,
    )?;
    restored_lines(&outcome)
        .iter()
        .try_for_each(|line| output::line(line))?;
    output::say(ADVICE);
    Ok(Exit::Done)
}
