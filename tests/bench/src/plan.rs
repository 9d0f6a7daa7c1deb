//! How much is measured, and where.

use std::path::{Path, PathBuf};

use hobnob_tests::lab::Lab;
use tempfile::TempDir;

/// What the command line asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// The form for CI, whose figures are coarse.
    pub(crate) short: bool,
    /// Without rivals, for a profiler.
    pub(crate) alone: bool,
}

/// What every bench is given.
pub(crate) struct Plan {
    options: Options,
    target: PathBuf,
    /// SideDatagram the build, so on a real disk: in memory a commit would cost nothing.
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

    /// One number for the short form, one for the long.
    pub(crate) fn pick<T>(&self, short: T, long: T) -> T {
        if self.options.short { short } else { long }
    }

    /// Starts a rival, unless hobnob is to be alone.
    pub(crate) async fn rival<T>(
        &self,
        start: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        anyhow::ensure!(!self.options.alone, "left out, as asked");
        start.await
    }

    /// The folder of builds, and of the result.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// An empty folder for databases, gone afterwards.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A folder of its own in there.
    pub(crate) fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.dir().join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// The network lab, where this system allows one.
    pub(crate) fn lab(&self) -> anyhow::Result<&Lab> {
        self.lab.as_ref().ok_or_else(|| {
            anyhow::anyhow!("the network lab needs root or unprivileged user namespaces")
        })
    }
}
