//! The settings of a running relay: what the command line and the files say, and what changed when
//! they are read again.

use std::path::PathBuf;

use anyhow::anyhow;
use hobnob_local::home::Home;
use hobnob_relay::admission::{AllowList, FileError, Rule, Tokens};
use hobnob_relay::core::Limits;
use hobnob_relay::fleet::FleetConfig;
use hobnob_relay::mailbox::MailboxConfig;
use hobnob_relay::server::{Changed, Config, Inherited, PROXIES, Server, TcpConfig};

use crate::arguments::{Arguments, RunFlags};
#[cfg(feature = "fleet")]
use crate::exit_code::UsageError;
use crate::{config_file, wording};

/// The name of the file of tokens among the credentials of a systemd service.
const CREDENTIAL: &str = "tokens";

/// The settings in effect.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The command line alone.
    given: Arguments,
    /// The command line and the file of `--config`.
    pub(crate) arguments: Arguments,
    /// The content of the certificate's file. It only shows whether the certificate changed.
    certificate: Option<Vec<u8>>,
    pub(crate) rule: Rule,
    pub(crate) limits: Limits,
    fleet: Option<FleetConfig>,
}

impl Settings {
    /// Reads the files that the arguments name.
    pub(crate) fn read(given: Arguments) -> anyhow::Result<Self> {
        let arguments = config_file::complete(&given)?;
        let rule = rule(&arguments.run, credentials())
            .map_err(|error| anyhow!(wording::file_error(&error)))?;
        let fleet = fleet(&arguments.run)?;
        Ok(Self {
            fleet,
            limits: limits(&arguments.run),
            // If it can't be read, the relay reports that when it uses the file.
            certificate: certificate(&arguments.run).and_then(|(file, _)| std::fs::read(file).ok()),
            given,
            arguments,
            rule,
        })
    }

    /// Reads all files again and changes the running relay. Returns what changed, in words. If a
    /// file is unusable, nothing changes.
    pub(crate) async fn reload(&mut self, server: &Server) -> anyhow::Result<Vec<String>> {
        // Everything is read before anything changes.
        let new = Self::read(self.given.clone())?;
        let in_fleet = new.fleet.as_ref().filter(|_| self.fleet.is_some());
        if let Some(fleet) = in_fleet {
            server.check_fleet_list(&fleet.list)?;
        }
        let changed = server
            .change(
                new.rule.clone(),
                new.limits.clone(),
                certificate(&new.arguments.run),
            )
            .await
            .map_err(|error| anyhow!(wording::operator_error(&error)))?;
        let mut words = self.changes(&new);
        if let Some(fleet) = in_fleet
            && server.change_fleet_list(fleet.list.clone())?
        {
            words.push(format!(
                "the list of the fleet has the number {}",
                fleet.list.number()
            ));
        }
        words.extend(of_peers(changed));
        // Flags that need a restart keep their value, so that the next reload reports them again.
        self.certificate = new.certificate;
        self.rule = new.rule;
        self.limits = new.limits;
        if self.fleet.is_some() && new.fleet.is_some() {
            self.fleet = new.fleet;
        }
        Ok(words)
    }

    /// The differences between the settings in effect and new ones.
    fn changes(&self, new: &Self) -> Vec<String> {
        let limit = |name: &str, old: u64, new: u64| {
            let show = |n: u64| {
                if n == 0 {
                    "none".to_owned()
                } else {
                    n.to_string()
                }
            };
            (old != new).then(|| format!("{name}: {} instead of {}", show(new), show(old)))
        };
        let (old, limits) = (&self.limits, &new.limits);
        let mut changes: Vec<String> = [
            limit("peers-max", old.peers as u64, limits.peers as u64),
            limit("rate", old.rate, limits.rate),
            limit("day-quota", old.day_quota, limits.day_quota),
        ]
        .into_iter()
        .flatten()
        .collect();
        if new.certificate.is_some() && new.certificate != self.certificate {
            changes.push("the certificate".to_owned());
        }
        changes.extend(rule_changes(&self.rule, &new.rule));
        let restart = self.arguments.flags_for_restart(&new.arguments);
        changes.extend(
            restart
                .into_iter()
                .map(|flag| format!("{flag}: the new value applies after a restart")),
        );
        changes
    }
}

fn of_peers(changed: Changed) -> Vec<String> {
    let Changed {
        bans_added,
        bans_removed,
        disconnected,
    } = changed;
    [
        (bans_added, "bans added"),
        (bans_removed, "bans removed"),
        (disconnected, "peers disconnected"),
    ]
    .into_iter()
    .filter(|(n, _)| *n > 0)
    .map(|(n, what)| format!("{what}: {n}"))
    .collect()
}

/// How the rule changed. Names of tokens appear, tokens never do.
fn rule_changes(old: &Rule, new: &Rule) -> Vec<String> {
    match (old, new) {
        (old, new) if old == new => Vec::new(),
        (Rule::Tokens(old), Rule::Tokens(new)) => {
            let change = |of: &Tokens, other: &Tokens, what: &str| {
                let names: Vec<&str> = of
                    .iter()
                    .filter(|token| other.iter().all(|other| other != *token))
                    .map(|token| token.name())
                    .collect();
                (!names.is_empty()).then(|| format!("tokens {what}: {}", names.join(", ")))
            };
            let changes = [
                change(new, old, "added or changed"),
                change(old, new, "removed or changed"),
            ];
            changes.into_iter().flatten().collect()
        }
        (Rule::Listed(_), Rule::Listed(_)) => vec!["the allow list".to_owned()],
        (_, Rule::Open) => vec!["all peers are admitted".to_owned()],
        (_, Rule::Tokens(_)) => vec!["only peers with a token are admitted".to_owned()],
        (_, Rule::Listed(_)) => vec!["only peers on the allow list are admitted".to_owned()],
    }
}

/// The file of tokens that a systemd service got with `LoadCredential=tokens:FILE`.
fn credentials() -> Option<PathBuf> {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY")?;
    Some(PathBuf::from(folder).join(CREDENTIAL)).filter(|file| file.exists())
}

fn rule(flags: &RunFlags, credential: Option<PathBuf>) -> Result<Rule, FileError> {
    if let Some(file) = &flags.allow_file {
        return AllowList::read(file).map(Rule::Listed);
    }
    if let Some(file) = &flags.token_file {
        return Tokens::read_one(file).map(Rule::Tokens);
    }
    match flags.tokens_file.clone().or(credential) {
        Some(file) => Tokens::read(&file).map(Rule::Tokens),
        None => Ok(Rule::Open),
    }
}

/// The files of the certificate and its key.
fn certificate(flags: &RunFlags) -> Option<(PathBuf, PathBuf)> {
    flags.tls_cert.clone().zip(flags.tls_key.clone())
}

fn limits(flags: &RunFlags) -> Limits {
    let default = Limits::default();
    Limits {
        peers: flags.peers_max.unwrap_or(default.peers),
        roster: !flags.no_roster,
        rate: flags.rate.unwrap_or(default.rate),
        day_quota: flags.day_quota.unwrap_or(default.day_quota),
        ..default
    }
}

/// The configuration of the relay with these settings.
pub(crate) fn config(settings: &Settings, home: &Home) -> Config {
    let run = &settings.arguments.run;
    let proxies = run.behind_proxy.clone().map(|proxies| {
        if proxies.is_empty() {
            PROXIES.to_vec()
        } else {
            proxies
        }
    });
    let tcp = TcpConfig {
        at_udp_port: !run.no_tcp,
        also: run.tcp.clone(),
        certificate: certificate(run),
        proxies,
    };
    Config {
        listen: settings.arguments.listen,
        home: home.data_dir().to_owned(),
        rule: settings.rule.clone(),
        limits: settings.limits.clone(),
        tcp,
        inherited: Inherited::default(),
        mailbox: mailbox(run),
        fleet: settings.fleet.clone(),
    }
}

/// The fleet that the relay is a member of.
#[cfg(feature = "fleet")]
fn fleet(flags: &RunFlags) -> anyhow::Result<Option<FleetConfig>> {
    // One of them may come from the file, and the other from the command line.
    if flags.fleet.is_given() && flags.mailbox.is_some() {
        let words = "--fleet cannot be used with --mailbox: a relay of a fleet holds no mail";
        return Err(UsageError(words.to_owned()).into());
    }
    flags.fleet.config()
}

/// Without the feature there are no flags for it.
#[cfg(not(feature = "fleet"))]
fn fleet(_flags: &RunFlags) -> anyhow::Result<Option<FleetConfig>> {
    Ok(None)
}

/// Where to hold mail, and how much.
fn mailbox(flags: &RunFlags) -> Option<MailboxConfig> {
    let (dir, bytes_max) = flags.mailbox.clone().zip(flags.mailbox_max)?;
    Some(MailboxConfig { dir, bytes_max })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn settings(flags: &str) -> anyhow::Result<Settings> {
        let words = ["hobnob-relay"].into_iter().chain(flags.split_whitespace());
        Settings::read(Arguments::parse_from(words))
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn flags_change_the_defaults() {
        let settings = settings("--no-roster --rate 10M --peers-max 5 --day-quota 5G").unwrap();
        assert_eq!(settings.rule, Rule::Open);
        assert_eq!(settings.limits.peers, 5);
        assert_eq!(settings.limits.rate, 10_000_000);
        assert_eq!(settings.limits.day_quota, 5_000_000_000);
        assert!(!settings.limits.roster);
        assert_eq!(super::limits(&RunFlags::default()), Limits::default());
    }

    #[test]
    fn a_token_file_that_does_not_exist_is_an_error() {
        let error = settings("--token-file /nowhere").unwrap_err();
        assert!(error.to_string().contains("/nowhere"), "{error}");
    }

    #[cfg(feature = "fleet")]
    #[test]
    fn a_relay_of_a_fleet_holds_no_mail_wherever_that_is_written() {
        let config = file("mailbox = \"mail\"\nmailbox-max = \"1G\"\n");
        let path = config.path().display();
        let flags =
            format!("--config {path} --fleet nats://a --fleet-list l --fleet-credentials c");
        let error = settings(&flags).unwrap_err();
        assert!(error.is::<UsageError>(), "{error}");
    }

    #[test]
    fn a_credential_is_used_if_no_flag_names_a_file() {
        let (tokens, listed) = (file("summer sesame\n"), file(""));
        let credential = || Some(tokens.path().to_owned());
        let none = rule(&RunFlags::default(), credential()).unwrap();
        assert!(matches!(none, Rule::Tokens(_)));
        let flags = RunFlags {
            allow_file: Some(listed.path().to_owned()),
            ..RunFlags::default()
        };
        assert!(matches!(
            rule(&flags, credential()).unwrap(),
            Rule::Listed(_)
        ));
    }

    #[test]
    fn a_change_is_reported_without_secrets() {
        let old = settings("--peers-max 5 --listen 127.0.0.1:1").unwrap();
        let tokens = file("summer sesame\nwinter poppy\n");
        let path = tokens.path().display();
        let new = settings(&format!("--rate 1k --tokens-file {path}")).unwrap();
        let changes = old.changes(&new).join("; ");
        assert_eq!(
            changes,
            "peers-max: 20000 instead of 5; rate: 1000 instead of none; only peers with a token are admitted; --listen: the new value applies after a restart"
        );
        std::fs::write(tokens.path(), "winter poppy\nautumn x\n").unwrap();
        let newer = settings(&format!("--rate 1k --tokens-file {path}")).unwrap();
        assert_eq!(
            new.changes(&newer),
            [
                "tokens added or changed: autumn",
                "tokens removed or changed: summer"
            ]
        );
        assert!(new.changes(&new).is_empty());
    }
}
