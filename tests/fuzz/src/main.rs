//! The fuzzer for one target, which the variable `FUZZ_TARGET` names. `scripts/fuzz` runs it.

#![no_main]

use std::sync::LazyLock;

use hobnob_fuzz::Target;
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
    hobnob_fuzz::target(&name).expect("FUZZ_TARGET is one of hobnob_fuzz::TARGETS")
});

fuzz_target!(
    init: {
        // The fuzzer starts from valid inputs, beside those of the corpus.
        if let Some(folder) = std::env::var_os("FUZZ_SAMPLES") {
            for (n, sample) in (TARGET.samples)().iter().enumerate() {
                let file = std::path::Path::new(&folder).join(format!("sample-{n}"));
                std::fs::write(file, sample).expect("the folder for samples can be written");
            }
        }
    },
    |data: &[u8]| TARGET.run(data)
);
