//! JSON Schema of the values that JSON carries as text. A macro, because each has its own pattern and
//! nothing else.

use crate::invitation::{CodeNumber, InviteCode};
use crate::{
    AppName, ContentHash, DeviceId, Nickname, PersonId, RelayAt, RoomName, RoomTarget, RoomTicket,
    Target,
};

/// Implements [`schemars::JsonSchema`] for a type whose JSON form is a text: its name in the schema,
/// its description, and further keywords such as `pattern`.
///
/// ```
/// use schemars::JsonSchema;
///
/// struct Digit(char);
/// hobnob_protocol::text_schema!(Digit, "Digit", "A digit.", "pattern" = "^[0-9]$");
/// assert_eq!(Digit::schema_name(), "Digit");
/// # let _ = Digit('1').0;
/// ```
#[macro_export]
macro_rules! text_schema {
    ($type:ty, $name:literal, $description:literal $(, $keyword:literal = $value:expr)*) => {
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "description": $description,
                    $($keyword: $value,)*
                })
            }
        }
    };
}

text_schema!(
    PersonId,
    "PersonId",
    "A peer: its public key.",
    "pattern" = "^[a-z2-7]{52}$"
);
text_schema!(
    DeviceId,
    "DeviceId",
    "A device or a relay: its public key.",
    "pattern" = "^[a-z2-7]{52}$"
);
text_schema!(
    Nickname,
    "Nickname",
    "A name that a peer chose for itself.",
    "minLength" = 1,
    "maxLength" = crate::text::NICKNAME_CHARS_MAX
);
text_schema!(
    RoomName,
    "RoomName",
    "A room. A node writes its name with `#`, in small letters.",
    "pattern" = "^#?[A-Za-z0-9._-]{1,32}$"
);
text_schema!(
    RoomTicket,
    "RoomTicket",
    "The name and key of a room. Anybody who has it can join."
);
text_schema!(
    RoomTarget,
    "RoomTarget",
    "The name of a room, or its ticket."
);
text_schema!(
    Target,
    "Target",
    "Anything that names a peer: an id, its first 8 or more characters, a nickname, `host:port`, `id@relayhost:port`, or a ticket."
);
text_schema!(
    AppName,
    "AppName",
    "The name of an application program, the same at both ends.",
    "pattern" = "^[a-z0-9._-]{1,64}$"
);
text_schema!(RelayAt, "RelayAt", "The host and port of a relay.");
text_schema!(
    ContentHash,
    "ContentHash",
    "The BLAKE3 hash of a content.",
    "pattern" = "^[0-9a-f]{64}$"
);
text_schema!(
    CodeNumber,
    "CodeNumber",
    "The public number of an invitation.",
    "pattern" = "^[0-9]{6}$"
);
text_schema!(
    InviteCode,
    "InviteCode",
    "The secret code of an invitation: its number and three words, and a relay."
);
