//! The answer to `doctor` and `why`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use hobnob::{Finding, Subject, Verdict};

/// Answers `doctor` and `why`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnosis {
    /// All checks.
    pub checks: Vec<CheckLine>,
}

/// One check and its finding.
///
/// The fields `check` and `verdict` follow from the finding, and a reader must accept findings of
/// newer versions, so serde cannot derive the line from [`Finding`].
///
/// ```
/// use hobnob::{PeerFinding, Verdict};
/// use hobnob_control::wire::{CheckLine, FindingFields};
///
/// let line = r#"{"check":"session","verdict":"problem","code":"blocked-you","peer":"bob"}"#;
/// let check: CheckLine = serde_json::from_str(line)?;
/// assert_eq!(check.verdict, Verdict::Problem);
/// let finding = PeerFinding::BlockedYou { peer: "bob".into() };
/// assert_eq!(check.finding, FindingFields::Known(finding.into()));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckLine {
    /// The examined subject: see [`Subject`].
    pub check: String,
    /// The verdict.
    pub verdict: Verdict,
    /// The finding.
    #[serde(flatten)]
    pub finding: FindingFields,
}

/// A finding, in the fields of its check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum FindingFields {
    /// Its `code` and the data that explain it.
    Known(Finding),
    /// A finding that only a newer version knows.
    Newer {
        /// The fixed word for it.
        code: String,
    },
}

impl FindingFields {
    /// The fixed word for the finding.
    pub fn code(&self) -> &str {
        match self {
            FindingFields::Known(finding) => finding.code(),
            FindingFields::Newer { code } => code,
        }
    }

    /// The fixed word for the kind of NAT or filtering, if the finding is about those.
    pub fn kind(&self) -> Option<&'static str> {
        match self {
            FindingFields::Known(finding) => finding.kind(),
            FindingFields::Newer { .. } => None,
        }
    }
}

impl From<Finding> for CheckLine {
    fn from(finding: Finding) -> Self {
        CheckLine {
            check: Subject::as_str(finding.subject()).to_owned(),
            verdict: finding.verdict(),
            finding: FindingFields::Known(finding),
        }
    }
}

impl From<Vec<Finding>> for Diagnosis {
    fn from(findings: Vec<Finding>) -> Self {
        Diagnosis {
            checks: findings.into_iter().map(CheckLine::from).collect(),
        }
    }
}
