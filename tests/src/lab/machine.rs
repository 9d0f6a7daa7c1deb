//! A machine: namespaces with network cards in them, and programs that run there.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Shared;
use super::home::Home;
use super::namespace::Namespace;
use super::node::Node;
use super::process::{Output, finish, hobnob_binary, pipes};
use super::screen::Screen;
use super::switch::{LINK_TIME, Switch};
use super::wait::until;

/// A computer on zero or more networks. Clones are the same machine; it is switched off when the last of them goes.
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

/// A network card and the cable from it.
#[derive(Debug, Clone)]
struct Card {
    /// Its name on the machine.
    name: String,
    /// The name of the cable's other end, on the switch.
    port: String,
    switch: Switch,
    /// The host part of its addresses.
    host: u32,
}

impl Machine {
    pub(super) fn new(lab: &Arc<Shared>, name: &str) -> Self {
        let dir = lab.dir.path().join(format!("{name}{}", lab.number()));
        std::fs::create_dir(&dir).expect("the lab's folder can be written to");
        let inner =
            Inner { name: name.to_owned(), lab: Arc::clone(lab), dir, namespace: Namespace::new(), cards: Mutex::default() };
        Self(Arc::new(inner))
    }

    /// The name it was given, for people.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Connects the machine to one more network, with a card and an address of its own there, and waits until packets can pass.
    pub fn join(&self, switch: &Switch) {
        let host = self.0.lab.number();
        let mut cards = self.cards();
        let card = Card { name: format!("eth{}", cards.len()), port: format!("port{host}"), switch: switch.clone(), host };
        let there = switch.namespace().pid();
        self.0.namespace.ip(&format!("link add {} type veth peer name {} netns {there}", card.name, card.port));
        self.bring_up(&card);
        cards.push(card);
    }

    /// Takes the machine from its first network to another: the card stays, the cable is plugged in elsewhere, the address changes.
    pub fn move_to(&self, switch: &Switch) {
        let mut cards = self.cards();
        let card = cards.first_mut().expect("a machine that moves was somewhere");
        // The cable's end loses its bridge, and the card its carrier, by going to the other switch's namespace.
        let there = switch.namespace().pid();
        card.switch.namespace().ip(&format!("link set {} netns {there}", card.port));
        card.switch = switch.clone();
        card.host = self.0.lab.number();
        let card = card.clone();
        self.0.namespace.ip(&format!("addr flush dev {}", card.name));
        self.bring_up(&card);
    }

    /// Loses this share of the packets to this machine, on every network; 0 ends that.
    pub fn loss(&self, percent: u8) {
        for card in self.cards().iter() {
            card.switch.set_loss(&card.port, percent);
        }
    }

    /// A silent death of every cable: nothing passes any more, and no link goes down.
    pub fn unplug(&self) {
        for card in self.cards().iter() {
            card.switch.set_unplugged(&card.port, true);
        }
    }

    /// Undoes [`Machine::unplug`].
    pub fn plug(&self) {
        for card in self.cards().iter() {
            card.switch.set_unplugged(&card.port, false);
        }
    }

    /// The IPv4 address on the first network.
    pub fn ipv4(&self) -> String {
        let cards = self.cards();
        let card = cards.first().expect("a machine with an address is on a network");
        card.switch.ipv4(card.host).expect("this network has IPv4")
    }

    /// The link-local IPv6 address on the first network, with the zone that this machine's neighbours must use: their first card.
    pub fn ipv6(&self) -> String {
        format!("{}%eth0", ipv6(self.cards().first().expect("a machine with an address is on a network").host))
    }

    /// A home of a node on this machine; the same name is the same home.
    pub fn home(&self, name: &str) -> Home {
        Home::new(self.clone(), name, self.0.dir.join(name))
    }

    /// Starts a node with this nickname, in the home of that name, and waits until it listens.
    pub fn up(&self, nick: &str, arguments: &[&str]) -> Node {
        self.home(nick).up(arguments)
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
        let shown = format!("{}: {} {}", self.name(), Path::new(&program).display(), arguments.join(" "));
        let child = self.spawn(program, arguments, environment);
        finish(shown, child, input, PROGRAM_TIME)
    }

    /// Starts a program that is typed to and read as a terminal would be.
    pub fn screen(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Screen {
        Screen::new(self.clone(), self.spawn(program, arguments, &BTreeMap::new()))
    }

    /// Starts a program on this machine, all its pipes connected.
    pub(super) fn spawn(&self, program: impl AsRef<OsStr>, arguments: &[&str], environment: &BTreeMap<String, String>) -> Child {
        let program = program.as_ref();
        let mut command = self.0.namespace.command(program);
        command.args(arguments);
        clean(&mut command, &self.0.dir);
        command.envs(environment);
        pipes(&mut command);
        self.0.namespace.spawn(&mut command).unwrap_or_else(|e| panic!("{}: {e}", program.display()))
    }

    pub(super) fn port_on(&self, switch: &Switch) -> Option<String> {
        self.cards().iter().find(|card| card.switch.is(switch)).map(|card| card.port.clone())
    }

    /// Gives the card its addresses, connects the cable's other end, and waits until both ends are up.
    fn bring_up(&self, card: &Card) {
        let Card { name, port, switch, host } = card;
        switch.plug_in(port);
        // The kernel makes no address of its own, so that none has to be waited for (duplicate address detection takes seconds).
        let mut lines =
            format!("link set {name} addrgenmode none\nlink set {name} up\naddr add {}/64 dev {name} nodad\n", ipv6(*host));
        if let Some(ipv4) = switch.ipv4(*host) {
            lines.push_str(&format!("addr add {ipv4}/24 dev {name}\n"));
        }
        self.0.namespace.ip(&lines);
        until(&format!("{} has a link", self.name()), LINK_TIME, || {
            let shown = self.0.namespace.tool("ip", &["-oneline", "link", "show", "dev", name], "");
            if shown.stdout.contains("state UP") { Ok(()) } else { Err(shown.to_string()) }
        });
        switch.wait_for_port(port);
    }

    fn cards(&self) -> MutexGuard<'_, Vec<Card>> {
        self.0.cards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps what the person running the tests has set out of them. Panics come with a backtrace; errors are for people, and do not.
fn clean(command: &mut Command, home: &Path) {
    let theirs = |name: &str| name.starts_with("XDG_") || name.starts_with("HOBNOB_");
    for (name, _) in std::env::vars().filter(|(name, _)| theirs(name)) {
        command.env_remove(name);
    }
    command.env("HOME", home).env("RUST_BACKTRACE", "1").env("RUST_LIB_BACKTRACE", "0");
}

fn ipv6(host: u32) -> String {
    format!("fe80::77:{host:x}")
}

/// For any program of a test to end; those that may take as long as they like are nodes.
const PROGRAM_TIME: Duration = Duration::from_secs(60);
