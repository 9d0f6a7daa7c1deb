//! The names in a folder that a path may be completed with: the one look at the disk that a key
//! brings about.

use std::path::Path;

use hobnob::protocol::text::visible;

/// Names that are looked at, and that are offered at most.
const LOOKED_AT_MAX: usize = 20_000;
const NAMES_MAX: usize = 500;

/// Names in a folder that begin so, in their order; folders with a slash behind. What begins with a
/// dot must be asked for, and a name that can't be typed is left out.
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
        // Through a link as well.
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
    fn names_begin_as_typed_and_can_be_typed() {
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
