//! Tickets for downloads: the browser sends no token with a navigation.

use std::collections::VecDeque;
use std::time::Duration;

use hobnob::MessageId;

/// How long a ticket is valid.
pub(crate) const TICKET_WITHIN: Duration = Duration::from_secs(60);

/// Maximum number of unused tickets. A further one replaces the oldest.
pub(crate) const TICKETS_MAX: usize = 64;

/// Tickets for downloads that have not begun.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    unused: VecDeque<Ticket>,
}

#[derive(Debug)]
struct Ticket {
    text: String,
    file: MessageId,
    until_ms: u64,
}

impl Tickets {
    /// Adds a ticket for the download of `file`.
    pub(crate) fn add(&mut self, text: String, file: MessageId, now_ms: u64) {
        if self.unused.len() >= TICKETS_MAX {
            self.unused.pop_front();
        }
        let valid = u64::try_from(TICKET_WITHIN.as_millis()).unwrap_or(u64::MAX);
        self.unused.push_back(Ticket {
            text,
            file,
            until_ms: now_ms.saturating_add(valid),
        });
    }

    /// The file of a valid ticket, which is used with that.
    pub(crate) fn redeem(&mut self, text: &str, now_ms: u64) -> Option<MessageId> {
        self.unused.retain(|ticket| now_ms < ticket.until_ms);
        let at = self.unused.iter().position(|ticket| ticket.text == text)?;
        Some(self.unused.remove(at)?.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_works_once_and_for_a_minute() {
        let file: MessageId = "f3373141b2854860-4".parse().unwrap();
        let mut tickets = Tickets::default();
        tickets.add("one".into(), file, 0);
        assert_eq!(tickets.redeem("two", 1), None);
        assert_eq!(tickets.redeem("one", 1), Some(file));
        assert_eq!(tickets.redeem("one", 1), None);
        tickets.add("late".into(), file, 0);
        assert_eq!(tickets.redeem("late", 60_000), None);
    }

    #[test]
    fn unused_tickets_are_few() {
        let file: MessageId = "f3373141b2854860-4".parse().unwrap();
        let mut tickets = Tickets::default();
        for number in 0..=TICKETS_MAX {
            tickets.add(number.to_string(), file, 0);
        }
        assert_eq!(tickets.redeem("0", 1), None);
        assert_eq!(tickets.redeem("1", 1), Some(file));
    }
}
