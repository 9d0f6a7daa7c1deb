//! Files with names that are awkward or hostile.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use hobnob_protocol::text::visible;
use hobnob_tests::lab::{Lab, Node, hobnob_binary};
use serde_json::Value;

use crate::FileActions;
use crate::actions::beside;

/// A name of `tests/inputs/file-names.jsonl`.
struct Name {
    what: String,
    bytes: Vec<u8>,
}

fn names() -> Vec<Name> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("inputs/file-names.jsonl");
    let lines = fs::read_to_string(path).expect("the inputs are there");
    let name = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        let bytes = match (line["name"].as_str(), line["hex"].as_str()) {
            (Some(name), _) => name.as_bytes().to_vec(),
            (None, hex) => data_encoding::HEXLOWER
                .decode(hex.expect("a name or its bytes").as_bytes())
                .expect("hexadecimal"),
        };
        let what = line["what"].as_str().unwrap_or_default().to_owned();
        Name { what, bytes }
    };
    lines.lines().map(name).collect()
}

/// Offers a file whose path need not be UTF-8. Returns the offer's id.
fn offers(from: &Node, to: &Node, path: &Path) -> String {
    // The shell makes the path from octal numbers. The sign at its end protects a line break.
    let script = r#"path=$(printf '%b_' "$3"); exec "$0" --home "$1" --json send "$2" --wait queued --file "${path%_}""#;
    let bytes = path.as_os_str().as_bytes().iter();
    let octal: String = bytes.map(|byte| format!("\\0{byte:03o}")).collect();
    let (program, home) = (hobnob_binary(), from.home().path());
    let arguments = [
        "-c",
        script,
        &program.to_string_lossy(),
        &home.to_string_lossy(),
        to.id(),
        &octal,
    ];
    let output = from.machine().run("sh", &arguments).expect(0);
    let mut lines = output.json().into_iter();
    let sent = lines.find(|line| line["event"] == "sent");
    let sent = sent.unwrap_or_else(|| panic!("no `sent` line: {output}"));
    sent["id"].as_str().expect("an offer has an id").to_owned()
}

#[test]
fn files_with_awkward_names_arrive_whole_under_safe_and_distinct_names() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    // A stranger may send twenty messages only.
    ann.are_contacts(&bob);
    let downloads = bob.home().path().join("downloads");
    let names = names();
    let mut saved: BTreeSet<PathBuf> = BTreeSet::new();
    for (number, Name { what, bytes }) in names.iter().enumerate() {
        let path = beside(&ann).join(OsStr::from_bytes(bytes));
        let content = format!("{number}: {what}");
        fs::write(&path, &content).expect("the file system takes the name");
        let id = offers(&ann, &bob, &path);
        let offer = bob.sees_offer(&id);
        bob.accepts(&id);
        let place = bob.receives(&id);
        assert_eq!(place.parent(), Some(downloads.as_path()), "{what}");
        let text = place.to_str().expect("a received name is UTF-8");
        assert_eq!(visible(text), text, "{what}: nothing disturbs a terminal");
        let name = place.file_name().and_then(OsStr::to_str).expect("a name");
        let is_safe = !name.starts_with('.') && !name.ends_with(['.', ' ']) && name.len() <= 255;
        assert!(is_safe, "{what}: {name:?}");
        assert_eq!(fs::read_to_string(&place).ok(), Some(content), "{what}");
        assert!(saved.insert(place.clone()), "{what}: {place:?} is taken");
        // Both read the same account: the name as it was sent, and the state.
        let original = String::from_utf8(bytes.clone()).ok();
        for (node, name) in [(&ann, ann.state_of(&id)), (&bob, offer)] {
            let name = name["name"]
                .as_str()
                .expect("an offer has a name")
                .to_owned();
            if let Some(original) = &original {
                assert_eq!(name, *original, "{what} at {}", node.nick());
            }
        }
    }
    let there = fs::read_dir(&downloads).expect("the folder is there");
    assert_eq!(there.count(), names.len(), "there are no other files");
    // For people, the original names are escaped.
    for node in [&ann, &bob] {
        let home = node.home().path().to_string_lossy();
        let list = node.machine().hobnob(&["--home", &home, "files"]).expect(0);
        for line in list.stdout.lines() {
            assert_eq!(visible(line), line);
        }
        for name in names
            .iter()
            .filter_map(|name| std::str::from_utf8(&name.bytes).ok())
        {
            let shown = visible(name.trim());
            assert!(list.stdout.contains(&*shown), "{name:?} in {list}");
        }
    }
}
