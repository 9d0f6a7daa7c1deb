//! How single values are written in JSON: ids and names as their text form, times as RFC 3339,
//! bytes as base64.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;
use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value that travels as the text people know it by.
///
/// ```
/// use hobnob::RoomName;
/// use hobnob_control::wire::Text;
///
/// assert_eq!(serde_json::to_string(&Text(RoomName::lobby()))?, r##""#lobby""##);
/// assert_eq!(serde_json::from_str::<Text<RoomName>>(r##""#lobby""##)?, Text(RoomName::lobby()));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<T>(pub T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map(Text)
            .map_err(D::Error::custom)
    }
}

/// A moment, in milliseconds since the Unix epoch; travels as RFC 3339 in UTC,
/// `2026-11-20T13:03:09.042Z`.
///
/// ```
/// use hobnob_control::wire::Time;
///
/// let noon: Time = serde_json::from_str(r#""2026-11-25T12:00:00Z""#)?;
/// assert_eq!(serde_json::to_string(&Time(noon.0 + 42))?, r#""2026-11-25T12:00:00.042Z""#);
/// assert_eq!(Time::from(noon.timestamp()), noon);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

impl Time {
    /// The same moment for jiff; one past the year 9999, which only a broken clock says, becomes
    /// the last that can be written.
    pub fn timestamp(self) -> Timestamp {
        i64::try_from(self.0)
            .ok()
            .and_then(|ms| Timestamp::from_millisecond(ms).ok())
            .unwrap_or(Timestamp::MAX)
    }
}

impl From<Timestamp> for Time {
    /// Moments before 1970 become its start.
    fn from(timestamp: Timestamp) -> Self {
        Time(u64::try_from(timestamp.as_millisecond()).unwrap_or(0))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.3}", self.timestamp()))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse::<Timestamp>()
            .map(Time::from)
            .map_err(|_| D::Error::custom("a time is written as 2026-11-20T13:03:09Z"))
    }
}

/// Bytes; travel as base64 (RFC 4648 section 4).
///
/// ```
/// use hobnob_control::wire::Base64;
///
/// assert_eq!(serde_json::to_string(&Base64(b"e2-e4".to_vec()))?, r#""ZTItZTQ=""#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base64(pub Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64
            .decode(text.as_bytes())
            .map(Base64)
            .map_err(|_| D::Error::custom("bytes are written as base64 with padding"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_utc_with_milliseconds_and_no_clock_is_too_wrong_to_write() {
        let json = |ms| serde_json::to_string(&Time(ms)).unwrap();
        assert_eq!(json(1_795_179_789_042), r#""2026-11-20T13:03:09.042Z""#);
        assert_eq!(json(0), r#""1970-01-01T00:00:00.000Z""#);
        assert!(
            json(u64::MAX).starts_with(r#""9999-12-30"#),
            "{}",
            json(u64::MAX)
        );
        assert_eq!(
            serde_json::from_str::<Time>(r#""2026-11-20T14:03:09.042+01:00""#).unwrap(),
            Time(1_795_179_789_042)
        );
    }
}
