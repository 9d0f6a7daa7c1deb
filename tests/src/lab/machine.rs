//! A machine of the lab: its namespaces, its network cards, and the programs that run on it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Shared;
use super::capture::Capture;
use super::card::Card;
use super::home::Home;
use super::long_way;
use super::namespace::Namespace;
use super::node::Node;
use super::process::{Output, finish, hobnob_binary, pipes};
use super::proxy::Proxy;
use super::relay::Relay;
use super::screen::Screen;
use super::switch::Switch;
use super::terminal::{self, Model, Size, Terminal};
use super::traffic::Traffic;

/// A computer on zero or more networks. Clones refer to the same machine. Dropping the last one
/// switches it off.
#[derive(Debug, Clone)]
pub struct Machine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    lab: Arc<Shared>,
    /// The folder with the homes of this machine.
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

    /// The machine's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Connects the machine to another network with a new card and address, and waits until packets
    /// can pass.
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

    /// Moves the machine from its first network to another. It keeps the card, but its address
    /// changes.
    pub fn move_to(&self, switch: &Switch) {
        let mut cards = self.cards();
        let card = cards
            .first_mut()
            .expect("a machine that moves is on a network");
        card.reconnect(&self.0.namespace, switch, self.0.lab.number());
    }

    /// Drops this percentage of the packets to this machine, on all networks. 0 drops none.
    pub fn loss(&self, percent: u8) {
        for card in self.cards().iter() {
            card.set_loss(percent);
        }
    }

    /// Drops all packets on all cables, while the links stay up.
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

    /// Gives this machine's resolver these names and addresses, and no others.
    pub fn knows_hosts(&self, hosts: &[(&str, &str)]) {
        let lines: String = hosts
            .iter()
            .map(|(name, address)| format!("{address} {name}\n"))
            .collect();
        let file = self.0.dir.join("hosts");
        std::fs::write(&file, lines).expect("the lab's folder can be written to");
        let file = file.to_string_lossy();
        self.run("mount", &["--bind", &file, "/etc/hosts"])
            .expect(0);
    }

    /// Gives this machine an IPv6 address and a default route whose router is dead: packets to IPv6
    /// addresses elsewhere vanish.
    pub fn has_dead_ipv6(&self) {
        let ip = |arguments: &[&str]| drop(self.run("ip", arguments).expect(0));
        ip(&[
            "-6",
            "address",
            "add",
            "2001:db8:7::2/64",
            "dev",
            "eth0",
            "nodad",
        ]);
        ip(&[
            "-6",
            "neighbour",
            "add",
            "2001:db8:7::1",
            "lladdr",
            "02:00:00:00:00:07",
            "dev",
            "eth0",
        ]);
        ip(&["-6", "route", "add", "default", "via", "2001:db8:7::1"]);
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

    /// The home of a node on this machine. The same name returns the same home.
    pub fn home(&self, name: &str) -> Home {
        Home::new(self.clone(), name, self.0.dir.join(name))
    }

    /// Starts a node with this nickname, in a home of the same name, and waits until it listens.
    pub fn up(&self, nick: &str, arguments: &[&str]) -> Node {
        self.home(nick).up(arguments)
    }

    /// Starts a relay and waits until it listens.
    pub fn relay(&self, arguments: &[&str]) -> Relay {
        self.home("relay").relay(arguments)
    }

    /// Starts a proxy that requires a login.
    pub fn proxy(&self) -> Proxy {
        Proxy::start(self)
    }

    /// Forwards UDP packets to this address, and answers back, each later by `delay`. Returns the
    /// address to send to.
    pub fn long_way(&self, to: SocketAddrV4, delay: Duration) -> SocketAddrV4 {
        long_way::start(self, to, delay)
    }

    /// Records every frame that passes this machine's cards, from now on.
    pub fn capture(&self) -> Capture {
        Capture::new(self)
    }

    /// Runs `hobnob` with only these arguments and waits until it exits.
    pub fn hobnob(&self, arguments: &[&str]) -> Output {
        self.run(hobnob_binary(), arguments)
    }

    /// Runs a program on this machine and waits until it exits.
    pub fn run(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Output {
        self.run_with(program, arguments, &BTreeMap::new(), "")
    }

    /// Like [`Machine::run`], with additional environment variables and standard input.
    pub fn run_with(
        &self,
        program: impl AsRef<OsStr>,
        arguments: &[&str],
        environment: &BTreeMap<String, String>,
        input: &str,
    ) -> Output {
        self.run_within(PROGRAM_TIME, program, arguments, environment, input)
    }

    /// Like [`Machine::run_with`], for a program that may need this long.
    pub fn run_within(
        &self,
        limit: Duration,
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
        finish(shown, child, input, limit)
    }

    /// Counts what this machine sends from now on.
    pub fn count_traffic(&self) {
        Traffic::count(self);
    }

    /// What this machine has sent since [`Machine::count_traffic`].
    pub fn traffic(&self) -> Traffic {
        Traffic::of(self)
    }

    /// Runs a function in this machine's network namespace. Sockets that it opens stay in this
    /// network, wherever they are used.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.0.namespace.inside(act)
    }

    /// A UDP socket on any free port of this machine. Its read timeout is the longest time that a
    /// packet takes in the lab.
    pub fn udp(&self) -> UdpSocket {
        let socket = self
            .inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))
            .expect("a port is free");
        socket
            .set_read_timeout(Some(PACKET_TIME))
            .expect("not zero");
        socket
    }

    /// Starts a program with access to every byte of its input and output.
    pub fn screen(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Screen {
        Screen::new(
            self.clone(),
            self.spawn(program, arguments, &BTreeMap::new()),
        )
    }

    /// Starts a program in its own terminal.
    pub fn terminal(&self, program: impl AsRef<OsStr>, arguments: &[&str], size: Size) -> Terminal {
        self.terminal_of(&Model::default(), program, arguments, size)
    }

    /// Starts a program in its own terminal of this model.
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

    /// Starts a program on this machine, with pipes for its input and output.
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

    /// Starts a program on this machine. Nobody reads what it prints.
    pub(super) fn spawn_silent(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Child {
        let program = program.as_ref();
        let mut command = self.0.namespace.command(program);
        command.args(arguments);
        clean(&mut command, &self.0.dir);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
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

/// Removes settings of the user who runs the tests. Panics print a backtrace, but errors do not.
fn clean(command: &mut Command, home: &Path) {
    let is_setting = |name: &str| {
        let is_proxy = name.to_ascii_uppercase().ends_with("_PROXY");
        name.starts_with("XDG_") || name.starts_with("HOBNOB_") || is_proxy
    };
    for (name, _) in std::env::vars().filter(|(name, _)| is_setting(name)) {
        command.env_remove(name);
    }
    command
        .env("HOME", home)
        .env("RUST_BACKTRACE", "1")
        .env("RUST_LIB_BACKTRACE", "0");
}

/// Time limit for a program that runs to its end. Nodes and relays have no such limit.
const PROGRAM_TIME: Duration = Duration::from_secs(60);

/// Time limit for a packet. The lab adds no delay, but the machine may be busy with other tests.
const PACKET_TIME: Duration = Duration::from_millis(300);
