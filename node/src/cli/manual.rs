//! What is made of the command line's own description: completions for shells, and manual pages.

use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Args;
use super::exit::Exit;
use super::output;

/// `hobnob completions`.
pub(crate) fn completions(shell: Shell) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "hobnob", &mut script);
    output::raw(&String::from_utf8(script)?)?;
    Ok(Exit::Done)
}

/// `hobnob man`.
pub(crate) fn man(dir: Option<&Path>) -> anyhow::Result<Exit> {
    match dir {
        Some(dir) => {
            let cant = || format!("can't write manual pages into {}", dir.display());
            std::fs::create_dir_all(dir).with_context(cant)?;
            clap_mangen::generate_to(Args::command(), dir).with_context(cant)?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Args::command()).render(&mut page)?;
            output::raw(&String::from_utf8(page)?)?;
        }
    }
    Ok(Exit::Done)
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
        for command in Args::command().get_subcommands() {
            assert!(page(&format!("hobnob-{}.1", command.get_name())).contains("SYNOPSIS"), "{}", command.get_name());
        }
    }
}
