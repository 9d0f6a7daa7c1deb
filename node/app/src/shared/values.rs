//! Values on the command line: durations, times, sizes, delivery states, conversations. And times in
//! words.

use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use hobnob::protocol::{RoomName, Target};
use hobnob::{ConversationRef, DeliveryState};
use hobnob_control::wire::{Resolve, Resolved, Right, Text, Time};
use hobnob_control::{Client, ClientError};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned, civil};

/// A conversation, as the user names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConversationArg {
    Room(RoomName),
    Peer(Target),
}

impl ConversationArg {
    /// The fields of a request: a target, or a room.
    pub(crate) fn fields(self) -> (Option<Text<Target>>, Option<Text<RoomName>>) {
        match self {
            ConversationArg::Peer(target) => (Some(Text(target)), None),
            ConversationArg::Room(room) => (None, Some(Text(room))),
        }
    }

    /// The conversation. Asks the node for the peer.
    pub(crate) async fn resolve(self, client: &Client) -> Result<ConversationRef, ClientError> {
        match self {
            ConversationArg::Room(room) => Ok(ConversationRef::Room(room)),
            ConversationArg::Peer(target) => {
                let target = Text(target);
                let Resolved { peer } = client.ask(Resolve { target }).await?;
                Ok(ConversationRef::Direct(peer.0))
            }
        }
    }
}

impl From<ConversationRef> for ConversationArg {
    fn from(conversation: ConversationRef) -> Self {
        match conversation {
            ConversationRef::Room(room) => Self::Room(room),
            ConversationRef::Direct(peer) => Self::Peer(Target::Id(peer)),
        }
    }
}

impl FromStr for ConversationArg {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        if word.starts_with('#') {
            word.parse()
                .map(ConversationArg::Room)
                .map_err(|e: hobnob::protocol::conversation::NotARoomName| e.to_string())
        } else {
            word.parse()
                .map(ConversationArg::Peer)
                .map_err(|e: hobnob::protocol::target::TargetError| e.to_string())
        }
    }
}

/// `500ms`, `10s`, `2m`, `1h`.
pub(crate) fn duration(word: &str) -> Result<Duration, String> {
    const WRONG: &str = "a time is a number and a unit, such as 500ms, 10s, 2m";
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = word.split_at(digits);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(WRONG.into()),
    };
    let number: u64 = number.parse().map_err(|_| WRONG)?;
    number
        .checked_mul(unit_ms)
        .map(Duration::from_millis)
        .ok_or_else(|| WRONG.into())
}

/// As [`duration`], but not zero.
pub(crate) fn some_time(word: &str) -> Result<Duration, String> {
    let time = duration(word)?;
    if time.is_zero() {
        return Err("this time must be longer than zero".into());
    }
    Ok(time)
}

/// A number of bytes, written as `500K`, `20M` or `4G`, in powers of 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "a size is a number of bytes, or one with K, M, G or T, such as 20M";
        let digits = word.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = word.split_at(digits);
        let unit: u64 = match unit {
            "" => 1,
            "K" | "k" => 1_000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "T" => 1_000_000_000_000,
            _ => return Err(WRONG),
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(unit))
            .map(Size)
            .ok_or(WRONG)
    }
}

/// A parser of delivery states. Shells complete their names.
pub(crate) fn state() -> impl TypedValueParser<Value = DeliveryState> {
    let states = [
        DeliveryState::Queued,
        DeliveryState::Sent,
        DeliveryState::Held,
        DeliveryState::Delivered,
    ];
    PossibleValuesParser::new(states.map(DeliveryState::as_str))
        .try_map(|word| word.parse::<DeliveryState>())
}

/// A right of a token.
pub(crate) fn right(word: &str) -> Result<Right, &'static str> {
    let mut all = Right::ALL.into_iter();
    all.find(|right| right.as_str() == word)
        .ok_or("a right is one of these words: read, send, manage")
}

/// A recipient. A room needs another command.
pub(crate) fn recipient(word: &str) -> Result<Target, String> {
    if let Some(room) = word.strip_prefix('#') {
        return Err(format!(
            "that is a room: `hobnob broadcast --room {room} TEXT` sends to it"
        ));
    }
    word.parse()
        .map_err(|error: hobnob::protocol::target::TargetError| error.to_string())
}

/// A time: RFC 3339, a time or date in the local time zone, or a span before now.
pub(crate) fn since(word: &str) -> Result<Time, String> {
    since_at(word, &Zoned::now())
}

fn since_at(word: &str, now: &Zoned) -> Result<Time, String> {
    if let Ok(timestamp) = word.parse::<Timestamp>() {
        return Ok(timestamp.into());
    }
    let zone = || now.time_zone().clone();
    // A date and a time also parse from a text with both, and ignore the other half.
    let local = if word.contains(':') && !word.contains('-') {
        let today = |time: civil::Time| now.date().to_datetime(time);
        word.parse::<civil::Time>().ok().map(today)
    } else if word.contains(':') {
        word.parse::<civil::DateTime>().ok()
    } else if word.len() == "2026-11-20".len() {
        let midnight = |date: civil::Date| date.at(0, 0, 0, 0);
        word.parse::<civil::Date>().ok().map(midnight)
    } else {
        None
    };
    if let Some(local) = local {
        // A time that the clocks show twice is the earlier one, so that nothing is missed.
        let moment = local.to_zoned(zone()).map_err(|e| e.to_string())?;
        return Ok(moment.timestamp().into());
    }
    let ago = word
        .parse::<Span>()
        .ok()
        .filter(|span| span.is_positive())
        .and_then(|span| now.checked_sub(span).ok());
    let text = "write a date (2026-11-20), a time (14:03, \"2026-11-20 14:03\", 2026-11-20T14:03:00Z), or how long ago (30m, 2h, 3d)";
    ago.map(|then| then.timestamp().into())
        .ok_or_else(|| text.into())
}

/// A time in the local time zone, to the minute.
pub(crate) fn local_minute(time: Time) -> String {
    time.timestamp()
        .to_zoned(TimeZone::system())
        .strftime("%Y-%m-%d %H:%M")
        .to_string()
}

/// A time in the local time zone, to the second.
pub(crate) fn local_second(time: Time) -> String {
    time.timestamp()
        .to_zoned(TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// The time of day in the local time zone.
pub(crate) fn local_time_of_day(time: Time) -> String {
    time.timestamp()
        .to_zoned(TimeZone::system())
        .strftime("%H:%M")
        .to_string()
}

/// This machine's clock.
pub(crate) fn now() -> Time {
    Timestamp::now().into()
}

/// A span of time in words, to its largest unit.
pub(crate) fn time_span(ms: u64) -> String {
    let minutes = ms / 60_000;
    match minutes {
        0..=119 => format!("{minutes} minutes"),
        120..=2879 => format!("{} hours", minutes / 60),
        2880..=1_051_199 => format!("{} days", minutes / 1440),
        _ => format!("{} years", minutes / 525_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        for (word, ms) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(word), Ok(Duration::from_millis(ms)), "{word}");
        }
        for wrong in [
            "",
            "10",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "99999999999999999999s",
            "18446744073709551615h",
            "1d",
        ] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
        assert!(some_time("0s").is_err() && some_time("0ms").is_err() && some_time("1").is_err());
        assert_eq!(some_time("1ms"), Ok(Duration::from_millis(1)));
    }

    #[test]
    fn sizes_may_have_a_unit() {
        for (word, bytes) in [
            ("0", 0),
            ("500", 500),
            ("500K", 500_000),
            ("20M", 20_000_000),
            ("4G", 4_000_000_000),
        ] {
            assert_eq!(word.parse(), Ok(Size(bytes)), "{word}");
        }
        for wrong in ["", "M", "-1", "1.5M", "20 M", "20MB", "99999999T"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn since_is_a_moment_a_date_or_a_span() {
        let now: Zoned = "2026-11-20T14:00:00+01:00[+01:00]".parse().unwrap();
        for (word, moment) in [
            ("2026-11-20T13:03:09Z", "2026-11-20T13:03:09Z"),
            ("2026-11-20T14:03:09+01:00", "2026-11-20T13:03:09Z"),
            ("2026-11-20", "2026-11-19T23:00:00Z"),
            ("30m", "2026-11-20T12:30:00Z"),
            ("2h", "2026-11-20T11:00:00Z"),
            ("3d", "2026-11-17T13:00:00Z"),
            ("1d 2h", "2026-11-19T11:00:00Z"),
            ("2026-11-19 02:12", "2026-11-19T01:12:00Z"),
            ("2026-11-20T02:12:30", "2026-11-20T01:12:30Z"),
            ("09:30", "2026-11-20T08:30:00Z"),
        ] {
            let expected: Timestamp = moment.parse().unwrap();
            assert_eq!(since_at(word, &now), Ok(expected.into()), "{word}");
        }
        for wrong in [
            "2026-11-20 0212",
            "",
            "yesterday",
            "-2h",
            "0s",
            "99999999y",
            "2026-13-01",
        ] {
            assert!(since_at(wrong, &now).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn since_follows_the_clocks_of_the_zone() {
        let now: Zoned = "2026-10-25T12:00:00+01:00[Europe/Berlin]".parse().unwrap();
        for (word, moment) in [
            // The clocks show 02:30 twice: the earlier one.
            ("2026-10-25 02:30", "2026-10-25T00:30:00Z"),
            ("2026-10-24", "2026-10-23T22:00:00Z"),
            // A day before noon is noon, although 25 hours lie between.
            ("1d", "2026-10-24T10:00:00Z"),
        ] {
            let expected: Timestamp = moment.parse().unwrap();
            assert_eq!(since_at(word, &now), Ok(expected.into()), "{word}");
        }
    }

    #[test]
    fn a_conversation_is_a_room_or_a_peer() {
        assert_eq!(
            "#Lobby".parse(),
            Ok(ConversationArg::Room(RoomName::lobby()))
        );
        assert_eq!(
            "lobby".parse(),
            Ok(ConversationArg::Peer(Target::Name("lobby".into())))
        );
        assert!("#".parse::<ConversationArg>().is_err());
    }
}
