//! Tests of the crates' dependencies and of the compiler version that they declare.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Maximum number of crates in the library's dependency tree, including the library.
const LIBRARY_CRATES_MAX: usize = 115;

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--locked", "--offline"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .output()
        .expect("cargo runs this test");
    assert!(
        output.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

/// The names of all crates in the package's dependency tree.
fn tree(package: &str) -> BTreeSet<String> {
    let lines = cargo(&["tree", "-p", package, "-e", "normal", "--prefix", "none"]);
    lines
        .lines()
        .filter_map(|line| Some(line.split_once(' ')?.0.to_owned()))
        .collect()
}

#[test]
fn the_library_has_few_dependencies_and_no_user_interface() {
    let tree = tree("hobnob");
    assert!(tree.len() <= LIBRARY_CRATES_MAX, "{} crates", tree.len());
    for foreign in ["clap", "ratatui", "image", "axum", "serde_json"] {
        assert!(!tree.contains(foreign), "hobnob depends on {foreign}");
    }
}

#[test]
fn the_relay_program_has_no_screen() {
    let tree = tree("hobnob-relay-app");
    for foreign in ["crossterm", "ratatui", "image"] {
        assert!(!tree.contains(foreign), "hobnob-relay depends on {foreign}");
    }
}

#[test]
fn each_crate_depends_only_on_lower_layers() {
    let allowed: &[(&str, &[&str])] = &[
        ("hobnob-protocol", &[]),
        ("hobnob-limits", &[]),
        ("hobnob-core", &["hobnob-limits", "hobnob-protocol"]),
        ("hobnob-transport", &["hobnob-limits", "hobnob-protocol"]),
        (
            "hobnob-local",
            &["hobnob-limits", "hobnob-protocol", "hobnob-transport"],
        ),
        (
            "hobnob",
            &[
                "hobnob-core",
                "hobnob-limits",
                "hobnob-mailbox",
                "hobnob-protocol",
                "hobnob-transport",
                "hobnob-vfs",
            ],
        ),
        ("hobnob-vfs", &[]),
        (
            "hobnob-mailbox",
            &["hobnob-limits", "hobnob-protocol", "hobnob-transport"],
        ),
        (
            "hobnob-relay",
            &[
                "hobnob-limits",
                "hobnob-mailbox",
                "hobnob-protocol",
                "hobnob-transport",
            ],
        ),
        (
            "hobnob-relay-app",
            &[
                "hobnob-limits",
                "hobnob-local",
                "hobnob-mailbox",
                "hobnob-protocol",
                "hobnob-relay",
                "hobnob-transport",
            ],
        ),
    ];
    for (package, below) in allowed {
        let ours: BTreeSet<String> = tree(package)
            .into_iter()
            .filter(|name| name.starts_with("hobnob") && name != package)
            .collect();
        let strangers: Vec<_> = ours
            .iter()
            .filter(|name| !below.contains(&name.as_str()))
            .collect();
        assert!(strangers.is_empty(), "{package} depends on {strangers:?}");
    }
}

/// The crates that are published, each with those that it needs.
fn published() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("a list");
    let published = packages
        .iter()
        .filter(|package| package["publish"].is_null());
    let name = |it: &Value| it["name"].as_str().expect("a name").to_owned();
    let needs = |package: &Value| {
        let all = package["dependencies"].as_array().expect("a list").iter();
        all.filter(|it| it["path"].is_string()).map(name).collect()
    };
    published.map(|it| (name(it), needs(it))).collect()
}

#[test]
fn crates_are_published_after_those_that_they_need() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join("RELEASING.md")).expect("it is there");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| "));
    let order: Vec<_> = rows
        .filter_map(|row| row.split_once(" | `"))
        .filter(|(number, _)| number.parse::<u32>().is_ok())
        .filter_map(|(_, name)| Some(name.split_once('`')?.0.to_owned()))
        .collect();
    let published = published();
    let listed: BTreeSet<_> = order.iter().collect();
    assert_eq!(
        listed,
        published.keys().collect(),
        "the table of RELEASING.md"
    );
    for (at, name) in order.iter().enumerate() {
        for need in &published[name] {
            assert!(order[..at].contains(need), "{name} needs {need} first");
        }
    }
}

/// Parses a `rust-version` into (major, minor).
fn version(text: &str) -> (u32, u32) {
    let mut numbers = text.split('.').map(|part| part.parse().expect("a number"));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[test]
fn rust_version_is_the_lowest_that_the_dependencies_allow() {
    // Cargo has not downloaded packages that only other systems use, so their versions are unknown.
    const SYSTEM: [&str; 2] = ["--filter-platform", "x86_64-unknown-linux-gnu"];
    let metadata = cargo(&["metadata", "--format-version", "1", SYSTEM[0], SYSTEM[1]]);
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo writes JSON");
    let (mut ours, mut theirs) = (BTreeMap::new(), BTreeMap::new());
    for package in metadata["packages"].as_array().expect("a list") {
        let Some(asked) = package["rust_version"].as_str() else {
            continue;
        };
        let name = package["name"].as_str().expect("a name").to_owned();
        let list = match package["source"].is_null() {
            true => &mut ours,
            false => &mut theirs,
        };
        list.insert(name, version(asked));
    }
    let (newest, asked) = theirs
        .iter()
        .max_by_key(|(_, version)| **version)
        .expect("there are dependencies");
    for (name, version) in &ours {
        assert_eq!(
            version, asked,
            "rust-version of {name} must be that of {newest}"
        );
    }
}
