//! Two honest nodes with a session, the environment of an attack, and the checks after it.

use std::path::Path;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use hobnob_protocol::ConversationId;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::host::Host;
use super::mallory::Mallory;

/// One mebibyte.
pub const MIB: u64 = 1024 * 1024;

/// Two honest nodes on loopback. `ann` is the victim. `bob` has a session with her during the
/// attack.
#[derive(Debug)]
pub struct TestNet {
    /// The victim.
    pub ann: Host,
    /// An honest peer of the victim.
    pub bob: Host,
    runtime: Runtime,
    memory_before: u64,
    files_before: u64,
    dir: TempDir,
    _lock: MachineLock,
}

/// Floods need the machine alone. All other attacks in this process can run at the same time.
#[derive(Debug)]
enum MachineLock {
    Shared(#[expect(dead_code, reason = "held until the drop")] RwLockReadGuard<'static, ()>),
    Exclusive(#[expect(dead_code, reason = "held until the drop")] RwLockWriteGuard<'static, ()>),
}

static MACHINE: RwLock<()> = RwLock::new(());

impl TestNet {
    /// Starts the nodes.
    pub fn new() -> Self {
        Self::with(
            MachineLock::Shared(
                MACHINE
                    .read()
                    .unwrap_or_else(std::sync::PoisonError::into_inner),
            ),
            LOG,
        )
    }

    /// Starts the nodes, and the victim with a detailed log (`-vv`).
    pub fn verbose() -> Self {
        Self::with(
            MachineLock::Shared(
                MACHINE
                    .read()
                    .unwrap_or_else(std::sync::PoisonError::into_inner),
            ),
            LOG_VERBOSE,
        )
    }

    /// Starts the nodes when no other test of this process runs.
    pub fn alone() -> Self {
        Self::with(
            MachineLock::Exclusive(
                MACHINE
                    .write()
                    .unwrap_or_else(std::sync::PoisonError::into_inner),
            ),
            LOG,
        )
    }

    fn with(lock: MachineLock, arguments: &[&str]) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("hob")
            .tempdir()
            .expect("the temporary folder can be written to");
        let ann = Host::start(dir.path(), "ann", arguments);
        let bob = Host::up(dir.path(), "bob");
        bob.tells(&ann.addr().to_string(), "hello");
        ann.tells("bob", "hello yourself");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads start");
        let (memory_before, files_before) = (ann.memory(), ann.memory_of_files());
        Self {
            ann,
            bob,
            runtime,
            memory_before,
            files_before,
            dir,
            _lock: lock,
        }
    }

    /// Restarts the victim, at another address.
    pub fn with_ann_restarted(self) -> Self {
        self.ann.terminate();
        self.with_ann_up_again()
    }

    /// Kills the victim and starts it again.
    pub fn with_ann_killed(self) -> Self {
        self.ann.kill();
        self.with_ann_up_again()
    }

    fn with_ann_up_again(mut self) -> Self {
        self.ann = Host::up(self.dir.path(), "ann");
        self.bob.tells(&self.ann.addr().to_string(), "welcome back");
        self
    }

    /// The folder that contains all homes.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs an attack.
    pub fn attack<T>(&self, attack: impl AsyncFnOnce(&TestNet) -> T) -> T {
        self.runtime.block_on(attack(self))
    }

    /// Runs an attack and another function at the same time, and waits for both.
    pub fn attack_while<T, U: Send>(
        &self,
        attack: impl AsyncFnOnce(&TestNet) -> T,
        meanwhile: impl FnOnce() -> U + Send,
    ) -> (T, U) {
        std::thread::scope(|scope| {
            let other = scope.spawn(meanwhile);
            let attacked = self.runtime.block_on(attack(self));
            (attacked, other.join().expect("the other function succeeds"))
        })
    }

    /// The victim accepts an attacker as a contact, so that it may send more than a stranger.
    pub fn accept(&self, mallory: &Mallory) {
        let id = mallory.id().to_string();
        self.ann.run(&["contacts", "accept", &id]).expect(0);
    }

    /// The direct conversation of the victim and an attacker.
    pub fn direct(&self, mallory: &Mallory) -> ConversationId {
        ConversationId::direct(self.ann.id(), mallory.id())
    }

    /// Checks that ann and bob can exchange messages, in both directions and in the lobby.
    pub fn talks(&self, about: &str) {
        self.ann.tells("bob", &format!("{about}: bob?"));
        self.bob
            .tells(&self.ann.id().to_string(), &format!("{about}: ann?"));
        let to_all = format!("{about}: all?");
        self.bob.says(&to_all);
        self.ann.has(&to_all);
    }

    /// The largest growth of the victim's memory since the start of the attack. Parts of the program
    /// that ran for the first time do not count.
    pub fn growth(&self) -> u64 {
        let files = self.ann.memory_of_files().saturating_sub(self.files_before);
        let before = self.memory_before + files;
        self.ann.memory_peak().saturating_sub(before)
    }

    /// Checks that both nodes survived an attack by one peer, and that the log names these causes.
    pub fn survives(&self, causes: &[&str]) {
        self.survives_within(causes, ONE_PEER);
        for text in ["afterwards: ann?", "afterwards: all?"] {
            self.ann.prints(&["\"message\"", text]);
        }
    }

    /// Like [`TestNet::survives`], with another limit for the growth of the victim's memory, in
    /// bytes.
    pub fn survives_within(&self, causes: &[&str], growth_max: u64) {
        self.ann.is_up();
        self.bob.is_up();
        self.talks("afterwards");
        for cause in causes {
            self.ann.logs(&[cause]);
        }
        let growth = self.growth();
        eprintln!(
            "{}: the victim's memory grew by {} KiB",
            std::thread::current().name().unwrap_or("?"),
            growth / 1024
        );
        assert!(
            growth <= growth_max,
            "the victim's memory grew by {} KiB, the limit is {} KiB",
            growth / 1024,
            growth_max / 1024
        );
        for host in [&self.ann, &self.bob] {
            host.is_clean();
            host.printed_nothing_twice();
        }
    }
}

impl Default for TestNet {
    fn default() -> Self {
        Self::new()
    }
}

/// Limit of the memory that one attacker can use. The limit includes 2 MiB of received data and 1.5
/// MiB of sent data (a window and a half), and the same again while the node decodes it. It also
/// includes the store's caches (8 MiB of the writer and 2 MiB of each reader), recent batches (4 MiB)
/// and memory that the allocator does not return. Not all of these are full at the same time.
const ONE_PEER: u64 = 20 * MIB;

const LOG: &[&str] = &["-v", "--json", "--listen", "127.0.0.1:0"];
const LOG_VERBOSE: &[&str] = &["-vv", "--json", "--listen", "127.0.0.1:0"];
