//! The web page, in Chromium, with two real nodes on loopback.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hobnob_tests::browser::Browser;
use hobnob_tests::json_lines::JsonLines;
use hobnob_tests::lab::{hobnob_binary, until};
use serde_json::{Value, json};

/// How long a node may take.
const WITHIN: Duration = Duration::from_secs(30);

/// A node with a web page. It runs as long as this lives.
struct Person {
    home: tempfile::TempDir,
    name: &'static str,
    /// Where it listens: any port at first, and the same one after that.
    listen: String,
    web: String,
    /// Further arguments of the node.
    arguments: Vec<String>,
    node: Option<Child>,
}

impl Person {
    fn new(name: &'static str) -> Person {
        let mut person = Person {
            home: tempfile::tempdir().expect("a temporary folder"),
            name,
            listen: "127.0.0.1:0".into(),
            web: "127.0.0.1:0".into(),
            arguments: Vec::new(),
            node: None,
        };
        person.start();
        person
    }

    fn start(&mut self) {
        let mut command = Command::new(hobnob_binary());
        let node = command
            .args(["up", "--no-mdns", "--nick", self.name])
            .args(["--listen", &self.listen, "--web", &self.web])
            .args(&self.arguments)
            .env("HOBNOB_HOME", self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the program starts");
        self.node = Some(node);
        self.web = until("the page is served", WITHIN, || {
            let text = std::fs::read_to_string(self.home.path().join("web"));
            let text = text.map_err(|error| error.to_string())?;
            match text.parse::<std::net::SocketAddr>() {
                Ok(addr) => Ok(addr.to_string()),
                Err(error) => Err(error.to_string()),
            }
        });
        let status = self.json(&["id"]);
        self.listen = status[0]["addrs"][0].as_str().expect("an address").into();
    }

    fn kill(&mut self) {
        let mut node = self.node.take().expect("it runs");
        node.kill().expect("it runs");
        node.wait().expect("it has ended");
        // A killed node leaves its address in the file.
        std::fs::remove_file(self.home.path().join("web")).expect("the node wrote it");
    }

    fn run(&self, words: &[&str]) -> String {
        let output = Command::new(hobnob_binary())
            .args(words)
            .env("HOBNOB_HOME", self.home.path())
            .stdin(Stdio::null())
            .output()
            .expect("the program starts");
        let (out, err) = (output.stdout, output.stderr);
        let err = String::from_utf8_lossy(&err);
        assert!(output.status.success(), "{words:?}: {err}");
        String::from_utf8(out).expect("UTF-8")
    }

    fn json(&self, words: &[&str]) -> Vec<Value> {
        let words = [words, &["--json"]].concat();
        let lines = self.run(&words);
        let value = |line| serde_json::from_str(line).expect("JSON");
        lines.lines().map(value).collect()
    }

    fn texts(&self) -> Vec<String> {
        let text = |message: Value| Some(message["text"].as_str()?.to_owned());
        self.json(&["history"])
            .into_iter()
            .filter_map(text)
            .collect()
    }

    fn has(&self, text: &str) {
        until(text, WITHIN, || {
            let texts = self.texts();
            let has = texts.iter().any(|other| other == text);
            if has {
                Ok(())
            } else {
                Err(format!("{texts:?}"))
            }
        });
    }

    /// A browser that has logged in by the file of `hobnob web`.
    fn browser(&self) -> Browser {
        let file = self.run(&["web", "--no-open"]);
        let mut browser = Browser::start();
        browser.open(file.trim());
        browser.shows("document.body.dataset.ready === 'true'");
        browser
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::write(&path, content).expect("the folder exists");
        path
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        if let Some(mut node) = self.node.take() {
            // It may have ended.
            let _ended = node.kill();
            let _reaped = node.wait();
        }
    }
}

/// A script that clicks the button with this label or text.
fn click(browser: &mut Browser, within: &str, label: &str) {
    let find = format!(
        "[...document.querySelectorAll('{within} button')].find((one) => (one.ariaLabel ?? one.textContent) === '{label}')"
    );
    browser.shows(&format!("{find} !== undefined"));
    browser.run(&format!("{find}.click()"));
}

fn says(browser: &mut Browser, text: &str) {
    browser.run("document.querySelector('#compose').focus()");
    browser.types(text);
    browser.press("Enter");
}

fn shows_text(browser: &mut Browser, text: &str) {
    browser.shows(&format!(
        "[...document.querySelectorAll('.rows .text')].some((one) => one.textContent === '{text}')"
    ));
}

/// Opens the conversation with somebody who has written.
fn open(browser: &mut Browser, name: &str) {
    let entry = format!(
        "[...document.querySelectorAll('.entry')].find((one) => one.querySelector('.name').textContent === '{name}')"
    );
    browser.shows(&format!("{entry} !== undefined"));
    browser.run(&format!("{entry}.click()"));
    browser.shows(&format!(
        "document.querySelector('main h2').textContent === '{name}'"
    ));
}

#[test]
fn two_people_talk_one_of_them_in_a_browser() {
    let (ann, bob) = (Person::new("ann"), Person::new("bob"));
    let mut page = ann.browser();
    page.look(1100, 750, "light");
    let hostile = "<img src=x onerror=alert(1)> <b>hi</b>";
    bob.run(&["send", &ann.listen, hostile]);
    // A stranger's message is a request, and its text is no markup.
    page.shows("document.querySelector('.lists').innerText.includes('Requests')");
    page.shows("document.querySelector('.badge')?.textContent === '1'");
    open(&mut page, "bob");
    shows_text(&mut page, hostile);
    assert_eq!(
        page.run("document.querySelectorAll('.rows img, .rows b').length"),
        0
    );
    says(&mut page, "good morning");
    bob.has("good morning");
    page.shows("document.querySelector('.state.delivered') !== null");

    // With the keyboard alone: up to the message, and edit it.
    page.press("ArrowUp");
    page.shows("document.activeElement.classList.contains('message')");
    page.press("e");
    page.shows("document.querySelector('#compose').value === 'good morning'");
    page.run("document.querySelector('#compose').select()");
    page.types("good evening");
    page.press("Enter");
    shows_text(&mut page, "good evening");
    bob.has("good evening");

    // A reply, a reaction and a deletion.
    page.run("document.querySelector('.rows .message').focus()");
    page.press("r");
    page.types("what is that?");
    page.press("Enter");
    bob.has("what is that?");
    page.shows("document.querySelector('blockquote') !== null");
    page.run("document.querySelector('.rows .message').focus()");
    page.press("x");
    page.run("document.querySelector('.emojis button').click()");
    page.shows("document.querySelector('.chip') !== null");
    page.run("[...document.querySelectorAll('.rows .message')].at(-1).focus()");
    page.press("d");
    click(&mut page, "dialog", "Yes");
    page.shows("!document.querySelector('.rows').innerText.includes('what is that?')");

    // An unread message in another conversation, and a search that finds it.
    bob.run(&["broadcast", "the word is xylophone"]);
    page.shows("document.title === '(1) hobnob'");
    page.run("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'k', ctrlKey: true}))");
    page.types("xylophone");
    page.press("Enter");
    page.shows("document.querySelector('.results button') !== null");
    page.run("document.querySelector('.results button').click()");
    page.shows("document.querySelector('main h2').textContent === '#lobby'");
    shows_text(&mut page, "the word is xylophone");
    page.shows("document.title === 'hobnob'");

    // Emphasis keeps its signs, and tags in it are no markup.
    open(&mut page, "bob");
    let emphasis = "**bold <i>x</i>** and `code`";
    bob.run(&["send", &ann.listen, emphasis]);
    shows_text(&mut page, emphasis);
    page.shows("document.querySelector('.rows strong')?.textContent === '**bold <i>x</i>**'");
    page.shows("document.querySelector('.rows code')?.textContent === '`code`'");
    assert_eq!(page.run("document.querySelectorAll('.rows i').length"), 0);
    page.shows("document.querySelector('.rows .avatar')?.textContent === 'B'");

    // A new name is news, and earlier messages keep the one of their time.
    bob.run(&["nick", "robert"]);
    shows_text(&mut page, "bob is now robert");
    page.shows("document.querySelector('main h2').textContent === 'robert'");
    page.shows("document.querySelector('.lists').innerText.includes('formerly bob')");
    page.shows("document.querySelector('.rows .author').textContent === 'bob'");
}

#[test]
fn files_go_both_ways_through_the_page() {
    let (ann, bob) = (Person::new("ann"), Person::new("bob"));
    bob.run(&["send", &ann.listen, "send me a file"]);
    let mut page = ann.browser();
    page.look(1100, 750, "dark");
    open(&mut page, "bob");
    says(&mut page, "here it is");
    bob.has("here it is");
    page.run(
        "{ const data = new DataTransfer(); data.items.add(new File(['from the browser'], 'note.txt'));
           document.querySelector('main').dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true})); }",
    );
    // The page asks first what ann says about it.
    page.shows("document.querySelector('dialog')?.innerText.includes('note.txt')");
    page.types("as you asked");
    page.press("Enter");
    page.shows("document.querySelector('.file-name')?.textContent === 'note.txt'");
    until("bob has the file", WITHIN, || {
        let offers = bob.json(&["files"]);
        let is_note =
            |offer: &Value| offer["name"] == "note.txt" && offer["caption"] == "as you asked";
        match offers.iter().any(is_note) {
            true => Ok(()),
            false => Err(format!("{offers:?}")),
        }
    });
    bob.run(&["accept", "note.txt"]);
    let received = bob.home.path().join("downloads/note.txt");
    until(
        "the content is here",
        WITHIN,
        || match std::fs::read_to_string(&received) {
            Ok(content) if content == "from the browser" => Ok(()),
            other => Err(format!("{other:?}")),
        },
    );

    // The copy that the browser has uploaded is removed, since bob has the file.
    let uploads = ann.home.path().join("uploads");
    until("the upload is removed", WITHIN, || {
        let folder = std::fs::read_dir(&uploads).map_err(|error| error.to_string())?;
        match folder.count() {
            0 => Ok(()),
            left => Err(format!("{left} are left")),
        }
    });

    let path = bob.file("plan.txt", "from bob");
    let path = path.to_str().expect("UTF-8").to_owned();
    std::thread::scope(|scope| {
        // The command ends once ann has the file.
        let sending =
            scope.spawn(|| bob.run(&["send", "ann", "--file", &path, "--timeout", "30s"]));
        click(&mut page, ".rows .file", "Accept");
        page.shows("document.querySelector('.rows').innerText.includes('Saved as')");
        sending.join().expect("bob's command succeeds");
    });
    let saved = std::fs::read_to_string(ann.home.path().join("downloads/plan.txt"));
    assert_eq!(saved.expect("it was saved"), "from bob");
    let content = page.run(
        "(async () => { const app = window.hobnob; const message = app.model.current.messages.find((one) => one.file?.name === 'plan.txt');
           const link = await (await app.connection.fetch(`/ticket/${message.id}`, {method: 'POST'})).text();
           return (await fetch(link)).text(); })()",
    );
    assert_eq!(content, "from bob");
}

#[test]
fn settings_are_shown_and_changed_in_the_page() {
    let ann = Person::new("ann");
    let file = ann.home.path().join("config.toml");
    std::fs::write(&file, "# mine\nshare-read = \"members\"\n").expect("the folder exists");
    let mut page = ann.browser();
    page.look(1100, 750, "light");
    click(&mut page, "nav", "Settings");
    page.run("document.querySelector('dialog details summary').click()");
    let form = |name: &str| format!("document.querySelector('form[data-setting={name}]')");
    let enters = |page: &mut Browser, name: &str, field: &str, value: &str| {
        page.run(&format!(
            "{{ const form = {}; form.querySelector('{field}').value = '{value}'; form.requestSubmit(); }}",
            form(name)
        ));
    };
    let is_saved = |name: &str| format!("{}.innerText.includes('Saved')", form(name));
    page.shows(&format!(
        "{}?.querySelector('select').value === 'members'",
        form("share-read")
    ));
    for (name, field, value) in [
        ("share-read", "select", "nobody"),
        ("highlight", "input", "deploy, outage"),
    ] {
        enters(&mut page, name, field, value);
        page.shows(&is_saved(name));
    }
    // The node takes these at once, and says which it takes later.
    page.shows(&format!(
        "{}.innerText.includes('It applies now')",
        form("highlight")
    ));
    page.shows(&format!(
        "{}.innerText.includes('when hobnob starts again')",
        form("listen")
    ));
    let mut lines = JsonLines::connect(ann.home.path());
    let sent = json!({"cmd": "history", "mentions": true});
    let bob = Person::new("bob");
    bob.run(&["send", &ann.listen, "we deploy today"]);
    until("the word mentions ann", WITHIN, || {
        let found = lines
            .asks(sent.clone())
            .map_err(|error| error.to_string())?;
        match found["messages"][0]["text"] == "we deploy today" {
            true => Ok(()),
            false => Err(found.to_string()),
        }
    });
    // A wrong value is refused with a reason.
    enters(&mut page, "keep", "input", "for a while");
    page.shows("document.querySelector('dialog .problem').textContent.includes('line')");
    assert_eq!(
        std::fs::read_to_string(&file).expect("it is there"),
        "# mine\nshare-read = \"nobody\"\nhighlight = [\"deploy\", \"outage\"]\n"
    );
    assert_eq!(
        page.run("document.documentElement.scrollWidth <= 1100"),
        true
    );
}

#[test]
fn what_is_typed_while_the_node_is_killed_is_sent_exactly_once() {
    let mut ann = Person::new("ann");
    let mut page = ann.browser();
    page.look(360, 720, "light");
    open(&mut page, "#lobby");
    for round in 0..3 {
        for number in 0..20 {
            page.run(&format!(
                "window.hobnob.outbox.add('#lobby', 'message {round} {number}')"
            ));
            if number == 9 {
                ann.kill();
                page.shows("document.body.dataset.ready === undefined");
            }
        }
        page.run("document.querySelector('#compose').value = 'half a sentence'; document.querySelector('#compose').dispatchEvent(new Event('input'))");
        if round == 1 {
            // A reload finds the page only once the node is there again.
            ann.start();
            page.run("location.reload()");
        } else {
            ann.start();
        }
        page.shows(
            "document.body.dataset.ready === 'true' && window.hobnob.outbox.of('#lobby').length === 0 && document.querySelector('#compose').value === 'half a sentence'",
        );
        page.run("document.querySelector('#compose').value = ''; document.querySelector('#compose').dispatchEvent(new Event('input'))");
    }
    let expected: Vec<String> = (0..3)
        .flat_map(|round| (0..20).map(move |number| format!("message {round} {number}")))
        .collect();
    assert_eq!(ann.texts(), expected);
}

#[test]
fn a_node_without_a_page_listens_on_no_port_of_tcp() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let mut node = Command::new(hobnob_binary())
        .args(["up", "--no-mdns", "--listen", "127.0.0.1:0"])
        .env("HOBNOB_HOME", home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("the program starts");
    until("the node runs", WITHIN, || {
        let socket = home.path().join("control.sock");
        std::os::unix::net::UnixStream::connect(socket).map_err(|error| error.to_string())
    });
    let listens = listening(node.id());
    node.kill().expect("it runs");
    node.wait().expect("it has ended");
    assert_eq!(listens, 0);
    let ann = Person::new("ann");
    let process = ann.node.as_ref().expect("it runs").id();
    assert_eq!(listening(process), 1, "the page's own port");
}

/// The number of TCP ports on which a process listens.
fn listening(process: u32) -> usize {
    let folder = format!("/proc/{process}/fd");
    let sockets: Vec<String> = std::fs::read_dir(folder)
        .expect("it runs")
        .filter_map(|file| std::fs::read_link(file.ok()?.path()).ok())
        .filter_map(|link| {
            let link = link.to_str()?;
            Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect();
    let tables = ["tcp", "tcp6"].map(|table| {
        std::fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default()
    });
    // The columns: number, local and remote address, state (0A: it listens), six others, inode.
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    let listening = lines.filter(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        columns.get(3) == Some(&"0A")
            && sockets
                .iter()
                .any(|inode| columns.get(9) == Some(&inode.as_str()))
    });
    listening.count()
}

#[test]
fn a_hundred_thousand_messages_are_few_elements_and_leave_no_gap() {
    let ann = Person::new("ann");
    let mut page = ann.browser();
    page.look(800, 600, "light");
    open(&mut page, "#lobby");
    page.run(
        "{ const { model, list } = window.hobnob; const at = (number) => new Date(1.7e12 + number * 1000).toISOString();
           const items = Array.from({length: 100000}, (_, number) => ({id: `aaaaaaaaaaaaaaaa-${number}`, conversation: '#lobby', from: model.me,
             nick: 'ann', text: `${'word '.repeat(1 + number % 90)}${number}`, sent_at: at(number), received_at: at(number)}));
           model.current.more = false; model.current.messages = items; list.set(items, {stay: false}); }",
    );
    for part in ["1", "0.5", "0.123", "0", "0.9"] {
        page.run(&format!(
            "{{ const one = document.querySelector('.scroller'); one.scrollTop = one.scrollHeight * {part}; }}"
        ));
        page.run("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => drawn(true))))");
        let gaps = page.run(
            "{ const rows = [...document.querySelectorAll('.rows > .message')].map((row) => row.getBoundingClientRect()).sort((one, other) => one.top - other.top);
               rows.filter((row, index) => index > 0 && Math.abs(row.top - rows[index - 1].bottom) > 1).length; }",
        );
        assert_eq!(gaps, 0, "at {part}");
        let rows = page.run("document.querySelectorAll('.rows > .message').length");
        let rows = rows.as_u64().expect("a number");
        assert!((1..200).contains(&rows), "{rows} rows at {part}");
    }
}

#[test]
fn dialogs_and_narrow_screens_work_in_both_themes() {
    let ann = Person::new("ann");
    let mut page = ann.browser();
    for scheme in ["light", "dark"] {
        page.look(360, 720, scheme);
        page.run("document.querySelector('.back').click()");
        for (button, sign) in [
            ("Settings", ".qr"),
            ("Search", "input[type=search]"),
            ("Join or create a room", "input[type=password]"),
            ("Add a person", "input"),
            ("Check the network", ".lines li + li"),
        ] {
            click(&mut page, "nav", button);
            page.shows(&format!(
                "document.querySelector('dialog[open] {sign}') !== null"
            ));
            assert_eq!(
                page.run("document.documentElement.scrollWidth <= 360"),
                true,
                "{button}"
            );
            page.press("Escape");
            page.shows("document.querySelector('dialog') === null");
        }
    }
    // A code to invite somebody, with its QR code.
    click(&mut page, "nav", "Invite somebody");
    click(&mut page, "dialog", "Create a code");
    page.shows("document.querySelector('dialog .qr') !== null");
    page.press("Escape");
    page.shows("document.querySelector('dialog') === null");
    // A room with a key.
    click(&mut page, "nav", "Join or create a room");
    page.run("document.querySelector('dialog input').focus()");
    page.types("ops");
    click(&mut page, "dialog", "Create with a new key");
    page.shows("document.querySelector('main h2').textContent === '#ops'");
    if let Some(folder) = std::env::var_os("HOBNOB_PICTURES") {
        page.picture(&PathBuf::from(folder).join("web-room-dark.png"));
    }
    assert!(ann.run(&["rooms"]).contains("#ops"));
    // Its topic is in the head, and a pinned message in the details.
    says(&mut page, "the door code is 4711");
    shows_text(&mut page, "the door code is 4711");
    page.run("document.querySelector('.rows .message').focus()");
    click(&mut page, ".rows", "Pin");
    page.shows("document.querySelector('.rows').innerText.includes('pins a message')");
    click(&mut page, "main", "Details");
    page.shows("document.querySelector('dialog .results li')?.innerText.includes('4711')");
    page.run("document.querySelector('dialog form input').focus()");
    page.types("lunch plans");
    click(&mut page, "dialog", "Save");
    page.shows("document.querySelector('main header').innerText.includes('lunch plans')");
    // Both change in an open dialog, when others set them.
    click(&mut page, "main", "Details");
    page.shows("document.querySelector('dialog .results li') !== null");
    let mut other = JsonLines::connect(ann.home.path());
    let pinned = other.asks(json!({"cmd": "pins", "conversation": "#ops"}));
    let id = pinned.expect("the node runs")["messages"][0]["id"].take();
    // Nobody else is there, so nothing is delivered.
    let mut pin = |off| {
        let pin = json!({"cmd": "pin", "message": id, "off": off, "wait": "queued"});
        other.asks(pin).expect("the node runs");
    };
    pin(true);
    page.shows("document.querySelector('dialog .results li') === null");
    pin(false);
    page.shows("document.querySelector('dialog .results li') !== null");
    let mut set_topic = |topic| {
        let topic = json!({"cmd": "topic", "room": "#ops", "topic": topic, "wait": "queued"});
        other.asks(topic).expect("the node runs");
    };
    set_topic("supper plans");
    page.shows("document.querySelector('dialog form input').value === 'supper plans'");
    set_topic("lunch plans");
    page.shows("document.querySelector('dialog form input').value === 'lunch plans'");
    page.press("Escape");
    assert!(ann.run(&["pins", "#ops"]).contains("4711"));
    assert!(ann.run(&["topic", "#ops"]).contains("lunch plans"));
}

/// The rules of axe-core (https://github.com/dequelabs/axe-core) that the page breaks, and where.
fn barriers(page: &mut Browser) -> String {
    const AXE: &str = include_str!("../inputs/axe/axe.min.js");
    if page.run("typeof window.axe") == "undefined" {
        page.run(&format!("{AXE}; true"));
    }
    // Elements that fade in have the wrong contrast meanwhile.
    page.shows("document.getAnimations().every((one) => one.playState !== 'running')");
    let broken = page.run(
        "(async () => (await axe.run(document, {resultTypes: ['violations']})).violations
           .map((rule) => `${rule.id} (${rule.impact}): ${rule.nodes.map((node) => `${node.target} ${node.failureSummary}`).join('; ')}`).join('\\n'))()",
    );
    broken.as_str().expect("a text").to_owned()
}

/// Nothing in the page, with the dialog that is open, keeps people with a screen reader, weak eyes
/// or a narrow screen from using it.
fn has_no_barriers(page: &mut Browser, place: &str, width: u32) {
    assert_eq!(barriers(page), "", "{place}");
    assert_eq!(page.nameless(), Vec::<String>::new(), "{place}");
    assert_eq!(
        page.run(&format!("document.documentElement.scrollWidth <= {width}")),
        true,
        "{place}"
    );
    if let Some(folder) = std::env::var_os("HOBNOB_PICTURES") {
        page.picture(&PathBuf::from(folder).join(format!("{place}.png")));
    }
}

#[test]
fn axe_finds_no_barrier_on_the_page_and_in_its_dialogs() {
    let (ann, bob) = (Person::new("ann"), Person::new("bob"));
    bob.run(&["send", &ann.listen, "**good** morning, see `this`"]);
    let mut page = ann.browser();
    open(&mut page, "bob");
    page.shows("document.querySelector('.request .primary') !== null");
    for scheme in ["light", "dark"] {
        page.look(1280, 800, scheme);
        has_no_barriers(&mut page, &format!("request-1280-{scheme}"), 1280);
    }
    says(&mut page, "good morning to you");
    page.shows("document.querySelector('.state.delivered') !== null");
    page.shows("document.querySelector('.request').hidden");
    let plan = bob.file("plan.txt", "x");
    let offer = json!({"cmd": "offer", "target": "ann", "path": plan, "wait": "queued"});
    let mut lines = JsonLines::connect(bob.home.path());
    lines.asks(offer).expect("the node runs");
    page.shows("document.querySelector('.rows .file') !== null");
    page.run("window.hobnob.actions.reply(window.hobnob.model.current.messages[0])");
    says(&mut page, "what is that?");
    page.shows("document.querySelector('blockquote') !== null");
    page.run("window.hobnob.actions.react(window.hobnob.model.current.messages[0], '👍')");
    page.shows("document.querySelector('.chip') !== null");
    for (width, scheme) in [(1280, "light"), (1280, "dark"), (360, "light")] {
        page.look(width, 720, scheme);
        open(&mut page, "bob");
        page.shows("document.querySelector('.rows .chip') !== null");
        page.run("document.querySelector('.rows .message').focus()");
        let place = |name: &str| format!("{name}-{width}-{scheme}");
        has_no_barriers(&mut page, &place("messages"), width);
        let look = |page: &mut Browser, name: &str, sign: &str| {
            page.shows(&format!(
                "document.querySelector('dialog[open] {sign}') !== null"
            ));
            has_no_barriers(page, &place(name), width);
            page.press("Escape");
            page.shows("document.querySelector('dialog') === null");
        };
        for (button, sign) in [
            ("Thread", ".thread li"),
            ("About this message", "dl"),
            ("React", ".emojis"),
        ] {
            page.run("document.querySelector('.rows .message').focus()");
            click(&mut page, ".rows", button);
            look(&mut page, button, sign);
        }
        click(&mut page, "main", "Details");
        look(&mut page, "Details", "dl");
        page.run("window.hobnob.main.dispatchEvent(Object.assign(new Event('drop', {cancelable: true}), {dataTransfer: {types: ['Files'], items: [{kind: 'file', getAsFile: () => new File(['x'], 'x.txt')}]}}))");
        look(&mut page, "Offer", "input");
        if width == 360 {
            page.run("document.querySelector('.back').click()");
        }
        has_no_barriers(&mut page, &place("lists"), width);
        let look = |page: &mut Browser, name: &str, sign: &str| {
            click(page, "nav", name);
            page.shows(&format!(
                "document.querySelector('dialog[open] {sign}') !== null"
            ));
            if name == "Settings" {
                page.run("document.querySelector('dialog details summary').click()");
                page.shows("document.querySelector('dialog form[data-setting]') !== null");
            }
            has_no_barriers(page, &place(name), width);
            page.press("Escape");
            page.shows("document.querySelector('dialog') === null");
        };
        for (name, sign) in [
            ("Search", "input"),
            ("Keys", "dl"),
            ("Settings", ".qr"),
            ("Join or create a room", "input"),
            ("Add a person", "input"),
            ("Invite somebody", "select"),
            ("All files", ".file"),
            ("Links to files", "input[type=file]"),
            ("Programs", ".lines li"),
            ("This node", ".lines li"),
            ("Check the network", ".lines li + li"),
        ] {
            look(&mut page, name, sign);
        }
    }
}

#[test]
fn requests_threads_and_rules_are_on_the_page() {
    let (ann, bob) = (Person::new("ann"), Person::new("bob"));
    bob.run(&["send", &ann.listen, "may I ask something?"]);
    let mut page = ann.browser();
    page.look(1100, 750, "light");
    open(&mut page, "bob");
    click(&mut page, ".request", "Accept as contact");
    page.shows("document.querySelector('.request').hidden");
    page.shows("!document.querySelector('.lists').innerText.includes('Requests')");
    // A thread by the keyboard: it begins with the first reply.
    shows_text(&mut page, "may I ask something?");
    page.run("document.querySelector('.rows .message').focus()");
    page.press("t");
    page.shows("document.querySelector('.thread li')?.innerText.includes('may I ask')");
    page.types("go ahead");
    page.press("Enter");
    bob.has("go ahead");
    page.shows("document.querySelectorAll('.thread li').length === 2");
    let first = &bob.json(&["history"])[0]["id"];
    bob.run(&["reply", first.as_str().expect("an id"), "what is the time?"]);
    page.shows("document.querySelectorAll('.thread li').length === 3");
    page.shows("document.querySelector('dialog [role=status]').textContent === '2 replies'");
    bob.run(&["send", "ann", "and something else"]);
    shows_text(&mut page, "and something else");
    assert_eq!(
        page.run("document.querySelectorAll('.thread li').length"),
        3
    );
    page.press("Escape");
    // What is known of a message, and a search in one conversation only.
    page.shows("document.querySelector('.rows .own .state.delivered') !== null");
    page.run("document.querySelector('.rows .message.own').focus()");
    page.press("i");
    page.shows("document.querySelector('dialog dl')?.innerText.includes('delivered')");
    page.press("Escape");
    bob.run(&["broadcast", "something for all"]);
    page.run("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'k', ctrlKey: true}))");
    page.types("something");
    page.press("Enter");
    page.shows("document.querySelectorAll('.results li').length === 3");
    page.run("document.querySelector('dialog select').value = '#lobby'; document.querySelector('dialog form').requestSubmit()");
    page.shows("document.querySelectorAll('.results li').length === 1");
    page.press("Escape");
    page.shows("document.querySelector('dialog') === null");
    // The next conversation with unread messages, and the line above them.
    page.run("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowDown', altKey: true, shiftKey: true}))");
    page.shows("document.querySelector('main h2').textContent === '#lobby'");
    page.shows("document.querySelector('.rows .new') !== null");
    // A rule, in the details and in the settings.
    open(&mut page, "bob");
    click(&mut page, "main", "Details");
    page.run("{ const rule = [...document.querySelectorAll('dialog select')].find((one) => [...one.options].some((option) => option.value === 'none')); rule.value = 'none'; rule.dispatchEvent(new Event('change')); }");
    page.shows("document.querySelector('.lists').innerText.includes('muted')");
    assert!(ann.run(&["notify"]).contains("muted"));
    page.press("Escape");
    page.shows("document.querySelector('dialog') === null");
    click(&mut page, "nav", "Settings");
    click(&mut page, "dialog", "Back to the default for bob");
    page.shows("!document.querySelector('.lists').innerText.includes('muted')");
    assert!(!ann.run(&["notify"]).contains("muted"));
    page.press("Escape");
    page.shows("document.querySelector('dialog') === null");
    // A message of this node that is deleted here only stays at bob's.
    page.run("[...document.querySelectorAll('.rows .message.own')].at(-1).focus()");
    page.press("d");
    click(&mut page, "dialog", "Only on this node");
    page.shows("!document.querySelector('.rows').innerText.includes('go ahead\\n')");
    page.shows("document.querySelectorAll('.rows .message.own').length === 0");
    bob.has("go ahead");
    // Who is ignored has a place of its own.
    click(&mut page, "main", "Details");
    click(&mut page, "dialog", "Ignore");
    page.shows("document.querySelector('.lists').innerText.includes('Blocked and ignored')");
}

/// The only file that the page has saved.
fn saved(folder: &std::path::Path) -> PathBuf {
    until("the browser saves the file", WITHIN, || {
        let files = std::fs::read_dir(folder).map_err(|error| error.to_string())?;
        let paths = files.map(|file| file.map(|file| file.path()));
        let paths: Vec<PathBuf> = paths
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        // Chromium renames a file to this when it is whole.
        let is_whole = |path: &PathBuf| {
            let end = path.extension();
            end.is_some_and(|end| ["hobnob", "age", "html"].iter().any(|whole| end == *whole))
        };
        match &paths[..] {
            [path] if is_whole(path) => Ok(path.clone()),
            other => Err(format!("{other:?}")),
        }
    })
}

#[test]
fn messages_are_carried_by_hand_through_the_page() {
    let (mut ann, mut bob) = (Person::new("ann"), Person::new("bob"));
    bob.run(&["send", &ann.listen, "I leave the network now"]);
    let mut page = ann.browser();
    page.look(1100, 750, "light");
    open(&mut page, "bob");
    says(&mut page, "farewell");
    bob.has("farewell");
    bob.kill();
    says(&mut page, "this travels by hand");
    shows_text(&mut page, "this travels by hand");
    let folder = tempfile::tempdir().expect("a temporary folder");
    page.saves_to(folder.path());
    click(&mut page, "main", "Details");
    click(&mut page, "dialog", "Save messages to carry by hand");
    // The receipt for the first message may be lost with bob's node.
    page.shows(
        "/The file has [12] messages? for bob/.test(document.querySelector('dialog').innerText)",
    );
    let file = saved(folder.path());
    // Nobody meets anybody, so only the file can bring it.
    ann.kill();
    let alone = ["--no-mdns", "--listen", "127.0.0.1:0"];
    let file = file.to_str().expect("UTF-8");
    let imported = bob.run(&[&alone[..], &["import", file]].concat());
    assert!(imported.contains("1 new message"), "{imported}");
    let back = bob.home.path().join("back");
    let path = back.to_str().expect("UTF-8");
    bob.run(&[&alone[..], &["export", "--for", "ann", path]].concat());
    ann.start();
    page.shows("document.body.dataset.ready === 'true'");
    page.press("Escape");
    page.shows("document.querySelector('dialog') === null");
    click(&mut page, "nav", "This node");
    page.shows("document.querySelector('dialog input[type=file]') !== null");
    page.chooses("document.querySelector('dialog input[type=file]')", &back);
    page.shows("/[12] of yours delivered/.test(document.querySelector('dialog').innerText)");
    until("it is delivered", WITHIN, || {
        let history = ann.json(&["history", "bob"]);
        let last = history.last().ok_or("no messages")?;
        match last["state"] == "delivered" && last["text"] == "this travels by hand" {
            true => Ok(()),
            false => Err(last.to_string()),
        }
    });
    // A file that is none is refused with a reason.
    let none = bob.file("none", "not sealed");
    page.chooses("document.querySelector('dialog input[type=file]')", &none);
    page.shows("document.querySelector('dialog > .problem').textContent !== ''");
}

#[test]
fn a_backup_of_the_page_restores_the_home() {
    let ann = Person::new("ann");
    ann.run(&["broadcast", "keep this"]);
    let mut page = ann.browser();
    page.look(1100, 750, "dark");
    let folder = tempfile::tempdir().expect("a temporary folder");
    page.saves_to(folder.path());
    click(&mut page, "nav", "This node");
    page.shows("document.querySelectorAll('dialog input[type=password]').length === 2");
    let enter = |page: &mut Browser, again: &str| {
        page.run(&format!(
            "{{ const [one, two] = document.querySelectorAll('dialog input[type=password]'); one.value = 'a long passphrase'; two.value = '{again}'; two.form.requestSubmit(); }}"
        ));
    };
    enter(&mut page, "a wrong passphrase");
    page.shows("document.querySelector('dialog > .problem').textContent.includes('differ')");
    enter(&mut page, "a long passphrase");
    page.shows("document.querySelector('dialog').innerText.includes('The backup has everything')");
    let file = saved(folder.path());
    let passphrase = ann.file("passphrase", "a long passphrase\n");
    let other = tempfile::tempdir().expect("a temporary folder");
    let home = other.path().join("home");
    let restored = Command::new(hobnob_binary())
        .args(["restore"])
        .arg(&file)
        .arg("--passphrase-file")
        .arg(&passphrase)
        .env("HOBNOB_HOME", &home)
        .output()
        .expect("the program starts");
    let out = String::from_utf8_lossy(&restored.stdout);
    assert!(
        restored.status.success() && out.contains("restored"),
        "{restored:?}"
    );
}

#[test]
fn a_long_conversation_is_shown_in_its_order_after_a_restart_of_the_node() {
    let mut ann = Person::new("ann");
    let write = |ann: &Person, room: &str, numbers: std::ops::Range<u32>| {
        let mut lines = JsonLines::connect(ann.home.path());
        for number in numbers {
            let text = format!("{number}");
            let message = json!({"cmd": "broadcast", "room": room, "text": text, "wait": "queued"});
            lines.asks(message).expect("the node runs");
        }
    };
    ann.run(&["join", "ops"]);
    // The newest messages of all are those of another room, but for a few.
    write(&ann, "lobby", 0..300);
    write(&ann, "ops", 0..250);
    let mut page = ann.browser();
    let shows = |page: &mut Browser, numbers: std::ops::Range<u32>| {
        let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
        page.shows(&format!(
            "window.hobnob.model.current.messages.map((one) => one.text).join() === '{}'",
            numbers.join(",")
        ));
    };
    open(&mut page, "#lobby");
    shows(&mut page, 44..300);
    page.run("window.hobnob.model.older(window.hobnob.model.current)");
    shows(&mut page, 0..300);
    // A few messages are missed, which join the others, and then more than a page.
    for (from, to, first) in [(300, 310, 0), (310, 700, 444)] {
        page.run("window.hobnob.connection.open = () => {}");
        ann.kill();
        page.shows("document.body.dataset.ready === undefined");
        ann.start();
        write(&ann, "lobby", from..to);
        page.run("{ delete window.hobnob.connection.open; window.hobnob.connection.open(); }");
        page.shows("document.body.dataset.ready === 'true'");
        shows(&mut page, first..to);
    }
}

#[test]
fn a_folder_is_offered_with_all_its_files() {
    let (ann, bob) = (Person::new("ann"), Person::new("bob"));
    bob.run(&["send", &ann.listen, "send me the pictures"]);
    let mut page = ann.browser();
    page.look(360, 720, "dark");
    open(&mut page, "bob");
    says(&mut page, "here they are");
    bob.has("here they are");
    // A dropped folder, as a browser shows it to the page: its list comes in parts.
    page.run(
        "{ const file = (name, content) => ({name, isDirectory: false, file: (take) => take(new File([content], name))});
           const folder = (name, parts) => ({name, isDirectory: true, createReader: () => { const rest = [...parts, []];
             return {readEntries: (take) => take(rest.shift())}; }});
           const entry = folder('photos', [[file('one.txt', '1'), folder('deep', [[file('two.txt', 'two')]])], [file('three.txt', '')]]);
           const items = [{kind: 'file', webkitGetAsEntry: () => entry, getAsFile: () => null}];
           window.hobnob.main.dispatchEvent(Object.assign(new Event('drop', {cancelable: true}), {dataTransfer: {types: ['Files'], items}})); }",
    );
    page.shows("document.querySelector('dialog')?.innerText.includes('photos · folder with 3 files · 4 bytes')");
    page.types("from the sea");
    click(&mut page, "dialog", "Offer");
    page.shows("document.querySelector('.file-name')?.textContent === 'photos'");
    until("bob has the offer", WITHIN, || {
        let offers = bob.json(&["files"]);
        let is_it = |offer: &Value| {
            offer["name"] == "photos" && offer["files"] == 3 && offer["caption"] == "from the sea"
        };
        match offers.iter().any(is_it) {
            true => Ok(()),
            false => Err(format!("{offers:?}")),
        }
    });
    bob.run(&["accept", "photos"]);
    let folder = bob.home.path().join("downloads/photos");
    for (path, content) in [("one.txt", "1"), ("deep/two.txt", "two"), ("three.txt", "")] {
        until(
            "the content is here",
            WITHIN,
            || match std::fs::read_to_string(folder.join(path)) {
                Ok(found) if found == content => Ok(()),
                other => Err(format!("{path}: {other:?}")),
            },
        );
    }
    // Nothing is offered without a decision.
    page.run(
        "window.hobnob.main.dispatchEvent(Object.assign(new Event('drop', {cancelable: true}), {dataTransfer: {types: ['Files'],
           items: [{kind: 'file', getAsFile: () => new File(['x'], 'secret.txt')}]}}))",
    );
    page.shows("document.querySelector('dialog')?.innerText.includes('secret.txt')");
    click(&mut page, "dialog", "Cancel");
    page.shows("document.querySelector('dialog') === null");
    let offers = ann.json(&["files"]);
    assert!(
        offers.iter().all(|offer| offer["name"] != "secret.txt"),
        "{offers:?}"
    );
}

#[test]
fn links_for_people_without_hobnob_are_made_and_ended_in_the_page() {
    let ann = Person::new("ann");
    let film = ann.file("film.mp4", "a short film");
    let mut page = ann.browser();
    page.look(1280, 800, "light");
    click(&mut page, "nav", "Links to files");
    let make = |page: &mut Browser, already: u32| {
        page.shows("document.querySelector('dialog input[type=file]') !== null");
        page.chooses("document.querySelector('dialog input[type=file]')", &film);
        page.run("document.querySelector('dialog form').requestSubmit()");
        let count = already + 1;
        page.shows(&format!(
            "document.querySelectorAll('dialog .files li').length === {count}"
        ));
        page.shows("document.querySelector('dialog .files .qr') !== null");
        let link = page.run("document.querySelector('dialog .files li textarea').value");
        link.as_str().expect("a link").to_owned()
    };
    let state = |words: &str| {
        format!("document.querySelector('dialog .files li').innerText.includes('{words}')")
    };
    let link = make(&mut page, 0);
    page.shows(&state("one more download may begin"));
    let fetch = |link: &str| {
        let output = Command::new("curl")
            .args(["-sSk", &format!("{link}file")])
            .output()
            .expect("scripts/setup installs curl");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(fetch(&link), "a short film");
    page.shows(&state("It was downloaded as often as permitted."));
    let link = make(&mut page, 1);
    click(&mut page, "dialog", "End this link: film.mp4");
    page.shows(&state("You have ended it."));
    assert_eq!(fetch(&link), "");
    // No copy stays.
    until("the copies are removed", WITHIN, || {
        let left = std::fs::read_dir(ann.home.path().join("links"));
        match left.map_err(|error| error.to_string())?.count() {
            0 => Ok(()),
            left => Err(format!("{left} are left")),
        }
    });
    click(&mut page, "dialog", "Remove from the list: film.mp4");
    page.shows("document.querySelectorAll('dialog .files li').length === 1");
}

#[test]
fn tokens_of_programs_are_made_and_revoked_in_the_page() {
    let ann = Person::new("ann");
    let mut page = ann.browser();
    page.look(360, 720, "light");
    page.run("document.querySelector('.back').click()");
    click(&mut page, "nav", "Programs");
    page.shows("document.querySelector('dialog .lines')?.innerText.includes('this page')");
    page.run("{ const name = document.querySelector('dialog form input'); name.value = 'echo bot'; name.form.requestSubmit(); }");
    page.shows("document.querySelector('dialog .copyable')?.value.startsWith('hobnob-token-')");
    page.shows("document.querySelector('dialog .lines').innerText.includes('echo bot: read, send; until it is revoked')");
    let listed = ann.run(&["token", "list"]);
    assert!(
        listed.contains("echo bot  read,send  expires: never"),
        "{listed}"
    );
    // The same name twice is refused with a reason.
    page.run("{ const name = document.querySelector('dialog form input'); name.value = 'echo bot'; name.form.requestSubmit(); }");
    page.shows("document.querySelector('dialog > .problem').textContent.includes('already')");
    click(&mut page, "dialog", "Revoke echo bot");
    click(&mut page, "dialog", "Yes");
    page.shows("!document.querySelector('dialog .lines').innerText.includes('echo bot')");
    assert!(!ann.run(&["token", "list"]).contains("echo bot"));

    click(&mut page, "dialog", "Show the password");
    // The first one to ask for the password makes it.
    page.shows("document.querySelectorAll('dialog .copyable').length === 2");
    let password = ann.run(&["irc-token"]);
    let shown = |password: &str| {
        format!("[...document.querySelectorAll('dialog .copyable')].at(-1).value === '{password}'")
    };
    page.shows(&shown(password.trim()));
    click(&mut page, "dialog", "New password");
    click(&mut page, "dialog", "Yes");
    page.shows(&format!("!({})", shown(password.trim())));
    page.shows(&shown(ann.run(&["irc-token"]).trim()));
    assert_eq!(
        page.run("document.documentElement.scrollWidth <= 360"),
        true
    );
}

#[test]
fn the_passphrase_of_a_locked_home_is_changed_in_the_page() {
    let mut ann = Person::new("ann");
    ann.kill();
    let first = ann.file("first", "the first passphrase\n");
    let first = first.to_str().expect("UTF-8").to_owned();
    let second = ann.file("second", "the second passphrase\n");
    let second = second.to_str().expect("UTF-8").to_owned();
    ann.run(&["lock", "--passphrase-file", &first]);
    ann.arguments = vec!["--home-passphrase-file".into(), first];
    ann.start();
    let mut page = ann.browser();
    page.look(1280, 800, "dark");
    click(&mut page, "nav", "This node");
    let fields = "[...document.querySelectorAll('dialog input[autocomplete=current-password]')].map((one) => one.form)";
    page.shows(&format!("{fields}.length === 1"));
    let change = |page: &mut Browser, old: &str| {
        page.run(&format!(
            "{{ const [form] = {fields}; const [old, one, two] = form.querySelectorAll('input'); old.value = '{old}';
               one.value = two.value = 'the second passphrase'; form.requestSubmit(); }}"
        ));
    };
    change(&mut page, "a wrong passphrase");
    page.shows("document.querySelector('dialog > .problem').textContent !== ''");
    change(&mut page, "the first passphrase");
    page.shows("document.querySelector('dialog').innerText.includes('The new passphrase opens your home now.')");
    ann.kill();
    ann.arguments = vec!["--home-passphrase-file".into(), second];
    ann.start();
    page.shows("document.body.dataset.ready === 'true'");
}

#[test]
fn the_page_shows_how_long_messages_are_kept_and_saves_them() {
    let ann = Person::new("ann");
    ann.run(&["broadcast", "to be <b>kept</b>"]);
    let mut page = ann.browser();
    page.look(1280, 800, "light");
    open(&mut page, "#lobby");
    click(&mut page, "main", "Details");
    let keep = "[...document.querySelectorAll('dialog select')].find((one) => [...one.options].some(({value}) => value === 'forever'))";
    page.shows(&format!(
        "{keep}?.selectedOptions[0].textContent === 'as the setting says: for ever'"
    ));
    page.run(&format!(
        "{{ const keep = {keep}; keep.value = '604800'; keep.dispatchEvent(new Event('change')); }}"
    ));
    page.shows(&format!(
        "![...{keep}.options].some(({{value}}) => value === '')"
    ));
    assert_eq!(
        ann.run(&["keep"]),
        "#lobby: 7 days\nall other conversations: for ever\n"
    );
    ann.run(&["keep", "#lobby", "36h"]);
    page.press("Escape");
    page.shows("document.querySelector('dialog') === null");
    click(&mut page, "main", "Details");
    page.shows(&format!(
        "{keep}?.selectedOptions[0].textContent === '36 hours'"
    ));
    let folder = tempfile::tempdir().expect("a temporary folder");
    page.saves_to(folder.path());
    click(&mut page, "dialog", "Save as web page");
    let content = std::fs::read_to_string(saved(folder.path())).expect("it was saved");
    assert!(
        content.contains("to be &lt;b&gt;kept&lt;/b&gt;"),
        "{content}"
    );
}
