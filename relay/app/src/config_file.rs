//! The file of `--config`: the flags of a relay as TOML.
//!
//! Each key is the name of a flag without its dashes, and its value is parsed like the flag's. So a
//! new flag needs nothing here. `true` stands for a flag without a value, and a list for a flag that
//! is given several times.

use std::ffi::OsString;
use std::path::Path;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, CommandFactory, Parser};
use toml::{Table, Value};

use crate::arguments::Arguments;
use crate::config_error::ConfigError;

/// Flags that make no sense in the file.
const NO_KEYS: [&str; 3] = ["config", "help", "version"];

/// The arguments together with those of the file that `--config` names, if it names one.
pub(crate) fn complete(given: &Arguments) -> Result<Arguments, ConfigError> {
    let arguments = given.clone();
    match &given.config {
        Some(path) => Ok(arguments.or(read(path)?)),
        None => Ok(arguments),
    }
}

/// Reads the file as if its keys were flags on a command line.
fn read(path: &Path) -> Result<Arguments, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Arguments, ConfigError> {
    let table: Table = toml::from_str(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        error: Box::new(error),
    })?;
    let command = Arguments::command();
    let flags: Vec<(&str, &Arg)> = command
        .get_arguments()
        .filter_map(|flag| Some((flag.get_long()?, flag)))
        .filter(|(name, _)| !NO_KEYS.contains(name))
        .collect();
    let mut words = vec![OsString::from("relay")];
    for (key, value) in &table {
        let Some((_, flag)) = flags.iter().find(|(name, _)| name == key) else {
            return Err(ConfigError::UnknownKey {
                path: path.to_owned(),
                key: key.clone(),
                nearest: nearest(key, &flags),
            });
        };
        let wrong = |problem: String| ConfigError::Value {
            path: path.to_owned(),
            key: key.clone(),
            problem,
        };
        let of_key = to_words(key, flag, value).map_err(wrong)?;
        // Parsed alone first, so that an error names its key. Another key may be missing then.
        let alone = Arguments::try_parse_from(words[..1].iter().chain(&of_key));
        if let Err(error) = alone
            && error.kind() != ErrorKind::MissingRequiredArgument
        {
            return Err(wrong(first_line(&error)));
        }
        words.extend(of_key);
    }
    Arguments::try_parse_from(words).map_err(|error| ConfigError::Contradiction {
        path: path.to_owned(),
        problem: first_line(&error),
    })
}

/// The words on a command line that mean the same as this key with this value.
fn to_words(key: &str, flag: &Arg, value: &Value) -> Result<Vec<OsString>, String> {
    let name = format!("--{key}");
    let with = |value: &dyn std::fmt::Display| OsString::from(format!("{name}={value}"));
    let repeats = matches!(flag.get_action(), ArgAction::Append);
    let may_be_alone = flag.get_num_args().is_some_and(|n| n.min_values() == 0);
    match (flag.get_action(), value) {
        (ArgAction::SetTrue, Value::Boolean(true)) => Ok(vec![name.into()]),
        (ArgAction::SetTrue, Value::Boolean(false)) => Ok(Vec::new()),
        (ArgAction::SetTrue, _) => Err("its value is true or false".into()),
        (ArgAction::Count, Value::Integer(n @ 0..=9)) => {
            Ok((0..*n).map(|_| name.clone().into()).collect())
        }
        (ArgAction::Count, _) => Err("its value is a number from 0 to 9".into()),
        (_, Value::Boolean(true)) if may_be_alone => Ok(vec![name.into()]),
        (_, Value::Boolean(false)) if may_be_alone => Ok(Vec::new()),
        (_, Value::String(text)) => Ok(vec![with(text)]),
        (_, Value::Integer(n)) => Ok(vec![with(n)]),
        (_, Value::Array(values)) if repeats => values
            .iter()
            .map(|value| match value {
                Value::String(text) => Ok(with(text)),
                Value::Integer(n) => Ok(with(n)),
                Value::Float(_)
                | Value::Boolean(_)
                | Value::Datetime(_)
                | Value::Array(_)
                | Value::Table(_) => Err("its list has texts in quotes or whole numbers".into()),
            })
            .collect(),
        (
            _,
            Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_)
            | Value::Table(_),
        ) => Err("its value is a text in quotes or a whole number".into()),
    }
}

/// The key that is spelled most like this one.
fn nearest(key: &str, flags: &[(&str, &Arg)]) -> String {
    let near = flags
        .iter()
        .min_by_key(|(name, _)| strsim::damerau_levenshtein(name, key));
    near.map_or_else(String::new, |(name, _)| (*name).to_owned())
}

/// The sentence of an error of clap, without its label and the usage that follows.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Arguments, String> {
        parse(Path::new("relay.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn every_flag_can_stand_in_the_file() {
        let arguments = parsed(
            r#"
            listen = "0.0.0.0:4627"
            home = "/var/lib/hobnob-relay"
            admin-socket = "/run/hobnob-relay/control.sock"
            admin-group = "wheel"
            tokens-file = "/etc/hobnob-relay/tokens"
            no-roster = true
            rate = "10M"
            peers-max = 500
            day-quota = "5G"
            public-name = "relay.example.com"
            status = true
            json = false
            verbose = 2
            "#,
        )
        .unwrap();
        assert_eq!(arguments.listen, Some("0.0.0.0:4627".parse().unwrap()));
        assert_eq!(arguments.run.rate, Some(10_000_000));
        assert_eq!(arguments.run.peers_max, Some(500));
        assert!(arguments.run.no_roster && arguments.run.status.is_some() && !arguments.json);
        assert!(arguments.run.public_name.is_some());
        assert_eq!(arguments.verbose, 2);
    }

    #[test]
    fn an_unknown_key_is_reported_with_the_nearest_one() {
        for (text, says) in [
            (
                "token-fil = 'x'",
                "\"token-fil\": did you mean \"token-file\"",
            ),
            ("ratte = 5", "did you mean \"rate\""),
            ("config = 'x'", "unknown key \"config\""),
            ("[limits]\nrate = 5", "unknown key \"limits\""),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(
                error.starts_with("relay.toml") && error.contains(says),
                "{error}"
            );
        }
    }

    #[test]
    fn a_wrong_value_is_reported_with_its_key() {
        for (text, says) in [
            ("rate = 0", "rate: "),
            (
                "rate = 1.5",
                "rate: its value is a text in quotes or a whole number",
            ),
            ("peers-max = [1, 2]", "peers-max: "),
            ("no-roster = 'yes'", "no-roster: its value is true or false"),
            ("listen = 'nowhere'", "listen: invalid value"),
            ("verbose = -1", "verbose: its value is a number"),
            ("token-file = 'a'\nallow-file = 'b'", "cannot be used with"),
            ("rate = ", "not valid TOML"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
