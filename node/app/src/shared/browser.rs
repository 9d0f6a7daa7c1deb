//! The user's browser: which program it is, and starting it.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// The programs that can show something, the best first: those of the variable BROWSER, which colons
/// separate, then that of the desktop.
fn programs(variable: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let given = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let named = given("BROWSER").unwrap_or_default();
    let named = named.split(':').map(str::trim);
    let named = named.filter(|name| !name.is_empty()).map(str::to_owned);
    let desktop = if cfg!(target_os = "macos") {
        Some("open")
    } else {
        let has_screen = given("DISPLAY").is_some() || given("WAYLAND_DISPLAY").is_some();
        has_screen.then_some("xdg-open")
    };
    named.chain(desktop.map(str::to_owned)).collect()
}

/// The command that shows this. `%s` in the program's arguments stands for it.
fn command(program: &str, what: &OsStr) -> Command {
    let mut words = program.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    let mut is_placed = false;
    for word in words {
        is_placed |= word == "%s";
        command.arg(if word == "%s" { what } else { OsStr::new(word) });
    }
    if !is_placed {
        command.arg(what);
    }
    command.stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Starts the user's browser. False if there is none.
#[cfg(feature = "web")]
pub(crate) fn start(what: &OsStr) -> bool {
    let programs = programs(|name| std::env::var(name).ok());
    let mut programs = programs.iter();
    programs.any(|program| command(program, what).spawn().is_ok())
}

/// Shows a web address, and waits until the program ends. Fails with the reason.
pub(crate) async fn show(address: String) -> Result<(), String> {
    show_by(&programs(|name| std::env::var(name).ok()), &address).await
}

async fn show_by(programs: &[String], address: &str) -> Result<(), String> {
    let mut why = "there is no desktop, and the variable BROWSER names no program".to_owned();
    for program in programs {
        let command = command(program, OsStr::new(address));
        why = match tokio::process::Command::from(command).status().await {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => return Err(format!("{program} ended with {status}")),
            Err(error) => format!("{program}: {error}"),
        };
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_comes_before_the_desktop() {
        let programs = |browser: Option<&str>, display: Option<&str>| {
            programs(|name| match name {
                "BROWSER" => browser.map(str::to_owned),
                "DISPLAY" => display.map(str::to_owned),
                _ => None,
            })
        };
        assert_eq!(programs(None, None), [""; 0]);
        assert_eq!(programs(Some(""), Some(":0")), ["xdg-open"]);
        assert_eq!(
            programs(Some("firefox:w3m %s"), Some(":0")),
            ["firefox", "w3m %s", "xdg-open"]
        );
    }

    #[tokio::test]
    async fn the_program_gets_the_address_as_one_argument() {
        let address = "https://a.b/?q='$(id)'&x";
        let folder = tempfile::tempdir().unwrap();
        let (script, out) = (folder.path().join("browser"), folder.path().join("out"));
        let text = format!("printf '%s|' \"$@\" > {}", out.display());
        std::fs::write(&script, text).unwrap();
        for (arguments, expected) in [
            ("", format!("{address}|")),
            (" -t %s", format!("-t|{address}|")),
        ] {
            let program = format!("sh {}{arguments}", script.display());
            assert_eq!(show_by(&[program], address).await, Ok(()));
            assert_eq!(std::fs::read_to_string(&out).unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn a_missing_program_and_a_failure_are_reported() {
        let show = async |programs: &[&str]| {
            let programs: Vec<_> = programs.iter().map(|name| (*name).to_owned()).collect();
            show_by(&programs, "https://a.b").await
        };
        assert_eq!(show(&["no-such-browser", "true"]).await, Ok(()));
        let missing = show(&["no-such-browser"]).await.unwrap_err();
        assert!(missing.starts_with("no-such-browser: "), "{missing}");
        let failed = show(&["false"]).await.unwrap_err();
        assert!(failed.contains("exit status: 1"), "{failed}");
        assert!(show(&[]).await.unwrap_err().contains("BROWSER"));
    }
}
