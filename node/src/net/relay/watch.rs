//! When a member of a fleet is asked whether it is there.

/// After this many checks, three and a half seconds, a member of a fleet is asked again whether it
/// is there. Nobody else can tell a node that its relay has died.
const ASK_CHECKS: u32 = 14;

/// A channel counts as in use for this many checks, a minute, after its last frame.
const USED_CHECKS: u32 = 240;

/// Decides when a member of a fleet is asked between the regular heartbeats: while peers may want
/// to reach this node through it. The calls of [`Watch::is_due`] are its clock.
#[derive(Debug)]
pub(super) struct Watch {
    /// Transmissions and receptions through the relay so far.
    traffic: (u64, u64),
    /// Checks since these changed.
    unused: u32,
    /// Checks since the relay was asked.
    unasked: u32,
}

impl Watch {
    /// No channel was used yet.
    pub(super) fn new() -> Self {
        Self {
            traffic: (0, 0),
            unused: USED_CHECKS,
            unasked: 0,
        }
    }

    /// Whether to ask the relay now.
    pub(super) fn is_due(&mut self, sent: u64, received: u64) -> bool {
        let before = std::mem::replace(&mut self.traffic, (sent, received));
        self.unused = if before == self.traffic {
            self.unused.saturating_add(1)
        } else {
            0
        };
        self.unasked += 1;
        let is_due = self.unasked >= ASK_CHECKS;
        if is_due {
            self.unasked = 0;
        }
        is_due && self.unused < USED_CHECKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(watch: &mut Watch, sent: u64, checks: u32) -> usize {
        (0..checks).filter(|_| watch.is_due(sent, 0)).count()
    }

    #[test]
    fn a_member_is_asked_often_while_a_channel_is_used() {
        let mut watch = Watch::new();
        assert_eq!(asked(&mut watch, 0, 10 * ASK_CHECKS), 0, "no channel");
        assert_eq!(asked(&mut watch, 1, 4 * ASK_CHECKS), 4);
        let later = asked(&mut watch, 1, 10 * USED_CHECKS);
        assert!(later < 20, "it was used a minute ago: {later}");
    }
}
