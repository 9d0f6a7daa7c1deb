//! Which nicknames people would take for the same name.
//!
//! Two names are the same if their skeletons are (UTS 39 section 4): letters that look alike, such
//! as Latin `o` and Cyrillic `о`, have one skeleton. Case and invisible characters do not count.

use hobnob_protocol::invisible::is_default_ignorable;
use unicode_security::skeleton;

/// The looks of a name. Two names are the same if they share a key.
///
/// There are two keys because case and look depend on each other: `AIice` with a capital I looks
/// like `Alice`, and `IAN` is `ian` in capitals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameKeys([String; 2]);

impl NameKeys {
    pub(crate) fn of(name: &str) -> Self {
        let shown: String = name.chars().filter(|&c| !is_default_ignorable(c)).collect();
        let folded = shown.to_lowercase();
        Self([&shown, &folded].map(|name| skeleton(name).collect::<String>().to_lowercase()))
    }

    /// The keys, without repeating one.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &String> {
        let [first, second] = &self.0;
        std::iter::once(first).chain((first != second).then_some(second))
    }

    pub(crate) fn share_one(&self, other: &Self) -> bool {
        self.0.iter().any(|key| other.0.contains(key))
    }
}

/// Whether people would take the two for one name.
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    a == b || NameKeys::of(a).share_one(&NameKeys::of(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_are_the_same() {
        for (a, b) in [
            ("bob", "bob"),
            ("Bob", "bOB"),
            ("bob", "b\u{43e}b"),
            ("bob", "bo\u{200d}b"),
            ("bob", "b\u{ad}ob"),
            ("Alice", "AIice"),
            ("IAN", "ian"),
            ("modern", "rnodern"),
            ("é", "e\u{301}"),
            ("paypal", "раураl"),
        ] {
            assert!(same_name(a, b), "{a:?} {b:?}");
        }
    }

    #[test]
    fn other_names_are_not() {
        for (a, b) in [("bob", "rob"), ("ann", "anna"), ("日本", "日木"), ("", "x")] {
            assert!(!same_name(a, b), "{a:?} {b:?}");
        }
    }
}
