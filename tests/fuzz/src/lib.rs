//! Fuzz targets: each feeds arbitrary bytes to one reader of foreign bytes, and checks what must hold
//! for any input.
//!
//! A reader must not panic, and must not claim more than [`MEMORY_MAX`]. Each target also checks a
//! property of the result. The usual one: encoding the value again gives no more bytes than were
//! read, and decoding these gives the same value. Otherwise two nodes could disagree about the
//! meaning of the same bytes, or a node could amplify what it forwards.
//!
//! `scripts/fuzz MINUTES` runs the targets with libFuzzer. The test `replay` runs them on the corpus
//! and on damaged samples, in an ordinary build. Each module has one target: its property is in
//! `run`, and `samples` are valid inputs to start from.

mod batches;
mod compression;
mod database;
mod datagrams;
mod demux;
mod entries;
mod folders;
mod frames;
mod json_lines;
mod mailbox;
mod manifests;
mod mdns;
mod piece_requests;
mod plane;
mod relay_frames;
mod stun;
mod texts;
mod words;

use std::alloc::System;
use std::panic;
use std::sync::LazyLock;

use cap::Cap;

/// Maximum memory that reading one input may claim, in bytes: 64 times the longest frame. Does not
/// include what C libraries claim.
pub const MEMORY_MAX: usize = 4 * 1024 * 1024;

/// Ends the process when a target claims more than [`MEMORY_MAX`].
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// A reader of foreign bytes.
#[derive(Debug)]
pub struct Target {
    /// Its name, and that of its folder in the corpus.
    pub name: &'static str,
    /// Reads the bytes, and panics if something is wrong with the reader.
    run: fn(&[u8]),
    /// Valid inputs, for the fuzzer to start from.
    pub samples: fn() -> Vec<Vec<u8>>,
}

impl Target {
    /// Reads an input. Panics if the reader violates its property, and aborts if it claims too much
    /// memory.
    pub fn run(&self, data: &[u8]) {
        LazyLock::force(&REPORT);
        let set = MEMORY.set_limit(MEMORY.allocated() + MEMORY_MAX);
        set.expect("the limit is above what is allocated");
        (self.run)(data);
        no_limit();
    }
}

/// Reporting a panic takes more memory than a target may claim.
static REPORT: LazyLock<()> = LazyLock::new(|| {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        no_limit();
        report(info);
    }));
});

fn no_limit() {
    MEMORY.set_limit(usize::MAX).expect("nothing exceeds it");
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target {
        name: "batches",
        run: batches::run,
        samples: batches::samples,
    },
    Target {
        name: "compression",
        run: compression::run,
        samples: compression::samples,
    },
    Target {
        name: "database",
        run: database::run,
        samples: database::samples,
    },
    Target {
        name: "datagrams",
        run: datagrams::run,
        samples: datagrams::samples,
    },
    Target {
        name: "demux",
        run: demux::run,
        samples: demux::samples,
    },
    Target {
        name: "entries",
        run: entries::run,
        samples: entries::samples,
    },
    Target {
        name: "folders",
        run: folders::run,
        samples: folders::samples,
    },
    Target {
        name: "frames",
        run: frames::run,
        samples: frames::samples,
    },
    Target {
        name: "json-lines",
        run: json_lines::run,
        samples: json_lines::samples,
    },
    Target {
        name: "mailbox",
        run: mailbox::run,
        samples: mailbox::samples,
    },
    Target {
        name: "manifests",
        run: manifests::run,
        samples: manifests::samples,
    },
    Target {
        name: "mdns",
        run: mdns::run,
        samples: mdns::samples,
    },
    Target {
        name: "piece-requests",
        run: piece_requests::run,
        samples: piece_requests::samples,
    },
    Target {
        name: "plane",
        run: plane::run,
        samples: plane::samples,
    },
    Target {
        name: "relay-frames",
        run: relay_frames::run,
        samples: relay_frames::samples,
    },
    Target {
        name: "stun",
        run: stun::run,
        samples: stun::samples,
    },
    Target {
        name: "texts",
        run: texts::run,
        samples: texts::samples,
    },
    Target {
        name: "words",
        run: words::run,
        samples: words::samples,
    },
];

/// The target with this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
