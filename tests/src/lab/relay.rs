//! A `hobnob relay` on a machine.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use serde_json::Value;

use super::daemon::Daemon;
use super::home::Home;
use super::internet::OnInternet;
use super::machine::Machine;
use super::process::Output;

/// A relay that was started, and may have been stopped and started again since. It is killed when
/// it is dropped.
#[derive(Debug)]
pub struct Relay {
    home: Home,
    daemon: Daemon,
}

impl Relay {
    pub(super) fn new(home: Home, arguments: &[&str]) -> Self {
        // Any port would do; this one is the same after a restart.
        let listen = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, PORT, 0, 0).to_string();
        let arguments = [&["relay", "--listen", &listen], arguments].concat();
        Self {
            daemon: Daemon::new(home.clone(), "relay", &arguments),
            home,
        }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        self.daemon.id()
    }

    /// What nodes are to name it with: `id@address:port`.
    pub fn name(&self) -> String {
        format!("{}@{}", self.id(), self.address())
    }

    /// As [`Relay::name`], for neighbours on its first network.
    pub fn name_by_ipv6(&self) -> String {
        format!("{}@[{}]:{PORT}", self.id(), self.machine().ipv6())
    }

    /// Where nodes reach it.
    pub fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.machine().public_ipv4(), PORT)
    }

    /// The machine it runs on.
    pub fn machine(&self) -> &Machine {
        self.home.machine()
    }

    /// The home it runs in.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The peers in its liveness table, one line each.
    pub fn peers(&self) -> Vec<Value> {
        self.run(&["peers"]).expect(0).json()
    }

    /// The line of one peer, if the table has it.
    pub fn row(&self, peer: &str) -> Option<Value> {
        self.peers().into_iter().find(|row| row["peer"] == peer)
    }

    /// Does what its operator asks, such as `kick ID`.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.home.run(&[&["relay"], arguments].concat())
    }

    /// Which of these words are somewhere in its memory.
    pub fn memory_contains(&self, words: &[String]) -> BTreeSet<String> {
        self.daemon.memory_contains(words)
    }

    /// Starts it again, in the same home, and waits until it listens.
    pub fn start(&self) {
        self.daemon.start();
    }

    /// Ends it at once, as a power cut would.
    pub fn kill9(&self) {
        self.daemon.kill9();
    }

    /// Asks it to end, and waits until it has, in good order.
    pub fn terminate(&self) {
        self.daemon.terminate();
    }

    /// Ends it in good order and starts it again.
    pub fn restart(&self) {
        self.terminate();
        self.start();
    }

    /// Ends it at once and lets the home forget who it was, and who was kept out.
    pub fn wipe(self) -> Home {
        let Self { home, daemon } = self;
        drop(daemon);
        std::fs::remove_dir_all(home.path()).expect("the lab's folders are ours");
        home
    }

    /// Waits for an event of the present run, which may have come already.
    pub fn wait_for(&self, what: &str, fits: impl Fn(&Value) -> bool, within: Duration) -> Value {
        self.daemon.wait(what, within, |printed| {
            printed.this_run().iter().find(|event| fits(event)).cloned()
        })
    }
}

/// The port of relays, on a machine that has all its ports to itself.
const PORT: u16 = hobnob_protocol::relay::PORT_RELAY;
