//! Benchmarks of hobnob and of alternatives to it, measured alternately in one run. `scripts/bench`
//! builds and runs this program.
//!
//! `benches` contains one file for each topic, `rivals` the other programs. Compare the ratios:
//! absolute values depend on the machine and its load. All traffic stays on loopback or in network
//! namespaces that end with this process.

mod benches;
mod machine;
mod nodes;
mod plan;
mod relay;
mod report;
mod rivals;
mod stats;
mod turns;

use std::process::ExitCode;

use plan::{Options, Plan};
use report::Report;

const USAGE: &str = "usage: scripts/bench [--short] [--alone] [NAME…]\n\nnames:";

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (options, names): (Vec<_>, Vec<_>) = arguments
        .into_iter()
        .partition(|argument| argument.starts_with('-'));
    let unknown = names
        .iter()
        .any(|name| !benches::ALL.iter().any(|bench| bench.is_called(name)));
    if unknown
        || options
            .iter()
            .any(|option| !["--short", "--alone"].contains(&option.as_str()))
    {
        eprintln!("{USAGE}");
        for bench in benches::ALL {
            eprintln!("  {:16} {}", bench.name, bench.about);
        }
        return Ok(ExitCode::from(2));
    }
    let given = |option: &str| options.iter().any(|given| given == option);
    let wanted = |bench: &benches::Bench| match names.is_empty() {
        true => !(bench.long && given("--short")),
        false => names.iter().any(|name| bench.is_called(name)),
    };
    let chosen: Vec<_> = benches::ALL.iter().filter(|bench| wanted(bench)).collect();
    // Must run before any thread starts: without root, the lab starts this program again in a user
    // namespace.
    let needs_lab = chosen.iter().any(|bench| bench.in_lab);
    let lab = needs_lab.then(hobnob_tests::lab::Lab::open);
    let options = Options {
        short: given("--short"),
        alone: given("--alone"),
    };
    let plan = Plan::new(options, lab)?;
    let mut report = Report::new(machine::describe(plan.dir()), options);
    for bench in chosen {
        eprintln!("… {}: {}", bench.name, bench.about);
        report.begin(bench.name);
        let begun = hobnob_tests::lab::Stopwatch::start();
        if let Err(error) = bench.run(&plan, &mut report) {
            report.absent(bench.about, &format!("{error:#}"));
        }
        eprintln!("  took {:.1?}", begun.elapsed());
    }
    report.finish();
    print!("{report}");
    let file = plan.target().join("bench.json");
    std::fs::write(&file, format!("{:#}\n", report.json()))?;
    eprintln!("wrote {}", file.display());
    Ok(if report.is_whole() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
