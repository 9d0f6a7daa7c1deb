//! `hobnob lock`, `hobnob unlock` and `hobnob passwd`.

use std::path::{Path, PathBuf};

use anyhow::Context;
#[cfg(feature = "web")]
use hobnob::UnlockSource;
use hobnob::{KeySlot, KeyringKey, LockError, Locks};
use hobnob_control::{Claim, Claimed, Home};
use zeroize::Zeroizing;

use crate::shared::common_flags::CommonFlags;
use crate::shared::exit_code::Exit;
use crate::shared::{keyring, output, passphrase};

/// The arguments of `hobnob lock`.
#[derive(Debug, clap::Args)]
pub(crate) struct LockArgs {
    /// Read the passphrase from the first line of this file, or of stdin if it is `-`.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Let the system keyring open the home instead of a passphrase, without a question at each start.
    #[arg(long, conflicts_with = "passphrase_file")]
    keyring: bool,
}

/// The argument of `hobnob unlock`.
#[derive(Debug, clap::Args)]
pub(crate) struct UnlockArgs {
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
    /// Let the system keyring open the home, too. The passphrase stays.
    #[arg(long, conflicts_with_all = ["new_passphrase_file", "no_keyring"])]
    keyring: bool,
    /// Remove the home's key from the system keyring. A home without a passphrase gets one.
    #[arg(long)]
    no_keyring: bool,
}

/// What to do so that a lost keyring loses nothing.
const ONLY_KEYRING: &str = "if the keyring is lost, so is everything in the home: make a backup with \
                            `hobnob backup`, or add a passphrase with `hobnob passwd`";

/// `hobnob lock`.
pub(crate) fn lock(flags: &CommonFlags, args: &LockArgs) -> anyhow::Result<Exit> {
    let home = flags.home()?;
    let dir = home.data_dir();
    // Before anybody types a passphrase.
    hobnob::check_lockable(dir)?;
    let claimed = claim(&home)?;
    let shown = dir.display();
    if args.keyring {
        lock_with_keyring(dir)?;
        drop(claimed);
        output::line(&format!(
            "{shown} is locked, and the system keyring opens it. But {ONLY_KEYRING}"
        ))?;
        return Ok(Exit::Done);
    }
    let passphrase = passphrase::new(args.passphrase_file.as_deref())?;
    hobnob::lock_home(dir, &passphrase)?;
    drop(claimed);
    output::line(&format!(
        "{shown} is locked. Without the passphrase, everything in it is lost: a backup has a passphrase of its own"
    ))?;
    Ok(Exit::Done)
}

/// Stores a new key in the keyring first, so that a keyring that can't be used changes nothing.
fn lock_with_keyring(home: &Path) -> anyhow::Result<()> {
    let key = KeyringKey::random();
    keyring::store(&key).context("nothing was changed")?;
    let locked = hobnob::lock_home_with_keyring(home, &key);
    if locked.is_err() {
        // The key opens nothing, so it is not kept.
        let _ = keyring::remove(key.id());
    }
    Ok(locked?)
}

/// `hobnob unlock`.
pub(crate) fn unlock(flags: &CommonFlags, args: &UnlockArgs) -> anyhow::Result<Exit> {
    let home = flags.home()?;
    let dir = home.data_dir();
    let locks = locks_of(dir)?;
    let claimed = claim(&home)?;
    hobnob::unlock_home(dir, &passphrase::of_locked(args.passphrase_file.clone()))?;
    drop(claimed);
    remove_key(locks.keyring_id.as_deref());
    output::line(&format!("{} is not locked any more", dir.display()))?;
    Ok(Exit::Done)
}

/// `hobnob passwd`.
pub(crate) fn passwd(flags: &CommonFlags, args: &PasswdArgs) -> anyhow::Result<Exit> {
    let home = flags.home()?;
    let dir = home.data_dir();
    let locks = locks_of(dir)?;
    // Before anybody thinks of a new passphrase.
    let slot = KeySlot::open(dir, &passphrase::of_locked(args.passphrase_file.clone()))?;
    let new_file = args.new_passphrase_file.as_deref();
    if args.keyring {
        add_keyring(&slot, &locks)?;
    } else if args.no_keyring {
        remove_keyring(&slot, &locks, new_file)?;
    } else {
        slot.set_passphrase(&new_passphrase(new_file)?)?;
        output::line(if locks.has_passphrase {
            "the passphrase is changed. Older backups of this home need the old one"
        } else {
            "the passphrase opens this home now, and so does the system keyring"
        })?;
    }
    Ok(Exit::Done)
}

/// Changes the passphrase of a locked home, or adds one. `source` opens the home. This takes a moment.
#[cfg(feature = "web")]
pub(crate) fn set_passphrase(home: &Path, source: &UnlockSource, new: &str) -> anyhow::Result<()> {
    locks_of(home)?;
    KeySlot::open(home, source)?.set_passphrase(new)?;
    Ok(())
}

fn new_passphrase(file: Option<&Path>) -> anyhow::Result<Zeroizing<String>> {
    output::say_on_terminal("The new passphrase:");
    passphrase::new(file)
}

fn remove_keyring(slot: &KeySlot, locks: &Locks, new_file: Option<&Path>) -> anyhow::Result<()> {
    let Some(id) = &locks.keyring_id else {
        return Ok(output::line("the system keyring does not open this home")?);
    };
    let is_needed = !locks.has_passphrase || new_file.is_some();
    let new = is_needed.then(|| new_passphrase(new_file)).transpose()?;
    slot.remove_keyring(new.as_ref().map(|new| new.as_str()))?;
    remove_key(Some(id));
    output::line("only the passphrase opens this home now")?;
    Ok(())
}

fn add_keyring(slot: &KeySlot, locks: &Locks) -> anyhow::Result<()> {
    let key = KeyringKey::random();
    keyring::store(&key).context("nothing was changed")?;
    if let Err(error) = slot.set_keyring(&key) {
        // The key opens nothing, so it is not kept.
        let _ = keyring::remove(key.id());
        return Err(error.into());
    }
    remove_key(locks.keyring_id.as_deref());
    output::line(&if locks.has_passphrase {
        "the system keyring opens this home now, and so does the passphrase".to_owned()
    } else {
        format!("the key in the system keyring is a new one. But {ONLY_KEYRING}")
    })?;
    Ok(())
}

/// Removes a key that opens nothing any more.
fn remove_key(id: Option<&str>) {
    if let Some(id) = id
        && let Err(error) = keyring::remove(id)
    {
        output::say(&format!(
            "the key {id} stays in the system keyring, and is of no use any more: {error}"
        ));
    }
}

fn locks_of(home: &Path) -> anyhow::Result<Locks> {
    let locks = hobnob::locks_of(home)?;
    Ok(locks.ok_or_else(|| LockError::NotLocked(home.to_owned()))?)
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
