//! Lists the names in a folder that complete a typed path. Reads the disk.

use std::path::Path;

use hobnob::protocol::text::visible;

/// Maximum number of names to read, and to return.
const LOOKED_AT_MAX: usize = 20_000;
const NAMES_MAX: usize = 500;

/// The names in a folder that begin with `start`, sorted; folders end in a slash. Leaves out hidden
/// names unless `start` begins with a dot, and names that cannot be typed. Empty if the folder
/// cannot be read.
pub(super) fn matching(folder: &Path, start: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return vec![];
    };
    let fits = |name: &String| {
        name.starts_with(start)
            && (start.starts_with('.') || !name.starts_with('.'))
            && visible(name) == name.as_str()
    };
    let named = entries.take(LOOKED_AT_MAX).flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok().filter(&fits)?;
        // `is_dir` also follows links.
        Some(if folder.join(&name).is_dir() {
            name + "/"
        } else {
            name
        })
    });
    let mut names: Vec<String> = named.take(NAMES_MAX).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_begin_with_the_typed_text_and_can_be_typed() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "film.mp4",
            "films.txt",
            ".film",
            "my film",
            "fi\u{1b}[2J",
            "other",
        ] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        std::fs::create_dir(folder.path().join("fish")).unwrap();
        assert_eq!(
            matching(folder.path(), "fi"),
            ["film.mp4", "films.txt", "fish/"]
        );
        assert_eq!(matching(folder.path(), ".f"), [".film"]);
        assert_eq!(matching(folder.path(), "my"), ["my film"]);
        assert_eq!(
            matching(&folder.path().join("none"), ""),
            Vec::<String>::new()
        );
    }
}
