//! Names for received files. A name that a peer chose must not lead to another folder, hide the
//! file, or disturb a terminal.

use hobnob_protocol::text::without_disturbing;

/// Longest name of a received file in bytes: the limit of most file systems.
const NAME_BYTES_MAX: usize = 255;

/// How many numbered names are tried if a name is taken.
pub(super) const NAMES_MAX: u32 = 10_000;

/// Longest extension, with its dot, that a shortened name keeps.
const ENDING_BYTES_MAX: usize = 16;

/// Makes a peer's file name harmless: one path component, not hidden, and without characters that
/// disturb a terminal or hide something. Everything else of the name stays.
pub(super) fn clean(name: &str) -> String {
    let last = name
        .rsplit('/')
        .find(|part| !part.trim().is_empty())
        .unwrap_or_default();
    let mut name = harmless(last);
    // A change may leave a blank or a dot at an end, or an invisible character without the
    // neighbor that needs it. No step makes the name longer, so this ends.
    loop {
        let cleaned = harmless(&name);
        if cleaned == name {
            return name;
        }
        name = cleaned;
    }
}

fn harmless(name: &str) -> String {
    let name = without_disturbing(name.trim(), '_');
    let name = match name.trim_start_matches('.') {
        shown if shown.len() < name.len() => format!("_{shown}"),
        _ => name,
    };
    let name = cut(without_tail(&name), NAME_BYTES_MAX);
    if name.is_empty() {
        "file".to_owned()
    } else {
        name
    }
}

/// The `n`-th variant of a name: `name (2).ext`. It is not longer than a name may be.
pub(super) fn numbered(name: &str, n: u32) -> String {
    if n <= 1 {
        return name.to_owned();
    }
    let number = format!(" ({n})");
    let name = cut(name, NAME_BYTES_MAX - number.len());
    let (stem, ending) = split_ending(&name);
    format!("{stem}{number}{ending}")
}

/// Shortens a name to this many bytes. Its extension stays.
pub(super) fn cut(name: &str, bytes_max: usize) -> String {
    if name.len() <= bytes_max {
        return name.to_owned();
    }
    let (stem, ending) = split_ending(name);
    let mut end = bytes_max - ending.len();
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    // The cut may have exposed blanks or dots.
    format!("{}{ending}", without_tail(&stem[..end]))
}

/// Removes dots and blanks at the end. Some systems drop them, so two names would become one.
fn without_tail(name: &str) -> &str {
    name.trim_end_matches(|c: char| c == '.' || c.is_whitespace())
}

/// Splits off the extension with its dot, if it is short.
fn split_ending(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= ENDING_BYTES_MAX => name.split_at(dot),
        Some(_) | None => (name, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_protocol::text::visible;
    use proptest::prelude::*;

    #[test]
    fn names_lose_what_leads_elsewhere_or_hides() {
        let long = format!("{}.jpeg", "é".repeat(300));
        for (given, cleaned) in [
            ("picture.png", "picture.png"),
            ("two words.txt", "two words.txt"),
            ("/etc/passwd", "passwd"),
            ("../../.ssh/authorized_keys", "authorized_keys"),
            ("..\\..\\boot.ini", "_\\..\\boot.ini"),
            ("data\\a.txt", "data\\a.txt"),
            (
                "\u{646}\u{6cc}\u{645}\u{200c}\u{641}\u{627}.txt",
                "\u{646}\u{6cc}\u{645}\u{200c}\u{641}\u{627}.txt",
            ),
            (
                "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}.png",
                "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}.png",
            ),
            ("a\u{200c}b.txt", "a_b.txt"),
            (".bashrc", "_bashrc"),
            ("..", "_"),
            (".", "_"),
            ("a/..", "_"),
            ("folder/", "folder"),
            ("", "file"),
            ("///", "file"),
            ("  ", "file"),
            ("tab\there", "tab_here"),
            ("esc\u{1b}[2J", "esc_[2J"),
            ("gnp\u{202e}exe.", "gnp_exe"),
            ("nul\0", "nul_"),
            (long.as_str(), &format!("{}.jpeg", "é".repeat(125))),
            (
                format!("{} and so on", "a".repeat(NAME_BYTES_MAX - 1)).as_str(),
                &"a".repeat(NAME_BYTES_MAX - 1),
            ),
            ("a.\u{3000}.", "a"),
        ] {
            assert_eq!(clean(given), cleaned, "{given:?}");
        }
    }

    #[test]
    fn a_second_of_the_same_name_gets_a_number() {
        assert_eq!(numbered("a.txt", 1), "a.txt");
        assert_eq!(numbered("a.txt", 2), "a (2).txt");
        assert_eq!(numbered("folder", 3), "folder (3)");
        assert_eq!(
            numbered("ver. with a long ending that is none", 2),
            "ver. with a long ending that is none (2)"
        );
        let long = format!("{}.txt", "n".repeat(251));
        assert_eq!(
            numbered(&long, 12),
            format!("{} (12).txt", "n".repeat(246)),
            "it still fits a file system"
        );
    }

    proptest! {
        #[test]
        fn a_clean_name_is_one_visible_component_and_stays_so(name in ".{0,300}") {
            let cleaned = clean(&name);
            prop_assert!(!cleaned.is_empty() && cleaned.len() <= NAME_BYTES_MAX);
            prop_assert!(!cleaned.starts_with('.') && !cleaned.contains(['/', '\0']));
            prop_assert_eq!(visible(&cleaned), cleaned.as_str());
            prop_assert_eq!(clean(&cleaned), cleaned);
        }
    }
}
