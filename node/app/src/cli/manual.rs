//! Texts about the program itself: help, shell completions, manual pages and its settings.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use hobnob_control::Home;
use serde_json::Value;

use super::args;
use crate::shared::exit_code::{Exit, Usage};
use crate::shared::{output, settings};

/// The date of the last change of the command line. A manual page shows it in its footer.
const DATE: &str = "2026-11-29";

/// `hobnob help`: the page of the JSON protocol, or the help of a command, as `--help` prints it.
pub(crate) fn help(topic: &[String]) -> anyhow::Result<Exit> {
    let words = topic.iter().map(String::as_str);
    match topic.first().map(String::as_str) {
        Some("protocol") => output::raw(hobnob_control::PROTOCOL)?,
        Some("relay") => {
            let words = ["hobnob relay"].into_iter().chain(words.skip(1));
            hobnob_relay_app::main(words.chain(["--help"]).map(OsString::from));
        }
        Some(_) | None => {
            let words = ["hobnob"].into_iter().chain(words).chain(["--help"]);
            match args::parse(words) {
                Err(help) if !help.use_stderr() => help.print()?,
                Err(error) => return Err(Usage(error.to_string()).into()),
                Ok(_) => unreachable!("--help never parses"),
            }
        }
    }
    Ok(Exit::Done)
}

/// `hobnob help protocol --schema` and `--asyncapi`: a document that is generated from the types of
/// the lines.
pub(crate) fn document(topic: &[String], generate: fn() -> Value) -> anyhow::Result<Exit> {
    if topic != ["protocol"] {
        let advice = "only the JSON lines have a schema: `hobnob help protocol --schema`";
        return Err(Usage(advice.to_owned()).into());
    }
    output::raw(&format!("{:#}\n", generate()))?;
    Ok(Exit::Done)
}

/// `hobnob completions`.
pub(crate) fn completions(shell: Shell) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "hobnob", &mut script);
    output::raw(&String::from_utf8(script)?)?;
    Ok(Exit::Done)
}

/// `hobnob man`.
pub(crate) fn man(dir: Option<&Path>) -> anyhow::Result<Exit> {
    match dir {
        Some(dir) => {
            let cant = || format!("can't write manual pages into {}", dir.display());
            std::fs::create_dir_all(dir).with_context(cant)?;
            for (name, page) in pages()? {
                std::fs::write(dir.join(name), page).with_context(cant)?;
            }
        }
        None => output::raw(&String::from_utf8(page(&whole())?)?)?,
    }
    Ok(Exit::Done)
}

/// `hobnob config`: the settings with their defaults, or the path of the settings file.
pub(crate) fn config(home: &Home, path: bool) -> anyhow::Result<Exit> {
    let file = home.config_file().display();
    if path {
        output::line(&file.to_string())?;
        return Ok(Exit::Done);
    }
    output::raw(settings::DEFAULTS)?;
    output::say_on_terminal(&format!(
        "(these are the defaults; to change one, write it into {file})"
    ));
    Ok(Exit::Done)
}

/// The whole command line, with each command named in full, as `hobnob-send`.
fn whole() -> Command {
    let mut command = args::command();
    command.build();
    command
}

/// A page for each command: its file name and content.
fn pages() -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let (mut pages, mut waiting) = (Vec::new(), vec![whole()]);
    while let Some(command) = waiting.pop() {
        waiting.extend(
            command
                .get_subcommands()
                .filter(|command| !command.is_hide_set())
                .cloned(),
        );
        pages.push((format!("{}.1", full_name(&command)), page(&command)?));
    }
    Ok(pages)
}

fn page(command: &Command) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let source = concat!("hobnob ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).title(full_name(command).to_uppercase());
    man.date(DATE)
        .source(source)
        .manual("hobnob's manual")
        .render(&mut page)?;
    Ok(in_ascii(&String::from_utf8(page).expect("a page is text")))
}

/// Names all characters that not every roff reads by their numbers.
fn in_ascii(page: &str) -> Vec<u8> {
    let named = page.chars().map(|letter| match letter {
        letter if letter.is_ascii() => letter.to_string(),
        letter => format!("\\[u{:04X}]", u32::from(letter)),
    });
    named.collect::<String>().into_bytes()
}

fn full_name(command: &Command) -> &str {
    command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        man(Some(dir.path())).unwrap();
        let page = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert!(page("hobnob.1").contains("HOBNOB_HOME"));
        for command in args::command().get_subcommands() {
            assert!(
                page(&format!("hobnob-{}.1", command.get_name())).contains("SYNOPSIS"),
                "{}",
                command.get_name()
            );
        }
    }
}
