//! Tests of the imports within a crate. Files must not import each other in circles, and must name
//! the items that they import.
//!
//! A file has an arrow to another file if it names one of its items, in a `use` or in a path that
//! begins with `crate`, `super` or `self`. A declaration (`mod child;`) is not an arrow. Test
//! modules are ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The source folders of the product's crates: all workspace members except the tests.
fn sources() -> Vec<String> {
    let manifest =
        std::fs::read_to_string(root().join("Cargo.toml")).expect("the workspace has a manifest");
    let members = manifest.split_once("members = [").expect("a list").1;
    let members = members.split_once(']').expect("the list ends").0;
    members
        .split(',')
        .map(|member| member.trim().trim_matches('"'))
        .filter(|member| !member.is_empty() && !member.starts_with("tests"))
        .map(|member| format!("{member}/src"))
        .collect()
}

/// A module path within its crate, such as `["net", "session"]`.
type Module = Vec<String>;

/// The code of each file of a crate, by its module path.
fn files(crate_dir: &Path) -> BTreeMap<Module, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![crate_dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder is part of this tree") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let module = module_of(
                    path.strip_prefix(crate_dir)
                        .expect("the path is in crate_dir"),
                );
                if !module.iter().any(|part| part == "tests") {
                    let text = std::fs::read_to_string(&path).expect("sources are UTF-8");
                    files.insert(module, code_of(&text));
                }
            }
        }
    }
    files
}

fn module_of(path: &Path) -> Module {
    let stem = path.with_extension("");
    let mut parts: Module = stem
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if matches!(
        parts.last().map(String::as_str),
        Some("mod" | "lib" | "main")
    ) {
        parts.pop();
    }
    parts
}

/// Removes comments and the test module at the end.
fn code_of(text: &str) -> String {
    let is_test_module = |at: usize| {
        let mut after = text[at..].lines();
        let condition = after.next().unwrap_or_default();
        // There may be other attributes between the condition and the module.
        let opens = |line: &str| line.contains("mod ") && line.ends_with('{');
        condition.contains("test") && after.take(6).any(opens)
    };
    let mut conditions = text.match_indices("#[cfg(").map(|(at, _)| at);
    let product = conditions.find(|&at| is_test_module(at));
    text[..product.unwrap_or(text.len())]
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Every path in the code that begins with `crate`, `super` or `self`. Groups in `use` are
/// expanded.
fn paths(code: &str) -> Vec<Module> {
    let mut found = Vec::new();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            // In `super::super::x` only the first `super` begins a path.
            if before.is_some_and(|c| is_word(c) || c == ':') {
                continue;
            }
            unfold(&code[at..], Vec::new(), &mut found);
        }
    }
    found
}

/// Reads one path, which may end in a group, and returns the rest of the text.
fn unfold<'a>(mut rest: &'a str, mut path: Module, found: &mut Vec<Module>) -> &'a str {
    loop {
        rest = rest.trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            rest = group;
            loop {
                rest = rest.trim_start();
                if let Some(after) = rest.strip_prefix('}') {
                    return after;
                }
                rest = match rest.strip_prefix(',') {
                    Some(after) => after,
                    None => {
                        let after = unfold(rest, path.clone(), found);
                        // For `as name` and unknown syntax, continue at the next separator.
                        let next = after.find([',', '}']).unwrap_or(after.len());
                        &after[next..]
                    }
                };
                if rest.is_empty() {
                    return rest;
                }
            }
        }
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        if end == 0 {
            found.push(path);
            return rest;
        }
        path.push(rest[..end].to_owned());
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(after) => rest = after,
            None => {
                found.push(path);
                return rest;
            }
        }
    }
}

/// The file that contains the path's item, resolved relative to `module`.
fn resolve(module: &Module, path: &[String], files: &BTreeMap<Module, String>) -> Option<Module> {
    let mut at = module.clone();
    let mut parts = path.iter();
    match parts.next()?.as_str() {
        "crate" => at.clear(),
        "self" => {}
        "super" => {
            at.pop()?;
        }
        _ => return None,
    }
    for part in parts {
        if part == "super" {
            at.pop()?;
            continue;
        }
        at.push(part.clone());
        if !files.contains_key(&at) {
            at.pop();
            break;
        }
    }
    Some(at)
}

fn arrows(files: &BTreeMap<Module, String>) -> BTreeMap<Module, BTreeSet<Module>> {
    let mut arrows = BTreeMap::new();
    for (module, code) in files {
        let targets = paths(code)
            .iter()
            .filter_map(|path| resolve(module, path, files))
            .filter(|target| target != module)
            .collect();
        arrows.insert(module.clone(), targets);
    }
    arrows
}

/// Every file that is reachable from `from`.
fn reached(from: &Module, arrows: &BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<Module> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from.clone()];
    while let Some(module) = open.pop() {
        for next in arrows.get(&module).into_iter().flatten() {
            if reached.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    reached
}

/// Groups of files that import each other in a circle.
fn circles(arrows: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<Vec<String>> {
    let reach: BTreeMap<_, _> = arrows
        .keys()
        .map(|module| (module, reached(module, arrows)))
        .collect();
    let mut circles = BTreeSet::new();
    for (module, targets) in &reach {
        let circle: Vec<String> = targets
            .iter()
            .filter(|other| reach.get(other).is_some_and(|back| back.contains(*module)))
            .map(|other| match other.is_empty() {
                true => "the crate's root".to_owned(),
                false => other.join("::"),
            })
            .collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn files_of_a_crate_do_not_import_each_other_in_circles() {
    let mut found = Vec::new();
    for source in sources() {
        for circle in circles(&arrows(&files(&root().join(&source)))) {
            found.push(format!("{source}: {}", circle.join(", ")));
        }
    }
    assert!(found.is_empty(), "import circles:\n{}", found.join("\n"));
}

#[test]
fn only_test_modules_use_glob_imports_of_their_parent() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (module, code) in files(&root().join(&source)) {
            if code.contains("use super::*;") {
                wrong.push(format!("{source}: {}", module.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "`use super::*` in:\n{}", wrong.join("\n"));
}

#[test]
fn a_circle_is_found_through_groups_and_relative_paths() {
    let file = |module: &[&str], code: &str| {
        let module: Module = module.iter().map(|&part| part.to_owned()).collect();
        (module, code.to_owned())
    };
    let files = BTreeMap::from([
        file(&[], "mod a; mod b;"),
        file(&["a"], "use super::{b::{Thing, other as o}, b};"),
        file(&["a", "deep"], "fn f() { super::super::b::go() }"),
        file(&["b"], "use crate::a::deep::X;"),
    ]);
    assert_eq!(circles(&arrows(&files)), [["a::deep", "b"]]);
}
