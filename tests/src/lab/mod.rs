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
//! People on different networks meet on an internet, behind routers that do to them what routers
//! do:
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
//! Everything that a lab makes lives in namespaces whose first process ends when this one does, by
//! whatever death. So nothing has to be cleaned up, and nothing leaks, even from a test that was
//! killed.

mod addresses;
mod capture;
mod card;
mod daemon;
mod home;
mod internet;
mod machine;
mod memory;
mod message_client;
mod namespace;
mod nat;
mod node;
mod permission;
mod process;
mod relay;
mod screen;
mod site;
mod switch;
mod terminal;
mod transcript;
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
pub use message_client::MessageClient;
pub use nat::Nat;
pub use node::{AsTarget, Node};
pub use process::{Output, checkers_binary, hobnob_binary};
pub(crate) use process::{finish, pipes};
pub use relay::Relay;
pub use screen::Screen;
pub use site::Site;
pub use switch::Switch;
pub use terminal::{Model, Size, Terminal};
pub use wait::{Stopwatch, pause, until};

/// One test's network. Drop it last: the homes of its machines go with it.
#[derive(Debug)]
pub struct Lab {
    shared: Arc<Shared>,
}

/// What switches and machines need of the lab they are in.
#[derive(Debug)]
struct Shared {
    dir: TempDir,
    switches: Mutex<Vec<Switch>>,
    numbers: AtomicU8,
}

impl Lab {
    /// Makes an empty network.
    ///
    /// # Panics
    ///
    /// If this system does not allow network namespaces. `scripts/test --without-lab` leaves out
    /// the tests that need them, and the test runner counts those as skipped.
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

    /// A network of its own, with IPv4 (`10.77.n.x`) and link-local IPv6.
    pub fn switch(&self) -> Switch {
        self.switch_with(Addresses::Both)
    }

    /// A network of its own, with these kinds of addresses.
    pub fn switch_with(&self, addresses: Addresses) -> Switch {
        self.shared
            .switch(Plan::of(addresses, self.shared.number()))
    }

    /// An internet, with nobody on it yet.
    pub fn internet(&self) -> Internet {
        Internet::new(&self.shared)
    }

    /// A machine that is on no network yet; [`Machine::join`] it to some.
    pub fn machine(&self, name: &str) -> Machine {
        Machine::new(&self.shared, name)
    }

    /// A file of this name with this in it, which only its owner may read: its path, for any
    /// machine.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.shared.dir.path().join(name);
        std::fs::write(&path, content).expect("the lab's folder can be written to");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("the file is ours");
        path.to_str().expect("the lab's paths are ASCII").to_owned()
    }

    /// Cuts every local network in two: these machines on one side, all others on the other. Links
    /// and addresses stay as they are.
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
    /// A number that nothing else in this lab has.
    fn number(&self) -> u8 {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        assert!(
            number < u8::MAX,
            "numbers become parts of addresses: this lab has too many switches and machines"
        );
        number
    }

    /// A local network that [`Lab::cut`] cuts.
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
        // Switches hold the lab's shared part, which holds them.
        self.shared.switches().clear();
    }
}
