//! The benches, one file a theme.

mod broadcast;
mod file;
mod idle;
mod library;
mod many;
mod memory;
mod newcomer;
mod one;
mod relay;
mod round_trip;
mod start;

use std::time::Duration;

use anyhow::Context;

use crate::plan::Plan;
use crate::report::Report;

pub(crate) use round_trip::median_us;

/// One thing that is measured.
pub(crate) struct Bench {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// What it is about, for people.
    pub(crate) about: &'static str,
    /// Whether it needs the network lab.
    pub(crate) in_lab: bool,
    /// Whether it has no place in the short form, unless it is named: it takes minutes, and rivals
    /// that take minutes to build.
    pub(crate) long: bool,
    work: fn(&Plan, &mut Report) -> anyhow::Result<()>,
}

impl Bench {
    /// Whether a name on the command line means this: its own, or the beginning of it up to a
    /// hyphen.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name
            .strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }

    pub(crate) fn run(&self, plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
        (self.work)(plan, report)
    }
}

/// All, in the order in which they run.
pub(crate) const ALL: &[Bench] = &[
    Bench {
        name: "round-trip",
        about: "a frame to a peer and back, without the disk; beside a bare quinn stream",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(round_trip::run(plan, report)),
    },
    Bench {
        name: "one-message",
        about: "one durable message, send to receipt; beside two SQLite commits and a quinn round trip",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(one::run(plan, report)),
    },
    Bench {
        name: "many-messages",
        about: "durable messages per second, 64 bytes; beside JetStream, which syncs to disk every 2 minutes only",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(many::run(plan, report)),
    },
    Bench {
        name: "broadcast",
        about: "1 to 20 in the lobby, 200 bytes, durable on all; beside mosquitto, QoS 0, which keeps nothing",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(broadcast::run(plan, report)),
    },
    Bench {
        name: "file",
        about: "a large file, memory to memory, hash checked; beside bare quinn, scp and magic-wormhole; and the chat beside it",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(file::run(plan, report)),
    },
    Bench {
        name: "file-far",
        about: "the same over a path that takes 100 ms there and back",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(file::far::run(plan, report)),
    },
    Bench {
        name: "file-thin",
        about: "the chat beside a file on a path of 50 Mbit/s with a long queue",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(file::far::thin(plan, report)),
    },
    Bench {
        name: "library",
        about: "a message by the library; beside a line through the local socket",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(library::run(plan, report)),
    },
    Bench {
        name: "newcomer",
        about: "until a newcomer on the LAN knows and is known",
        in_lab: true,
        long: false,
        work: newcomer::run,
    },
    Bench {
        name: "idle",
        about: "what a session costs when nobody says anything",
        in_lab: true,
        long: false,
        work: idle::run,
    },
    Bench {
        name: "memory",
        about: "memory of an idle node, and of each session",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(memory::run(plan, report)),
    },
    Bench {
        name: "relay-through",
        about: "two peers by way of a relay; beside iroh and its relay",
        in_lab: false,
        long: true,
        work: |plan, report| block_on(relay::through::run(plan, report)),
    },
    Bench {
        name: "relay-file",
        about: "a large file by way of a relay; beside iroh and its relay",
        in_lab: false,
        long: true,
        work: |plan, report| block_on(file::relayed::run(plan, report)),
    },
    Bench {
        name: "relay-frames",
        about: "what single messages cost a relay; beside coturn",
        in_lab: false,
        long: true,
        work: |plan, report| block_on(relay::frames::run(plan, report)),
    },
    Bench {
        name: "relay-load",
        about: "a relay at half of what it can do, and beyond it",
        in_lab: false,
        long: true,
        work: |plan, report| block_on(relay::load::run(plan, report)),
    },
    Bench {
        name: "relay-crowd",
        about: "a relay with ten thousand peers",
        in_lab: false,
        long: true,
        work: |plan, report| block_on(relay::crowd::run(plan, report)),
    },
    Bench {
        name: "start",
        about: "from starting the program until it listens",
        in_lab: false,
        long: false,
        work: start::run,
    },
    Bench {
        name: "size",
        about: "the size of the program",
        in_lab: false,
        long: false,
        work: start::size,
    },
];

/// A runtime for each, so that nothing of one bench goes on in the next.
fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(async { tokio::time::timeout(LIMIT, work).await });
    runtime.shutdown_timeout(Duration::from_secs(5));
    done.context("it hangs")?
}

/// No bench takes longer, unless it hangs.
const LIMIT: Duration = Duration::from_secs(600);

/// Many, as a number that can be divided by.
fn many(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("benches are small"))
}
