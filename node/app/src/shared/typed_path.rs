//! Paths as people type them: `my film.mp4`, `"my film.mp4"` and `my\ film.mp4` are the same, and
//! `~/` is the home folder.
//!
//! Quotes count only if the path begins with one, so that `it's.png` needs none. Terminals write a
//! file that is dragged into them in a form that this module understands.

use std::path::{Path, PathBuf};

use hobnob::protocol::text::visible;

/// The folders that a typed path can start from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    pub(crate) folder: PathBuf,
    pub(crate) home: Option<PathBuf>,
}

impl Places {
    /// The folders of this process.
    pub(crate) fn here() -> Places {
        let home = std::env::var_os("HOME")
            .filter(|home| !home.is_empty())
            .map(PathBuf::from);
        // Without a folder to be in, a path must be absolute: the node says so where it is not.
        Places {
            folder: std::env::current_dir().unwrap_or_default(),
            home,
        }
    }

    /// The absolute path of a typed path.
    pub(crate) fn path(&self, word: &PathWord) -> PathBuf {
        match &self.home {
            Some(home) if word.from_home => home.join(&word.path),
            Some(_) | None => self.folder.join(&word.path),
        }
    }
}

/// A typed path, without its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathWord {
    from_home: bool,
    path: String,
}

impl PathWord {
    /// Parses everything after a command.
    pub(crate) fn parse(typed: &str) -> Result<PathWord, String> {
        let (word, open) = PathWord::read(typed);
        if open {
            Err("the quote at the start has no other at the end".into())
        } else {
            Ok(word)
        }
    }

    /// Like `parse`, but an unfinished path is no error.
    pub(crate) fn begun(typed: &str) -> PathWord {
        PathWord::read(typed).0
    }

    fn read(typed: &str) -> (PathWord, bool) {
        let (path, open) = unquoted(typed);
        let (from_home, path) = match path.strip_prefix('~').filter(|_| typed.starts_with('~')) {
            Some("") => (true, String::new()),
            Some(rest) if rest.starts_with('/') => (true, rest.trim_start_matches('/').to_owned()),
            Some(_) | None => (false, path),
        };
        (PathWord { from_home, path }, open)
    }

    /// The part up to the last slash, and the rest.
    pub(crate) fn folder_and_name(&self) -> (PathWord, &str) {
        let at = self.path.rfind('/').map_or(0, |slash| slash + 1);
        let (folder, name) = self.path.split_at(at);
        (
            PathWord {
                from_home: self.from_home,
                path: folder.to_owned(),
            },
            name,
        )
    }

    /// The path of an entry of this folder.
    pub(crate) fn with(&self, name: &str) -> PathWord {
        PathWord {
            from_home: self.from_home,
            path: format!("{}{name}", self.path),
        }
    }

    /// The form that a user would type.
    pub(crate) fn typed(&self) -> String {
        let path = &self.path;
        let white = |c: Option<char>| c.is_some_and(char::is_whitespace);
        if self.from_home {
            return format!("~/{}", path.replace('\\', "\\\\"));
        }
        // Before a path, @ and # begin a conversation.
        if path.starts_with(['\'', '"', '@', '#'])
            || white(path.chars().next())
            || white(path.chars().next_back())
        {
            return format!("'{}'", path.replace('\'', r"'\''"));
        }
        let tilde = if path.starts_with('~') { "\\" } else { "" };
        format!("{tilde}{}", path.replace('\\', "\\\\"))
    }
}

/// The file name of a path, safe to print.
pub(crate) fn shown(path: &Path) -> String {
    visible(
        &path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy(),
    )
    .into_owned()
}

/// The text without quotes and backslashes, as a shell reads it, and whether a quote is still open.
fn unquoted(typed: &str) -> (String, bool) {
    let quotes_count = typed.starts_with(['\'', '"']);
    let (mut text, mut quote) = (String::new(), None);
    let mut letters = typed.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (None, '\'' | '"') if quotes_count => quote = Some(letter),
            (None, '\\') => text.extend(letters.next()),
            (Some('"'), '\\') => match letters.next() {
                Some(escaped @ ('"' | '\\')) => text.push(escaped),
                other => text.extend(['\\'].into_iter().chain(other)),
            },
            (_, letter) => text.push(letter),
        }
    }
    (text, quote.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places {
            folder: "/work".into(),
            home: Some("/home/ann".into()),
        }
    }

    #[test]
    fn a_path_is_understood_however_it_is_typed() {
        for (typed, path) in [
            ("a.png", "/work/a.png"),
            ("my film.mp4", "/work/my film.mp4"),
            ("\"my film.mp4\"", "/work/my film.mp4"),
            ("'my film.mp4'", "/work/my film.mp4"),
            ("my\\ film.mp4", "/work/my film.mp4"),
            ("it's.png", "/work/it's.png"),
            ("'/tmp/it'\\''s.png'", "/tmp/it's.png"),
            ("\"a \\\"b\\\" \\c\"", "/work/a \"b\" \\c"),
            ("~/Pictures", "/home/ann/Pictures"),
            ("~", "/home/ann/"),
            ("~ann", "/work/~ann"),
            ("\\~", "/work/~"),
            ("'~/x'", "/work/~/x"),
            ("/etc/../x", "/etc/../x"),
        ] {
            let word = PathWord::parse(typed).unwrap();
            assert_eq!(places().path(&word), Path::new(path), "{typed}");
        }
        assert!(PathWord::parse("'my film").unwrap_err().contains("quote"));
    }

    #[test]
    fn what_is_completed_reads_back_as_itself() {
        for name in [
            "a.png",
            "my film.mp4",
            "@bob",
            "#1",
            "'quoted'",
            "\"q",
            "~",
            " in the middle of two ",
            "back\\slash",
            "it's",
        ] {
            for folder in ["", "~/", "sub dir/", "/"] {
                let word = PathWord::begun(folder).with(name);
                assert_eq!(
                    PathWord::parse(&word.typed()),
                    Ok(word.clone()),
                    "{folder} {name}: {}",
                    word.typed()
                );
            }
        }
    }
}
