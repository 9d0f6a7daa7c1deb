//! A `hobnob relay` on a machine, with methods for its operator's commands and for stopping and
//! starting it.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use serde_json::Value;

use super::daemon::Daemon;
use super::home::Home;
use super::internet::OnInternet;
use super::machine::Machine;
use super::process::Output;
use super::usage::Usage;

/// A relay, which can be stopped and started again. Dropping it kills the process.
#[derive(Debug)]
pub struct Relay {
    home: Home,
    daemon: Daemon,
}

impl Relay {
    pub(super) fn new(home: Home, arguments: &[&str]) -> Self {
        // A fixed port, so that it is the same after a restart.
        let listen = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, PORT, 0, 0).to_string();
        let arguments = [&["relay", "--listen", &listen], arguments].concat();
        Self {
            daemon: Daemon::new(home.clone(), "relay", &arguments),
            home,
        }
    }

    /// The relay's id.
    pub fn id(&self) -> &str {
        self.daemon.id()
    }

    /// The value for a node's `--relay`: `id@address:port`.
    pub fn name(&self) -> String {
        format!("{}@{}", self.id(), self.address())
    }

    /// Like [`Relay::name`], with the IPv6 address for neighbours on its first network.
    pub fn name_by_ipv6(&self) -> String {
        format!("{}@[{}]:{PORT}", self.id(), self.machine().ipv6())
    }

    /// The relay's public address.
    pub fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.machine().public_ipv4(), PORT)
    }

    /// The machine that the relay runs on.
    pub fn machine(&self) -> &Machine {
        self.home.machine()
    }

    /// The relay's home.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The peers in the relay's liveness table, one line each.
    pub fn peers(&self) -> Vec<Value> {
        self.run(&["peers"]).expect(0).json()
    }

    /// Like [`Relay::peers`]. Nothing if the relay does not run.
    pub fn try_peers(&self) -> Option<Vec<Value>> {
        let listed = self.run(&["peers"]);
        (listed.code == Some(0)).then(|| listed.json())
    }

    /// The line of one peer in the liveness table, if it is there.
    pub fn row(&self, peer: &str) -> Option<Value> {
        self.peers().into_iter().find(|row| row["peer"] == peer)
    }

    /// Runs an operator's command, such as `kick ID`.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.home.run(&[&["relay"], arguments].concat())
    }

    /// Which of these words are in the relay's memory.
    pub fn memory_contains(&self, words: &[String]) -> BTreeSet<String> {
        self.daemon.memory_contains(words)
    }

    /// What the relay uses now.
    pub fn usage(&self) -> Usage {
        self.daemon.usage()
    }

    /// Keeps only those events from now on that fit.
    pub fn keep_only(&self, fits: fn(&Value) -> bool) {
        self.daemon.keep_only(fits);
    }

    /// Starts the relay again in the same home, and waits until it listens.
    pub fn start(&self) {
        self.daemon.start();
    }

    /// Kills the relay, like a power failure.
    pub fn kill9(&self) {
        self.daemon.kill9();
    }

    /// Stops the relay's process for now. Its machine still answers.
    pub fn freeze(&self) {
        self.daemon.freeze();
    }

    /// Undoes [`Relay::freeze`].
    pub fn thaw(&self) {
        self.daemon.thaw();
    }

    /// Sends SIGTERM, waits until the relay exits, and checks its exit code.
    pub fn terminate(&self) {
        self.daemon.terminate();
    }

    /// Stops the relay and starts it again.
    pub fn restart(&self) {
        self.terminate();
        self.start();
    }

    /// Kills the relay and deletes its home, with its identity and its bans.
    pub fn wipe(self) -> Home {
        let Self { home, daemon } = self;
        drop(daemon);
        std::fs::remove_dir_all(home.path()).expect("the lab's folder can be removed");
        home
    }

    /// Waits for an event of the current run. It may have been printed already.
    pub fn wait_for(&self, what: &str, fits: impl Fn(&Value) -> bool, within: Duration) -> Value {
        self.daemon.wait(what, within, |printed| {
            printed.this_run().iter().find(|event| fits(event)).cloned()
        })
    }
}

/// The standard port of relays. It is free on every machine of the lab.
const PORT: u16 = hobnob_protocol::relay::PORT_RELAY;
