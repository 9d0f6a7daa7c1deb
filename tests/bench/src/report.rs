//! What was measured, as a table for people and as JSON for programs.

use std::fmt;

use serde_json::{Value, json};

use crate::machine::{self, Time};
use crate::plan::Options;
use crate::stats::Samples;

/// All lines so far.
pub(crate) struct Report {
    machine: Value,
    options: Options,
    bench: &'static str,
    lines: Vec<Line>,
    began: Time,
    load_after: String,
    percent_stolen: u64,
}

/// A figure, or why there is none.
struct Line {
    bench: &'static str,
    what: String,
    unit: &'static str,
    samples: Result<Samples, String>,
    /// Whether there was to be a figure.
    wanted: bool,
    ratio: Option<Samples>,
    aim: Option<Aim>,
}

/// What hobnob wants to reach, of the ratio where there is one, else of the figure.
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

    /// What follows belongs to this bench.
    pub(crate) fn begin(&mut self, bench: &'static str) {
        self.bench = bench;
    }

    /// A figure that nothing is expected of.
    pub(crate) fn figure(&mut self, what: impl Into<String>, unit: &'static str, samples: Samples) {
        self.line(what, unit, samples, None, None);
    }

    /// A figure, or its ratio to a rival's, of which something is expected.
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

    /// Something could not be measured.
    pub(crate) fn absent(&mut self, what: impl Into<String>, why: &str) {
        self.no_figure(what, why, true);
    }

    /// A rival could not be measured: no failure if all rivals were to be left out.
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

    /// Nothing more is measured.
    pub(crate) fn finish(&mut self) {
        self.load_after = machine::load();
        self.percent_stolen = Time::now().percent_stolen_since(self.began);
    }

    /// Whether everything was measured that was to be.
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
    /// The figure that the aim is about.
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

    /// What, figure, quartiles, ratio, its quartiles, aim.
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
            "Short form: coarse. "
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
            "Load average before {}, after {}; {} % of the processors' time went to other machines. Medians, and quartiles in brackets.\n",
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

/// Three digits that count; thousands apart.
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
    fn figures_have_three_digits_that_count() {
        assert_eq!(
            [1.234, 12.34, 123.4, 1_234_567.0].map(figure),
            ["1.23", "12.3", "123", "1,234,567"]
        );
    }

    #[test]
    fn an_aim_is_about_the_ratio_where_there_is_one() {
        let one = |value| Samples::new(vec![value]).unwrap();
        let mut report = Report::new(
            json!({}),
            Options {
                short: false,
                alone: false,
            },
        );
        report.line(
            "beside a rival",
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
    fn a_rival_that_was_to_be_left_out_is_no_failure_and_anything_else_that_is_missing_is() {
        for (alone, whole) in [(true, true), (false, false)] {
            let mut report = Report::new(json!({}), Options { short: true, alone });
            report.rival_absent("the rival", "left out");
            assert_eq!(report.is_whole(), whole);
            report.absent("hobnob", "it hangs");
            assert!(!report.is_whole());
        }
    }
}
