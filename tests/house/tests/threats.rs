//! The tests that `docs/THREATS.md` names exist.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The words in backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The last cells of the rows of all tables whose last column is `test`.
fn test_cells(page: &str) -> Vec<&str> {
    let (mut cells, mut in_table) = (Vec::new(), false);
    for line in page.lines() {
        let last = line.trim_end_matches([' ', '|']).rsplit('|').next();
        let last = last.unwrap_or_default().trim();
        match line.starts_with('|') {
            false => in_table = false,
            true if last == "test" => in_table = true,
            true if in_table && !last.starts_with("---") => cells.push(last),
            true => {}
        }
    }
    cells
}

/// Whether a source has a test with this name.
fn has_test(source: &str, name: &str) -> bool {
    let function = format!("fn {name}(");
    source.split("#[").any(|part| {
        let (attribute, rest) = part.split_once(']').unwrap_or_default();
        (attribute.starts_with("test") || attribute.starts_with("tokio::test"))
            && rest
                .split_once('{')
                .is_some_and(|(head, _)| head.contains(&function))
    })
}

#[test]
fn each_promise_names_tests_that_exist() {
    let page = read("docs/THREATS.md");
    let cells = test_cells(&page);
    assert!(cells.len() > 20, "the tables have another form: {cells:?}");
    for cell in cells {
        let (mut source, mut tests) = (String::new(), 0);
        for word in quoted(cell) {
            if word.ends_with(".rs") {
                source = read(word);
            } else {
                assert!(has_test(&source, word), "there is no test {word}: {cell}");
                tests += 1;
            }
        }
        assert!(tests > 0, "no test is named: {cell}");
    }
}

#[test]
fn a_function_without_the_attribute_is_no_test() {
    let source = "#[test]\nfn one() {}\nfn two() {}\n#[tokio::test]\nasync fn three() {}";
    assert!(has_test(source, "one") && has_test(source, "three"));
    assert!(!has_test(source, "two"));
}
