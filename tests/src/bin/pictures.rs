//! Updates the README's picture of the chat from a real run with three machines in the lab.
//! `scripts/pictures` runs it.
//!
//! The README marks the place with the lines `<!-- picture -->` and `<!-- end of picture -->`.

use hobnob_tests::lab::{Lab, Size, Terminal};

const SCREEN: Size = Size {
    columns: 104,
    rows: 16,
};

const BEGIN: &str = "<!-- picture -->\n";
const END: &str = "<!-- end of picture -->";

fn main() -> anyhow::Result<()> {
    let readme = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "README.md".into());
    let lab = Lab::open();
    let picture = picture(&lab);
    let text = std::fs::read_to_string(&readme)?;
    let around = text
        .split_once(BEGIN)
        .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = around else {
        anyhow::bail!("{readme} does not contain the lines that mark the picture")
    };
    std::fs::write(
        &readme,
        format!("{before}{BEGIN}```text\n{picture}\n```\n{END}{after}"),
    )?;
    println!("{picture}");
    Ok(())
}

fn picture(lab: &Lab) -> String {
    let office = lab.switch();
    let [mut ann, mut bob, mut cat] = ["ann", "bob", "cat"].map(|name| {
        let screen: Terminal = office.machine(name).home(name).terminal(&[], SCREEN);
        screen.shows("the commands, /quit ends");
        screen
    });
    for screen in [&ann, &bob, &cat] {
        screen.until("two others", |screen| {
            screen.contains("2 peers") && screen.contains("here: ")
        });
    }
    ann.until("both", |screen| screen.contains("here: bob, cat"));
    ann.enters("good morning, everybody");
    bob.shows("good morning, everybody");
    bob.enters("good morning, Ann! 早上好");
    ann.shows("早上好");
    cat.shows("早上好");
    cat.enters("/me waves");
    ann.shows("cat waves");
    ann.enters("/query bob");
    ann.shows("2 @bob");
    ann.enters("lunch at noon?");
    ann.shows("lunch at noon?  ✓ delivered");
    bob.presses("\x1b2");
    bob.shows("lunch at noon?");
    bob.enters("with pleasure");
    ann.shows("with pleasure");
    ann.presses("\x1b1");
    ann.shows("✓ delivered 2 of 2");
    bob.enters("shall we ask Cat?");
    ann.shows("2 @bob        1");
    ann.presses("yes, and let us m");
    ann.shows("let us m");
    let screen = ann.screen();
    screen
        .lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}
