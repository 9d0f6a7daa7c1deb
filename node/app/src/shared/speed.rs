//! The values of settings that limit the speed of file transfers.

use std::num::NonZeroU64;
use std::str::FromStr;

use jiff::Zoned;
use jiff::civil::Time;

use super::values::Size;

/// The lowest limit, in bytes a second. Below it, a peer would take a slow transfer for a dead one.
const SPEED_MIN: u64 = 64_000;

/// A speed in bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Speed(pub(crate) NonZeroU64);

impl FromStr for Speed {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let Size(bytes) = word.parse()?;
        NonZeroU64::new(bytes)
            .filter(|speed| speed.get() >= SPEED_MIN)
            .map(Speed)
            .ok_or_else(|| {
                format!(
                    "a limit is at least {}K bytes a second, such as 500K",
                    SPEED_MIN / 1_000
                )
            })
    }
}

/// A part of each day, by the clock of this machine. It may reach over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hours {
    from: Time,
    to: Time,
}

impl Hours {
    /// Whether it is now within these hours.
    pub(crate) fn are_now(self) -> bool {
        self.contains(Zoned::now().time())
    }

    fn contains(self, time: Time) -> bool {
        if self.from <= self.to {
            (self.from..self.to).contains(&time)
        } else {
            !(self.to..self.from).contains(&time)
        }
    }
}

impl FromStr for Hours {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let times = word.split_once('-').and_then(|(from, to)| {
            let time = |word: &str| word.trim().parse::<Time>().ok();
            Some((time(from)?, time(to)?))
        });
        match times {
            Some((from, to)) if from != to => Ok(Hours { from, to }),
            Some(_) | None => Err("write two times of the day, such as 08:00-18:00"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_may_reach_over_midnight() {
        let at = |word: &str| word.parse::<Time>().unwrap();
        for (hours, inside, outside) in [
            ("08:00-18:00", ["08:00", "17:59"], ["07:59", "18:00"]),
            ("22:00-06:30", ["23:15", "06:29"], ["06:30", "21:59"]),
        ] {
            let hours: Hours = hours.parse().unwrap();
            assert!(inside.map(at).iter().all(|time| hours.contains(*time)));
            assert!(outside.map(at).iter().all(|time| !hours.contains(*time)));
        }
        for wrong in ["", "8", "08:00", "08:00-", "08:00-08:00", "25:00-26:00"] {
            assert!(wrong.parse::<Hours>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_limit_that_would_stop_transfers_is_an_error() {
        assert_eq!("500K".parse(), Ok(Speed(NonZeroU64::new(500_000).unwrap())));
        for wrong in ["0", "63K", "fast"] {
            assert!(wrong.parse::<Speed>().is_err(), "{wrong}");
        }
    }
}
