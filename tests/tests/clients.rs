//! The clients in other languages, with real nodes on loopback. Their tests are in their own language.

use std::path::Path;
use std::process::Command;

use hobnob_tests::lab::hobnob_binary;

/// Runs unit tests of clients/python.
fn python(tests: &str) {
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/python");
    let output = Command::new("python3")
        .args(["-m", "unittest", "-v", tests])
        .current_dir(&client)
        .env("HOBNOB", hobnob_binary())
        .env("PYTHONPATH", client.join("src"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("HOBNOB_HOME")
        .output()
        .expect("scripts/setup has installed python3");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("... ok"), "no test ran: {said}");
}

#[test]
fn the_python_classes_are_those_of_the_schema_and_read_every_line_of_the_page() {
    python("tests.test_lines");
}

#[test]
fn python_programs_use_nodes_and_lose_and_repeat_nothing() {
    python("tests.test_nodes.Nodes");
}

#[test]
fn the_examples_in_python_work() {
    python("tests.test_nodes.Examples");
}

#[test]
fn the_bot_in_javascript_answers_each_message_once() {
    python("tests.test_nodes.JavaScript");
}
