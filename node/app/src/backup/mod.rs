//! Backups: a snapshot of the node's home in one encrypted file, and the way back. Also the daily
//! ones. The snapshot itself is made by the node.

mod archive;
pub(crate) mod daily;
#[cfg_attr(not(feature = "backup"), path = "no_sealing.rs")]
pub(crate) mod sealing;
mod work_folder;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use hobnob::{Deletions, KeySlot, KeyringKey, Restored, UnlockSource};
use hobnob_control::wire::{GetStatus, TakeSnapshot, Time};
use hobnob_control::{Claim, Client, Home};

use archive::{Manifest, SETTINGS, Unpacked, pack, unpack};
use sealing::{Lock, Unlock};
use work_folder::WorkFolder;

use crate::shared::exit_code::Usage;
use crate::shared::{keyring, passphrase, values};

/// A backup that was made.
pub(crate) struct Made {
    pub(crate) bytes: u64,
}

/// Asks the node for a snapshot, and writes it to a new file. A failure leaves no file.
pub(crate) async fn make(
    client: &Client,
    home: &Home,
    lock: Lock,
    file: PathBuf,
) -> anyhow::Result<Made> {
    let status = client.ask(GetStatus {}).await?;
    let work = WorkFolder::beside(home.data_dir(), "snapshot")?;
    client
        .ask(TakeSnapshot {
            path: work.path().to_owned(),
        })
        .await?;
    let manifest = Manifest {
        peer: status.peer.0.to_string(),
        made_at: values::now(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let home = home.clone();
    // Encrypting takes long, and must not delay the node, which may run in this process.
    tokio::task::spawn_blocking(move || {
        write(&home, work.path(), &manifest, &lock, &file)
            .with_context(|| format!("can't write {}", file.display()))
    })
    .await?
}

fn write(
    home: &Home,
    snapshot: &Path,
    manifest: &Manifest,
    lock: &Lock,
    file: &Path,
) -> anyhow::Result<Made> {
    if file.exists() {
        anyhow::bail!("it exists: name another file");
    }
    // A crash leaves a file that nobody takes for a backup.
    let part = with_suffix(file, ".part");
    let keyring_key = key_of(snapshot)?;
    let written = || -> anyhow::Result<Made> {
        let out = private(&part)?;
        sealing::seal(lock, BufWriter::new(&out), |sealed| {
            pack(
                sealed,
                manifest,
                keyring_key.as_ref(),
                snapshot,
                home.data_dir(),
                home.config_file(),
            )
        })?;
        out.sync_all()?;
        let bytes = out.metadata()?.len();
        fs::rename(&part, file)?;
        let folder = file.parent().filter(|path| !path.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(Made { bytes })
    };
    let made = written();
    if made.is_err() {
        let _ = fs::remove_file(&part);
    }
    made
}

/// The key without which nothing would open the snapshot on another machine.
fn key_of(snapshot: &Path) -> anyhow::Result<Option<KeyringKey>> {
    let locks = hobnob::locks_of(snapshot)?;
    let id = locks.and_then(|locks| locks.keyring_id.filter(|_| !locks.has_passphrase));
    let key = id.as_deref().map(keyring::find).transpose();
    key.context("only the system keyring opens this home, so a backup needs its key")
}

/// A home that was restored.
pub(crate) struct Outcome {
    pub(crate) restored: Restored,
    pub(crate) made_at: Time,
    /// Whether the settings of the backup were left out, because the home has some.
    pub(crate) settings_kept: bool,
}

/// The secrets for a restore.
pub(crate) struct Secrets<'a> {
    /// Opens the backup.
    pub(crate) backup: &'a Unlock,
    /// Opens the home in the backup, if that one is locked.
    pub(crate) home: &'a UnlockSource,
    /// The file with a passphrase for a home that only a keyring opened, if this machine has no
    /// keyring.
    pub(crate) new_passphrase: Option<&'a Path>,
}

/// Restores a home from a backup. `replace`: even if the home exists. A backup that is damaged, or
/// that the secrets do not open, changes nothing.
pub(crate) fn restore(
    home: &Home,
    file: &Path,
    secrets: &Secrets<'_>,
    replace: bool,
) -> anyhow::Result<Outcome> {
    let shown = home.data_dir().display();
    if home.data_dir().join("key").exists() && !replace {
        return Err(Usage(format!(
            "{shown} is the home of a node: restore into another with --home DIR, or replace it with --replace"
        ))
        .into());
    }
    let input = File::open(file).with_context(|| format!("can't read {}", file.display()))?;
    let was_there = home.data_dir().exists();
    let Claim::Ours(claimed) = home.claim()? else {
        anyhow::bail!("a node of {shown} runs: stop it first");
    };
    let outcome = restore_claimed(home, input, secrets, replace);
    drop(claimed);
    if outcome.is_err() && !was_there {
        // Only the lock is in it, and whatever another program has put there meanwhile.
        let _ = fs::remove_file(home.data_dir().join("lock"));
        let _ = fs::remove_dir(home.data_dir());
    }
    outcome.with_context(|| format!("{} is not restored: nothing was changed", file.display()))
}

fn restore_claimed(
    home: &Home,
    input: File,
    secrets: &Secrets<'_>,
    replace: bool,
) -> anyhow::Result<Outcome> {
    let work = WorkFolder::beside(home.data_dir(), "restored")?;
    work.create()?;
    let Unpacked {
        manifest,
        keyring_key,
    } = sealing::open(secrets.backup, BufReader::new(input), |opened| {
        unpack(opened, work.path())
    })?;
    let mut source = secrets.home.clone();
    if let Some(key) = keyring_key {
        source = move_key(work.path(), key, secrets)?;
    }
    let restored = hobnob::restore_snapshot(work.path(), home.data_dir(), Some(&source))?;
    if restored.peer.to_string() != manifest.peer {
        anyhow::bail!("the backup has another key than it says");
    }
    for name in archive::BESIDE {
        let from = work.path().join(name);
        if from.exists() {
            fs::rename(&from, home.data_dir().join(name))?;
        }
    }
    let settings = work.path().join(SETTINGS);
    let (has_settings, kept) = (settings.exists(), home.config_file().exists() && !replace);
    if has_settings && !kept {
        install_settings(&settings, home.config_file())?;
    }
    Ok(Outcome {
        restored,
        made_at: manifest.made_at,
        settings_kept: has_settings && kept,
    })
}

/// Stores the key of a home that only a keyring opened in the keyring of this machine. Without one, a
/// new passphrase opens the home. Returns what opens it now.
fn move_key(
    snapshot: &Path,
    key: KeyringKey,
    secrets: &Secrets<'_>,
) -> anyhow::Result<UnlockSource> {
    let stored = keyring::store(&key);
    let source = secrets.home.clone().with_keyring(move |_| Ok(key.clone()));
    let Err(error) = stored else {
        return Ok(source);
    };
    let Some(file) = secrets.new_passphrase else {
        return Err(error).context(
            "the home in this backup opens by the system keyring only. \
             --home-passphrase-file FILE gives it the passphrase in the file instead",
        );
    };
    let passphrase = passphrase::existing(Some(file))?;
    KeySlot::open(snapshot, &source)?.remove_keyring(Some(passphrase.as_str()))?;
    Ok(secrets.home.clone())
}

/// The settings may be on another disk than the home, so the file is copied.
fn install_settings(from: &Path, to: &Path) -> anyhow::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).with_context(|| format!("can't write the settings to {}", to.display()))?;
    Ok(())
}

/// Advice after a restore.
pub(crate) const ADVICE: &str = "If a node with this identity still runs elsewhere, stop it: an identity is for one machine. \
     What peers have that this backup lacks arrives from them.";

/// The lines about a restored home.
pub(crate) fn restored_lines(outcome: &Outcome) -> Vec<String> {
    let made_at = values::local_second(outcome.made_at);
    let mut lines = vec![format!(
        "restored {}, as it was at {made_at}",
        outcome.restored.peer.short()
    )];
    match &outcome.restored.deletions {
        Deletions::None | Deletions::Repeated(0) => {}
        Deletions::Repeated(count) => lines.push(format!(
            "deleted since then, and still deleted: {count}"
        )),
        Deletions::Unknown(why) => lines.push(format!(
            "messages that were deleted since then are there again, because the replaced database could not be read: {why}"
        )),
    }
    if outcome.settings_kept {
        lines.push("the settings file stays as it is".to_owned());
    }
    lines
}

fn private(path: &Path) -> io::Result<File> {
    // A leftover of a crash is unlinked, never opened: it may be readable by others.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.to_owned().into_os_string();
    path.push(suffix);
    path.into()
}

/// Writes a new key for automatic backups to a file, and returns its public key.
pub(crate) fn make_key(file: &Path) -> anyhow::Result<String> {
    use std::io::Write;
    let (secret, public) = sealing::make_key()?;
    let write = || -> io::Result<()> {
        let mut out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)?;
        writeln!(out, "# public key: {public}\n{}", secret.as_str())?;
        out.sync_all()
    };
    write().with_context(|| format!("can't create {}", file.display()))?;
    Ok(public)
}
