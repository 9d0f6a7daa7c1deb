//! A folder that a browser sends: a browser has its files, each with a path, but no archive of them.
//!
//! The body has the files one after the other. Each begins with a line of JSON, `{"path":"a/b.txt",
//! "size":12}`, and a line feed. So many bytes of content follow.

use std::fs::DirBuilder;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::body::{cleaned, create_file};

/// The longest line before a file, in bytes, with its line feed.
const LINE_BYTES_MAX: u64 = 16 * 1024;

/// Maximum number of names in the path of a file.
const DEPTH_MAX: usize = 32;

/// The line before a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    /// Names below the folder, with `/` between them.
    path: String,
    /// Bytes of the content.
    size: u64,
}

/// Stores the files of a body in the new folder `root`: at most `files_max`. An error of the kind
/// `InvalidInput` is one of the body.
pub(crate) fn store(root: &Path, mut body: impl BufRead, files_max: usize) -> io::Result<()> {
    create_folder(root)?;
    for count in 0.. {
        let Some(head) = read_line::<Head>(&mut body)? else {
            return match count {
                0 => Err(wrong("the folder has no file")),
                _ => Ok(()),
            };
        };
        if count >= files_max {
            return Err(wrong(format!(
                "there is room for {files_max} more files: withdraw offers that nobody needs"
            )));
        }
        let path = relative(&head.path)?;
        let created = create_parents(root, &path).and_then(|()| create_file(&root.join(path)));
        let twice = [io::ErrorKind::AlreadyExists, io::ErrorKind::NotADirectory];
        let mut file = created.map_err(|error| {
            if twice.contains(&error.kind()) {
                wrong(format!("{:?} is there twice", head.path))
            } else {
                error
            }
        })?;
        let copied = io::copy(&mut body.by_ref().take(head.size), &mut file)?;
        if copied < head.size {
            return Err(wrong(format!("{:?} is cut off", head.path)));
        }
        file.sync_all()?;
    }
    Ok(())
}

/// Creates a folder in one that exists. Otherwise the upload was broken off, and nothing may stay of it.
fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Creates the folders between `root` and a file, if they are not there.
fn create_parents(root: &Path, file: &Path) -> io::Result<()> {
    let mut path = root.to_owned();
    for name in file.parent().into_iter().flat_map(Path::components) {
        path.push(name);
        match create_folder(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// The next line of JSON, or none at the end. An error of the kind `InvalidInput` is one of the line.
pub(crate) fn read_line<T: DeserializeOwned>(body: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    body.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') {
        return Err(wrong("the line before a file is cut off or too long"));
    }
    let head = serde_json::from_slice(&line);
    Ok(Some(head.map_err(|error| {
        wrong(format!("the line before a file is wrong: {error}"))
    })?))
}

/// A path that stays in its folder.
fn relative(path: &str) -> io::Result<PathBuf> {
    let names: Option<Vec<String>> = path.split('/').map(cleaned).collect();
    match names {
        Some(names) if names.len() <= DEPTH_MAX => Ok(names.into_iter().collect()),
        Some(_) | None => Err(wrong(format!("{path:?} is no path of a file"))),
    }
}

fn wrong(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(body: &str, files_max: usize) -> (tempfile::TempDir, io::Result<()>) {
        let folder = tempfile::tempdir().unwrap();
        let result = store(&folder.path().join("photos"), body.as_bytes(), files_max);
        (folder, result)
    }

    #[test]
    fn the_files_of_a_folder_are_stored_under_their_paths() {
        let body = "{\"path\":\"a.txt\",\"size\":3}\nabc{\"path\":\"deep/er/b.txt\",\"size\":0}\n\
                    {\"path\":\"deep/c\",\"size\":2}\n\n\n";
        let (folder, result) = stored(body, 3);
        result.unwrap();
        let read = |path: &str| std::fs::read_to_string(folder.path().join("photos").join(path));
        assert_eq!(read("a.txt").unwrap(), "abc");
        assert_eq!(read("deep/er/b.txt").unwrap(), "");
        assert_eq!(read("deep/c").unwrap(), "\n\n");
        let (_folder, result) = stored(body, 2);
        assert!(result.unwrap_err().to_string().contains("room for 2"));
    }

    #[test]
    fn a_wrong_body_is_refused() {
        let long = format!("{{\"path\":\"{}\",\"size\":0}}\n", "x/".repeat(8200));
        let deep = format!("{{\"path\":\"{}x\",\"size\":0}}\n", "x/".repeat(DEPTH_MAX));
        for body in [
            "",
            "{\"path\":\"a\",\"size\":0}",
            "{\"path\":\"a\",\"size\":4}\nabc",
            "{\"path\":\"../a\",\"size\":0}\n",
            "{\"path\":\"/etc/a\",\"size\":0}\n",
            "{\"path\":\"a//b\",\"size\":0}\n",
            "{\"path\":\"a\",\"size\":-1}\n",
            "{\"path\":\"a\",\"size\":0}\n{\"path\":\"a\",\"size\":0}\n",
            "{\"path\":\"a\",\"size\":0}\n{\"path\":\"a/b\",\"size\":0}\n",
            "{\"path\":\"a/b\",\"size\":0}\n{\"path\":\"a\",\"size\":0}\n",
            "no JSON\n",
            &long,
            &deep,
        ] {
            let (_folder, result) = stored(body, 9);
            let kind = result.map_err(|error| error.kind());
            assert_eq!(kind, Err(io::ErrorKind::InvalidInput), "{body:.60}");
        }
        let most = format!(
            "{{\"path\":\"{}x\",\"size\":0}}\n",
            "x/".repeat(DEPTH_MAX - 1)
        );
        stored(&most, 1).1.unwrap();
    }
}
