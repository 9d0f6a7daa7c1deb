//! The lines that the user typed in earlier chats: the user's messages that the database has, and
//! commands.

use hobnob_control::wire::{HISTORY_PAGE_MAX, HistoryFilter, MessageLine, MessageList};

use super::App;
use crate::shared::chat_input::ACTION;
use crate::tui::typed_commands::TypedCommand;

impl App {
    /// Asks for the newest messages, among which the user's own are.
    pub(super) fn ask_earlier_lines(&mut self) {
        if self.earlier_commands.is_none() {
            return;
        }
        let filter = HistoryFilter {
            limit: Some(HISTORY_PAGE_MAX),
            ..HistoryFilter::default()
        };
        self.ask(filter, |app, list: MessageList| {
            if let Some(commands) = app.earlier_commands.take() {
                app.composer.recall(lines(commands, &list.messages));
            }
        });
    }
}

/// The lines, in the order in which they were typed.
fn lines(commands: Vec<TypedCommand>, messages: &[MessageLine]) -> Vec<String> {
    let commands = commands.into_iter().map(|it| (it.at, it.line));
    let own = messages.iter().filter(|message| message.state.is_some());
    let texts = own.filter_map(|message| {
        let text = message.body.text.as_deref()?;
        Some((message.sent_at, typed(text)))
    });
    let mut lines: Vec<_> = commands.chain(texts).collect();
    lines.sort_by_key(|(at, _)| *at);
    let mut lines: Vec<_> = lines.into_iter().map(|(_, line)| line).collect();
    lines.dedup();
    lines
}

/// What the user typed for this text.
fn typed(text: &str) -> String {
    match text.strip_prefix(ACTION) {
        Some(action) => format!("/me {action}"),
        None if text.starts_with('/') => format!("/{text}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use hobnob::DeliveryState;
    use hobnob_control::wire::Time;

    use super::*;
    use crate::shared::chat_input::{Input, parse};
    use crate::shared::test_messages;

    fn said(at: u64, text: &str, own: bool) -> MessageLine {
        MessageLine {
            sent_at: Time(at),
            state: own.then_some(DeliveryState::Delivered),
            ..test_messages::message(at, text)
        }
    }

    #[test]
    fn own_messages_and_commands_are_merged_by_time() {
        let command = |at, line: &str| TypedCommand {
            at: Time(at),
            line: line.to_owned(),
        };
        let commands = vec![command(1, "/peers"), command(4, "/join #ops")];
        let messages = [
            said(2, "hello", true),
            said(3, "hi ann", false),
            said(5, "hi ops", true),
            said(6, "hi ops", true),
        ];
        let expected = ["/peers", "hello", "/join #ops", "hi ops"];
        assert_eq!(lines(commands, &messages), expected);
    }

    #[test]
    fn a_recalled_line_says_the_same_again() {
        for text in ["hello", "/etc/passwd", "//", "/me waves", "a\nb"] {
            assert_eq!(parse(&typed(text)), Ok(Input::Say(text.to_owned())));
        }
    }
}
