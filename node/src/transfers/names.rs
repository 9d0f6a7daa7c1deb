//! Names for received files. A name that a peer chose must not lead to another folder, hide the
//! file, or disturb a terminal.

use hobnob_protocol::text::visible;

/// Longest name of a received file in bytes. With a number appended it is still shorter than file
/// systems allow.
const NAME_BYTES_MAX: usize = 200;

/// How many numbered names are tried if a name is taken.
pub(super) const NAMES_MAX: u32 = 10_000;

/// Longest extension, with its dot, that a shortened name keeps.
const ENDING_BYTES_MAX: usize = 16;

/// Makes a peer's file name harmless: one path component, not hidden, only visible characters.
pub(super) fn clean(name: &str) -> String {
    let last = name
        .rsplit(['/', '\\'])
        .find(|part| !part.trim().is_empty())
        .unwrap_or_default();
    // Every character that `visible` replaces is one that no name needs.
    let harmless = |c: char| {
        if visible(c.encode_utf8(&mut [0; 4])).chars().ne([c]) || c == '\0' {
            '_'
        } else {
            c
        }
    };
    let name: String = last.trim().chars().map(harmless).collect();
    let name = match name.trim_start_matches('.') {
        shown if shown.len() < name.len() => format!("_{shown}"),
        _ => name,
    };
    let name = cut(without_tail(&name));
    if name.is_empty() {
        "file".to_owned()
    } else {
        name
    }
}

/// The `n`-th variant of a name: `name (2).ext`.
pub(super) fn numbered(name: &str, n: u32) -> String {
    if n <= 1 {
        return name.to_owned();
    }
    let (stem, ending) = split_ending(name);
    format!("{stem} ({n}){ending}")
}

fn cut(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name.to_owned();
    }
    let (stem, ending) = split_ending(name);
    let mut end = NAME_BYTES_MAX - ending.len();
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
    use proptest::prelude::*;

    #[test]
    fn names_lose_what_leads_elsewhere_or_hides() {
        let long = format!("{}.jpeg", "é".repeat(300));
        for (given, cleaned) in [
            ("picture.png", "picture.png"),
            ("two words.txt", "two words.txt"),
            ("/etc/passwd", "passwd"),
            ("../../.ssh/authorized_keys", "authorized_keys"),
            ("..\\..\\boot.ini", "boot.ini"),
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
            (long.as_str(), &format!("{}.jpeg", "é".repeat(97))),
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
    }

    proptest! {
        #[test]
        fn a_clean_name_is_one_visible_component_and_stays_so(name in ".{0,300}") {
            let cleaned = clean(&name);
            prop_assert!(!cleaned.is_empty() && cleaned.len() <= NAME_BYTES_MAX);
            prop_assert!(!cleaned.starts_with('.') && !cleaned.contains(['/', '\\', '\0']));
            prop_assert_eq!(visible(&cleaned), cleaned.as_str());
            prop_assert_eq!(clean(&cleaned), cleaned);
        }
    }
}
