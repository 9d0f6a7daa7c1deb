//! What can be written after `hobnob relay`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Subcommand;

use crate::shared::common_flags::Common;
use crate::shared::exit_code::Usage;

/// Flags and commands of `hobnob relay`.
#[derive(Debug, clap::Args)]
pub(crate) struct Relay {
    #[command(subcommand)]
    pub(super) ask: Option<Ask>,

    #[command(flatten)]
    pub(super) run: Run,
}

/// How a relay is to run.
#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// Let in only those who send the token in this file.
    #[arg(long, value_name = "FILE", conflicts_with = "allow_file")]
    pub(super) token_file: Option<PathBuf>,

    /// Let in only those in this file: a line for each, its id and perhaps a label; # begins a
    /// comment.
    #[arg(long, value_name = "FILE")]
    pub(super) allow_file: Option<PathBuf>,

    /// Tell nobody who else is here: then only who knows an id can reach it.
    #[arg(long)]
    pub(super) no_roster: bool,

    /// Pass on so many bytes a second for one peer at most, such as 500k or 10M. Default: as many
    /// as it can.
    #[arg(long, value_name = "BYTES/S", value_parser = bytes)]
    pub(super) rate: Option<u64>,

    /// Take so many peers at most.
    #[arg(long, value_name = "N", value_parser = peers)]
    pub(super) peers_max: Option<usize>,

    /// Show who is here, metrics and health at this address and TCP port. Anybody who reaches it
    /// may read it.
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = STATUS_LISTEN)]
    pub(super) status: Option<SocketAddr>,
}

/// What `--status` alone means: this machine only.
const STATUS_LISTEN: &str = "127.0.0.1:9627";

/// What the operator can ask of the relay that runs in this home. A TARGET is a label of the allow
/// file, a peer's id, or the beginning of one.
#[derive(Debug, Subcommand)]
pub(super) enum Ask {
    /// Who is here, or was within the hour: label or short id, state, address, round trip, rooms,
    /// channels, forwarded bytes, id.
    Peers,
    /// End a peer's connection. It may come back.
    Kick {
        /// Label, id, or the first 8 or more characters of one.
        target: String,
    },
    /// End a peer's connection and keep it out, until unban.
    Ban {
        /// Label, id, or the first 8 or more characters of one; who has not been here, by its whole
        /// id.
        target: String,
    },
    /// Keep a peer out no longer.
    Unban {
        /// Label, id, or the first 8 or more characters of one.
        target: String,
    },
}

impl Relay {
    /// Refuses flags that mean nothing here.
    pub(super) fn check(&self, common: &Common) -> Result<(), Usage> {
        if let Some(flag) = common.flag_for_nodes_only() {
            return Err(Usage(format!(
                "{flag} is for a node, and this is a relay: leave it out"
            )));
        }
        let run = &self.run;
        let flags = [
            (common.listen.is_some(), "--listen"),
            (run.token_file.is_some(), "--token-file"),
            (run.allow_file.is_some(), "--allow-file"),
            (run.no_roster, "--no-roster"),
            (run.rate.is_some(), "--rate"),
            (run.peers_max.is_some(), "--peers-max"),
            (run.status.is_some(), "--status"),
        ];
        match (&self.ask, flags.into_iter().find(|(given, _)| *given)) {
            (Some(_), Some((_, flag))) => Err(Usage(format!(
                "{flag} is for a relay that starts: leave it out, or restart the relay with it"
            ))),
            (Some(_), None) | (None, _) => Ok(()),
        }
    }
}

/// `500`, `500k`, `10M`, `1G`.
fn bytes(word: &str) -> Result<u64, String> {
    const WRONG: &str = "a rate is a number of bytes above 0, such as 500000, 500k, 10M, 1G";
    let (number, unit) = match word.char_indices().last() {
        Some((at, 'k')) => (&word[..at], 1_000),
        Some((at, 'M')) => (&word[..at], 1_000_000),
        Some((at, 'G')) => (&word[..at], 1_000_000_000),
        Some(_) | None => (word, 1),
    };
    let number: u64 = number.parse().map_err(|_| WRONG)?;
    number
        .checked_mul(unit)
        .filter(|&bytes| bytes > 0)
        .ok_or_else(|| WRONG.into())
}

fn peers(word: &str) -> Result<usize, String> {
    word.parse()
        .ok()
        .filter(|&n| n > 0)
        .ok_or_else(|| "a relay takes a number of peers above 0".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Args, Verb};
    use clap::Parser;

    fn check(line: &str) -> Result<(), String> {
        let args = Args::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
        let Some(Verb::Relay(relay)) = args.verb else {
            panic!("{line} is about a relay")
        };
        relay.check(&args.common).map_err(|error| error.to_string())
    }

    #[test]
    fn every_relay_command_of_the_manual_is_understood() {
        for line in [
            "hobnob relay",
            "hobnob relay --listen 0.0.0.0:4627 --token-file t --no-roster --rate 10M --peers-max 500 --home /tmp/x --json -v",
            "hobnob relay --allow-file a --status",
            "hobnob relay --status [::1]:80 --json",
            "hobnob --home /tmp/x relay peers --json",
            "hobnob relay --home /tmp/x kick ann",
            "hobnob relay ban aaaaaaaa",
            "hobnob relay unban aaaaaaaa --json",
        ] {
            assert_eq!(check(line), Ok(()), "{line}");
        }
    }

    #[test]
    fn flags_that_mean_nothing_are_refused() {
        for (line, says) in [
            ("hobnob relay --nick ann", "--nick is for a node"),
            ("hobnob relay peers --no-mdns", "--no-mdns is for a node"),
            ("hobnob relay --room ops", "--room is for a node"),
            (
                "hobnob relay --relay 192.0.2.7:4627",
                "--relay is for a node",
            ),
            (
                "hobnob relay --relay-token-file x",
                "--relay-token-file is for a node",
            ),
            (
                "hobnob relay --rate 1M peers",
                "--rate is for a relay that starts",
            ),
            (
                "hobnob relay --listen [::]:1 kick ann",
                "--listen is for a relay that starts",
            ),
            (
                "hobnob relay --token-file a --allow-file b",
                "cannot be used with",
            ),
            (
                "hobnob relay --status 127.0.0.1:1 peers",
                "--status is for a relay that starts",
            ),
            ("hobnob relay --status 9627", "--status"),
            ("hobnob relay --rate 0", "above 0"),
            ("hobnob relay --peers-max 0", "above 0"),
            ("hobnob relay kick", "TARGET"),
        ] {
            let error = check(line).expect_err(line);
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn a_rate_may_have_a_unit() {
        for (word, rate) in [
            ("1", 1),
            ("500k", 500_000),
            ("10M", 10_000_000),
            ("2G", 2_000_000_000),
        ] {
            assert_eq!(bytes(word), Ok(rate), "{word}");
        }
        for wrong in [
            "",
            "0",
            "k",
            "1.5M",
            "-1",
            "10 M",
            "1m",
            "99999999999999G",
            "1é",
        ] {
            assert!(bytes(wrong).is_err(), "{wrong:?}");
        }
    }
}
