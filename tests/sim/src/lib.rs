//! The simulator: replicas under a virtual clock, with simulated stores and sessions and many kinds
//! of faults.
//!
//! A run is a function of its seed. It exposes a few nodes to a storm: crashes, partitions, full
//! disks, restored backups, changes of network. Then it repairs everything and waits until the
//! replicas agree. An oracle with its own records checks the invariants at every step. `SEED=n`
//! replays one run with a trace. The modules: `script` plans the faults, `world` has events and
//! nodes, `wire` sessions, `disk` stores, `oracle` and `check` the invariants, `hostile` a hostile
//! node.

mod blocks;
mod check;
mod crowd;
mod describe;
mod disk;
mod faulty;
mod flooder;
mod hostile;
mod liar;
mod link;
mod mail;
mod oracle;
mod script;
mod wire;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use self::faulty::Fault;
pub use self::liar::lie_to;
pub use self::script::Shape;
pub use self::world::Stats;
use self::world::{SECOND, World};

/// Maximum virtual time from the repair to agreement.
const CONVERGENCE_MAX: u64 = 180 * SECOND;

/// Maximum frames of one session in a minute of rest.
const FRAMES_AT_REST_MAX: u64 = 60;

/// The result of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Fingerprint of everything that happened.
    pub hash: u64,
    /// The failed check, if any.
    pub failure: Option<String>,
    /// The counters.
    pub stats: Stats,
}

/// Runs one seed. With `trace`, prints everything that happens.
pub fn run(seed: u64, fault: Option<Fault>, trace: bool) -> Outcome {
    let mut world = World::new(seed, fault, trace);
    let hostile = seed % 4 == 3;
    world.set_up_storm(hostile);
    guarded(world, storm)
}

/// Runs a conversation of five members who answer, edit, delete and react, through partitions,
/// crashes and restored backups. In the end all of them show the same.
pub fn run_talk(seed: u64, trace: bool) -> Outcome {
    let mut world = World::new(seed, None, trace);
    world.set_up_talk();
    guarded(world, storm)
}

/// Runs nodes that are contacts of each other and partly members of a room, through partitions,
/// crashes, full disks, restored backups and blocks. What they write while others are away is
/// deposited at a holder, which is always there or one of the nodes, and may go on from an older
/// copy of its disk. With `lies` there are two holders, which drop, repeat, reorder and withhold
/// envelopes and confuse their senders.
pub fn run_mail(seed: u64, lies: bool, trace: bool) -> Outcome {
    let mut world = World::new(seed, None, trace);
    world.set_up_mail_storm(lies);
    guarded(world, storm)
}

/// Runs nodes that are never connected again after they have met. All that they write arrives by
/// mail, and so do the receipts.
pub fn run_apart(seed: u64, trace: bool) -> Outcome {
    let mut world = World::new(seed, None, trace);
    let nodes = world.set_up_apart();
    guarded(world, |world| {
        world.run_until(10 * SECOND);
        world.part_ways();
        world.run_until(40 * SECOND);
        for _ in 0..30 {
            let node = world.pick(nodes);
            match world.below(4) {
                0 => world.crash_for_a_while(node),
                _ => world.one_says_something(node),
            }
            let pause = world.between(1, 5 * SECOND);
            world.run_until(world.now + pause);
        }
        let since = world.now;
        while world.failure.is_none() {
            world.run_until(world.now + SECOND);
            let unmet = world.unmet_by_mail().or_else(|| world.mail_waits());
            let Some(unmet) = unmet else { break };
            if world.now - since > APART_MAX {
                let seconds = APART_MAX / SECOND;
                world.fail(format!("after {seconds} s of mail, {unmet}"));
            }
        }
    })
}

/// Maximum virtual time until all mail has arrived, with its receipts.
const APART_MAX: u64 = 900 * SECOND;

fn storm(world: &mut World) {
    while !world.storm_is_over() && world.failure.is_none() {
        world.run_until(world.now + SECOND);
    }
    world.mend();
    let mended_at = world.now;
    converge(world, mended_at);
    if world.failure.is_none() {
        rest(world);
    }
    // After the repair, new entries reach all nodes.
    world.everybody_speaks(true);
    let spoken_at = world.now;
    world.run_until(spoken_at + SECOND);
    converge(world, spoken_at);
    if let Some(wrong) = world.wrong_at_the_end() {
        world.fail(wrong);
    }
}

fn converge(world: &mut World, since: u64) {
    while world.failure.is_none() {
        world.run_until(world.now + SECOND / 2);
        let Some(unmet) = world.unmet() else { break };
        // A hostile node can cause useless requests for a while.
        let most = if world.oracle.hostile.is_empty() {
            CONVERGENCE_MAX
        } else {
            2 * CONVERGENCE_MAX
        };
        if world.now - since > most {
            world.fail(format!(
                "{} s after everything was mended, {unmet}",
                most / SECOND
            ));
        }
    }
    world.stats.converged_ms = world.stats.converged_ms.max((world.now - since) / 1000);
}

/// Checks that idle replicas that agree send little.
fn rest(world: &mut World) {
    // Nodes may notice only now that sessions ended in the storm.
    world.run_until(world.now + 40 * SECOND);
    let (frames, sent) = (world.stats.frames, world.stats.sent);
    world.run_until(world.now + 60 * SECOND);
    let most = FRAMES_AT_REST_MAX * world.conns.len() as u64;
    let said = world.stats.frames - frames;
    let honest = world.oracle.hostile.is_empty() && !world.holders_lie();
    if honest && (said > most || world.stats.sent > sent) {
        world.fail(format!(
            "at rest {said} frames and {} entries are sent in a minute",
            world.stats.sent - sent
        ));
    }
}

/// Runs nodes without faults. Each writes `rounds` entries. The test compares the entries sent with
/// those delivered.
pub fn run_calm(seed: u64, nodes: usize, shape: Shape, rounds: u32) -> Outcome {
    let mut world = World::new(seed, None, false);
    world.set_up_calm(nodes, shape);
    guarded(world, |world| {
        world.run_until(5 * SECOND);
        for _ in 0..rounds {
            world.everybody_speaks(false);
            let pause = world.between(1, SECOND);
            world.run_until(world.now + pause);
        }
        let now = world.now;
        converge(world, now);
    })
}

/// Runs a room of this many members behind a relay, each with sessions with its neighbours only.
/// Some of them write `messages`, one after the other. With `cuts`, a tenth of the sessions end
/// meanwhile, silently, and some members crash.
pub fn run_crowd(seed: u64, nodes: usize, messages: u32, cuts: bool) -> Outcome {
    let mut world = World::new(seed, None, false);
    world.set_up_crowd(nodes);
    guarded(world, |world| {
        world.run_until(5 * SECOND);
        world.stats.sessions_max = world.most_sessions();
        for _ in 0..messages {
            let author = world.pick(nodes);
            world.say_in_secret(author);
            if cuts {
                (0..nodes / 20).for_each(|_| world.cut_one());
                let unlucky = world.pick(nodes);
                world.crash_for_a_while(unlucky);
            }
            let pause = world.between(1, 2 * SECOND);
            world.run_until(world.now + pause);
        }
        let now = world.now;
        converge(world, now);
    })
}

/// Runs two nodes. While the second is away, the first writes much more than a session accepts at
/// once.
pub fn flood(seed: u64, fault: Option<Fault>) -> Outcome {
    let mut world = World::new(seed, fault, false);
    world.set_up_calm(2, Shape::Mesh);
    guarded(world, |world| {
        world.run_until(5 * SECOND);
        world.part_ways();
        world.run_until(30 * SECOND);
        world.flood(0, 1, FLOOD);
        world.run_until(40 * SECOND);
        world.mend();
        let now = world.now;
        while world.stats.sent == 0 && world.now < now + 60 * SECOND {
            world.run_until(world.now + SECOND / 100);
        }
        // The time for sending the bytes, and less than a replica's retry timeout.
        let slowest = world
            .conns
            .values()
            .map(|conn| conn.bytes_per_s)
            .min()
            .unwrap_or(1);
        world.run_until(world.now + FLOOD * 16_500 * SECOND / slowest + 9 * SECOND / 10);
        if let Some(unmet) = world.unmet() {
            world.fail(format!("after a flood {unmet}"));
        }
    })
}

/// Entries of maximum length in a flood.
const FLOOD: u64 = 150;

/// Runs a few nodes of which a flooder fills the open room. A member drops out, the others speak
/// and leave, and the member returns: it must get everything from the one that stayed.
pub fn run_flooded(seed: u64, fault: Option<Fault>) -> Outcome {
    let mut world = World::new(seed, fault, false);
    let nodes = world.set_up_flood();
    guarded(world, |world| {
        world.run_until(6 * SECOND);
        world.part(&[0]);
        // All have noticed by now that the member is gone.
        world.run_until(world.now + 20 * SECOND);
        for node in 1..nodes {
            world.say_in_lobby(node);
            let pause = world.between(1, SECOND);
            world.run_until(world.now + pause);
        }
        world.run_until(world.now + 20 * SECOND);
        if world.one_in(2) {
            // What the room holds, and who brought it, survives.
            world.crash(1, SECOND, false);
            world.run_until(world.now + 20 * SECOND);
        }
        let others: Vec<_> = (2..nodes).collect();
        world.part(&others);
        let back = world.now;
        while world.failure.is_none() && world.lacks_from(0, 1) {
            world.run_until(world.now + SECOND / 2);
            if world.now - back > CONVERGENCE_MAX {
                world.fail("a message of a member was lost in a flood".to_owned());
            }
        }
        world.mend();
        world.everybody_speaks(false);
        let spoken_at = world.now;
        world.run_until(spoken_at + SECOND);
        converge(world, spoken_at);
        if let Some(wrong) = world.overfull() {
            world.fail(wrong);
        }
    })
}

/// Runs an idle hour after a few entries. Returns the bytes of control frames per session.
pub fn idle_hour(seed: u64, nodes: usize) -> (Outcome, u64) {
    let mut world = World::new(seed, None, false);
    world.set_up_calm(nodes, Shape::Mesh);
    let mut bytes = 0;
    let outcome = guarded(world, |world| {
        world.run_until(5 * SECOND);
        world.everybody_speaks(true);
        world.run_until(60 * SECOND);
        let before = world.stats.frame_bytes;
        world.run_until(world.now + 3600 * SECOND);
        bytes = (world.stats.frame_bytes - before) / world.conns.len().max(1) as u64;
    });
    (outcome, bytes)
}

/// One node blocks another while all write entries, and later unblocks it. Returns the control
/// frames per session in the last minute of the block, in which no node writes.
pub fn run_blocked(seed: u64, nodes: usize) -> (Outcome, u64) {
    let mut world = World::new(seed, None, false);
    world.set_up_calm(nodes, Shape::Mesh);
    let mut frames = 0;
    let outcome = guarded(world, |world| {
        world.run_until(5 * SECOND);
        world.everybody_speaks(true);
        world.run_until(10 * SECOND);
        world.block(0, 1);
        for _ in 0..10 {
            world.everybody_speaks(false);
            world.run_until(world.now + SECOND);
        }
        world.run_until(world.now + 30 * SECOND);
        let (before, sent) = (world.stats.frames, world.stats.sent);
        world.run_until(world.now + 60 * SECOND);
        frames = (world.stats.frames - before) / world.conns.len().max(1) as u64;
        if world.stats.sent > sent {
            world.fail("entries go round for ever".to_owned());
        }
        world.unblock_everybody();
        let now = world.now;
        converge(world, now);
    });
    (outcome, frames)
}

/// Runs `work`. A panic in a replica counts as a failure.
fn guarded(mut world: World, work: impl FnOnce(&mut World)) -> Outcome {
    let panicked = catch_unwind(AssertUnwindSafe(|| work(&mut world))).err();
    if let Some(panic) = panicked {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        world.fail(format!("a panic: {}", text.unwrap_or_default()));
    }
    world.stats.mailed = world.mail.arrived;
    Outcome {
        hash: world.trace_hash(),
        failure: world.failure,
        stats: world.stats,
    }
}

/// Runs many seeds on two threads, and passes each outcome to `tell`.
pub fn run_many(
    seeds: std::ops::Range<u64>,
    fault: Option<Fault>,
    tell: impl Fn(u64, &Outcome) + Sync,
) {
    run_each(seeds, |seed| run(seed, fault, false), tell);
}

/// Runs a kind of run for many seeds, on two threads.
pub fn run_each(
    seeds: std::ops::Range<u64>,
    run: impl Fn(u64) -> Outcome + Sync,
    tell: impl Fn(u64, &Outcome) + Sync,
) {
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let work = || {
        loop {
            let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            tell(seed, &run(seed));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
}
