//! The JSON Schema and the AsyncAPI document: the committed file is what the code generates, and the
//! schema accepts no more than a node does.

#[path = "common/schema.rs"]
mod common;

use std::path::Path;

use common::Schema;
use hobnob_control::wire::{AnyRequest, asyncapi, json_schema, parse_request};
use serde_json::{Value, json};

#[test]
fn the_committed_schema_is_what_the_code_generates() {
    let generated = json_schema();
    let committed: Value =
        serde_json::from_str(include_str!("../schema.json")).expect("the file is JSON");
    if generated != committed {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schema.json");
        std::fs::write(&place, format!("{generated:#}\n"))
            .expect("the target folder can be written");
        panic!(
            "the lines have changed: look at the differences, then `cp {} node/control/schema.json` and \
             run clients/python/generate.py",
            place.display()
        );
    }
}

#[test]
fn requests_that_a_node_refuses_do_not_fit_the_schema() {
    let mut schema = Schema::new(json_schema());
    let good = json!({"id": 1, "cmd": "send", "target": "bob", "text": "hi", "wait": "queued"});
    schema.accepts("Request", &good.to_string());
    for (change, value) in [
        ("cmd", json!("dance")),
        ("id", json!(-1)),
        ("id", json!("1")),
        ("target", json!(7)),
        ("wait", json!("soon")),
        ("timeout_ms", json!(-1)),
        ("txet", json!("a misspelt field")),
    ] {
        let mut bad = good.clone();
        bad[change] = value;
        assert!(
            parse_request(bad.to_string().as_bytes()).is_err(),
            "the node reads {bad}"
        );
        assert!(schema.check("Request", &bad).is_err(), "it fits: {bad}");
    }
    for missing in ["id", "cmd", "target", "text"] {
        let mut bad = good.clone();
        bad.as_object_mut().expect("an object").remove(missing);
        assert!(schema.check("Request", &bad).is_err(), "it fits: {bad}");
    }
    let two_bodies = json!({"id": 1, "cmd": "broadcast", "kind": "k", "bytes": "AA==", "file": {}});
    assert!(schema.check("Request", &two_bodies).is_err());
}

#[test]
fn every_line_has_an_operation_in_the_asyncapi_document() {
    let document = asyncapi();
    for name in AnyRequest::NAMES {
        let operation = &document["operations"][name];
        assert_eq!(
            operation["messages"].as_array().map(Vec::len),
            Some(1),
            "{name}"
        );
        assert_eq!(
            operation["reply"]["messages"].as_array().map(Vec::len),
            Some(1),
            "{name}"
        );
    }
    let mut references = 0;
    check_references(&document, &document, &mut references);
    assert!(references > 300, "{references} references");
}

/// Each reference leads to a place of the document.
fn check_references(document: &Value, value: &Value, count: &mut u32) {
    if let Some(path) = value.get("$ref").and_then(Value::as_str) {
        let place = path.strip_prefix('#').expect("within the document");
        assert!(document.pointer(place).is_some(), "{path} leads nowhere");
        *count += 1;
    }
    match value {
        Value::Object(fields) => {
            for value in fields.values() {
                check_references(document, value, count);
            }
        }
        Value::Array(items) => {
            for value in items {
                check_references(document, value, count);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
