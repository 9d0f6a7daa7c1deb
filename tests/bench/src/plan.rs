//! The plan of a run: its options and its folders.

use std::path::{Path, PathBuf};

use hobnob_tests::lab::Lab;
use tempfile::TempDir;

/// Options of the command line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// The short form, with fewer and shorter rounds.
    pub(crate) short: bool,
    /// Only hobnob, without rivals.
    pub(crate) alone: bool,
}

/// The environment that each benchmark uses.
pub(crate) struct Plan {
    options: Options,
    target: PathBuf,
    /// In the target folder, which is on a real disk. In memory a commit would cost nothing.
    dir: TempDir,
    lab: Option<Lab>,
}

impl Plan {
    pub(crate) fn new(options: Options, lab: Option<Lab>) -> anyhow::Result<Self> {
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => dir.into(),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
        };
        std::fs::create_dir_all(&target)?;
        let target = target.canonicalize()?;
        let dir = tempfile::Builder::new()
            .prefix("bench-")
            .tempdir_in(&target)?;
        Ok(Self {
            options,
            target,
            dir,
            lab,
        })
    }

    /// Chooses between the value for the short form and the one for the long form.
    pub(crate) fn pick<T>(&self, short: T, long: T) -> T {
        if self.options.short { short } else { long }
    }

    /// Whether only hobnob is measured.
    pub(crate) fn is_alone(&self) -> bool {
        self.options.alone
    }

    /// Starts a rival. Fails if the user chose to measure hobnob alone.
    pub(crate) async fn rival<T>(
        &self,
        start: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        anyhow::ensure!(!self.options.alone, "skipped because of --alone");
        start.await
    }

    /// The folder for builds and for the result.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// A folder for databases. It is empty at first and deleted at the end.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A new folder in [`Plan::dir`].
    pub(crate) fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.dir().join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// The network lab, if this system allows one.
    pub(crate) fn lab(&self) -> anyhow::Result<&Lab> {
        self.lab.as_ref().ok_or_else(|| {
            anyhow::anyhow!("the network lab needs root or unprivileged user namespaces")
        })
    }
}
