//! What `doctor` and `why` answer.

use serde::{Deserialize, Serialize};

use hobnob::{Check, Verdict};

/// Answers `doctor` and `why`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Everything that was looked at.
    pub checks: Vec<CheckLine>,
}

/// One thing that was looked at: see [`Check`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckLine {
    /// What.
    pub check: String,
    /// How it came out.
    pub verdict: Verdict,
    /// Which note or problem it is, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Where there are several kinds of what was looked at: which one it is, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What was seen, for people.
    pub text: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl From<Vec<Check>> for Diagnosis {
    fn from(checks: Vec<Check>) -> Self {
        let line = |Check {
                        check,
                        verdict,
                        code,
                        kind,
                        text,
                        fix,
                    }| CheckLine {
            check: check.to_owned(),
            verdict,
            code: code.map(str::to_owned),
            kind: kind.map(str::to_owned),
            text,
            fix: fix.map(str::to_owned),
        };
        Diagnosis {
            checks: checks.into_iter().map(line).collect(),
        }
    }
}
