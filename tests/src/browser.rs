//! Chromium without a window, driven by its DevTools protocol.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

use crate::lab::until;

/// How long the page may take to do something.
const WITHIN: Duration = Duration::from_secs(30);

/// A browser with one tab. Dropping it ends the browser.
pub struct Browser {
    process: Child,
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
    session: String,
    last_id: u64,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts `chromium`, or the program that `CHROMIUM` names.
    ///
    /// # Panics
    ///
    /// If there is none. `scripts/setup` installs it.
    pub fn start() -> Browser {
        let profile = tempfile::tempdir().expect("a temporary folder");
        let program = std::env::var("CHROMIUM").unwrap_or_else(|_| "chromium".into());
        let mut process = Command::new(program)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu"])
            .arg("--remote-debugging-port=0")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Chromium starts: scripts/setup installs it");
        let mut errors = BufReader::new(process.stderr.take().expect("a pipe, as set above"));
        let url = loop {
            let mut line = String::new();
            let bytes = errors.read_line(&mut line).expect("Chromium writes text");
            assert!(bytes > 0, "Chromium has ended");
            if let Some((_, url)) = line.split_once("DevTools listening on ") {
                break url.trim().to_owned();
            }
        };
        // A full pipe would stop the browser.
        std::thread::spawn(move || errors.lines().map_while(Result::ok).for_each(drop));
        let (socket, _) = tungstenite::connect(url).expect("Chromium listens there");
        let mut browser = Browser {
            process,
            socket,
            session: String::new(),
            last_id: 0,
            _profile: profile,
        };
        let tab = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let tab = json!({"targetId": tab["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", tab);
        let session = attached["sessionId"].as_str();
        browser.session = session.expect("Chromium names the session").to_owned();
        browser.call("Page.enable", json!({}));
        browser
    }

    /// Opens a page.
    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
    }

    /// Sets the size of the page and the colour scheme of the system.
    pub fn look(&mut self, width: u32, height: u32, scheme: &str) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size);
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.call("Emulation.setEmulatedMedia", json!({"features": [feature]}));
    }

    /// The value of an expression in the page, or why there is none.
    pub fn eval(&mut self, expression: &str) -> Result<Value, String> {
        let request = json!({
            "expression": expression,
            "awaitPromise": true,
            "returnByValue": true,
            "userGesture": true,
        });
        let answer = self.try_call("Runtime.evaluate", request)?;
        match answer.get("exceptionDetails") {
            Some(exception) => Err(exception.to_string()),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// Runs a script in the page.
    ///
    /// # Panics
    ///
    /// If it throws.
    pub fn run(&mut self, script: &str) -> Value {
        self.eval(script)
            .unwrap_or_else(|why| panic!("{script}: {why}"))
    }

    /// Waits until an expression in the page is true, across reloads.
    pub fn shows(&mut self, expression: &str) {
        until(expression, WITHIN, || match self.eval(expression) {
            Ok(Value::Bool(true)) => Ok(()),
            Ok(other) => Err(other.to_string()),
            Err(why) => Err(why),
        });
    }

    /// Types a text where the keyboard focus is.
    pub fn types(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Presses and releases a key: a letter, or a name such as `Enter`.
    pub fn press(&mut self, key: &str) {
        let text = match key {
            "Enter" => Some("\r"),
            key if key.chars().count() == 1 => Some(key),
            _ => None,
        };
        let code = match key {
            "Enter" => 13,
            "Tab" => 9,
            "Escape" => 27,
            "ArrowUp" => 38,
            "ArrowDown" => 40,
            _ => 0,
        };
        let mut down = json!({"type": "keyDown", "key": key, "windowsVirtualKeyCode": code});
        if let Some(text) = text {
            down["text"] = text.into();
        }
        self.call("Input.dispatchKeyEvent", down);
        let up = json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code});
        self.call("Input.dispatchKeyEvent", up);
    }

    /// Runs a script at the start of each page that is opened from now on, before the page's own.
    pub fn before_pages(&mut self, script: &str) {
        let parameters = json!({ "source": script });
        self.call("Page.addScriptToEvaluateOnNewDocument", parameters);
    }

    /// Lets the page save files in a folder.
    pub fn saves_to(&mut self, folder: &Path) {
        let folder = folder.to_str().expect("UTF-8");
        let parameters = json!({"behavior": "allow", "downloadPath": folder});
        self.call("Page.setDownloadBehavior", parameters);
    }

    /// Chooses a file of this machine in the input that an expression names.
    pub fn chooses(&mut self, input: &str, file: &Path) {
        let found = self.call("Runtime.evaluate", json!({ "expression": input }));
        let object = found["result"]["objectId"].as_str().expect("an input");
        let file = file.to_str().expect("UTF-8");
        let parameters = json!({"objectId": object, "files": [file]});
        self.call("DOM.setFileInputFiles", parameters);
    }

    /// The elements that have no name for screen readers, but can be used: their roles.
    pub fn nameless(&mut self) -> Vec<String> {
        const USED: &[&str] = &[
            "button",
            "checkbox",
            "combobox",
            "link",
            "option",
            "searchbox",
            "textbox",
        ];
        let tree = self.call("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().expect("a tree").iter();
        let used = nodes.filter(|node| {
            let role = node["role"]["value"].as_str();
            node["ignored"] == false && role.is_some_and(|role| USED.contains(&role))
        });
        let nameless = used.filter(|node| node["name"]["value"].as_str().unwrap_or("").is_empty());
        nameless
            .map(|node| node["role"]["value"].to_string())
            .collect()
    }

    /// Saves a picture of the page.
    pub fn picture(&mut self, path: &Path) {
        let picture = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let base64 = picture["data"].as_str().expect("Chromium sends a picture");
        let bytes = data_encoding::BASE64.decode(base64.as_bytes());
        std::fs::write(path, bytes.expect("base64")).expect("the folder exists");
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.try_call(method, parameters)
            .unwrap_or_else(|why| panic!("{method}: {why}"))
    }

    fn try_call(&mut self, method: &str, parameters: Value) -> Result<Value, String> {
        self.last_id += 1;
        let id = self.last_id;
        let mut request = json!({"id": id, "method": method, "params": parameters});
        if !self.session.is_empty() {
            request["sessionId"] = self.session.as_str().into();
        }
        let sent = self.socket.send(Message::text(request.to_string()));
        sent.expect("Chromium runs");
        loop {
            let message = self.socket.read().expect("Chromium runs");
            let Message::Text(text) = message else {
                continue;
            };
            let answer: Value = serde_json::from_str(&text).expect("Chromium sends JSON");
            if answer["id"] == id {
                return match answer.get("error") {
                    Some(error) => Err(error.to_string()),
                    None => Ok(answer["result"].clone()),
                };
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended.
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}
