//! Why the file of `--config` can't be used.

use std::path::PathBuf;

/// Why the file of `--config` is unusable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file can't be read.
    #[error("can't read {} ({error})", path.display())]
    Unreadable {
        path: PathBuf,
        error: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{} is not valid TOML: {error}", path.display())]
    Syntax {
        path: PathBuf,
        error: Box<toml::de::Error>,
    },
    /// A key is not the name of a flag.
    #[error("{} has an unknown key {key:?}: did you mean {nearest:?}?", path.display())]
    UnknownKey {
        path: PathBuf,
        key: String,
        nearest: String,
    },
    /// A value is not one that the flag can have.
    #[error("{}: {key}: {problem}", path.display())]
    Value {
        path: PathBuf,
        key: String,
        problem: String,
    },
    /// The flags contradict each other.
    #[error("{}: {problem}", path.display())]
    Contradiction { path: PathBuf, problem: String },
}
