//! `hobnob export`: messages as text, JSON lines or a web page, for people and other programs.
//!
//! Messages pass through in pages, so that a long history needs little memory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hobnob::ConversationRef;
use hobnob::protocol::Target;
use hobnob::protocol::text::visible;
use hobnob_control::Client;
use hobnob_control::wire::{
    EventLine, HISTORY_PAGE_MAX, HistoryFilter, MessageLine, MessageList, Text, Time, WireEvent,
    to_line,
};

use super::carried;
use crate::shared::common_flags::CommonFlags;
use crate::shared::exit_code::{Exit, Usage};
use crate::shared::output::{self, Output};
use crate::shared::session;
use crate::shared::values::{self, ConversationArg};
use crate::shared::wording::{self, Names};

/// The arguments of `hobnob export`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// A peer, or a room as #NAME. Default: all conversations. With --for: the new file.
    #[arg(value_name = "CONVERSATION")]
    of: Option<String>,
    /// Write the messages for this peer that it may lack, and receipts, to a file that only this peer
    /// can read. It takes them with `hobnob import`.
    #[arg(long = "for", value_name = "PEER", requires = "of", conflicts_with_all = ["output", "format", "since"])]
    reader: Option<Target>,
    /// Write to this new file, which only you can read. Default: stdout.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The format: text, json (one object per line) or html. Default: as the name of the file ends,
    /// or else text.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Only messages received since then: RFC 3339, a date, or a span such as 30m, 2h or 3d.
    #[arg(long, value_name = "TIME", value_parser = values::since)]
    since: Option<Time>,
}

/// How an export is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
    Html,
}

impl std::str::FromStr for Format {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            "html" => Ok(Format::Html),
            _ => Err("one of these words was expected: text, json, html"),
        }
    }
}

impl ExportArgs {
    fn format(&self, out: Output) -> Format {
        let ending = self.output.as_deref().and_then(Path::extension);
        let ending = ending.and_then(|ending| ending.to_str());
        let by_ending = match ending {
            Some("html" | "htm") => Some(Format::Html),
            Some("json" | "jsonl") => Some(Format::Json),
            Some(_) | None => None,
        };
        let by_flag = out.json.then_some(Format::Json);
        self.format
            .or(by_flag)
            .or(by_ending)
            .unwrap_or(Format::Text)
    }
}

/// `hobnob export`.
pub(crate) async fn export(
    flags: &CommonFlags,
    out: Output,
    args: ExportArgs,
) -> anyhow::Result<Exit> {
    if let (Some(reader), Some(file)) = (&args.reader, &args.of) {
        return carried::export_for(flags, out, reader.clone(), Path::new(file)).await;
    }
    let of = args.of.as_deref().map(str::parse::<ConversationArg>);
    let of = of.transpose().map_err(Usage)?;
    let format = args.format(out);
    if let Some(file) = args.output.as_deref().filter(|file| file.exists()) {
        return Err(Usage(format!("{} exists: name another file", file.display())).into());
    }
    session::ask(flags, false, async |client| {
        let conversation = match &of {
            Some(of) => Some(of.clone().resolve(client).await?),
            None => None,
        };
        let filter = filter(conversation, args.since);
        let Some(file) = args.output.as_deref() else {
            write(client, filter, format, &mut io::stdout().lock()).await?;
            return Ok(Exit::Done);
        };
        let count = finish(client, filter, format, file).await?;
        let what = wording::count(count, "message");
        output::say(&format!("{} has {what}", file.display()));
        Ok(Exit::Done)
    })
    .await
}

/// The messages of a conversation, or of all, that were received since then.
fn filter(of: Option<ConversationRef>, since: Option<Time>) -> HistoryFilter {
    HistoryFilter {
        conversation: of.map(Text),
        since,
        oldest: true,
        limit: Some(HISTORY_PAGE_MAX),
        ..HistoryFilter::default()
    }
}

/// Writes the messages of a conversation, or of all, to a new file. Returns their number.
#[cfg(feature = "web")]
pub(crate) async fn to_file(
    client: &Client,
    of: Option<ConversationRef>,
    format: Format,
    file: &Path,
) -> anyhow::Result<usize> {
    finish(client, filter(of, None), format, file).await
}

async fn finish(
    client: &Client,
    filter: HistoryFilter,
    format: Format,
    file: &Path,
) -> anyhow::Result<usize> {
    let part = Part::create(file)?;
    let mut buffered = BufWriter::new(&part.file);
    let count = write(client, filter, format, &mut buffered).await?;
    buffered.flush()?;
    drop(buffered);
    part.finish(file)?;
    Ok(count)
}

/// A file that gets its name when it is complete.
struct Part {
    file: File,
    path: PathBuf,
    finished: bool,
}

impl Part {
    fn create(file: &Path) -> anyhow::Result<Part> {
        let mut path = file.to_owned().into_os_string();
        path.push(".part");
        let path = PathBuf::from(path);
        // A leftover may be readable by others, so it is never opened.
        let _ = fs::remove_file(&path);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| anyhow::anyhow!("can't create {}: {error}", path.display()))?;
        Ok(Part {
            file,
            path,
            finished: false,
        })
    }

    fn finish(mut self, file: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, file)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes all messages that match, oldest first. Returns their number.
async fn write(
    client: &Client,
    mut filter: HistoryFilter,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<usize> {
    let names = Names::ask(client).await?;
    let title = match &filter.conversation {
        Some(of) => names.of_conversation(&of.0),
        None => "all conversations".to_owned(),
    };
    if format == Format::Html {
        out.write_all(head(&title).as_bytes())?;
    }
    let mut count = 0;
    loop {
        let MessageList { messages, .. } = client.ask(filter.clone()).await?;
        let Some(last) = messages.last() else {
            break;
        };
        filter.after = Some(last.id);
        count += messages.len();
        for message in messages {
            let line = match format {
                Format::Text => wording::message(&message, &names) + "\n",
                Format::Json => to_line(&EventLine::from(WireEvent::Message(message))),
                Format::Html => row(&message, &names),
            };
            out.write_all(line.as_bytes())?;
        }
    }
    if format == Format::Html {
        out.write_all(b"</main>\n</body>\n</html>\n")?;
    }
    Ok(count)
}

/// The page needs nothing from elsewhere, and its policy forbids to load or run anything.
fn head(title: &str) -> String {
    let title = escaped(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>\n\
         body {{ font: 1rem/1.4 sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }}\n\
         p {{ margin: .3rem 0; overflow-wrap: anywhere; }}\n\
         time, i {{ color: #666; font-size: .85rem; font-style: normal; }}\n\
         </style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    )
}

/// A message as a paragraph. Everything in it may come from a peer.
fn row(message: &MessageLine, names: &Names) -> String {
    let body = match &message.body.text {
        Some(text) => {
            let lines: Vec<String> = text.lines().map(escaped).collect();
            lines.join("<br>")
        }
        None => escaped(&wording::body(&message.body)),
    };
    format!(
        "<p><time>{}</time> <i>{}</i> <b><bdi>{}</bdi></b> <bdi>{body}</bdi></p>\n",
        escaped(&values::local_minute(message.received_at)),
        escaped(&names.of_conversation(&message.conversation.0)),
        escaped(&message.nick),
    )
}

/// Text that is safe in an element: no markup, and no invisible characters.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in visible(text).chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_control::wire::BodyFields;

    fn message(nick: &str, text: &str) -> MessageLine {
        let ann = hobnob::protocol::SecretKey::from_seed([1; 32]).id();
        MessageLine {
            id: Text("1e6951610f2d7983-1".parse().unwrap()),
            conversation: Text("#lobby".parse().unwrap()),
            from: Text(ann.person()),
            nick: nick.to_owned(),
            body: BodyFields {
                text: Some(text.to_owned()),
                ..BodyFields::default()
            },
            sent_at: Time(0),
            received_at: Time(0),
            state: None,
            reason: None,
            request: false,
            amended: Box::default(),
            mention: false,
            notify: false,
            client_id: None,
        }
    }

    #[test]
    fn markup_of_peers_is_text() {
        let hostile = "<script>alert('x')</script>\n</p><img src=\"x\" onerror=y>&amp;";
        let row = row(&message("<b>ann", hostile), &Names::default());
        let markup = [
            "<p>", "</p>", "<time>", "</time>", "<i>", "</i>", "<b>", "</b>",
        ];
        let markup = markup.into_iter().chain(["<bdi>", "</bdi>", "<br>"]);
        let rest = markup.fold(row.clone(), |rest, tag| rest.replace(tag, ""));
        assert!(!rest.contains(['<', '>', '"', '\'']), "{row}");
        assert!(
            row.contains("&lt;script&gt;") && row.contains("<br>") && row.contains("&amp;amp;")
        );
    }

    #[test]
    fn invisible_characters_are_shown() {
        let row = row(&message("ann", "a\u{202e}b\u{1b}[2J"), &Names::default());
        assert!(!row.contains(['\u{202e}', '\u{1b}']), "{row:?}");
    }

    #[test]
    fn the_format_follows_the_flag_or_the_name_of_the_file() {
        let format = |file: Option<&str>, format: Option<&str>, json| {
            let args = ExportArgs {
                reader: None,
                of: None,
                output: file.map(PathBuf::from),
                format: format.map(|word| word.parse().unwrap()),
                since: None,
            };
            args.format(Output { json })
        };
        assert_eq!(format(None, None, false), Format::Text);
        assert_eq!(format(None, None, true), Format::Json);
        assert_eq!(format(Some("a.html"), None, false), Format::Html);
        assert_eq!(format(Some("a.jsonl"), None, false), Format::Json);
        assert_eq!(format(Some("a.html"), Some("text"), true), Format::Text);
    }
}
