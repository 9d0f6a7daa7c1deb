//! Two honest nodes in a session, under attack.

use std::path::Path;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use hobnob_protocol::ConversationId;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::host::Host;
use super::mallory::Mallory;

/// One mebibyte.
pub const MIB: u64 = 1024 * 1024;

/// What an attack is carried out in. `ann` is the victim; `bob` is the friend that she has a
/// session with all the while.
#[derive(Debug)]
pub struct TestNet {
    /// The victim.
    pub ann: Host,
    /// Her friend.
    pub bob: Host,
    runtime: Runtime,
    memory_before: u64,
    dir: TempDir,
    _turn: Turn,
}

/// Floods want the machine for themselves; everything else can run side by side.
#[derive(Debug)]
enum Turn {
    Shared(#[expect(dead_code, reason = "held")] RwLockReadGuard<'static, ()>),
    Alone(#[expect(dead_code, reason = "held")] RwLockWriteGuard<'static, ()>),
}

static TURNS: RwLock<()> = RwLock::new(());

impl TestNet {
    /// A net in peace.
    pub fn new() -> Self {
        Self::with(
            Turn::Shared(
                TURNS
                    .read()
                    .unwrap_or_else(std::sync::PoisonError::into_inner),
            ),
            LOG,
        )
    }

    /// A net whose victim logs much (`-vv`).
    pub fn verbose() -> Self {
        Self::with(
            Turn::Shared(
                TURNS
                    .read()
                    .unwrap_or_else(std::sync::PoisonError::into_inner),
            ),
            LOG_MUCH,
        )
    }

    /// A net with the machine for itself.
    pub fn alone() -> Self {
        Self::with(
            Turn::Alone(
                TURNS
                    .write()
                    .unwrap_or_else(std::sync::PoisonError::into_inner),
            ),
            LOG,
        )
    }

    fn with(turn: Turn, arguments: &[&str]) -> Self {
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
        let memory_before = ann.memory();
        Self {
            ann,
            bob,
            runtime,
            memory_before,
            dir,
            _turn: turn,
        }
    }

    /// The same net after its victim has stopped and started again, at another address.
    pub fn with_ann_restarted(self) -> Self {
        self.ann.terminate();
        self.with_ann_up_again()
    }

    /// The same net after its victim was killed in the midst of something, and started again.
    pub fn with_ann_killed(self) -> Self {
        self.ann.kill();
        self.with_ann_up_again()
    }

    fn with_ann_up_again(mut self) -> Self {
        self.ann = Host::up(self.dir.path(), "ann");
        self.bob.tells(&self.ann.addr().to_string(), "welcome back");
        self
    }

    /// The folder of all homes.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Carries out an attack.
    pub fn attack<T>(&self, attack: impl AsyncFnOnce(&TestNet) -> T) -> T {
        self.runtime.block_on(attack(self))
    }

    /// As [`TestNet::attack`], and does something else meanwhile; both end before this does.
    pub fn attack_while<T, U: Send>(
        &self,
        attack: impl AsyncFnOnce(&TestNet) -> T,
        meanwhile: impl FnOnce() -> U + Send,
    ) -> (T, U) {
        std::thread::scope(|scope| {
            let other = scope.spawn(meanwhile);
            let attacked = self.runtime.block_on(attack(self));
            (
                attacked,
                other.join().expect("what went on meanwhile holds"),
            )
        })
    }

    /// The conversation of the victim and an attacker.
    pub fn direct(&self, mallory: &Mallory) -> ConversationId {
        ConversationId::direct(self.ann.id(), mallory.id())
    }

    /// Checks that ann and bob talk, both ways and to all.
    pub fn talks(&self, about: &str) {
        self.ann.tells("bob", &format!("{about}: bob?"));
        self.bob
            .tells(&self.ann.id().to_string(), &format!("{about}: ann?"));
        let to_all = format!("{about}: all?");
        self.bob.says(&to_all);
        self.ann.has(&to_all);
    }

    /// By how much the victim's memory has grown at most since before the attack.
    pub fn growth(&self) -> u64 {
        self.ann.memory_peak().saturating_sub(self.memory_before)
    }

    /// Checks what holds after every attack by one peer, and that the log names these causes.
    pub fn survives(&self, causes: &[&str]) {
        self.survives_within(causes, ONE_PEER);
        for text in ["afterwards: ann?", "afterwards: all?"] {
            self.ann.prints(&["\"message\"", text]);
        }
    }

    /// As [`TestNet::survives`], with another bound for the victim's memory, in bytes.
    pub fn survives_within(&self, causes: &[&str], growth_max: u64) {
        self.ann.is_up();
        self.bob.is_up();
        self.talks("afterwards");
        for cause in causes {
            self.ann.logs(&[cause]);
        }
        let growth = self.growth();
        eprintln!(
            "{}: the victim grew by {} KiB",
            std::thread::current().name().unwrap_or("?"),
            growth / 1024
        );
        assert!(
            growth <= growth_max,
            "the victim grew by {} KiB, which is more than {} KiB",
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

/// What the victim may grow by for one attacker: the 2 MiB that a peer can make it hold of received
/// data, 1.5 MiB of what it was sent (a window and a half), as much again while these are decoded,
/// the store's caches (three connections of 2 MiB) and recent batches (4 MiB), and what an
/// allocator doesn't give back.
const ONE_PEER: u64 = 16 * MIB;

const LOG: &[&str] = &["-v", "--json", "--listen", "127.0.0.1:0"];
const LOG_MUCH: &[&str] = &["-vv", "--json", "--listen", "127.0.0.1:0"];
