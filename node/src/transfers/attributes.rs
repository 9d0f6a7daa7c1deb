//! Properties of files: read from offered ones, and taken over for received ones.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, UNIX_EPOCH};

use hobnob_protocol::offer::Attributes;

/// The bits of a mode that let others than the owner read or write.
const OTHERS: u32 = 0o077;

/// The properties of a file on this machine.
pub(super) fn of(stat: &Metadata) -> Attributes {
    let mode = stat.permissions().mode();
    let modified = stat.modified().ok();
    let since = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    Attributes {
        private: mode & OTHERS == 0,
        executable: mode & 0o100 != 0,
        modified_s: since.map_or(0, |since| since.as_secs()),
    }
}

/// The properties that this node takes over for received files.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct KeptAttributes {
    /// Whether a received file may be executable.
    pub(super) executable: bool,
}

impl KeptAttributes {
    /// Gives a received file the properties that its author names. Nothing else of its mode changes.
    pub(super) fn apply(self, attributes: Attributes, file: &File) -> io::Result<()> {
        let before = file.metadata()?.permissions().mode();
        let mut mode = before;
        if attributes.private {
            mode &= !OTHERS;
        }
        if attributes.executable && self.executable {
            // Who may read it may run it.
            mode |= (mode & 0o444) >> 2;
        }
        if mode != before {
            file.set_permissions(Permissions::from_mode(mode))?;
        }
        if attributes.modified_s > 0 {
            let since = Duration::from_secs(attributes.modified_s);
            // A time beyond what the system knows is the peer's fault, and no reason to fail.
            if let Some(at) = UNIX_EPOCH.checked_add(since) {
                let _refused = file.set_modified(at);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_after(attributes: Attributes, kept: KeptAttributes) -> u32 {
        let file = tempfile::tempfile().unwrap();
        file.set_permissions(Permissions::from_mode(0o644)).unwrap();
        kept.apply(attributes, &file).unwrap();
        file.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_private_file_stays_private_and_is_executable_only_if_the_recipient_allows() {
        let allows = KeptAttributes { executable: true };
        let refuses = KeptAttributes::default();
        let attributes = |private, executable| Attributes {
            private,
            executable,
            modified_s: 0,
        };
        assert_eq!(mode_after(attributes(true, true), refuses), 0o600);
        assert_eq!(mode_after(attributes(true, true), allows), 0o700);
        assert_eq!(mode_after(attributes(false, true), refuses), 0o644);
        assert_eq!(mode_after(attributes(false, true), allows), 0o755);
        assert_eq!(mode_after(attributes(false, false), allows), 0o644);
    }

    #[test]
    fn a_received_file_has_the_time_of_the_offered_one() {
        let file = tempfile::tempfile().unwrap();
        let attributes = Attributes {
            modified_s: 1_000_000_000,
            ..Attributes::default()
        };
        KeptAttributes::default().apply(attributes, &file).unwrap();
        assert_eq!(of(&file.metadata().unwrap()).modified_s, 1_000_000_000);
        let absurd = Attributes {
            modified_s: u64::MAX,
            ..Attributes::default()
        };
        assert!(KeptAttributes::default().apply(absurd, &file).is_ok());
    }
}
