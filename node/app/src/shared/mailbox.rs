//! `hobnob mailbox` as lines for people.

use hobnob::protocol::text::visible;
use hobnob_control::wire::{DepositLine, HolderLine, HoldingLine, MailboxLine, WaitReason};

use super::values::local_minute;
use super::wording::{count_u64, mailbox_reason, size};

/// All lines.
pub(crate) fn lines(mailbox: &MailboxLine) -> Vec<String> {
    let mut lines: Vec<_> = mailbox.held_by.iter().map(holder).collect();
    if lines.is_empty() {
        lines.push(
            "Nobody holds mail for you: no relay and no contact of yours does, or none is connected."
                .to_owned(),
        );
    }
    lines.extend(mailbox.deposited.iter().map(deposit));
    lines.extend(mailbox.holding.as_ref().map(holding));
    lines
}

/// `relay.example:4627 (ejxli757) holds mail for you since 2026-11-20 14:03: nothing waits, …`
fn holder(holder: &HolderLine) -> String {
    let short = holder.id.0.short();
    let name = match (&holder.at, &holder.name) {
        (Some(at), _) => format!("{} ({short})", at.0),
        (None, Some(name)) => format!("{} ({short})", visible(name)),
        (None, None) => short,
    };
    let waits = match holder.envelopes {
        0 => "nothing waits".to_owned(),
        1 => format!("1 envelope waits ({})", size(holder.bytes)),
        some => format!("{some} envelopes wait ({})", size(holder.bytes)),
    };
    let fetched = match holder.fetched_at {
        Some(at) => format!(
            "last looked at {}, {} fetched since the start",
            local_minute(at),
            count_u64(holder.fetched, "envelope")
        ),
        None => "not fetched since the start".to_owned(),
    };
    let gone = if holder.up { "" } else { " (not connected)" };
    let since = local_minute(holder.since);
    format!("{name} holds mail for you since {since}{gone}: {waits}; {fetched}")
}

/// `For bob: 3 messages held by ejxli757, the last since 2026-11-20 14:03`
fn deposit(deposit: &DepositLine) -> String {
    let name = visible(&deposit.name);
    let mut line = format!(
        "For {name}: {} held",
        count_u64(deposit.messages, "message")
    );
    if let (Some(holder), Some(at)) = (&deposit.holder, deposit.at) {
        line += &format!(
            " by {}, the last since {}",
            holder.0.short(),
            local_minute(at)
        );
    }
    if deposit.files_waiting > 0 {
        line += &format!(
            "; still to be sent: {}",
            count_u64(deposit.files_waiting, "small file")
        );
    }
    let reason = deposit.refused.map(WaitReason::from);
    if let Some(why) = reason.and_then(mailbox_reason) {
        line += &format!("; further ones stay queued: {why}");
    }
    line
}

/// `You hold mail for 2 contacts: 3 envelopes (48 KiB of 256 MiB)`
fn holding(holding: &HoldingLine) -> String {
    let (bytes, most) = (size(holding.bytes), size(holding.bytes_max));
    format!(
        "You hold mail for {}: {} ({bytes} of {most})",
        count_u64(holding.recipients, "contact"),
        count_u64(holding.envelopes, "envelope"),
    )
}

#[cfg(test)]
mod tests {
    use hobnob::{DeviceId, MailRefusal, PersonId};
    use hobnob_control::wire::{Text, Time};

    use super::*;

    fn id(n: u8) -> Text<PersonId> {
        Text(PersonId::from_bytes([n; 32]))
    }

    #[test]
    fn holders_and_deposits_are_one_line_each() {
        let holder = HolderLine {
            id: Text(DeviceId::from_bytes([8; 32])),
            at: Some(Text("relay.example:4627".parse().expect("an address"))),
            name: None,
            up: false,
            envelopes: 2,
            bytes: 9_000,
            since: Time(0),
            fetched_at: None,
            fetched: 0,
        };
        let deposit = DepositLine {
            peer: id(2),
            name: "bob\u{1b}".to_owned(),
            messages: 3,
            files_waiting: 1,
            holder: Some(Text(DeviceId::from_bytes([8; 32]))),
            at: Some(Time(0)),
            refused: Some(MailRefusal::Full),
        };
        let mailbox = MailboxLine {
            held_by: vec![
                HolderLine {
                    at: None,
                    name: Some("carol".to_owned()),
                    ..holder.clone()
                },
                holder,
            ],
            deposited: vec![deposit],
            holding: Some(HoldingLine {
                recipients: 1,
                envelopes: 2,
                bytes: 2_000,
                bytes_max: 4_000_000,
            }),
        };
        let [carol, holder, deposit, holding] = &lines(&mailbox)[..] else {
            panic!("four lines")
        };
        assert!(carol.starts_with("carol ("), "{carol}");
        assert!(
            holding.starts_with("You hold mail for 1 contact: 2 envelopes ("),
            "{holding}"
        );
        assert!(holder.contains("relay.example:4627"), "{holder}");
        assert!(
            holder.contains("(not connected): 2 envelopes wait"),
            "{holder}"
        );
        assert!(deposit.starts_with("For bob"), "{deposit}");
        assert!(deposit.contains("3 messages held by "), "{deposit}");
        assert!(
            deposit.contains("; still to be sent: 1 small file;"),
            "{deposit}"
        );
        assert!(
            deposit.ends_with("stay queued: the mailbox is full"),
            "{deposit}"
        );
        assert!(!deposit.contains('\u{1b}'));
    }

    #[test]
    fn without_a_holder_there_is_a_sentence() {
        let none = MailboxLine {
            held_by: Vec::new(),
            deposited: Vec::new(),
            holding: None,
        };
        assert_eq!(lines(&none).len(), 1);
    }
}
