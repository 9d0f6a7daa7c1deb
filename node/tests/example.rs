//! The README shows the example `two_nodes`. The README's documentation test runs it.

/// The example without its opening comment.
fn code() -> &'static str {
    let file = include_str!("../examples/two_nodes.rs");
    let start = file
        .find("\nuse ")
        .expect("the example imports the library")
        + 1;
    file[start..].trim_end()
}

#[test]
fn the_readme_shows_the_example() {
    let shown = format!("```rust\n{}\n```\n", code());
    assert!(
        include_str!("../README.md").contains(&shown),
        "copy examples/two_nodes.rs into README.md"
    );
}

#[test]
fn the_example_stays_short() {
    let lines = code().lines().filter(|line| !line.is_empty()).count();
    assert!(lines <= 30, "{lines} lines");
}
