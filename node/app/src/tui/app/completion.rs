//! Completing the word before the cursor with the Tab key: commands, rooms, names and ids. Paths
//! are in `path_completion`.

use super::emoji;
use crate::shared::actions::{find_in_chat, of_chat};

/// The words to choose from, the best first.
#[derive(Debug, Default)]
pub(crate) struct Choices {
    /// With `#`.
    pub(crate) rooms: Vec<String>,
    /// The names of people, the latest speaker first.
    pub(crate) names: Vec<String>,
    /// The same people as arguments of commands: the short id replaces a name that has a space.
    pub(crate) targets: Vec<String>,
    /// Ids of files that can be accepted, and of those that can be declined.
    pub(crate) accepted: Vec<String>,
    pub(crate) declined: Vec<String>,
}

/// A word that is being completed. Each Tab replaces it by the next candidate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Completion {
    /// The index at which the word begins.
    start: usize,
    candidates: Vec<String>,
    shown: Option<usize>,
}

impl Completion {
    /// The candidates for the word at the end of `before`; none if there are no candidates.
    pub(crate) fn of(before: &str, choices: &Choices) -> Option<Completion> {
        let space = before.char_indices().rev().find(|(_, c)| c.is_whitespace());
        let start = space.map_or(0, |(at, c)| at + c.len_utf8());
        let (earlier, word) = before.split_at(start);
        Completion::among(start, candidates(earlier.trim(), word, choices))
    }

    /// A completion with these candidates; none if there are no candidates.
    pub(crate) fn among(start: usize, candidates: Vec<String>) -> Option<Completion> {
        (!candidates.is_empty()).then_some(Completion {
            start,
            candidates,
            shown: None,
        })
    }

    /// The index at which the word begins.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    pub(crate) fn next(&mut self) -> &str {
        self.show(
            self.shown
                .map_or(0, |shown| (shown + 1) % self.candidates.len()),
        )
    }

    pub(crate) fn previous(&mut self) -> &str {
        self.show(
            self.shown
                .filter(|shown| *shown > 0)
                .unwrap_or(self.candidates.len())
                - 1,
        )
    }

    fn show(&mut self, index: usize) -> &str {
        self.shown = Some(index);
        &self.candidates[index]
    }
}

fn candidates(earlier: &str, word: &str, choices: &Choices) -> Vec<String> {
    if earlier.is_empty() && word.starts_with('/') && !word.starts_with("//") {
        return commands(&word[1..], "/");
    }
    if let Some(start) = word.strip_prefix(':').filter(|start| !start.is_empty()) {
        return emoji::beginning_with(start);
    }
    if word.starts_with('#') {
        return matching(&choices.rooms, word, " ");
    }
    // `earlier` is the command alone, or text: only first arguments are completed by their kind.
    let (name, takes) = earlier
        .strip_prefix('/')
        .and_then(find_in_chat)
        .map_or(("", ""), |action| (action.name, action.takes()));
    if takes.contains("ID") {
        matching(
            if name == "accept" {
                &choices.accepted
            } else {
                &choices.declined
            },
            word,
            "",
        )
    } else if takes.contains("COMMAND") {
        commands(word.trim_start_matches('/'), "")
    } else if takes.contains("ROOM") {
        matching(&choices.rooms, &format!("#{word}"), " ")
    } else if takes.starts_with("TARGET") {
        matching(&choices.targets, word, " ")
    } else if let Some(start) = word.strip_prefix('@').filter(|_| takes.starts_with("[@")) {
        matching(&choices.targets, start, " ")
            .into_iter()
            .map(|target| format!("@{target}"))
            .collect()
    } else if let Some(start) = word.strip_prefix('@') {
        // A mention ends at the name's end, so it may have a space.
        matching(&choices.names, start, " ")
            .into_iter()
            .map(|name| format!("@{name}"))
            .collect()
    } else {
        matching(
            &choices.names,
            word,
            if earlier.is_empty() { ": " } else { " " },
        )
    }
}

fn commands(start: &str, slash: &str) -> Vec<String> {
    let names = of_chat().map(|action| action.name);
    let aliases = of_chat().flat_map(|action| action.aliases.iter().copied());
    names
        .chain(aliases)
        .filter(|name| name.starts_with(start))
        .map(|name| format!("{slash}{name} "))
        .collect()
}

fn matching(choices: &[String], start: &str, then: &str) -> Vec<String> {
    let start = start.to_lowercase();
    choices
        .iter()
        .filter(|choice| choice.to_lowercase().starts_with(&start))
        .map(|choice| format!("{choice}{then}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices() -> Choices {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Choices {
            rooms: words(&["#lobby", "#ops"]),
            names: words(&["bob", "Bea May", "ann"]),
            targets: words(&["bob", "x4yzabcd", "ann"]),
            accepted: words(&["f33731-2"]),
            declined: words(&["f33731-2", "f33731-1"]),
        }
    }

    fn all(before: &str) -> Vec<String> {
        Completion::of(before, &choices()).map_or(vec![], |completion| completion.candidates)
    }

    #[test]
    fn tab_offers_the_words_that_fit_the_command() {
        let cases: [(&str, &[&str]); 24] = [
            ("", &["bob: ", "Bea May: ", "ann: "]),
            ("b", &["bob: ", "Bea May: "]),
            ("hello b", &["bob ", "Bea May "]),
            ("hello ", &["bob ", "Bea May ", "ann "]),
            ("see #o", &["#ops "]),
            ("well done :tad", &["🎉"]),
            ("/react :thumbsu", &["👍"]),
            ("so: ", &["bob ", "Bea May ", "ann "]),
            ("@b", &["@bob ", "@Bea May "]),
            ("ask @be", &["@Bea May "]),
            ("/wh", &["/whois ", "/why ", "/who "]),
            ("/lea", &["/leave "]),
            ("//wh", &[]),
            ("/msg ", &["bob ", "x4yzabcd ", "ann "]),
            ("/msg bob hi a", &["ann "]),
            ("/join o", &["#ops "]),
            ("/help qu", &["query ", "quit "]),
            ("/veri", &["/verify "]),
            ("/get ", &["f33731-2"]),
            ("/decline f3", &["f33731-2", "f33731-1"]),
            ("/send @b", &["@bob "]),
            ("/send #o", &["#ops "]),
            ("xyz", &[]),
            ("日本 B", &["bob ", "Bea May "]),
        ];
        for (before, candidates) in cases {
            assert_eq!(all(before), candidates, "{before:?}");
        }
    }

    #[test]
    fn each_tab_gives_the_next_one_and_the_first_after_the_last() {
        let mut completion = Completion::of("b", &choices()).unwrap();
        assert_eq!(
            [
                completion.next().to_owned(),
                completion.next().to_owned(),
                completion.next().to_owned()
            ],
            ["bob: ", "Bea May: ", "bob: "]
        );
        assert_eq!(completion.previous(), "Bea May: ");
        assert_eq!(
            Completion::of("b", &choices()).unwrap().previous(),
            "Bea May: "
        );
    }
}
