//! The list of benchmarks. Each file contains one topic.

mod broadcast;
mod datagram;
mod file;
mod idle;
mod library;
mod locked;
mod mail;
mod many;
mod memory;
mod newcomer;
mod one;
mod reach;
mod relay;
mod round_trip;
mod search;
mod start;

use std::time::Duration;

use anyhow::Context;

use crate::plan::Plan;
use crate::report::Report;

pub(crate) use round_trip::median_us;

/// One benchmark.
pub(crate) struct Bench {
    /// The name on the command line.
    pub(crate) name: &'static str,
    /// A description for the output.
    pub(crate) about: &'static str,
    /// Whether it needs the network lab.
    pub(crate) in_lab: bool,
    /// Whether the short form skips it unless it is named. It takes minutes, or its rivals take
    /// minutes to build.
    pub(crate) long: bool,
    work: fn(&Plan, &mut Report) -> anyhow::Result<()>,
}

impl Bench {
    /// Whether a name on the command line selects this benchmark. The name may be a prefix that
    /// ends before a hyphen.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name
            .strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }

    pub(crate) fn run(&self, plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
        (self.work)(plan, report)
    }
}

/// All benchmarks, in the order in which they run.
pub(crate) const ALL: &[Bench] = &[
    Bench {
        name: "round-trip",
        about: "a frame to a peer and back, without the disk; compared with a bare quinn stream",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(round_trip::run(plan, report)),
    },
    Bench {
        name: "datagram",
        about: "a datagram between programs of two nodes and back; compared with a bare quinn datagram",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(datagram::run(plan, report)),
    },
    Bench {
        name: "one-message",
        about: "one durable message, send to receipt; compared with two SQLite commits and a quinn round trip",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(one::run(plan, report)),
    },
    Bench {
        name: "many-messages",
        about: "durable messages per second, 64 bytes; compared with JetStream, which syncs to disk only every 2 minutes",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(many::run(plan, report)),
    },
    Bench {
        name: "broadcast",
        about: "1 to 20 nodes in the lobby, 200 bytes, durable on all; compared with mosquitto, QoS 0, which stores nothing",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(broadcast::run(plan, report)),
    },
    Bench {
        name: "broadcast-100",
        about: "1 to 100 nodes in the lobby, 200 bytes, durable on all; compared with mosquitto, QoS 0, which stores nothing",
        in_lab: false,
        long: true,
        work: |plan, report| block_on(broadcast::to_a_hundred(plan, report)),
    },
    Bench {
        name: "file",
        about: "a large file, memory to memory, hash checked; compared with bare quinn, scp and magic-wormhole; and messages during a transfer",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(file::run(plan, report)),
    },
    Bench {
        name: "file-far",
        about: "a large file over a path with a round trip of 100 ms",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(file::far::run(plan, report)),
    },
    Bench {
        name: "file-thin",
        about: "messages during a transfer on a path of 50 Mbit/s with a long queue",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(file::far::thin(plan, report)),
    },
    Bench {
        name: "compression",
        about: "a file of source code and messages of real text, and their bytes on the path; compared with scp -C",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(file::compressed::run(plan, report)),
    },
    Bench {
        name: "library",
        about: "a message by a call of the library; compared with a request through the local socket",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(library::run(plan, report)),
    },
    Bench {
        name: "locked",
        about: "a message on disk in a locked home; compared with one in a home that is not locked",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(locked::run(plan, report)),
    },
    Bench {
        name: "locked-open",
        about: "the time until a locked home with many messages is open",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(locked::opening(plan, report)),
    },
    Bench {
        name: "mail-deposit",
        about: "a message to somebody who is away, until a relay holds it; compared with two SQLite commits and a quinn round trip",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(mail::deposits(plan, report)),
    },
    Bench {
        name: "mail-fetch",
        about: "held messages until the recipient has them on disk",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(mail::fetches(plan, report)),
    },
    Bench {
        name: "mail-memory",
        about: "memory of a relay that holds mail for many people",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(mail::memory(plan, report)),
    },
    Bench {
        name: "search",
        about: "pages of search results in 10 million short texts of five scripts; fewer with --short or --alone",
        in_lab: false,
        long: true,
        work: search::run,
    },
    Bench {
        name: "newcomer",
        about: "time until a new node and the other nodes on a LAN discover each other",
        in_lab: true,
        long: false,
        work: newcomer::run,
    },
    Bench {
        name: "idle",
        about: "network traffic of an idle session and of mDNS; twenty minutes, two with --short",
        in_lab: true,
        long: false,
        work: idle::run,
    },
    Bench {
        name: "idle-lan",
        about: "traffic and processor time of 10 and 50 idle nodes on one LAN; ten minutes each, one with --short",
        in_lab: true,
        long: true,
        work: idle::lan,
    },
    Bench {
        name: "memory",
        about: "memory of an idle node and of each session",
        in_lab: false,
        long: false,
        work: |plan, report| block_on(memory::run(plan, report)),
    },
    Bench {
        name: "relay-through",
        about: "two peers through a relay; compared with iroh and its relay",
        in_lab: false,
        long: true,
        work: |plan, report| block_on(relay::through::run(plan, report)),
    },
    Bench {
        name: "relay-file",
        about: "a large file through a relay; compared with iroh and its relay",
        in_lab: false,
        long: true,
        work: |plan, report| block_on(file::relayed::run(plan, report)),
    },
    Bench {
        name: "relay-frames",
        about: "a relay's processor time for single messages; compared with coturn",
        in_lab: false,
        long: true,
        work: |plan, report| block_on(relay::frames::run(plan, report)),
    },
    Bench {
        name: "relay-load",
        about: "a relay at half load and under overload",
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
        name: "relay-sleepers",
        about: "a relay with a million sleeping peers; takes an hour",
        in_lab: false,
        long: true,
        work: |plan, report| block_on(relay::sleepers::run(plan, report)),
    },
    Bench {
        name: "reach-times",
        about: "a message where UDP is dropped: from the start, and from the loss of UDP",
        in_lab: true,
        long: true,
        work: reach::times,
    },
    Bench {
        name: "reach-streams",
        about: "two peers through a relay, both by TCP; compared with iroh and its relay",
        in_lab: false,
        long: true,
        work: |plan, report| block_on(reach::streams(plan, report)),
    },
    Bench {
        name: "reach-file",
        about: "messages by TCP beside a file on a line of 50 Mbit/s",
        in_lab: true,
        long: true,
        work: reach::beside_file,
    },
    Bench {
        name: "start",
        about: "time from starting the program until it listens",
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

/// Runs each benchmark in its own runtime, so that no task continues during the next one.
fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(async { tokio::time::timeout(LIMIT, work).await });
    runtime.shutdown_timeout(Duration::from_secs(5));
    done.context("the benchmark hangs")?
}

/// Time limit of a benchmark.
const LIMIT: Duration = Duration::from_secs(600);

/// Converts a count for divisions.
fn many(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("counts of benchmarks fit into u32"))
}
