//! Copies a content index when its home is locked or unlocked.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hobnob_protocol::ContentHash;
use hobnob_protocol::content::{LEAF_BYTES, Leaf, SPAN_PIECES};

use super::content_index::{ContentIndex, LAYOUT};
use super::mailed::MAILED;
use super::partial::NOTED;
use crate::data_key::DataKey;

/// Copies the index in a folder into a new folder, where another data key applies. Files that a crash
/// has left are not copied. The node does not run.
pub(crate) fn convert(
    folder: &Path,
    from: Option<&DataKey>,
    new: &Path,
    to: Option<&DataKey>,
) -> io::Result<()> {
    let from = ContentIndex::open(folder.to_owned(), from.cloned())?;
    let to = ContentIndex::open(new.to_owned(), to.cloned())?;
    for name in from.names()? {
        let Some((stem, kind)) = name.split_once('.') else {
            continue;
        };
        match kind {
            kind if kind == "tree" || kind.starts_with("layout") => {
                let Ok(stored) = stem.parse::<ContentHash>() else {
                    continue;
                };
                let new_name = format!("{}.{kind}", to.stored_name(from.hash_of(stored)));
                let new_path = to.path(&new_name);
                if kind == "tree" {
                    copy_leaves(&from, &to, &name, &new_path)?;
                } else {
                    copy_sealed(&from, &to, LAYOUT, (&name, &new_path))?;
                }
            }
            "part" => copy_leaves(&from, &to, &name, &to.path(&name))?,
            "folder" => copy_sealed(&from, &to, NOTED, (&name, &to.path(&name)))?,
            kind if kind.starts_with(MAILED) => {
                copy_sealed(&from, &to, MAILED, (&name, &to.path(&name)))?;
            }
            _ => {}
        }
    }
    for name in to.names()? {
        File::open(to.path(&name))?.sync_all()?;
    }
    Ok(())
}

fn copy_sealed(
    from: &ContentIndex,
    to: &ContentIndex,
    kind: &str,
    (name, new): (&str, &PathBuf),
) -> io::Result<()> {
    // A damaged file has lost nothing that another copy of it would have.
    let Ok(content) = from.unseal(kind, fs::read(from.path(name))?) else {
        return Ok(());
    };
    create(new)?.write_all(&to.seal(kind, &content))
}

fn copy_leaves(from: &ContentIndex, to: &ContentIndex, name: &str, new: &Path) -> io::Result<()> {
    let file = File::open(from.path(name))?;
    let count = file.metadata()?.len() / LEAF_BYTES as u64;
    let copy = create(new)?;
    copy.set_len(count * LEAF_BYTES as u64)?;
    let (leaves, copied) = (from.leaves_in(file), to.leaves_in(copy));
    let mut first = 0;
    while first < count {
        let some = usize::try_from(count - first).map_or(SPAN_PIECES, |left| left.min(SPAN_PIECES));
        let mut span: Vec<Leaf> = vec![[0; LEAF_BYTES]; some];
        leaves.read(first, &mut span)?;
        copied.write(first, &span)?;
        first += some as u64;
    }
    Ok(())
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}
