//! A folder in the home for the unencrypted files of a backup while it is made or restored.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A folder with a name of this process. Dropping it removes the folder.
pub(super) struct WorkFolder(PathBuf);

impl WorkFolder {
    /// A folder that may be created. Removes those that a crash has left.
    pub(super) fn beside(home: &Path, purpose: &str) -> io::Result<WorkFolder> {
        let prefix = format!("{purpose}.part-");
        for entry in fs::read_dir(home)?.flatten() {
            let name = entry.file_name();
            let of_process = name.to_str().and_then(|name| name.strip_prefix(&prefix));
            if let Some(process) = of_process
                && !is_running(process)
            {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let name = format!("{prefix}{}", std::process::id());
        Ok(WorkFolder(home.join(name)))
    }

    pub(super) fn create(&self) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(&self.0)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // It may not exist. A later backup removes what can't be removed now.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn is_running(process: &str) -> bool {
    let pid = process
        .parse()
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| {
        pid != rustix::process::getpid()
            && rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_of_processes_that_have_ended_are_removed() {
        let home = tempfile::tempdir().unwrap();
        // No process has this number: the highest is 2^22.
        let left = home.path().join("snapshot.part-2000000000");
        let parent = rustix::process::getppid().expect("a test has a parent");
        let used = home
            .path()
            .join(format!("snapshot.part-{}", parent.as_raw_nonzero()));
        for folder in [&left, &used] {
            fs::create_dir(folder).unwrap();
        }
        let work = WorkFolder::beside(home.path(), "snapshot").unwrap();
        assert!(!left.exists() && used.exists() && !work.path().exists());
        work.create().unwrap();
        let path = work.path().to_owned();
        drop(work);
        assert!(!path.exists());
    }
}
