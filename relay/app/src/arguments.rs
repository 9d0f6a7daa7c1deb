//! The arguments of `hobnob relay`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand};
use hobnob_local::{Home, HomeError};

use crate::exit_code::UsageError;
#[cfg(feature = "fleet")]
use crate::fleet::{FleetCommand, FleetFlags};
use crate::public_name::PublicName;

/// Run a relay, through which peers behind NAT reach each other, or administer the one that runs in
/// this home.
///
/// Without a command, runs a relay until it receives SIGINT or SIGTERM. On SIGHUP it reads its
/// files again.
#[derive(Debug, Clone, Parser)]
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

    /// Read flags from this TOML file. Each key is the name of a flag without its dashes. Flags on
    /// the command line win.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// The socket for the operator's commands. Default: in the relay's home. The commands also find
    /// a relay at /run/hobnob-relay/control.sock.
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) admin_socket: Option<PathBuf>,

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
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct RunFlags {
    /// Admit only peers that know the token in this file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["tokens_file", "allow_file"])]
    pub(crate) token_file: Option<PathBuf>,

    /// Admit only peers that know one of the tokens in this file. Each line has a name, a token and
    /// optionally an expiry, such as 2027-01-31; # starts a comment.
    #[arg(long, value_name = "FILE", conflicts_with = "allow_file")]
    pub(crate) tokens_file: Option<PathBuf>,

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

    /// Forward at most this many bytes per day (UTC) for each peer, such as 500M or 5G. A peer that
    /// has used them is refused until the next day. Default: no limit.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) day_quota: Option<u64>,

    /// Hold sealed mail for peers that are away, in a database in this folder. Only the recipient can
    /// read it.
    #[arg(long, value_name = "DIR", requires = "mailbox_max")]
    pub(crate) mailbox: Option<PathBuf>,

    /// Hold at most this much mail, such as 500M or 10G. A recipient gets at most 32 MiB, and an
    /// eighth of what is free.
    #[arg(long, value_name = "SIZE", value_parser = bytes, requires = "mailbox")]
    pub(crate) mailbox_max: Option<u64>,

    /// Serve a status page, metrics and a health check at this address and TCP port. Everyone who
    /// can connect to it can read them.
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = STATUS_LISTEN)]
    pub(crate) status: Option<SocketAddr>,

    /// The name or address at which nodes on other networks reach this relay, such as
    /// relay.example.com, with a port if the router's differs. The line that the relay prints for
    /// nodes contains it. Default: the addresses of this machine.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) public_name: Option<PublicName>,

    /// Members of this group may use the commands, too, given by its name or number. Needs
    /// --admin-socket PATH in a folder that they can open.
    #[arg(long, value_name = "GROUP")]
    pub(crate) admin_group: Option<String>,

    #[cfg(feature = "fleet")]
    #[command(flatten)]
    pub(crate) fleet: FleetFlags,
}

/// The socket of the relay that scripts/hobnob-relay.service runs.
const SYSTEM_SOCKET: &str = "/run/hobnob-relay/control.sock";

/// The address of `--status` without a value: this machine only.
const STATUS_LISTEN: &str = "127.0.0.1:9627";

/// Requests to the relay that runs in this home. A TARGET is a label of the allow file, a peer's
/// id, or the first 8 or more characters of an id.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum AdminCommand {
    /// List the peers that are connected or were within the last hour: label or short id, state,
    /// address, round trip, rooms, channels, forwarded bytes, id.
    Peers,
    /// Disconnect a peer. It may connect again.
    Kick {
        /// Label, id, or the first 8 or more characters of an id.
        target: String,
    },
    /// Disconnect a peer, or all peers of an address range, and refuse them until unban.
    Ban {
        /// Label, id, the first 8 or more characters of an id, or addresses such as 192.0.2.0/24. A
        /// peer that has never connected needs its whole id.
        target: String,
    },
    /// Remove a ban.
    Unban {
        /// Label, id, the first 8 or more characters of an id, or addresses as `bans` lists them.
        target: String,
    },
    /// List the bans.
    Bans,
    /// Disconnect all peers within 4 seconds, and refuse new ones until the relay starts again. Peers
    /// of a fleet move to its other relays at once.
    Drain,
    /// Make the key of a fleet, and sign or show the list of its relays.
    #[cfg(feature = "fleet")]
    Fleet {
        #[command(subcommand)]
        command: FleetCommand,
    },
}

impl Arguments {
    /// The home of the relay: a folder of its own, so that a relay and a node in one home share
    /// neither key nor lock.
    pub(crate) fn relay_home(&self) -> Result<Home, HomeError> {
        self.home
            .clone()
            .or_else(home_variable)
            .map_or_else(Home::of_relay, |dir| Home::at(&dir.join("relay")))
    }

    fn names_home(&self) -> bool {
        self.home.is_some() || home_variable().is_some()
    }

    /// These arguments, and those of `file` where these have none.
    pub(crate) fn or(self, file: Arguments) -> Arguments {
        Arguments {
            command: self.command,
            run: self.run.or(file.run),
            home: self.home.or(file.home),
            listen: self.listen.or(file.listen),
            config: self.config,
            admin_socket: self.admin_socket.or(file.admin_socket),
            json: self.json || file.json,
            verbose: self.verbose.max(file.verbose),
        }
    }

    /// The flags that `new` changes but that a running relay can't change.
    pub(crate) fn flags_for_restart(&self, new: &Arguments) -> Vec<&'static str> {
        let (run, new_run) = (&self.run, &new.run);
        let flags = [
            (self.home != new.home, "--home"),
            (self.listen != new.listen, "--listen"),
            (self.admin_socket != new.admin_socket, "--admin-socket"),
            (run.admin_group != new_run.admin_group, "--admin-group"),
            (run.no_roster != new_run.no_roster, "--no-roster"),
            (run.no_tcp != new_run.no_tcp, "--no-tcp"),
            (run.tcp != new_run.tcp, "--tcp"),
            // Another file is used at once, but the relay's own certificate is not.
            (
                run.tls_cert.is_some() && new_run.tls_cert.is_none(),
                "--tls-cert",
            ),
            (run.behind_proxy != new_run.behind_proxy, "--behind-proxy"),
            (run.mailbox != new_run.mailbox, "--mailbox"),
            (run.mailbox_max != new_run.mailbox_max, "--mailbox-max"),
            (run.status != new_run.status, "--status"),
            (run.public_name != new_run.public_name, "--public-name"),
            #[cfg(feature = "fleet")]
            (!run.fleet.names_same_fleet(&new_run.fleet), "--fleet"),
            (self.json != new.json, "--json"),
            (self.verbose != new.verbose, "--verbose"),
        ];
        let changed = flags.into_iter().filter(|(changed, _)| *changed);
        changed.map(|(_, flag)| flag).collect()
    }

    /// Where the commands look for the relay, in this order.
    pub(crate) fn sockets(&self, home: &Home) -> Vec<PathBuf> {
        if let Some(socket) = &self.admin_socket {
            return vec![socket.clone()];
        }
        let mut sockets = home.sockets();
        if !self.names_home() {
            sockets.push(SYSTEM_SOCKET.into());
        }
        sockets
    }

    /// Rejects flags of a starting relay beside a command.
    pub(crate) fn check(&self) -> Result<(), UsageError> {
        let run = &self.run;
        let flags = [
            (self.listen.is_some(), "--listen"),
            (run.token_file.is_some(), "--token-file"),
            (run.tokens_file.is_some(), "--tokens-file"),
            (run.allow_file.is_some(), "--allow-file"),
            (run.no_roster, "--no-roster"),
            (run.rate.is_some(), "--rate"),
            (run.peers_max.is_some(), "--peers-max"),
            (run.no_tcp, "--no-tcp"),
            (!run.tcp.is_empty(), "--tcp"),
            (run.tls_cert.is_some(), "--tls-cert"),
            (run.behind_proxy.is_some(), "--behind-proxy"),
            (run.day_quota.is_some(), "--day-quota"),
            (run.mailbox.is_some(), "--mailbox"),
            (run.mailbox_max.is_some(), "--mailbox-max"),
            (run.status.is_some(), "--status"),
            (run.public_name.is_some(), "--public-name"),
            (run.admin_group.is_some(), "--admin-group"),
            #[cfg(feature = "fleet")]
            (run.fleet.is_given(), "--fleet"),
        ];
        match (&self.command, flags.into_iter().find(|(given, _)| *given)) {
            (Some(_), Some((_, flag))) => Err(UsageError(format!(
                "{flag} applies only when a relay starts: remove it, or restart the relay with it"
            ))),
            (Some(_), None) | (None, _) => Ok(()),
        }
    }
}

impl RunFlags {
    /// These flags, and those of `file` where these have none.
    fn or(self, file: RunFlags) -> RunFlags {
        // These three say which peers to admit. One on the command line replaces them all.
        let rule =
            self.token_file.is_some() || self.tokens_file.is_some() || self.allow_file.is_some();
        let of_file = |path: Option<PathBuf>| path.filter(|_| !rule);
        RunFlags {
            token_file: self.token_file.or(of_file(file.token_file)),
            tokens_file: self.tokens_file.or(of_file(file.tokens_file)),
            allow_file: self.allow_file.or(of_file(file.allow_file)),
            no_roster: self.no_roster || file.no_roster,
            rate: self.rate.or(file.rate),
            peers_max: self.peers_max.or(file.peers_max),
            no_tcp: self.no_tcp || file.no_tcp,
            tcp: if self.tcp.is_empty() {
                file.tcp
            } else {
                self.tcp
            },
            tls_cert: self.tls_cert.or(file.tls_cert),
            tls_key: self.tls_key.or(file.tls_key),
            behind_proxy: self.behind_proxy.or(file.behind_proxy),
            day_quota: self.day_quota.or(file.day_quota),
            mailbox: self.mailbox.or(file.mailbox),
            mailbox_max: self.mailbox_max.or(file.mailbox_max),
            status: self.status.or(file.status),
            public_name: self.public_name.or(file.public_name),
            admin_group: self.admin_group.or(file.admin_group),
            #[cfg(feature = "fleet")]
            fleet: self.fleet.or(file.fleet),
        }
    }
}

fn home_variable() -> Option<PathBuf> {
    std::env::var_os("HOBNOB_HOME")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
}

/// `500`, `500k`, `10M`, `1G`.
fn bytes(word: &str) -> Result<u64, String> {
    const WRONG: &str = "write a number of bytes above 0, such as 500000, 500k, 10M or 1G";
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
            "hobnob-relay --config relay.toml --admin-group wheel --admin-socket /run/x",
            "hobnob-relay --tokens-file t --day-quota 5G",
            "hobnob-relay --public-name relay.example.com:443",
            "hobnob-relay --mailbox mail --mailbox-max 10G",
            "hobnob-relay ban 192.0.2.0/24",
            "hobnob-relay bans --json",
            "hobnob-relay --admin-socket /run/x peers",
            "hobnob-relay --status [::1]:80 --json",
            "hobnob-relay --no-tcp --tcp 0.0.0.0:443 --tcp [::]:443 --tls-cert c --tls-key k",
            "hobnob-relay --tcp 127.0.0.1:8080 --behind-proxy",
            "hobnob-relay --tcp 127.0.0.1:8080 --behind-proxy 127.0.0.1,10.0.0.7",
            "hobnob-relay --home /tmp/x peers --json",
            "hobnob-relay --home /tmp/x kick ann",
            "hobnob-relay ban aaaaaaaa",
            "hobnob-relay unban aaaaaaaa --json",
            "hobnob-relay drain",
            #[cfg(feature = "fleet")]
            "hobnob-relay --fleet nats://a:4222 --fleet nats://b --fleet-list l --fleet-credentials c --fleet-ca p",
            #[cfg(feature = "fleet")]
            "hobnob-relay fleet new --key fleet.key",
            #[cfg(feature = "fleet")]
            "hobnob-relay fleet user --credentials relay.nkey",
            #[cfg(feature = "fleet")]
            "hobnob-relay fleet sign --key k --list l --number 7 relay.example:4627",
            #[cfg(feature = "fleet")]
            "hobnob-relay fleet show fleet.list --json",
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
            ("hobnob-relay --mailbox mail", "--mailbox-max"),
            ("hobnob-relay --mailbox-max 1G", "--mailbox"),
            #[cfg(feature = "fleet")]
            ("hobnob-relay --fleet nats://a", "--fleet-list"),
            #[cfg(feature = "fleet")]
            ("hobnob-relay --fleet-list l", "--fleet"),
            #[cfg(feature = "fleet")]
            (
                "hobnob-relay --fleet a --fleet-list l --fleet-credentials c --mailbox m --mailbox-max 1G",
                "cannot be used with",
            ),
            ("hobnob-relay --rate 0", "above 0"),
            ("hobnob-relay --peers-max 0", "above 0"),
            ("hobnob-relay kick", "TARGET"),
        ] {
            let error = check(line).expect_err(line);
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn a_flag_wins_over_the_file_and_any_rule_over_all_rules_of_the_file() {
        let parse = |line: &str| Arguments::parse_from(line.split(' '));
        let file = parse("relay.toml --allow-file a --rate 5 --peers-max 7 --no-roster");
        let merged = parse("hobnob-relay --token-file t --rate 9").or(file.clone());
        assert_eq!(merged.run.token_file, Some("t".into()));
        assert_eq!(merged.run.allow_file, None);
        assert_eq!((merged.run.rate, merged.run.peers_max), (Some(9), Some(7)));
        assert!(merged.run.no_roster);
        assert_eq!(
            parse("hobnob-relay").or(file).run.allow_file,
            Some("a".into())
        );
    }

    #[test]
    fn without_a_home_the_commands_also_look_for_the_relay_of_the_system() {
        let home = Home::at(std::path::Path::new("/x/relay")).unwrap();
        let sockets = |line: &str| Arguments::parse_from(line.split(' ')).sockets(&home);
        let own = PathBuf::from("/x/relay/control.sock");
        assert_eq!(sockets("r --home /x peers"), [own]);
        assert_eq!(sockets("r --admin-socket /s peers"), [PathBuf::from("/s")]);
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
