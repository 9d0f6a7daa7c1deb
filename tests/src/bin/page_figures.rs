//! Measures the web page in Chromium: when it shows messages, its size, and its frames while a long
//! conversation is read and scrolled. Measures the memory of a node with and without the page.
//! `scripts/page-figures` runs it. It fails if a value exceeds its limit.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use hobnob_control::wire::{SendMessage, SentLine, Text, WaitOptions};
use hobnob_control::{Client, ClientError, Home};
use hobnob_protocol::{Body, PersonId, SecretKey, Target};
use hobnob_tests::browser::Browser;
use hobnob_tests::lab::{hobnob_binary, pause, until};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// How long anything here may take.
const WITHIN: Duration = Duration::from_secs(60);

/// Maximum number of concurrent requests.
const IN_FLIGHT: usize = 60;

/// Limits of the measured values.
const PAINT_MS: f64 = 200.0;
const FRAME_MS: f64 = 50.0;
const ASSETS_KB: f64 = 150.0;
const PAGE_MIB: f64 = 1.0;

fn main() -> anyhow::Result<()> {
    let messages: usize = std::env::args()
        .nth(1)
        .map_or(Ok(100_000), |n| n.parse())
        .context("the argument is the number of messages")?;
    assets()?;
    let folder = tempfile::tempdir()?;
    let without = Node::start(&folder.path().join("without"), &[])?.settled_mib()?;
    let node = Node::start(&folder.path().join("ann"), &["--web", "127.0.0.1:0"])?;
    let with = node.settled_mib()?;
    println!("memory of an idle node: {without:.1} MiB, with the page {with:.1} MiB");
    ensure!(
        with - without < PAGE_MIB,
        "more than {PAGE_MIB} MiB for a page that nobody opens"
    );

    Runtime::new()?.block_on(fill(&node.home, messages))?;
    let mut page = node.browser()?;
    paint(&mut page)?;
    scroll(&mut page, messages)
}

/// Measures the size of the page's files, compressed as a browser would get them.
fn assets() -> anyhow::Result<()> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node/web/page");
    let (mut raw, mut compressed) = (0, 0);
    for file in std::fs::read_dir(page)? {
        let content = std::fs::read(file?.path())?;
        let mut gzip = Command::new("gzip")
            .arg("-c")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("gzip is installed")?;
        gzip.stdin.take().context("a pipe")?.write_all(&content)?;
        raw += content.len();
        compressed += gzip.wait_with_output()?.stdout.len();
    }
    let kb = |bytes: usize| bytes as f64 / 1000.0;
    println!(
        "files of the page: {:.1} kB, compressed {:.1} kB",
        kb(raw),
        kb(compressed)
    );
    ensure!(kb(compressed) < ASSETS_KB, "more than {ASSETS_KB} kB");
    Ok(())
}

/// Measures the time from opening the page until it shows something, and until it shows messages.
fn paint(page: &mut Browser) -> anyhow::Result<()> {
    page.before_pages(
        "new MutationObserver((_, observer) => {
           if (!document.querySelector('.rows .message')) return;
           window.shownAt = performance.now();
           observer.disconnect();
         }).observe(document, { childList: true, subtree: true });",
    );
    let mut times = Vec::new();
    for _ in 0..5 {
        page.run("{ window.isOld = true; location.reload(); }");
        // The browser begins to reload some time after the request, and reports a paint after it.
        page.shows(
            "!window.isOld && document.body?.dataset.ready === 'true' && window.shownAt > 0
               && performance.getEntriesByName('first-contentful-paint').length > 0",
        );
        let first = page.run("performance.getEntriesByName('first-contentful-paint')[0].startTime");
        let shown = page.run("window.shownAt");
        times.push((number(&first)?, number(&shown)?));
    }
    times.sort_by(|one, other| one.1.total_cmp(&other.1));
    let (first, shown) = times[times.len() / 2];
    println!("first paint after {first:.0} ms, messages after {shown:.0} ms (median of five)");
    ensure!(shown < PAINT_MS, "more than {PAINT_MS} ms");
    Ok(())
}

/// Scrolls up through the whole conversation, which reads it from the node, and then through all of
/// it at once. Measures the longest frame of each.
fn scroll(page: &mut Browser, messages: usize) -> anyhow::Result<()> {
    page.run(
        "window.frames = (step, done) => new Promise((resolve) => {
           const scroller = document.querySelector('.scroller');
           const deltas = [];
           let last = performance.now();
           const frame = (now) => {
             deltas.push(now - last);
             last = now;
             if (done(scroller)) return resolve(deltas.slice(2).sort((one, other) => other - one));
             step(scroller);
             requestAnimationFrame(frame);
           };
           requestAnimationFrame(frame);
         }); true",
    );
    let count = "window.hobnob.model.current.messages.length";
    let read = page.run(&format!(
        "frames((scroller) => {{ scroller.scrollTop = 0; }}, () => {count} >= {messages} || !window.hobnob.model.current.more)"
    ));
    let shown = page.run(count);
    report(&format!("while {shown} messages are read"), &read)?;
    let through = page.run(
        "frames((scroller) => { scroller.scrollTop += 3000; }, (scroller) => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 1)",
    );
    report("while they are scrolled through", &through)
}

fn report(what: &str, deltas: &Value) -> anyhow::Result<()> {
    let deltas = deltas.as_array().context("a list")?;
    let longest = number(deltas.first().context("there were frames")?)?;
    let over = deltas.iter().filter_map(Value::as_f64);
    let over = over.filter(|delta| *delta > FRAME_MS).count();
    println!(
        "{what}: {} frames, the longest {longest:.1} ms, {over} over {FRAME_MS} ms",
        deltas.len()
    );
    ensure!(longest <= FRAME_MS, "a frame took more than {FRAME_MS} ms");
    Ok(())
}

fn number(value: &Value) -> anyhow::Result<f64> {
    value
        .as_f64()
        .with_context(|| format!("{value} is no number"))
}

/// A node in the background.
struct Node {
    home: PathBuf,
    process: Child,
}

impl Node {
    fn start(home: &Path, arguments: &[&str]) -> anyhow::Result<Node> {
        let process = Command::new(hobnob_binary())
            .args([
                "up",
                "--no-mdns",
                "--nick",
                "ann",
                "--listen",
                "127.0.0.1:0",
            ])
            .args(arguments)
            .env("HOBNOB_HOME", home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        until("the node runs", WITHIN, || {
            let socket = home.join("control.sock");
            std::os::unix::net::UnixStream::connect(socket).map_err(|error| error.to_string())
        });
        Ok(Node {
            home: home.to_owned(),
            process,
        })
    }

    /// The memory of the process after some idle seconds.
    fn settled_mib(&self) -> anyhow::Result<f64> {
        pause(Duration::from_secs(5));
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().split(' ').next());
        Ok(kib.context("Linux reports it")?.parse::<f64>()? / 1024.0)
    }

    /// A browser that shows the long conversation.
    fn browser(&self) -> anyhow::Result<Browser> {
        let output = Command::new(hobnob_binary())
            .args(["web", "--no-open"])
            .env("HOBNOB_HOME", &self.home)
            .output()?;
        let mut browser = Browser::start();
        browser.look(1100, 750, "light");
        browser.open(String::from_utf8(output.stdout)?.trim());
        browser.shows("document.body?.dataset.ready === 'true'");
        // A reload opens it again.
        browser.run(&format!("window.hobnob.openConversation('@{}')", absent()));
        browser.shows("document.querySelector('.rows .message') !== null");
        Ok(browser)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended.
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// The peer of the long conversation, which is never online. A room stores fewer entries of one
/// author.
fn absent() -> PersonId {
    SecretKey::from_seed([7; 32]).id().person()
}

/// Fills the long conversation.
async fn fill(home: &Path, messages: usize) -> anyhow::Result<()> {
    let client = Client::connect(&Home::at(home)?).await?;
    let target: Target = format!("hobnob:{}", absent()).parse()?;
    let mut answers: JoinSet<Result<SentLine, ClientError>> = JoinSet::new();
    for n in 0..messages {
        let words = "as long as such lines are ".repeat(1 + n % 7);
        let request = SendMessage {
            target: Text(target.clone()),
            body: Body::Text(format!("message {n}, {words}")).into(),
            client_id: None,
            options: WaitOptions::ON_DISK,
        };
        if answers.len() >= IN_FLIGHT
            && let Some(answer) = answers.join_next().await
        {
            answer??;
        }
        answers.spawn(client.begin(request).await?);
    }
    while let Some(answer) = answers.join_next().await {
        answer??;
    }
    Ok(())
}
