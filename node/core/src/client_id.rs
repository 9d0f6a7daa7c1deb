//! The name that a program gives to a message before it sends it.

use std::fmt;
use std::str::FromStr;

/// Longest client id in bytes.
const CLIENT_ID_BYTES_MAX: usize = 128;

/// Names a message before it is sent: the program that sends it chooses the name, for example a random
/// one, and stores it. A message with the same name is not sent again, also after a crash. So a program
/// that does not know whether a message was sent sends it once more.
///
/// ```
/// use hobnob_core::ClientId;
///
/// assert!("order-4711".parse::<ClientId>().is_ok());
/// assert!("".parse::<ClientId>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(String);

impl ClientId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > CLIENT_ID_BYTES_MAX {
            return Err("a client_id has 1 to 128 bytes");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(feature = "schema")]
hobnob_protocol::text_schema!(
    ClientId,
    "ClientId",
    "A name that a program gives to a message, so that it is sent once: 1 to 128 bytes.",
    "minLength" = 1,
    "maxLength" = CLIENT_ID_BYTES_MAX
);
