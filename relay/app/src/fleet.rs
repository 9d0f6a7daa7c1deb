//! Fleets: the flags of a relay that is a member of one, and the commands for the fleet's operator,
//! which need no running relay.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use hobnob_local::json::Text;
use hobnob_protocol::fleet::FleetList;
use hobnob_protocol::{RelayAddr, SecretKey};
use hobnob_relay::fleet::{FleetConfig, ListFile, new_user_key};
use hobnob_transport::key_file;

use crate::admin_lines::RelayEvent;
use crate::exit_code::UsageError;

/// Flags of a relay that is a member of a fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct FleetFlags {
    /// Act as one with the other relays of a fleet, through this NATS server, such as
    /// nats://nats1.example.com. May be repeated, for the servers of one cluster. The connection uses
    /// TLS.
    #[arg(
        long,
        value_name = "URL",
        requires_all = ["fleet_list", "fleet_credentials"],
        conflicts_with = "mailbox"
    )]
    fleet: Vec<String>,

    /// The signed list of the fleet's relays, as `fleet sign` writes it. SIGHUP reads it again.
    #[arg(long, value_name = "FILE", requires = "fleet")]
    fleet_list: Option<PathBuf>,

    /// The file with the seed of this relay's NATS user key (nkey).
    #[arg(long, value_name = "FILE", requires = "fleet")]
    fleet_credentials: Option<PathBuf>,

    /// Trust the authorities whose certificates are in this PEM file to vouch for the NATS servers.
    /// Default: those that the system trusts.
    #[arg(long, value_name = "FILE", requires = "fleet")]
    fleet_ca: Option<PathBuf>,
}

/// Commands for the operator of a fleet.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum FleetCommand {
    /// Make the key of a new fleet, and print the fleet's id. Nodes name the fleet by this id. Store
    /// the file where no relay is: whoever has it can add relays.
    New {
        /// The file for the key. It must not exist.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Sign the list of the fleet's relays. It replaces the list in the file, with a higher number.
    Sign {
        /// The file with the fleet's key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The file for the list. Give it to every relay of the fleet.
        #[arg(long, value_name = "FILE")]
        list: PathBuf,
        /// The number of the list. Default: one above that of the list in the file, or 1. Nodes and
        /// relays refuse a number below that of the list that they have.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 53))]
        number: Option<u64>,
        /// The relays, each as ID@HOST:PORT. Nodes use these names and addresses.
        #[arg(value_name = "RELAY", required = true)]
        relays: Vec<RelayAddr>,
    },
    /// Make a NATS user key (nkey) for one relay, and print its public half, for the configuration of
    /// the NATS servers.
    User {
        /// The file for the seed. It must not exist.
        #[arg(long, value_name = "FILE")]
        credentials: PathBuf,
    },
    /// Print the list in a file, after checking its signature.
    Show {
        /// The file with the list.
        #[arg(value_name = "FILE")]
        list: PathBuf,
    },
}

impl FleetFlags {
    /// These flags, or those of `file` if these name no fleet.
    pub(crate) fn or(self, file: FleetFlags) -> FleetFlags {
        if self.is_given() { self } else { file }
    }

    /// Whether the relay is a member of a fleet.
    pub(crate) fn is_given(&self) -> bool {
        !self.fleet.is_empty()
    }

    /// Whether only the content of the list may differ.
    pub(crate) fn names_same_fleet(&self, other: &FleetFlags) -> bool {
        let without_list = |flags: &FleetFlags| FleetFlags {
            fleet_list: None,
            ..flags.clone()
        };
        without_list(self) == without_list(other)
    }

    /// Reads the list. `None`: the relay is alone.
    pub(crate) fn config(&self) -> anyhow::Result<Option<FleetConfig>> {
        if !self.is_given() {
            return Ok(None);
        }
        let (Some(list), Some(credentials)) = (&self.fleet_list, &self.fleet_credentials) else {
            return Err(UsageError(
                "--fleet needs --fleet-list and --fleet-credentials".to_owned(),
            )
            .into());
        };
        Ok(Some(FleetConfig {
            list: ListFile::read(list)?,
            servers: self.fleet.clone(),
            credentials: credentials.clone(),
            authorities: self.fleet_ca.clone(),
        }))
    }
}

/// Executes a command. Returns what to print.
pub(crate) fn execute(command: FleetCommand) -> anyhow::Result<Vec<RelayEvent>> {
    match command {
        FleetCommand::New { key } => new_key(&key).map(|event| vec![event]),
        FleetCommand::Sign {
            key,
            list,
            number,
            relays,
        } => sign(&key, &list, number, relays).map(|list| vec![shown(&list)]),
        FleetCommand::User { credentials } => new_user(&credentials).map(|event| vec![event]),
        FleetCommand::Show { list } => Ok(vec![shown(&ListFile::read(&list)?)]),
    }
}

fn new_key(path: &Path) -> anyhow::Result<RelayEvent> {
    let key = hobnob_relay::keys::new();
    write_secret(path, &key_file::format(key.seed()))?;
    let fleet = Text(key.id());
    Ok(RelayEvent::FleetKey { fleet })
}

fn new_user(path: &Path) -> anyhow::Result<RelayEvent> {
    let key = new_user_key().context("can't make a NATS user key")?;
    write_secret(path, &format!("{}\n", key.seed))?;
    Ok(RelayEvent::NatsUser { user: key.public })
}

/// Writes a file that only its owner can read. It must not exist.
fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    write_new(path, text, 0o600)
}

/// Writes a file that must not exist. Nothing is left of it if that fails.
fn write_new(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    let created = options.write(true).create_new(true).mode(mode).open(path);
    let mut file = created.map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            anyhow!("{path:?} exists: choose another file, so that no key is lost")
        } else {
            anyhow!("can't write {path:?}: {error}")
        }
    })?;
    let written = file.write_all(text.as_bytes());
    let written = written.and_then(|()| file.sync_all());
    if written.is_err() {
        remove_unfinished(path);
    }
    written.with_context(|| format!("can't write {path:?}"))
}

/// Removes a file that this process has created and that nothing reads. What is reported is why it is
/// not finished.
fn remove_unfinished(path: &Path) {
    drop(fs::remove_file(path));
}

/// Writes a file so that a relay that is reloaded at the same time reads the old content or the new one.
/// Everybody may read it.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    write_new(&beside, text, 0o644)?;
    let replaced = fs::rename(&beside, path);
    if replaced.is_err() {
        remove_unfinished(&beside);
    }
    replaced.with_context(|| format!("can't write {path:?}"))
}

fn sign(
    key: &Path,
    path: &Path,
    number: Option<u64>,
    relays: Vec<RelayAddr>,
) -> anyhow::Result<ListFile> {
    let key = read_key(key)?;
    let number = match before(path)? {
        Some(before) if before.fleet() != key.id() => {
            bail!("{path:?} has the list of another fleet: {}", before.fleet())
        }
        Some(before) => {
            let next = before.number() + 1;
            let number = number.unwrap_or(next);
            if number < next {
                bail!(UsageError(format!(
                    "the list in {path:?} has the number {}: choose a higher one",
                    before.number()
                )));
            }
            number
        }
        None => number.unwrap_or(1),
    };
    let list = FleetList::new(number, relays).map_err(|_| {
        UsageError(
            "a fleet has 1 to 16 relays: name each once, as ID@HOST:PORT (a relay prints its id when it starts)"
                .to_owned(),
        )
    })?;
    let list = ListFile::sign(list, &key);
    replace(path, &format!("{list}\n"))?;
    Ok(list)
}

/// The list that the file has, if it exists.
fn before(path: &Path) -> anyhow::Result<Option<ListFile>> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(Some(ListFile::read(path)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("can't read {path:?}")),
    }
}

fn read_key(path: &Path) -> anyhow::Result<SecretKey> {
    let text = fs::read_to_string(path).with_context(|| format!("can't read {path:?}"))?;
    key_file::parse(&text).map_err(|damage| anyhow::anyhow!("{path:?} is no key file: {damage}"))
}

fn shown(list: &ListFile) -> RelayEvent {
    RelayEvent::FleetList {
        fleet: Text(list.fleet()),
        number: list.number(),
        relays: list.list().relays().iter().cloned().map(Text).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn relay(n: u8) -> RelayAddr {
        let id = SecretKey::from_seed([n; 32]).id();
        format!("{id}@relay{n}.example:4627").parse().unwrap()
    }

    fn numbered(list: &RelayEvent) -> u64 {
        let RelayEvent::FleetList { number, .. } = list else {
            panic!("{list:?}")
        };
        *number
    }

    #[test]
    fn a_list_that_cannot_be_written_leaves_the_files_of_others() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("fleet.list");
        let names = || {
            let all = fs::read_dir(dir.path()).unwrap();
            all.map(|it| it.unwrap().file_name()).collect::<Vec<_>>()
        };
        // The place is a folder, so the file cannot take it.
        fs::create_dir(&list).unwrap();
        assert!(replace(&list, "text").is_err());
        assert_eq!(names(), ["fleet.list"], "its own file is removed");
        let others = format!("fleet.list.{}.new", std::process::id());
        let others = dir.path().join(others);
        fs::write(&others, "theirs").unwrap();
        assert!(replace(&list, "text").is_err());
        assert_eq!(fs::read_to_string(&others).unwrap(), "theirs");
    }

    #[test]
    fn a_list_is_signed_again_with_a_higher_number() {
        let dir = tempfile::tempdir().unwrap();
        let (key, list) = (dir.path().join("fleet.key"), dir.path().join("fleet.list"));
        let RelayEvent::FleetKey { fleet } = new_key(&key).unwrap() else {
            panic!("no key")
        };
        let sign = |number, relays: &[u8]| {
            let command = FleetCommand::Sign {
                key: key.clone(),
                list: list.clone(),
                number,
                relays: relays.iter().map(|n| relay(*n)).collect(),
            };
            execute(command).map(|events| numbered(&events[0]))
        };
        assert_eq!(sign(None, &[1, 2]).unwrap(), 1);
        assert_eq!(sign(None, &[1, 2, 3]).unwrap(), 2);
        assert_eq!(sign(Some(9), &[1]).unwrap(), 9);
        for wrong in [sign(Some(9), &[1]), sign(None, &[1, 1])] {
            assert!(wrong.unwrap_err().is::<UsageError>());
        }
        let read = ListFile::read(&list).unwrap();
        assert_eq!((read.fleet(), read.number()), (fleet.0, 9));
        let unrelated = dir.path().join("other.new");
        fs::write(&unrelated, "unrelated").unwrap();
        assert!(new_key(&key).is_err(), "a key is never overwritten");
        let other = dir.path().join("other.key");
        new_key(&other).unwrap();
        assert_eq!(fs::read_to_string(&unrelated).unwrap(), "unrelated");
        let mode = fs::metadata(&other).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let names = fs::read_dir(dir.path()).unwrap();
        assert_eq!(names.count(), 4, "nothing else is left");
        let relays = vec![relay(1)];
        assert!(super::sign(&other, &list, None, relays).is_err());
    }
}
