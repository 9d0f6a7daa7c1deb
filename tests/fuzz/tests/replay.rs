//! Runs each target on its corpus, and on valid samples that are cut short, extended and damaged.

use std::fs;
use std::path::Path;

use hobnob_fuzz::{TARGETS, Target};

/// Runs a target. If it fails, the last line of the output names the input.
fn run(target: &Target, input: &[u8]) {
    eprintln!("{}: {}", target.name, input.escape_ascii());
    target.run(input);
}

#[test]
fn each_target_reads_its_samples_and_damaged_ones() {
    for target in TARGETS {
        let samples = (target.samples)();
        assert!(!samples.is_empty(), "{} has samples", target.name);
        for sample in samples {
            run(target, &[&sample[..], &[0]].concat());
            for len in 0..=sample.len() {
                run(target, &sample[..len]);
            }
            for at in 0..sample.len() {
                for change in [1, 0x80, 0xff] {
                    let mut damaged = sample.clone();
                    damaged[at] ^= change;
                    run(target, &damaged);
                }
            }
        }
    }
}

#[test]
fn each_target_reads_its_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in TARGETS {
        let folder = corpus.join(target.name);
        let files = fs::read_dir(&folder);
        let files = files.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut inputs = 0;
        for file in files {
            let file = file.expect("a readable folder").path();
            run(target, &fs::read(file).expect("a readable file"));
            inputs += 1;
        }
        assert!(inputs > 0, "{} has a corpus", target.name);
    }
}
