//! The arguments of `hobnob relay`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand};
use hobnob_local::{Home, HomeError};

use crate::exit_code::UsageError;

/// Run a relay, through which peers behind NAT reach each other, or administer the one that runs in
/// this home.
///
/// Without a command, runs a relay until it receives SIGINT, SIGTERM or SIGHUP.
#[derive(Debug, Parser)]
#[command(name = "hobnob-relay", version, after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<AdminCommand>,

    #[command(flatten)]
    pub(crate) run: RunFlags,

    /// Use the folder `relay` in this folder for key, bans and socket; also HOBNOB_HOME. Default:
    /// the XDG folders.
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,

    /// Listen on this address and UDP port only. Default: port 4627 on all addresses.
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,

    /// Print one JSON object per line.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Log more on stderr (-vv: much more).
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

const EXIT_CODES: &str =
    "Exit codes: 0 success; 1 a failure on this machine; 2 usage; 3 no such peer.";

/// Flags that apply to a relay when it starts.
#[derive(Debug, clap::Args)]
pub(crate) struct RunFlags {
    /// Admit only peers that know the token in this file.
    #[arg(long, value_name = "FILE", conflicts_with = "allow_file")]
    pub(crate) token_file: Option<PathBuf>,

    /// Admit only the peers in this file. Each line has an id and an optional label; # starts a
    /// comment.
    #[arg(long, value_name = "FILE")]
    pub(crate) allow_file: Option<PathBuf>,

    /// Do not tell peers which other peers are connected. A peer is then reachable only by those
    /// who know its id.
    #[arg(long)]
    pub(crate) no_roster: bool,

    /// Forward at most this many bytes per second for each peer, such as 500k or 10M. Default: no
    /// limit.
    #[arg(long, value_name = "BYTES/S", value_parser = bytes)]
    pub(crate) rate: Option<u64>,

    /// Admit at most this many peers.
    #[arg(long, value_name = "N", value_parser = peers)]
    pub(crate) peers_max: Option<usize>,

    /// Do not listen on the TCP port with the number of the UDP port. Nodes whose network blocks UDP
    /// then need a --tcp address.
    #[arg(long)]
    pub(crate) no_tcp: bool,

    /// Accept nodes whose network blocks UDP at this address and TCP port, too, such as
    /// 0.0.0.0:443. May be repeated.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) tcp: Vec<SocketAddr>,

    /// Use the certificate in this PEM file for TLS. Default: a certificate of the relay's own
    /// identity. Nodes accept any, because they check the identity inside.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// Use the private key in this PEM file for TLS.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Serve plain HTTP at loopback --tcp addresses, for a reverse proxy that ends TLS. Learn the
    /// clients' addresses from the proxies at these addresses, by PROXY protocol v2 or
    /// X-Forwarded-For. Default: proxies on this machine.
    #[arg(long, value_name = "ADDR", num_args = 0.., value_delimiter = ',', requires = "tcp")]
    pub(crate) behind_proxy: Option<Vec<IpAddr>>,

    /// Serve a status page, metrics and a health check at this address and TCP port. Everyone who
    /// can connect to it can read them.
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = STATUS_LISTEN)]
    pub(crate) status: Option<SocketAddr>,
}

/// The address of `--status` without a value: this machine only.
const STATUS_LISTEN: &str = "127.0.0.1:9627";

/// Requests to the relay that runs in this home. A TARGET is a label of the allow file, a peer's
/// id, or the first 8 or more characters of an id.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// List the peers that are connected or were within the last hour: label or short id, state,
    /// address, round trip, rooms, channels, forwarded bytes, id.
    Peers,
    /// Disconnect a peer. It may connect again.
    Kick {
        /// Label, id, or the first 8 or more characters of an id.
        target: String,
    },
    /// Disconnect a peer and refuse its connections until unban.
    Ban {
        /// Label, id, or the first 8 or more characters of an id. A peer that has never connected
        /// needs its whole id.
        target: String,
    },
    /// Remove the ban of a peer.
    Unban {
        /// Label, id, or the first 8 or more characters of an id.
        target: String,
    },
}

impl Arguments {
    /// The home of the relay: a folder of its own, so that a relay and a node in one home share
    /// neither key nor lock.
    pub(crate) fn relay_home(&self) -> Result<Home, HomeError> {
        let variable = || {
            std::env::var_os("HOBNOB_HOME")
                .filter(|dir| !dir.is_empty())
                .map(PathBuf::from)
        };
        self.home
            .clone()
            .or_else(variable)
            .map_or_else(Home::of_relay, |dir| Home::at(&dir.join("relay")))
    }

    /// Rejects flags of a starting relay beside a command.
    pub(crate) fn check(&self) -> Result<(), UsageError> {
        let run = &self.run;
        let flags = [
            (self.listen.is_some(), "--listen"),
            (run.token_file.is_some(), "--token-file"),
            (run.allow_file.is_some(), "--allow-file"),
            (run.no_roster, "--no-roster"),
            (run.rate.is_some(), "--rate"),
            (run.peers_max.is_some(), "--peers-max"),
            (run.no_tcp, "--no-tcp"),
            (!run.tcp.is_empty(), "--tcp"),
            (run.tls_cert.is_some(), "--tls-cert"),
            (run.behind_proxy.is_some(), "--behind-proxy"),
            (run.status.is_some(), "--status"),
        ];
        match (&self.command, flags.into_iter().find(|(given, _)| *given)) {
            (Some(_), Some((_, flag))) => Err(UsageError(format!(
                "{flag} applies only when a relay starts: remove it, or restart the relay with it"
            ))),
            (Some(_), None) | (None, _) => Ok(()),
        }
    }
}

/// `500`, `500k`, `10M`, `1G`.
fn bytes(word: &str) -> Result<u64, String> {
    const WRONG: &str =
        "a rate is a number of bytes per second above 0, such as 500000, 500k, 10M or 1G";
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
        .ok_or_else(|| "the maximum number of peers must be above 0".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn check(line: &str) -> Result<(), String> {
        let arguments =
            Arguments::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
        arguments.check().map_err(|error| error.to_string())
    }

    #[test]
    fn the_parser_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_documented_command_is_accepted() {
        for line in [
            "hobnob-relay",
            "hobnob-relay --listen 0.0.0.0:4627 --token-file t --no-roster --rate 10M --peers-max 500 --home /tmp/x --json -v",
            "hobnob-relay --allow-file a --status",
            "hobnob-relay --status [::1]:80 --json",
            "hobnob-relay --no-tcp --tcp 0.0.0.0:443 --tcp [::]:443 --tls-cert c --tls-key k",
            "hobnob-relay --tcp 127.0.0.1:8080 --behind-proxy",
            "hobnob-relay --tcp 127.0.0.1:8080 --behind-proxy 127.0.0.1,10.0.0.7",
            "hobnob-relay --home /tmp/x peers --json",
            "hobnob-relay --home /tmp/x kick ann",
            "hobnob-relay ban aaaaaaaa",
            "hobnob-relay unban aaaaaaaa --json",
        ] {
            assert_eq!(check(line), Ok(()), "{line}");
        }
    }

    #[test]
    fn flags_that_have_no_meaning_are_rejected() {
        for (line, says) in [
            ("hobnob-relay --nick ann", "unexpected argument '--nick'"),
            (
                "hobnob-relay peers --no-mdns",
                "unexpected argument '--no-mdns'",
            ),
            ("hobnob-relay --room ops", "unexpected argument '--room'"),
            (
                "hobnob-relay --relay 192.0.2.7:4627",
                "unexpected argument '--relay'",
            ),
            (
                "hobnob-relay --rate 1M peers",
                "--rate applies only when a relay starts",
            ),
            (
                "hobnob-relay --listen [::]:1 kick ann",
                "--listen applies only when a relay starts",
            ),
            (
                "hobnob-relay --token-file a --allow-file b",
                "cannot be used with",
            ),
            (
                "hobnob-relay --status 127.0.0.1:1 peers",
                "--status applies only when a relay starts",
            ),
            ("hobnob-relay --status 9627", "--status"),
            ("hobnob-relay --rate 0", "above 0"),
            ("hobnob-relay --peers-max 0", "above 0"),
            ("hobnob-relay kick", "TARGET"),
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
