//! `hobnob lock`, `hobnob unlock` and `hobnob passwd`.

use std::path::{Path, PathBuf};

use hobnob_control::{Claim, Claimed, Home};

use crate::shared::common_flags::CommonFlags;
use crate::shared::exit_code::Exit;
use crate::shared::{output, passphrase};

/// The argument of `hobnob lock` and `hobnob unlock`.
#[derive(Debug, clap::Args)]
pub(crate) struct LockArgs {
    /// Read the passphrase from the first line of this file, or of stdin if it is `-`.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// The arguments of `hobnob passwd`.
#[derive(Debug, clap::Args)]
pub(crate) struct PasswdArgs {
    /// Read the passphrase from the first line of this file, or of stdin if it is `-`.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Read the new passphrase from the first line of this file.
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
}

/// `hobnob lock`.
pub(crate) fn lock(flags: &CommonFlags, args: &LockArgs) -> anyhow::Result<Exit> {
    let home = flags.home()?;
    let dir = home.data_dir();
    // Before anybody types a passphrase.
    hobnob::check_lockable(dir)?;
    let claimed = claim(&home)?;
    let passphrase = passphrase::new(args.passphrase_file.as_deref())?;
    hobnob::lock_home(dir, &passphrase)?;
    drop(claimed);
    output::line(&format!(
        "{} is locked. Without the passphrase, everything in it is lost: a backup has a passphrase of its own",
        dir.display()
    ))?;
    Ok(Exit::Done)
}

/// `hobnob unlock`.
pub(crate) fn unlock(flags: &CommonFlags, args: &LockArgs) -> anyhow::Result<Exit> {
    let home = flags.home()?;
    let dir = home.data_dir();
    check_locked(dir)?;
    let claimed = claim(&home)?;
    let passphrase = passphrase::existing(args.passphrase_file.as_deref())?;
    hobnob::unlock_home(dir, &passphrase)?;
    drop(claimed);
    output::line(&format!("{} is not locked any more", dir.display()))?;
    Ok(Exit::Done)
}

/// `hobnob passwd`.
pub(crate) fn passwd(flags: &CommonFlags, args: &PasswdArgs) -> anyhow::Result<Exit> {
    let home = flags.home()?;
    let dir = home.data_dir();
    check_locked(dir)?;
    let old = passphrase::existing(args.passphrase_file.as_deref())?;
    // Before anybody thinks of a new one.
    hobnob::check_passphrase(dir, &old)?;
    output::say_on_terminal("The new passphrase:");
    let new = passphrase::new(args.new_passphrase_file.as_deref())?;
    hobnob::change_passphrase(dir, &old, &new)?;
    output::line("the passphrase is changed. Older backups of this home need the old one")?;
    Ok(Exit::Done)
}

fn check_locked(home: &Path) -> anyhow::Result<()> {
    if hobnob::is_locked(home) {
        return Ok(());
    }
    Err(hobnob::LockError::NotLocked(home.to_owned()).into())
}

/// Claims the home, so that no node starts there meanwhile.
fn claim(home: &Home) -> anyhow::Result<Claimed> {
    match home.claim()? {
        Claim::Ours(claimed) => Ok(claimed),
        Claim::Busy(_) => {
            anyhow::bail!(
                "a node of {} runs: stop it first",
                home.data_dir().display()
            )
        }
    }
}
