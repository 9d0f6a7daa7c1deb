//! The results, as a table for users and as JSON for programs.

use std::fmt;

use serde_json::{Value, json};

use crate::machine::{self, Time};
use crate::plan::Options;
use crate::stats::Samples;

/// All results so far.
pub(crate) struct Report {
    machine: Value,
    options: Options,
    bench: &'static str,
    lines: Vec<Line>,
    began: Time,
    load_after: String,
    percent_stolen: u64,
}

/// A result, or the reason why there is none.
struct Line {
    bench: &'static str,
    what: String,
    unit: &'static str,
    samples: Result<Samples, String>,
    /// Whether a missing result is a failure.
    wanted: bool,
    ratio: Option<Samples>,
    aim: Option<Aim>,
}

/// hobnob's goal, for the ratio if there is one, or else for the value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aim {
    AtMost(f64),
    AtLeast(f64),
}

impl Aim {
    fn is_met(self, value: f64) -> bool {
        match self {
            Aim::AtMost(most) => value <= most,
            Aim::AtLeast(least) => value >= least,
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Aim::AtMost(most) => write!(f, "≤ {}", figure(*most)),
            Aim::AtLeast(least) => write!(f, "≥ {}", figure(*least)),
        }
    }
}

impl Report {
    pub(crate) fn new(machine: Value, options: Options) -> Self {
        let (lines, load_after) = (Vec::new(), String::new());
        Self {
            machine,
            options,
            bench: "",
            lines,
            began: Time::now(),
            load_after,
            percent_stolen: 0,
        }
    }

    /// Begins the results of a benchmark.
    pub(crate) fn begin(&mut self, bench: &'static str) {
        self.bench = bench;
    }

    /// Adds a value without a goal.
    pub(crate) fn figure(&mut self, what: impl Into<String>, unit: &'static str, samples: Samples) {
        self.line(what, unit, samples, None, None);
    }

    /// Adds a value and its ratio to a rival's value, with a goal.
    pub(crate) fn line(
        &mut self,
        what: impl Into<String>,
        unit: &'static str,
        samples: Samples,
        ratio: Option<Samples>,
        aim: Option<Aim>,
    ) {
        self.push(Line {
            bench: self.bench,
            what: what.into(),
            unit,
            samples: Ok(samples),
            wanted: true,
            ratio,
            aim,
        });
    }

    /// Reports a failed measurement.
    pub(crate) fn absent(&mut self, what: impl Into<String>, why: &str) {
        self.no_figure(what, why, true);
    }

    /// Reports a rival that could not be measured. This is no failure with `--alone`.
    pub(crate) fn rival_absent(&mut self, what: impl Into<String>, why: &str) {
        self.no_figure(what, why, !self.options.alone);
    }

    fn no_figure(&mut self, what: impl Into<String>, why: &str, wanted: bool) {
        let samples = Err(why.to_owned());
        self.push(Line {
            bench: self.bench,
            what: what.into(),
            unit: "",
            samples,
            wanted,
            ratio: None,
            aim: None,
        });
    }

    fn push(&mut self, line: Line) {
        eprintln!("  {}", line.cells().join("  "));
        self.lines.push(line);
    }

    /// Ends the measurements.
    pub(crate) fn finish(&mut self) {
        self.load_after = machine::load();
        self.percent_stolen = Time::now().percent_stolen_since(self.began);
    }

    /// Whether all wanted measurements succeeded.
    pub(crate) fn is_whole(&self) -> bool {
        self.lines
            .iter()
            .all(|line| line.samples.is_ok() || !line.wanted)
    }

    pub(crate) fn json(&self) -> Value {
        let lines: Vec<Value> = self.lines.iter().map(Line::json).collect();
        json!({
            "v": 1,
            "machine": self.machine,
            "short": self.options.short,
            "load_after": self.load_after,
            "percent_stolen": self.percent_stolen,
            "results": lines,
        })
    }
}

impl Line {
    /// The value that is compared with the goal.
    fn judged(&self) -> Option<f64> {
        self.ratio
            .as_ref()
            .or(self.samples.as_ref().ok())
            .map(Samples::median)
    }

    fn verdict(&self) -> Option<(Aim, bool)> {
        let (aim, value) = (self.aim?, self.judged()?);
        Some((aim, aim.is_met(value)))
    }

    /// The cells of a row: name, median, quartiles, ratio, quartiles of the ratio, goal.
    fn cells(&self) -> [String; 6] {
        let what = format!("{}: {}", self.bench, self.what);
        let samples = match &self.samples {
            Ok(samples) => samples,
            Err(why) => {
                return [
                    what,
                    "absent".to_owned(),
                    why.clone(),
                    String::new(),
                    String::new(),
                    String::new(),
                ];
            }
        };
        let ratio = self
            .ratio
            .as_ref()
            .map(|ratio| (format!("{:.2} ×", ratio.median()), spread(ratio)));
        let (ratio, of_ratio) = ratio.unwrap_or_default();
        let aim = self
            .verdict()
            .map(|(aim, met)| format!("{aim}: {}", if met { "met" } else { "NOT MET" }));
        [
            what,
            format!("{} {}", figure(samples.median()), self.unit),
            spread(samples),
            ratio,
            of_ratio,
            aim.unwrap_or_default(),
        ]
    }

    fn json(&self) -> Value {
        let samples = match &self.samples {
            Ok(samples) => samples,
            Err(why) => return json!({ "bench": self.bench, "what": self.what, "absent": why }),
        };
        let of = |samples: &Samples| {
            let (q1, q3) = samples.quartiles();
            json!({ "median": samples.median(), "q1": q1, "q3": q3, "rounds": samples.count() })
        };
        let mut line = json!({ "bench": self.bench, "what": self.what, "unit": self.unit, "value": of(samples) });
        if let Some(ratio) = &self.ratio {
            line["ratio"] = of(ratio);
        }
        if let Some((aim, met)) = self.verdict() {
            line["aim"] = aim.to_string().into();
            line["met"] = met.into();
        }
        line
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = if self.options.short {
            "Short form: not precise. "
        } else {
            ""
        };
        let m = &self.machine;
        let text = |key: &str| m[key].as_str().unwrap_or("?").to_owned();
        writeln!(
            f,
            "{form}{} cores, {}, Linux {}, disk {}.",
            m["cores"],
            text("cpu"),
            text("kernel"),
            text("disk")
        )?;
        writeln!(
            f,
            "Load average before {}, after {}; other virtual machines used {} % of the processors' time. Medians, and quartiles in brackets.\n",
            text("load_before"),
            self.load_after,
            self.percent_stolen
        )?;
        let heading = ["", "median", "quartiles", "ratio", "", "aim"].map(str::to_owned);
        let rows: Vec<[String; 6]> = std::iter::once(heading)
            .chain(self.lines.iter().map(Line::cells))
            .collect();
        let width = |column: usize| {
            rows.iter()
                .filter(|r| r[1] != "absent")
                .map(|r| r[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: [usize; 6] = std::array::from_fn(width);
        for [what, median, quartiles, ratio, of_ratio, aim] in &rows {
            let [a, b, c, d, e, _] = widths;
            let line = format!(
                "{what:a$}  {median:>b$}  {quartiles:c$}  {ratio:>d$}  {of_ratio:e$}  {aim}"
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn spread(samples: &Samples) -> String {
    if samples.count() == 1 {
        return String::new();
    }
    let (q1, q3) = samples.quartiles();
    format!("[{} … {}]", figure(q1), figure(q3))
}

/// Formats a value with three significant digits and separators for thousands.
fn figure(value: f64) -> String {
    if value.abs() < 10.0 {
        return format!("{value:.2}");
    }
    if value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_three_significant_digits() {
        assert_eq!(
            [1.234, 12.34, 123.4, 1_234_567.0].map(figure),
            ["1.23", "12.3", "123", "1,234,567"]
        );
    }

    #[test]
    fn a_goal_applies_to_the_ratio_if_there_is_one() {
        let one = |value| Samples::new(vec![value]).unwrap();
        let mut report = Report::new(
            json!({}),
            Options {
                short: false,
                alone: false,
            },
        );
        report.line(
            "compared with a rival",
            "s",
            one(3.0),
            Some(one(1.5)),
            Some(Aim::AtMost(2.0)),
        );
        report.figure("the rival", "s", one(2.0));
        report.line("size", "B", one(3.0), None, Some(Aim::AtMost(2.0)));
        let verdicts: Vec<_> = report
            .lines
            .iter()
            .map(|line| line.verdict().map(|(_, met)| met))
            .collect();
        assert_eq!(verdicts, [Some(true), None, Some(false)]);
    }

    #[test]
    fn a_skipped_rival_is_no_failure_but_any_other_missing_result_is() {
        for (alone, whole) in [(true, true), (false, false)] {
            let mut report = Report::new(json!({}), Options { short: true, alone });
            report.rival_absent("the rival", "skipped");
            assert_eq!(report.is_whole(), whole);
            report.absent("hobnob", "the benchmark hangs");
            assert!(!report.is_whole());
        }
    }
}
