//! The network lab: machines that are network namespaces, switches that are bridges, and real
//! `hobnob` processes on them.
//!
//! ```no_run
//! # use hobnob_tests::lab::Lab;
//! let lab = Lab::open();
//! let office = lab.switch();
//! let (ann, bob) = (office.machine("ann").up("ann", &[]), office.machine("bob").up("bob", &[]));
//! ann.sees(&bob);
//! lab.cut(&[ann.machine()]);
//! ann.says("hi");
//! lab.heal();
//! bob.shows_once("hi");
//! ```
//!
//! Machines on different networks connect over a simulated internet, behind routers with NATs:
//!
//! ```no_run
//! # use hobnob_tests::lab::{Lab, Nat};
//! # let lab = Lab::open();
//! let net = lab.internet();
//! let relay = net.machine("relay");
//! let (home, office) = (net.site(Nat::Symmetric), net.site(Nat::PortRestricted));
//! let (ann, bob) = (home.machine("ann"), office.machine("bob"));
//! home.rebind();
//! net.cut(&home, &office);
//! net.heal(&home, &office);
//! ```
//!
//! Everything that a lab creates is in namespaces. Their first process ends whenever the test
//! process ends, even if it is killed. So no cleanup is needed, and nothing leaks.

mod addresses;
mod capture;
mod card;
mod daemon;
mod home;
mod internet;
mod long_way;
mod machine;
mod mapping_router;
mod memory;
mod message_client;
mod namespace;
mod nat;
mod nats;
mod node;
mod permission;
mod process;
mod proxy;
mod relay;
mod screen;
mod site;
mod switch;
mod terminal;
mod traffic;
mod transcript;
mod usage;
mod wait;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;

use addresses::Plan;

pub use addresses::Addresses;
pub use capture::{Capture, Recording};
pub use home::{Backup, Home};
pub use internet::{Internet, OnInternet};
pub use machine::Machine;
pub use mapping_router::{MappingRouter, Protocols};
pub use message_client::MessageClient;
pub use nat::{Filter, Nat};
pub use nats::NatsCluster;
pub use node::{AsTarget, Node};
pub use process::{Output, checkers_binary, draw_binary, hobnob_binary};
pub(crate) use process::{finish, pipes};
pub use proxy::Proxy;
pub use relay::Relay;
pub use screen::Screen;
pub use site::Site;
pub use switch::Switch;
pub use terminal::{Model, Size, Terminal};
pub use traffic::{Sent, Traffic};
pub use usage::Usage;
pub use wait::{SetOnDrop, Stopwatch, pause, until};

/// The network of one test. Drop it last, because it deletes the homes of its machines.
#[derive(Debug)]
pub struct Lab {
    shared: Arc<Shared>,
}

/// The parts of a lab that its switches and machines use.
#[derive(Debug)]
struct Shared {
    dir: TempDir,
    switches: Mutex<Vec<Switch>>,
    numbers: AtomicU8,
}

impl Lab {
    /// Creates an empty lab.
    ///
    /// # Panics
    ///
    /// If this system does not allow network namespaces. `scripts/test --without-lab` skips the
    /// tests that need them.
    pub fn open() -> Self {
        if let Err(why) = permission::obtain() {
            panic!(
                "the network lab needs root or unprivileged user namespaces: {why}. \
                 Run `scripts/test --without-lab` to skip the tests that need it."
            );
        }
        // Short, because the path of a Unix socket has at most 107 bytes.
        let dir = tempfile::Builder::new()
            .prefix("hob")
            .tempdir()
            .expect("the temporary folder can be written to");
        Self {
            shared: Arc::new(Shared {
                dir,
                switches: Mutex::default(),
                numbers: AtomicU8::new(1),
            }),
        }
    }

    /// A new local network with IPv4 (`10.77.n.x`) and link-local IPv6.
    pub fn switch(&self) -> Switch {
        self.switch_with(Addresses::Both)
    }

    /// A new local network with these kinds of addresses.
    pub fn switch_with(&self, addresses: Addresses) -> Switch {
        self.shared
            .switch(Plan::of(addresses, self.shared.number()))
    }

    /// Ann's node and Bob's, on machines of a new network of their own. They have a session.
    pub fn ann_and_bob(&self) -> (Node, Node) {
        let lan = self.switch();
        let [ann, bob] = ["ann", "bob"].map(|nick| lan.machine(nick).up(nick, &[]));
        ann.sees(&bob);
        bob.sees(&ann);
        (ann, bob)
    }

    /// A new simulated internet without machines.
    pub fn internet(&self) -> Internet {
        Internet::new(&self.shared)
    }

    /// A machine without a network. [`Machine::join`] connects it to one.
    pub fn machine(&self, name: &str) -> Machine {
        Machine::new(&self.shared, name)
    }

    /// Writes a file that only its owner may read. Returns its path, which is valid on all
    /// machines.
    pub fn file(&self, name: &str, content: &str) -> String {
        self.shared.file(name, content)
    }

    /// Splits every local network in two: these machines on one side, all others on the other.
    /// Links and addresses do not change.
    pub fn cut(&self, machines: &[&Machine]) {
        for switch in self.shared.switches().iter() {
            switch.cut(machines);
        }
    }

    /// Undoes [`Lab::cut`].
    pub fn heal(&self) {
        self.cut(&[]);
    }
}

impl Shared {
    /// A number that is unique in this lab.
    fn number(&self) -> u8 {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        assert!(
            number < u8::MAX,
            "too many switches and machines: their numbers are bytes of addresses"
        );
        number
    }

    /// See [`Lab::file`].
    fn file(&self, name: &str, content: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).expect("the lab's folder can be written to");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))
            .expect("the owner may change the mode");
        path.to_str().expect("the lab's paths are ASCII").to_owned()
    }

    /// Adds a local network that [`Lab::cut`] affects.
    fn switch(self: &Arc<Self>, plan: Plan) -> Switch {
        let switch = Switch::new(Arc::clone(self), plan);
        self.switches().push(switch.clone());
        switch
    }

    fn switches(&self) -> std::sync::MutexGuard<'_, Vec<Switch>> {
        self.switches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Breaks the reference cycle between the shared part and its switches.
        self.shared.switches().clear();
    }
}
