//! Findings about mail.

use super::findings::{Finding, MailFinding, PeerFinding};
use super::{HOLDER_AWAY_DAYS, MailEvidence};

/// What concerns mail. There is no finding for a node without contacts that holds none.
pub(super) fn judge(mail: &MailEvidence) -> Vec<Finding> {
    let mut findings: Vec<Finding> = holders(mail).into_iter().map(Finding::from).collect();
    let away = mail.lost_holders.iter();
    let long = away.filter(|(_, days)| *days >= HOLDER_AWAY_DAYS);
    findings.extend(long.map(|(holder, days)| {
        let (holder, days) = (holder.clone(), *days);
        MailFinding::HolderAway { holder, days }.into()
    }));
    let refused = mail.refused.iter().cloned();
    findings.extend(refused.map(|(peer, reason)| PeerFinding::MailRefused { peer, reason }.into()));
    if mail.held_for > 0 {
        findings.push(
            MailFinding::MailHeld {
                messages: mail.held,
                peers: mail.held_for,
                days: mail.held_days,
            }
            .into(),
        );
    }
    if mail.files_waiting > 0 {
        let files = mail.files_waiting;
        findings.push(MailFinding::FilesWait { files }.into());
    }
    if let Some((bytes, bytes_max)) = mail.holding
        && bytes >= bytes_max / 10 * 9
    {
        findings.push(MailFinding::HoldingFull { bytes, bytes_max }.into());
    }
    findings
}

/// Whether somebody holds mail for this node. If most contacts are here, nobody needs to.
fn holders(mail: &MailEvidence) -> Option<MailFinding> {
    let (away, contacts) = (mail.contacts_away, mail.contacts);
    if mail.holders_connected > 0 {
        let connected = mail.holders_connected;
        return Some(MailFinding::MailHolders { connected });
    }
    let most_are_away = contacts > 0 && 2 * away >= contacts;
    let nobody = mail.lost_holders.is_empty() && most_are_away;
    nobody.then_some(MailFinding::NoHolder { away, contacts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::{LONG_HELD_DAYS, Verdict};
    use crate::mail_refusal::MailRefusal;

    fn codes(mail: &MailEvidence) -> Vec<(&'static str, Verdict)> {
        let findings = judge(mail);
        findings
            .iter()
            .map(|it| (it.code(), it.verdict()))
            .collect()
    }

    #[test]
    fn a_node_without_contacts_needs_no_mail() {
        assert_eq!(codes(&MailEvidence::default()), []);
    }

    #[test]
    fn nobody_holds_mail_though_contacts_are_away() {
        let mail = |contacts, contacts_away| MailEvidence {
            contacts,
            contacts_away,
            ..MailEvidence::default()
        };
        assert_eq!(codes(&mail(5, 2)), []);
        assert_eq!(codes(&mail(5, 3)), [("no-holder", Verdict::Note)]);
        let held = MailEvidence {
            holders_connected: 1,
            ..mail(5, 5)
        };
        assert_eq!(codes(&held), [("mail-holders", Verdict::Fine)]);
    }

    #[test]
    fn a_holder_that_is_away_for_days_is_named() {
        let mail = MailEvidence {
            contacts: 1,
            contacts_away: 1,
            lost_holders: vec![("carol".into(), 0), ("relay:1".into(), HOLDER_AWAY_DAYS)],
            ..MailEvidence::default()
        };
        assert_eq!(codes(&mail), [("holder-away", Verdict::Note)]);
    }

    #[test]
    fn what_waits_and_what_is_refused_is_named() {
        let mut mail = MailEvidence {
            refused: vec![("bob".into(), MailRefusal::Full)],
            held: 7,
            held_for: 2,
            held_days: LONG_HELD_DAYS - 1,
            files_waiting: 1,
            holding: Some((9, 10)),
            ..MailEvidence::default()
        };
        let expected = [
            ("mail-refused", Verdict::Note),
            ("mail-held", Verdict::Fine),
            ("files-wait", Verdict::Note),
        ];
        assert_eq!(codes(&mail)[..3], expected);
        assert_eq!(codes(&mail)[3], ("holding-full", Verdict::Note));
        mail.held_days += 1;
        mail.holding = Some((800, 1_000));
        let expected = [expected[0], ("mail-held", Verdict::Note), expected[2]];
        assert_eq!(codes(&mail), expected);
    }
}
