//! A machine: namespaces with network cards in them, and programs that run there.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Shared;
use super::capture::Capture;
use super::card::Card;
use super::home::Home;
use super::namespace::Namespace;
use super::node::Node;
use super::process::{Output, finish, hobnob_binary, pipes};
use super::relay::Relay;
use super::screen::Screen;
use super::switch::Switch;
use super::terminal::{self, Model, Size, Terminal};

/// A computer on zero or more networks. Clones are the same machine; it is switched off when the
/// last of them goes.
#[derive(Debug, Clone)]
pub struct Machine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    lab: Arc<Shared>,
    /// The folder of this machine's homes, which only it uses.
    dir: PathBuf,
    namespace: Namespace,
    cards: Mutex<Vec<Card>>,
}

impl Machine {
    pub(super) fn new(lab: &Arc<Shared>, name: &str) -> Self {
        let dir = lab.dir.path().join(format!("{name}{}", lab.number()));
        std::fs::create_dir(&dir).expect("the lab's folder can be written to");
        let inner = Inner {
            name: name.to_owned(),
            lab: Arc::clone(lab),
            dir,
            namespace: Namespace::new(),
            cards: Mutex::default(),
        };
        Self(Arc::new(inner))
    }

    /// The name it was given, for people.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Connects the machine to one more network, with a card and an address of its own there, and
    /// waits until packets can pass.
    pub fn join(&self, switch: &Switch) {
        let mut cards = self.cards();
        let name = format!("eth{}", cards.len());
        cards.push(Card::connect(
            &self.0.namespace,
            &name,
            switch,
            self.0.lab.number(),
        ));
    }

    /// Takes the machine from its first network to another: the card stays, the cable is plugged in
    /// elsewhere, the address changes.
    pub fn move_to(&self, switch: &Switch) {
        let mut cards = self.cards();
        let card = cards
            .first_mut()
            .expect("a machine that moves was somewhere");
        card.reconnect(&self.0.namespace, switch, self.0.lab.number());
    }

    /// Loses this share of the packets to this machine, on every network; 0 ends that.
    pub fn loss(&self, percent: u8) {
        for card in self.cards().iter() {
            card.set_loss(percent);
        }
    }

    /// A silent death of every cable: nothing passes any more, and no link goes down.
    pub fn unplug(&self) {
        for card in self.cards().iter() {
            card.set_unplugged(true);
        }
    }

    /// Undoes [`Machine::unplug`].
    pub fn plug(&self) {
        for card in self.cards().iter() {
            card.set_unplugged(false);
        }
    }

    /// The IPv4 address on the first network.
    pub fn ipv4(&self) -> String {
        let lease = self
            .cards()
            .first()
            .expect("a machine with an address is on a network")
            .lease();
        lease.expect("this network has IPv4").address.to_string()
    }

    /// The link-local IPv6 address on the first network, with the zone that this machine's
    /// neighbours must use: their first card.
    pub fn ipv6(&self) -> String {
        format!(
            "{}%eth0",
            self.cards()
                .first()
                .expect("a machine with an address is on a network")
                .ipv6()
        )
    }

    /// A home of a node on this machine; the same name is the same home.
    pub fn home(&self, name: &str) -> Home {
        Home::new(self.clone(), name, self.0.dir.join(name))
    }

    /// Starts a node with this nickname, in the home of that name, and waits until it listens.
    pub fn up(&self, nick: &str, arguments: &[&str]) -> Node {
        self.home(nick).up(arguments)
    }

    /// Starts a relay, and waits until it listens.
    pub fn relay(&self, arguments: &[&str]) -> Relay {
        self.home("relay").relay(arguments)
    }

    /// Records every frame that passes this machine's cards, from now on.
    pub fn capture(&self) -> Capture {
        Capture::new(self)
    }

    /// Runs `hobnob` with just these arguments to its end.
    pub fn hobnob(&self, arguments: &[&str]) -> Output {
        self.run(hobnob_binary(), arguments)
    }

    /// Runs a program on this machine to its end.
    pub fn run(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Output {
        self.run_with(program, arguments, &BTreeMap::new(), "")
    }

    /// As [`Machine::run`], with more in the environment, and with input.
    pub fn run_with(
        &self,
        program: impl AsRef<OsStr>,
        arguments: &[&str],
        environment: &BTreeMap<String, String>,
        input: &str,
    ) -> Output {
        let shown = format!(
            "{}: {} {}",
            self.name(),
            Path::new(&program).display(),
            arguments.join(" ")
        );
        let child = self.spawn(program, arguments, environment);
        finish(shown, child, input, PROGRAM_TIME)
    }

    /// Does something in this machine's network. Sockets that are made there stay there, wherever
    /// they are used.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.0.namespace.inside(act)
    }

    /// A UDP socket on this machine, on any free port, that waits for a packet for at most as long
    /// as a local one can take.
    pub fn udp(&self) -> UdpSocket {
        let socket = self
            .inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))
            .expect("a free port");
        socket
            .set_read_timeout(Some(PACKET_TIME))
            .expect("not zero");
        socket
    }

    /// Starts a program that is typed to and read as a terminal would be.
    pub fn screen(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Screen {
        Screen::new(
            self.clone(),
            self.spawn(program, arguments, &BTreeMap::new()),
        )
    }

    /// Starts a program in a terminal of its own.
    pub fn terminal(&self, program: impl AsRef<OsStr>, arguments: &[&str], size: Size) -> Terminal {
        self.terminal_of(&Model::default(), program, arguments, size)
    }

    /// Starts a program in a terminal of its own, of this model.
    pub fn terminal_of(
        &self,
        model: &Model,
        program: impl AsRef<OsStr>,
        arguments: &[&str],
        size: Size,
    ) -> Terminal {
        let program = program.as_ref();
        Terminal::new(self.clone(), model, size, |streams| {
            let mut command = self.0.namespace.command("setsid");
            command.arg("--ctty").arg(program).args(arguments);
            clean(&mut command, &self.0.dir);
            terminal::leader(&mut command, model, streams);
            self.0
                .namespace
                .spawn(&mut command)
                .unwrap_or_else(|e| panic!("{}: {e}", program.display()))
        })
    }

    /// Starts a program on this machine, all its pipes connected.
    pub(super) fn spawn(
        &self,
        program: impl AsRef<OsStr>,
        arguments: &[&str],
        environment: &BTreeMap<String, String>,
    ) -> Child {
        let program = program.as_ref();
        let mut command = self.0.namespace.command(program);
        command.args(arguments);
        clean(&mut command, &self.0.dir);
        command.envs(environment);
        pipes(&mut command);
        self.0
            .namespace
            .spawn(&mut command)
            .unwrap_or_else(|e| panic!("{}: {e}", program.display()))
    }

    pub(super) fn port_on(&self, switch: &Switch) -> Option<String> {
        self.cards()
            .iter()
            .find(|card| card.is_on(switch))
            .map(|card| card.port().to_owned())
    }

    fn cards(&self) -> MutexGuard<'_, Vec<Card>> {
        self.0.cards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps what the person running the tests has set out of them. Panics come with a backtrace;
/// errors are for people, and do not.
fn clean(command: &mut Command, home: &Path) {
    let theirs = |name: &str| name.starts_with("XDG_") || name.starts_with("HOBNOB_");
    for (name, _) in std::env::vars().filter(|(name, _)| theirs(name)) {
        command.env_remove(name);
    }
    command
        .env("HOME", home)
        .env("RUST_BACKTRACE", "1")
        .env("RUST_LIB_BACKTRACE", "0");
}

/// For any program of a test to end; those that may take as long as they like are nodes.
const PROGRAM_TIME: Duration = Duration::from_secs(60);

/// For a packet to pass through the lab, which delays none, on a machine that is busy with other
/// tests.
const PACKET_TIME: Duration = Duration::from_millis(300);
