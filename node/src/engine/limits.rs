//! Limits on what one session may cost the user, the log and the network: profiles that it sends,
//! refusals that it causes, dial-backs that it requests.

use std::collections::HashSet;
use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use hobnob_core::replica::Refusal;

/// How many profiles a session may send in a burst, and how long it takes to earn another one. A
/// peer that sends more loses the session.
const PROFILES_BURST: u32 = 32;
const PROFILE_EVERY: Duration = Duration::from_secs(1);

/// Refusals of one session that are logged one by one. Of later ones, each is logged whose number
/// is a power of two.
const REFUSALS_LOGGED: u64 = 16;

/// A peer that asks more often than this is not dialed back.
pub(super) const DIAL_BACK_EVERY: Duration = Duration::from_secs(5);

/// The limits of one session, and how much of each is used.
#[derive(Debug)]
pub(super) struct Limits {
    profiles: u32,
    profiles_since: Duration,
    refusals_noticed: HashSet<Discriminant<Refusal>>,
    refusals_logged: u64,
    dialed_back_at: Option<Duration>,
}

impl Limits {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            profiles: 0,
            profiles_since: now,
            refusals_noticed: HashSet::new(),
            refusals_logged: 0,
            dialed_back_at: None,
        }
    }

    /// Counts a profile. Returns whether it is within the limit.
    pub(super) fn allow_profile(&mut self, now: Duration) -> bool {
        let earned = (now - self.profiles_since).as_secs() / PROFILE_EVERY.as_secs();
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            self.profiles = self.profiles.saturating_sub(earned);
            self.profiles_since = now;
        }
        self.profiles += 1;
        self.profiles <= PROFILES_BURST
    }

    /// Whether to notify the user of this refusal: once in a session for each kind.
    pub(super) fn is_news(&mut self, refusal: &Refusal) -> bool {
        self.refusals_noticed.insert(discriminant(refusal))
    }

    /// Counts a refusal. Returns the count if this refusal is to be logged.
    pub(super) fn count_refusal(&mut self) -> Option<u64> {
        self.refusals_logged += 1;
        let count = self.refusals_logged;
        (count <= REFUSALS_LOGGED || count.is_power_of_two()).then_some(count)
    }

    /// Whether the peer may be dialed back now. If so, the next time is [`DIAL_BACK_EVERY`] later.
    pub(super) fn allow_dial_back(&mut self, now: Duration) -> bool {
        if self
            .dialed_back_at
            .is_some_and(|at| now - at < DIAL_BACK_EVERY)
        {
            return false;
        }
        self.dialed_back_at = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_of_profiles_is_allowed_and_then_one_a_second() {
        let mut limits = Limits::new(SECOND);
        for _ in 0..PROFILES_BURST {
            assert!(limits.allow_profile(SECOND));
        }
        assert!(!limits.allow_profile(SECOND));
        assert!(
            limits.allow_profile(3 * SECOND),
            "two seconds later, two are earned"
        );
        assert!(!limits.allow_profile(3 * SECOND));
    }

    #[test]
    fn each_kind_of_refusal_is_news_once() {
        let mut limits = Limits::new(SECOND);
        assert!(limits.is_news(&Refusal::Conflict));
        assert!(!limits.is_news(&Refusal::Conflict));
        assert!(limits.is_news(&Refusal::IdentityReused));
    }

    #[test]
    fn many_refusals_are_logged_ever_more_seldom() {
        let mut limits = Limits::new(SECOND);
        let logged: Vec<_> = (0..70).filter_map(|_| limits.count_refusal()).collect();
        assert_eq!(logged[..16], (1..=16).collect::<Vec<_>>());
        assert_eq!(logged[16..], [32, 64]);
    }

    #[test]
    fn a_peer_is_dialed_back_every_five_seconds_at_most() {
        let mut limits = Limits::new(SECOND);
        assert!(limits.allow_dial_back(SECOND));
        assert!(!limits.allow_dial_back(5 * SECOND));
        assert!(limits.allow_dial_back(6 * SECOND));
        assert!(!limits.allow_dial_back(7 * SECOND));
    }
}
