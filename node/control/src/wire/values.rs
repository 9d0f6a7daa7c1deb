//! Bytes and paths in JSON. Text forms and times are in [`hobnob_local::json`].

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes. JSON carries them as base64 (RFC 4648 section 4).
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

impl JsonSchema for Base64 {
    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "contentEncoding": "base64",
            "description": "Bytes, as base64 with padding (RFC 4648, section 4).",
        })
    }
}

/// A path of this machine: a text, or `{"bytes":…}` if it is not UTF-8.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum LocalPath {
    /// A path in UTF-8.
    Text(String),
    /// Any other path.
    Other {
        /// The path.
        bytes: Base64,
    },
}

/// How a [`LocalPath`] is written and read.
pub(super) mod local_path {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};

    use super::LocalPath as Wire;
    use super::{Base64, Deserialize, Deserializer, Path, PathBuf, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        let wire = match path.to_str() {
            Some(text) => Wire::Text(text.to_owned()),
            None => Wire::Other {
                bytes: Base64(path.as_os_str().as_bytes().to_vec()),
            },
        };
        wire.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<PathBuf, D::Error> {
        Ok(match Wire::deserialize(deserializer)? {
            Wire::Text(text) => text.into(),
            Wire::Other { bytes } => OsString::from_vec(bytes.0).into(),
        })
    }
}
