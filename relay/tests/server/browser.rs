//! The status page in a real browser: headless Chromium, driven by the DevTools protocol over a
//! pair of pipes.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::within;
use crate::status::{LABEL, StatusRelay, node};

/// A browser with one page. It dies with the test.
struct Browser {
    process: Child,
    to: File,
    from: BufReader<File>,
    session: Option<Value>,
    asked: u64,
    _folder: TempDir,
}

impl Browser {
    fn open(url: &str) -> Browser {
        let folder = tempfile::tempdir().unwrap();
        let [input, output] = ["in", "out"].map(|name| folder.path().join(name));
        [&input, &output]
            .into_iter()
            .for_each(|path| mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap());
        let process = chromium(folder.path());
        let to = File::options().write(true).open(input).unwrap();
        let from = BufReader::new(File::open(output).unwrap());
        let mut browser = Browser {
            process,
            to,
            from,
            session: None,
            asked: 0,
            _folder: folder,
        };
        let target =
            browser.asks("Target.createTarget", json!({ "url": "about:blank" }))["targetId"]
                .clone();
        let attached = browser.asks(
            "Target.attachToTarget",
            json!({ "targetId": target, "flatten": true }),
        );
        browser.session = Some(attached["sessionId"].clone());
        browser.asks("Page.navigate", json!({ "url": url }));
        browser
    }

    fn asks(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let mut request = json!({ "id": self.asked, "method": method, "params": params });
        if let Some(session) = &self.session {
            request["sessionId"] = session.clone();
        }
        self.to
            .write_all(format!("{request}\0").as_bytes())
            .unwrap();
        loop {
            let mut answer = Vec::new();
            self.from.read_until(0, &mut answer).unwrap();
            let answer: Value =
                serde_json::from_slice(answer.strip_suffix(b"\0").expect("the browser lives"))
                    .unwrap();
            assert_eq!(answer.get("error"), None, "{method}");
            // All other messages are events, which the test ignores.
            if answer["id"] == self.asked {
                return answer["result"].clone();
            }
        }
    }

    /// Waits until an expression is neither null nor false, and returns its value.
    fn sees(&mut self, expression: &str) -> Value {
        let waits = format!(
            "new Promise((done) => {{ (function look() {{ const seen = {expression}; seen ? done(seen) : setTimeout(look, 50); }})(); }})"
        );
        let params = json!({ "expression": waits, "awaitPromise": true, "returnByValue": true });
        let result = self.asks("Runtime.evaluate", params);
        assert_eq!(result.get("exceptionDetails"), None, "{expression}");
        result["result"]["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.process.kill();
        let _code = self.process.wait();
    }
}

/// Chromium reads commands from file descriptor 3 and writes answers to 4. The shell connects the
/// pipes.
/// Fails where Chromium is missing: `scripts/setup` installs it.
fn chromium(folder: &Path) -> Child {
    const START: &str = r#"exec chromium --headless --no-sandbox --disable-gpu --disable-background-networking \
        --user-data-dir="$1/profile" --remote-debugging-pipe about:blank 3<"$1/in" 4>"$1/out""#;
    let mut shell = Command::new("sh");
    shell
        .args(["-c", START, "sh"])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    shell.spawn().expect("sh runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_the_page_is_styled_escapes_html_and_updates_itself() {
    let fixture = StatusRelay::start().await;
    let url = format!("http://{}/", fixture.status);
    let looks = tokio::task::spawn_blocking(move || {
        let mut browser = Browser::open(&url);
        let ready = browser.sees("document.querySelector('#drops tr') && document.readyState === 'complete' && getComputedStyle(document.body).fontFamily");
        assert!(ready.as_str().unwrap().contains("system-ui"), "{ready}");
        browser
    });
    let mut browser = within(looks).await.unwrap();

    let (_client, mut link) = fixture.join().await;
    let follows = tokio::task::spawn_blocking(move || {
        let label = browser.sees("document.querySelector('#peers b')?.textContent");
        assert_eq!(label, LABEL);
        let id = browser.sees("document.querySelector('#peers code').textContent");
        assert_eq!(id, node().to_string());
        let harmless =
            browser.sees("document.scripts.length === 1 && document.images.length === 0");
        assert_eq!(harmless, true);
        browser
    });
    let mut browser = within(follows).await.unwrap();

    fixture
        .relay
        .server
        .kick(&node().to_string())
        .await
        .unwrap();
    link.ends().await;
    let follows = tokio::task::spawn_blocking(move || {
        browser.sees("document.querySelector('#peers .state').textContent === 'gone'");
        browser
    });
    let mut browser = within(follows).await.unwrap();

    fixture.stop().await;
    let says =
        tokio::task::spawn_blocking(move || browser.sees("!lost.hidden && lost.textContent"));
    let says = within(says).await.unwrap();
    assert!(
        says.as_str()
            .unwrap()
            .starts_with("The relay has not answered since"),
        "{says}"
    );
}
