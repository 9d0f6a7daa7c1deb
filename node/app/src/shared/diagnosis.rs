//! What a diagnosis found, as lines for people.

use hobnob::Verdict;
use hobnob::protocol::text::visible;
use hobnob_control::wire::Diagnosis;

use super::wording::count;

/// How many checks found a problem.
pub(crate) fn problems(diagnosis: &Diagnosis) -> usize {
    diagnosis
        .checks
        .iter()
        .filter(|check| check.verdict == Verdict::Problem)
        .count()
}

/// One check a line, with what to do below it; the sum at the end.
pub(crate) fn lines(diagnosis: &Diagnosis) -> Vec<String> {
    let mut lines = Vec::new();
    for check in &diagnosis.checks {
        let sign = match check.verdict {
            Verdict::Fine => "ok     ",
            Verdict::Note => "note   ",
            Verdict::Problem => "PROBLEM",
            Verdict::Unknown => "unknown",
        };
        lines.push(format!(
            "{sign}  {:10}  {}",
            check.check,
            visible(&check.text)
        ));
        lines.extend(
            check
                .fix
                .as_ref()
                .map(|fix| format!("                     -> {fix}")),
        );
    }
    let unknown = diagnosis
        .checks
        .iter()
        .filter(|check| check.verdict == Verdict::Unknown)
        .count();
    lines.push(match problems(diagnosis) {
        0 if unknown == 0 => "No problem was found.".to_owned(),
        0 => format!(
            "No problem was found; {} could not be told.",
            count(unknown, "thing")
        ),
        n => format!("{} to mend.", count(n, "problem")),
    });
    lines
}
