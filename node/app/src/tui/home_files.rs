//! Small files of the chat in the home. A locked home has none of them: they would show what the user
//! does.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use hobnob_control::Home;

/// Maximum size of such a file in bytes. A larger one is damaged.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads a file. None if it is not there, cannot be read, or is too large.
pub(super) fn read(home: &Home, name: &str) -> Option<Vec<u8>> {
    let file = fs::File::open(home.data_dir().join(name)).ok()?;
    let mut content = Vec::new();
    let taken = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content);
    let size = u64::try_from(taken.ok()?).ok()?;
    (size <= FILE_BYTES_MAX).then_some(content)
}

/// Replaces a file. After a failure, the file before is unchanged.
pub(super) fn replace(home: &Home, name: &str, content: &[u8]) -> io::Result<()> {
    if hobnob::is_locked(home.data_dir()) {
        return Ok(());
    }
    let (path, new) = (
        home.data_dir().join(name),
        home.data_dir()
            .join(format!("{name}.{}", std::process::id())),
    );
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(content)?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_a_large_one_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        assert_eq!(read(&home, "some.json"), None);
        for content in ["one", "two"] {
            replace(&home, "some.json", content.as_bytes()).unwrap();
            assert_eq!(read(&home, "some.json"), Some(content.as_bytes().to_vec()));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let file = fs::File::create(folder.path().join("some.json")).unwrap();
        file.set_len(FILE_BYTES_MAX + 1).unwrap();
        assert_eq!(read(&home, "some.json"), None);
    }
}
