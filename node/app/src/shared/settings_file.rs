//! Lists and changes the settings in `config.toml`, for the web page. Comments in the file stay.

use std::io;
use std::path::Path;

use hobnob_control::Home;
use hobnob_local::private_file;
use hobnob_web::Setting;
use serde_json::Value;
use toml::de::DeTable;

use super::settings::{DEFAULTS, check};

/// The settings that a running node takes when they change. The others apply at the next start.
pub(crate) const LIVE: &[&str] = &[
    "share-typing",
    "share-read",
    "share-status",
    "direct-with",
    "keep",
    "highlight",
    "accept-from",
    "accept-max",
    "download-limit",
    "upload-limit",
    "transfer-limit",
    "limit-hours",
];

/// A setting as [`DEFAULTS`] documents it.
struct Documented {
    name: String,
    /// The comment before it.
    help: String,
    example: toml::Value,
}

/// All settings with their values in the file of a home.
pub(crate) fn list(home: &Home) -> Result<Vec<Setting>, String> {
    let text = read(home.config_file()).map_err(|error| error.to_string())?;
    let file: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
    let set = |documented: Documented| {
        let variable = variable_of(&documented.help);
        let fixes = |name: &String| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Setting {
            choices: choices(&documented),
            value: file.get(&documented.name).map(to_json),
            fixed_by: variable.filter(fixes),
            live: LIVE.contains(&documented.name.as_str()),
            example: to_json(&documented.example),
            help: documented.help,
            name: documented.name,
        }
    };
    Ok(documented().into_iter().map(set).collect())
}

/// Sets a setting in the file of a home, or removes it. The file must be right afterwards.
pub(crate) fn set(home: &Home, name: &str, value: &Value) -> Result<(), String> {
    if !documented().iter().any(|known| known.name == name) {
        return Err(format!("there is no setting {name}"));
    }
    let path = home.config_file();
    let text = read(path).map_err(|error| error.to_string())?;
    let changed = changed(&text, name, value)?;
    check(&changed)?;
    write(path, &changed).map_err(|error| format!("can't write {}: {error}", path.display()))
}

/// The settings of [`DEFAULTS`]: `# name = value` after the lines of its comment.
fn documented() -> Vec<Documented> {
    let mut found = Vec::new();
    let mut help: Vec<&str> = Vec::new();
    for line in DEFAULTS.lines() {
        let Some(line) = line.strip_prefix('#') else {
            help.clear();
            continue;
        };
        let line = line.strip_prefix(' ').unwrap_or(line);
        let parsed = line.parse::<toml::Table>().ok();
        match parsed.and_then(|table| table.into_iter().next()) {
            Some((name, example)) => found.push(Documented {
                name,
                example,
                help: help.join(" "),
            }),
            None => help.push(line),
        }
    }
    found
}

/// The variable that a comment names: `Variable HOBNOB_NICK, flag --nick.`
fn variable_of(help: &str) -> Option<String> {
    let (_, rest) = help.split_once("Variable HOBNOB_")?;
    let is_part = |c: char| c.is_ascii_uppercase() || c == '_';
    let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
    Some(format!("HOBNOB_{}", &rest[..end]))
}

/// The words in quotes, if the example is one of them: then no other value is possible.
fn choices(documented: &Documented) -> Vec<String> {
    let words = documented.help.split('"').skip(1).step_by(2);
    let words: Vec<String> = words.map(str::to_owned).collect();
    match documented.example.as_str() {
        Some(example) if words.iter().any(|word| word == example) => words,
        Some(_) | None => Vec::new(),
    }
}

fn to_json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.clone().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(flag) => (*flag).into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(values) => values.iter().map(to_json).collect(),
        toml::Value::Table(table) => {
            let entries = table
                .iter()
                .map(|(key, value)| (key.clone(), to_json(value)));
            Value::Object(entries.collect())
        }
    }
}

/// A value of a setting: a text, a number, a flag, or a list of texts.
fn to_toml(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(quoted(text)),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Number(number) if number.is_i64() => Ok(number.to_string()),
        Value::Array(values) => {
            let values: Result<Vec<_>, _> = values.iter().map(to_toml).collect();
            Ok(format!("[{}]", values?.join(", ")))
        }
        Value::Number(_) | Value::Object(_) | Value::Null => {
            Err("a setting is a text, a whole number, true or false, or a list".to_owned())
        }
    }
}

/// A basic string. The escapes of JSON are among those of TOML, but for `\/`, which is not written.
fn quoted(text: &str) -> String {
    let escaped = Value::from(text).to_string();
    // JSON leaves this control character as it is.
    escaped.replace('\u{7f}', "\\u007f")
}

/// The text of a settings file with another value of one setting.
fn changed(text: &str, name: &str, value: &Value) -> Result<String, String> {
    let table = DeTable::parse(text).map_err(|error| error.message().to_owned())?;
    let mut old = table.get_ref().iter();
    let old = old.find(|(key, _)| key.get_ref() == name);
    let old = old.map(|(key, value)| key.span().start..value.span().end);
    let new = match value.is_null() {
        true => String::new(),
        false => format!("{name} = {}", to_toml(value)?),
    };
    let (before, after) = match &old {
        Some(old) => (&text[..old.start], &text[old.end..]),
        None => (text, ""),
    };
    if new.is_empty() {
        // The line goes with the setting, unless a comment follows it.
        let rest = after.trim_start_matches([' ', '\t', '\r']);
        return Ok([before, rest.strip_prefix('\n').unwrap_or(rest)].concat());
    }
    let starts_line = before.is_empty() || before.ends_with('\n');
    let gap = if starts_line || old.is_some() {
        ""
    } else {
        "\n"
    };
    let end = if old.is_some() { "" } else { "\n" };
    Ok([before, gap, &new, end, after].concat())
}

fn read(path: &Path) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        text => text,
    }
}

/// Replaces the file at once, so that no node reads half of it. It may name a proxy's password.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // A link leads to the file to change.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    private_file::replace(&path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args;
    use hobnob::LiveConfig;
    use serde_json::json;

    #[test]
    fn each_documented_setting_is_listed_with_its_words_and_its_variable() {
        let all = documented();
        let count = DEFAULTS
            .lines()
            .filter(|line| line.contains("Variable HOBNOB_"));
        assert_eq!(all.len(), count.count());
        for documented in &all {
            assert!(
                variable_of(&documented.help).is_some(),
                "{}",
                documented.name
            );
        }
        let of = |name: &str| all.iter().find(|it| it.name == name).expect("it is there");
        assert_eq!(choices(of("share-read")), ["contacts", "members", "nobody"]);
        assert_eq!(choices(of("nick")), Vec::<String>::new());
        assert_eq!(of("mdns").example, toml::Value::Boolean(true));
        assert!(
            of("nick")
                .help
                .starts_with("The nickname to use at each start.")
        );
    }

    /// What a running node takes with these settings.
    fn live(home: &Home, file: &str) -> Option<String> {
        std::fs::write(home.config_file(), file).expect("the folder exists");
        let args = args::parse(["hobnob"]).expect("no arguments are needed");
        let config = args.flags.config(home).ok()?;
        Some(format!("{:?}", LiveConfig::from(config)))
    }

    #[test]
    fn the_settings_that_apply_at_once_are_those_that_a_running_node_takes() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        let default = live(&home, "");
        for documented in documented() {
            let name = &documented.name;
            let mut values = choices(&documented);
            values = values.iter().map(|word| quoted(word)).collect();
            values.extend(match name.as_str() {
                "keep" => vec!["\"7d\"".to_owned()],
                "accept-max" => vec!["\"20M\"\naccept-from = [\"verified\"]".to_owned()],
                _ => ["true".to_owned()]
                    .into_iter()
                    .chain(to_toml(&to_json(&documented.example)))
                    .collect(),
            });
            let files = values.iter().map(|value| format!("{name} = {value}\n"));
            let taken: Vec<String> = files.filter_map(|file| live(&home, &file)).collect();
            let changes = taken.iter().any(|it| Some(it) != default.as_ref());
            assert_eq!(changes, LIVE.contains(&name.as_str()), "{name}");
        }
        let both = live(&home, "accept-from = [\"verified\"]\n");
        let size = live(&home, "accept-from = [\"verified\"]\naccept-max = \"1M\"\n");
        assert_ne!(both, size);
    }

    #[test]
    fn a_change_leaves_the_rest_of_the_file_as_it_is() {
        let file =
            "# mine\nnick = \"ann\" # me\n\nrelays = [\n  \"a.example:4627\",\n]\nmdns = true\n";
        for (name, value, expected) in [
            (
                "nick",
                json!("bob \"b\""),
                file.replace("\"ann\"", "\"bob \\\"b\\\"\""),
            ),
            (
                "mdns",
                json!(false),
                file.replace("mdns = true", "mdns = false"),
            ),
            (
                "relays",
                json!(["b.example:4627"]),
                file.replace("[\n  \"a.example:4627\",\n]", "[\"b.example:4627\"]"),
            ),
            ("mdns", json!(null), file.replace("mdns = true\n", "")),
            ("keep", json!("7d"), format!("{file}keep = \"7d\"\n")),
            ("keep", json!(null), file.to_owned()),
        ] {
            let changed = changed(file, name, &value).expect("it is a settings file");
            assert_eq!(changed, expected, "{name}");
            check(&changed).expect("it is still right");
        }
        assert_eq!(
            changed("nick = \"ann\"", "mdns", &json!(true)).expect("right"),
            "nick = \"ann\"\nmdns = true\n"
        );
        assert!(changed("", "nick", &json!({})).is_err());
    }

    #[test]
    fn only_right_values_of_settings_that_exist_are_stored() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        set(&home, "share-read", &json!("nobody")).unwrap();
        let text = read(home.config_file()).unwrap();
        assert_eq!(text, "share-read = \"nobody\"\n");
        for (name, value) in [
            ("share-read", json!("everybody")),
            ("mdns", json!("yes")),
            ("nonsense", json!(1)),
            ("nick", json!("")),
        ] {
            assert!(set(&home, name, &value).is_err(), "{name}");
        }
        assert_eq!(read(home.config_file()).unwrap(), text);
        let listed = list(&home).unwrap();
        let read = listed.iter().find(|it| it.name == "share-read").unwrap();
        assert_eq!(read.value, Some(json!("nobody")));
        set(&home, "share-read", &json!(null)).unwrap();
        assert_eq!(std::fs::read_to_string(home.config_file()).unwrap(), "");
    }
}
