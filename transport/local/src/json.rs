//! JSON lines: how single values and whole lines are written.
//!
//! Which requests, answers and events exist is defined by the programs that use these lines.

#[cfg(feature = "schema")]
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use hobnob_protocol::text;
use jiff::Timestamp;
#[cfg(feature = "schema")]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The value of `v` in every event line. It changes when a field is renamed or changes its meaning.
/// New fields do not change it.
pub const LINES_VERSION: u8 = 1;

/// A value that JSON carries as its text form, such as an id or a room name.
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

#[cfg(feature = "schema")]
impl<T: JsonSchema> JsonSchema for Text<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A moment in milliseconds since the Unix epoch. JSON carries it as RFC 3339 in UTC, such as
/// `2026-11-20T13:03:09.042Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

impl Time {
    /// The same moment as jiff's type. Moments after the year 9999, which only a broken clock
    /// reports, become the last moment that RFC 3339 can express.
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

#[cfg(feature = "schema")]
impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date-time",
            "description": "A time (RFC 3339). A node writes it in UTC with milliseconds.",
        })
    }
}

/// Writes one value as one line, including the line feed. Characters that could disturb a terminal
/// are escaped.
///
/// ```
/// use hobnob_local::json::to_line;
///
/// let line = to_line(&"a bell \u{7} and \u{202e}");
/// assert_eq!(line, "\"a bell \\u0007 and \\u202e\"\n");
/// ```
pub fn to_line(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value)
        .expect("only string keys exist in these types, and nothing else can fail");
    let mut line = text::visible_json(&json).into_owned();
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_and_written_in_the_form_that_people_know() {
        let peer = hobnob_protocol::PersonId::from_bytes([7; 32]);
        let json = format!("\"{peer}\"");
        assert_eq!(serde_json::to_string(&Text(peer)).unwrap(), json);
        assert_eq!(
            serde_json::from_str::<Text<hobnob_protocol::PersonId>>(&json).unwrap(),
            Text(peer)
        );
    }

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
