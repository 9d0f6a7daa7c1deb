//! `hobnob doctor` and `hobnob why`: what is wrong, and what to do.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use hobnob::protocol::Target;
use hobnob_control::wire::{
    CheckLine, Diagnose, Diagnosis, LINES_VERSION, Request, Text, Why, to_line,
};
use serde::Serialize;

use crate::shared::common_flags::CommonFlags;
use crate::shared::exit_code::Exit;
use crate::shared::output::{self, Output};
use crate::shared::{diagnosis, session};

/// `hobnob doctor`.
pub(crate) async fn doctor(
    flags: &CommonFlags,
    out: Output,
    to: Option<PathBuf>,
) -> anyhow::Result<Exit> {
    diagnose(flags, out, Diagnose {}, to.as_deref()).await
}

/// `hobnob why`.
pub(crate) async fn why(flags: &CommonFlags, out: Output, target: Target) -> anyhow::Result<Exit> {
    diagnose(
        flags,
        out,
        Why {
            target: Text(target),
        },
        None,
    )
    .await
}

async fn diagnose(
    flags: &CommonFlags,
    out: Output,
    request: impl Request<Answer = Diagnosis>,
    report_to: Option<&Path>,
) -> anyhow::Result<Exit> {
    session::ask(flags, false, async |client| {
        output::say_on_terminal("looking around, which takes a few seconds …");
        let answer = client.ask(request).await?;
        if out.json {
            answer
                .checks
                .iter()
                .try_for_each(|check| output::raw(&json(check)))?;
        } else {
            diagnosis::lines(&answer)
                .iter()
                .try_for_each(|line| output::line(line))?;
        }
        if let Some(file) = report_to {
            std::fs::write(file, report(&answer))
                .with_context(|| format!("can't write the report to {}", file.display()))?;
            output::say(&format!(
                "wrote {}: it names no person, key or address, and can be shown to anybody",
                file.display()
            ));
        }
        Ok(if diagnosis::problems(&answer) == 0 {
            Exit::Done
        } else {
            Exit::Fault
        })
    })
    .await
}

/// `{"v":1,"event":"check",…}`
#[derive(Serialize)]
struct CheckEvent<'a> {
    v: u8,
    event: &'static str,
    #[serde(flatten)]
    check: &'a CheckLine,
}

fn json(check: &CheckLine) -> String {
    to_line(&CheckEvent {
        v: LINES_VERSION,
        event: "check",
        check,
    })
}

/// What can be shown to anybody: words of ours and nothing else, so no name, key, address or text
/// can be among them.
fn report(diagnosis: &Diagnosis) -> String {
    let mut report = format!(
        "hobnob {} doctor on {} {}\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH
    );
    for CheckLine {
        check,
        verdict,
        code,
        kind,
        ..
    } in &diagnosis.checks
    {
        let code = code.as_deref().unwrap_or("-");
        let kind = kind
            .as_ref()
            .map(|kind| format!("  {kind}"))
            .unwrap_or_default();
        let _ = writeln!(report, "{check:10}  {:7}  {code}{kind}", verdict.as_str());
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::diagnosis::lines;
    use hobnob::Verdict;

    #[test]
    fn a_problem_is_told_with_what_to_do_and_a_report_tells_nothing_else() {
        let check = |verdict, code: Option<&str>, fix: Option<&str>| CheckLine {
            check: "relay".into(),
            verdict,
            code: code.map(str::to_owned),
            kind: Some("of-a-kind".into()),
            text: "the relay of bob at 10.0.0.1\u{1b}".into(),
            fix: fix.map(str::to_owned),
        };
        let checks = vec![
            check(Verdict::Fine, None, None),
            check(Verdict::Problem, Some("relay-down"), Some("start it")),
            check(Verdict::Unknown, None, None),
        ];
        let diagnosis = Diagnosis { checks };
        let shown = lines(&diagnosis);
        assert_eq!(
            shown[1],
            "PROBLEM  relay       the relay of bob at 10.0.0.1␛"
        );
        assert_eq!(
            (shown[2].trim(), shown[4].as_str()),
            ("-> start it", "1 problem to mend.")
        );
        let last = |checks: Vec<CheckLine>| lines(&Diagnosis { checks }).pop().unwrap();
        assert_eq!(
            last(vec![check(Verdict::Fine, None, None)]),
            "No problem was found."
        );
        assert_eq!(
            last(vec![check(Verdict::Unknown, None, None)]),
            "No problem was found; 1 thing could not be told."
        );
        let report = report(&diagnosis);
        assert!(
            report.contains("problem  relay-down  of-a-kind")
                && !report.contains("bob")
                && !report.contains("10.0.0.1"),
            "{report}"
        );
    }
}
