//! Finds the number of a group of this machine.

use std::path::Path;

use crate::exit_code::UsageError;

/// The groups of this machine, one a line: name, password, number, members.
const GROUPS: &str = "/etc/group";

/// The number of a group that is given by its name or its number. Groups of a directory service are
/// given by their number.
pub(crate) fn id(group: &str) -> Result<u32, UsageError> {
    group
        .parse()
        .ok()
        .or_else(|| named(&std::fs::read_to_string(Path::new(GROUPS)).ok()?, group))
        .ok_or_else(|| {
            UsageError(format!(
                "--admin-group: {GROUPS} has no group {group:?}: create it with `groupadd --system {group}`, or give a number"
            ))
        })
}

fn named(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_a_name_or_a_number() {
        let groups = "root:x:0:\nwheel:x:27:ann,bob\nbroken\n";
        assert_eq!(named(groups, "wheel"), Some(27));
        assert_eq!(named(groups, "whee"), None);
        assert_eq!(named(groups, "broken"), None);
        assert_eq!(id("1234").ok(), Some(1234));
        let error = id("no-such-group").unwrap_err().to_string();
        assert!(error.contains("groupadd"), "{error}");
    }
}
