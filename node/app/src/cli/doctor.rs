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
use crate::shared::{diagnosis, session, status};

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
        output::say_on_terminal(status::LOOKING);
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
                "wrote {}: it contains no name, key or address, so you can show it to others",
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

/// A report that can be shown to anybody: fixed words only, so it cannot contain a name, key, address
/// or text.
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
        finding,
    } in &diagnosis.checks
    {
        let kind = finding.kind().map(|kind| format!("  {kind}"));
        let (verdict, code) = (verdict.as_str(), finding.code());
        let kind = kind.unwrap_or_default();
        writeln!(report, "{check:10}  {verdict:7}  {code}{kind}").expect("a String has room");
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob::{Finding, Mapping, ReachFinding, RelayFinding};

    #[test]
    fn a_report_contains_fixed_words_only() {
        let relay = RelayFinding::RelayDown {
            relay: "10.0.0.1:4627".into(),
        };
        let nat = ReachFinding::NatOpen {
            kind: Mapping::EndpointIndependent,
        };
        let report = report(&vec![Finding::from(relay), nat.into()].into());
        let lines: Vec<&str> = report.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "relay       problem  relay-down",
                "nat         fine     nat-open  endpoint-independent",
            ]
        );
    }
}
