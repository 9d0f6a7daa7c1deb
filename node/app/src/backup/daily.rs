//! Automatic backups: one a day into a folder, of which the newest seven stay.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use anyhow::Context;
use hobnob_control::wire::{GetStatus, ReportBackup, Time};
use hobnob_control::{Client, ClientError, Home};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::make;
use super::sealing::{Lock, PublicKey};
use crate::shared::exit_code::Usage;
use crate::shared::settings::Settings;
use crate::shared::values;

/// Number of automatic backups of one identity that stay in the folder.
const KEPT: usize = 7;

/// A new backup is due when the newest is this old.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// How often a node looks whether a backup is due.
const LOOK_EVERY: Duration = Duration::from_secs(10 * 60);

/// The time of a backup in its name, in UTC.
const TIME_IN_NAME: &str = "%Y-%m-%dT%H%M%SZ";

/// The folder of automatic backups, and the key for which they are sealed.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    folder: PathBuf,
    key: PublicKey,
}

impl Plan {
    /// The plan in the settings, if there is one.
    pub(crate) fn of(settings: &Settings) -> Result<Option<Plan>, Usage> {
        let Some(folder) = &settings.backup else {
            return Ok(None);
        };
        if !folder.is_absolute() {
            return Err(Usage(format!(
                "the setting `backup` needs an absolute path, not {}",
                folder.display()
            )));
        }
        let Some(key) = &settings.backup_key else {
            return Err(Usage(
                "the setting `backup` needs `backup-key`: make a key with `hobnob backup --new-key FILE`"
                    .into(),
            ));
        };
        let key = key
            .parse()
            .map_err(|error| Usage(format!("the setting `backup-key`: {error}")))?;
        let folder = folder.clone();
        Ok(Some(Plan { folder, key }))
    }
}

/// Makes backups from now on while this process runs, if the settings say so. Only for programs that
/// run a node for long: a single command would be delayed.
pub(crate) fn watch(home: &Home) -> Result<(), Usage> {
    static ONCE: Once = Once::new();
    let Some(plan) = Plan::of(&Settings::of(home)?)? else {
        return Ok(());
    };
    let home = home.clone();
    ONCE.call_once(|| {
        tokio::spawn(async move {
            loop {
                let made = make_if_due(&home, &plan).await;
                if let Err(error) = &made {
                    tracing::warn!("no automatic backup was made: {error:#}");
                }
                report(&home, made.map_err(|error| format!("{error:#}"))).await;
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
    });
    Ok(())
}

/// Tells the node, so that the user gets a notice and `doctor` knows. `Ok(false)`: none was due.
async fn report(home: &Home, made: Result<bool, String>) {
    let why = match made {
        Ok(true) => None,
        Ok(false) => return,
        Err(why) => Some(why),
    };
    // A node that has ended has no user.
    if let Ok(client) = Client::connect(home).await {
        let _ = client.ask(ReportBackup { why }).await;
    }
}

/// Returns whether a backup was due.
async fn make_if_due(home: &Home, plan: &Plan) -> anyhow::Result<bool> {
    let client = match Client::connect(home).await {
        Ok(client) => client,
        // The node has just ended.
        Err(ClientError::NotRunning { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let peer = client.ask(GetStatus {}).await?.peer.0.short();
    let folder = plan.folder.display();
    fs::create_dir_all(&plan.folder).with_context(|| format!("can't use {folder}"))?;
    let now = values::now();
    if !is_due(&backups_of(&peer, &plan.folder)?, now) {
        return Ok(false);
    }
    let file = plan.folder.join(name(&peer, now));
    make(&client, home, Lock::Key(plan.key.clone()), file.clone()).await?;
    tracing::info!("made the automatic backup {}", file.display());
    for old in expired(backups_of(&peer, &plan.folder)?) {
        fs::remove_file(plan.folder.join(name(&peer, old)))?;
    }
    Ok(true)
}

fn name(peer: &str, at: Time) -> String {
    let at = at.timestamp().to_zoned(TimeZone::UTC);
    format!("hobnob-{peer}-{}.age", at.strftime(TIME_IN_NAME))
}

/// The time in the name of an automatic backup of this identity.
fn time_of(peer: &str, name: &str) -> Option<Time> {
    let rest = name.strip_prefix("hobnob-")?.strip_prefix(peer)?;
    let time = rest.strip_prefix('-')?.strip_suffix(".age")?;
    let time = DateTime::strptime(TIME_IN_NAME, time).ok()?;
    let zoned = time.to_zoned(TimeZone::UTC).ok()?;
    Some(zoned.timestamp().into())
}

fn backups_of(peer: &str, folder: &Path) -> std::io::Result<Vec<Time>> {
    let names = fs::read_dir(folder)?.flatten();
    Ok(names
        .filter_map(|entry| time_of(peer, entry.file_name().to_str()?))
        .collect())
}

/// A backup of the future was made with a wrong clock. It doesn't count.
fn is_due(backups: &[Time], now: Time) -> bool {
    let mut fresh = backups.iter().filter(|at| **at <= now);
    !fresh.any(|at| now.0 - at.0 < DAY_MS)
}

/// The backups beyond the newest [`KEPT`].
fn expired(mut backups: Vec<Time>) -> Vec<Time> {
    backups.sort();
    backups.truncate(backups.len().saturating_sub(KEPT));
    backups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(n: u64) -> Time {
        Time(1_790_000_000_000 + n * DAY_MS)
    }

    #[test]
    fn the_name_of_a_backup_has_its_time() {
        let name = name("abcd", day(0));
        assert_eq!(time_of("abcd", &name), Some(day(0)), "{name}");
        assert_eq!(time_of("other", &name), None);
        for other in [
            "hobnob-abcd-notes.age",
            "hobnob-abcd-.age",
            "x",
            &format!("{name}.part"),
        ] {
            assert_eq!(time_of("abcd", other), None, "{other}");
        }
    }

    #[test]
    fn a_backup_is_due_after_a_day() {
        assert!(is_due(&[], day(1)));
        assert!(is_due(&[day(0)], day(1)));
        assert!(!is_due(&[day(0)], Time(day(1).0 - 1)));
        assert!(is_due(&[day(300)], day(1)), "a wrong clock made that one");
    }

    #[test]
    fn the_newest_seven_stay() {
        let all: Vec<Time> = (0..9).map(day).rev().collect();
        assert_eq!(expired(all), [day(0), day(1)]);
        assert!(expired((0..7).map(day).collect()).is_empty());
    }
}
