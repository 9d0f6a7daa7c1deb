//! The checks of the web server, over real sockets, with a node that has nobody to talk to.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hobnob_control::attach::attach;
use hobnob_control::wire::{ListFiles, Right};
use hobnob_control::{Attached, Home};
use hobnob_web::server::WEBSOCKETS_MAX;
use hobnob_web::tokens::Tokens;
use hobnob_web::{LINKS_MAX, UPLOADS_MAX, WebServer, Words, announcement, login};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// A node, its web server, and the folder of its home.
struct Site {
    folder: tempfile::TempDir,
    home: Home,
    addr: SocketAddr,
    server: WebServer,
    attached: Attached,
}

impl Site {
    async fn new() -> Site {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let home = Home::at(folder.path()).expect("the fixture works");
        let config = || hobnob::Config {
            listen: "127.0.0.1:0".parse().ok(),
            mdns: false,
            ..hobnob::Config::new(home.data_dir())
        };
        let attached = attach(&home, config).await.expect("the fixture works");
        let any = "127.0.0.1:0".parse().expect("it is valid");
        let words = Words {
            qr: |_| vec![vec![true, false]],
            diagnosis: |diagnosis| vec![format!("{} checks", diagnosis.checks.len())],
            notice: |notice| format!("notice {}", notice.number),
            settings: |_| Ok(Vec::new()),
            set: |_, name, _| Err(format!("there is no setting {name}")),
            backup: |_, passphrase, path| {
                Box::pin(async move {
                    let content = format!("sealed with {}", passphrase.as_str());
                    std::fs::write(path, content).map_err(|error| error.to_string())
                })
            },
            messages: |_, of, format, path| {
                Box::pin(async move {
                    let content = format!("{of:?} as {format}");
                    std::fs::write(path, content).map_err(|error| error.to_string())
                })
            },
            irc_password: |_, new| Ok(format!("password {new}")),
            lock: |_| Ok(None),
            change_passphrase: |_, _, _| Box::pin(async { Err("it is not locked".to_owned()) }),
        };
        let server = WebServer::start(&home, any, words)
            .await
            .expect("the fixture works");
        Site {
            addr: server.addr(),
            folder,
            home,
            server,
            attached,
        }
    }

    fn origin(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Sends one request and returns the whole answer.
    async fn http(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.addr)
            .await
            .expect("the fixture works");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("the fixture works");
        let mut answer = Vec::new();
        stream
            .read_to_end(&mut answer)
            .await
            .expect("the fixture works");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// GET with the right host and further headers.
    async fn get(&self, path: &str, headers: &str) -> String {
        let addr = self.addr;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n{headers}\r\n");
        self.http(&request).await
    }

    async fn send(&self, verb: &str, path: &str, headers: &str, body: &str) -> String {
        let (addr, bytes) = (self.addr, body.len());
        let request = format!(
            "{verb} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n{headers}Content-Length: {bytes}\r\n\r\n{body}"
        );
        self.http(&request).await
    }

    async fn log_in(&self, token: &str) -> String {
        let body = format!("token={token}");
        let form = "Origin: null\r\nContent-Type: application/x-www-form-urlencoded\r\n";
        self.send("POST", "/login", form, &body).await
    }

    fn login_file(&self) -> login::Login {
        login::write(self.folder.path(), self.addr).expect("the fixture works")
    }

    /// The token of a page that has logged in.
    async fn page_token(&self) -> String {
        let page = self.log_in(&self.login_file().token).await;
        assert!(page.starts_with("HTTP/1.1 200"), "{page}");
        let (_, rest) = page
            .split_once("content=\"hobnob-token-")
            .expect("the fixture works");
        format!(
            "hobnob-token-{}",
            rest.split_once('"').expect("the fixture works").0
        )
    }

    fn program_token(&self, rights: impl Into<BTreeSet<Right>>) -> String {
        let tokens = Tokens::of(&self.home);
        tokens
            .create("program", rights.into(), None)
            .expect("the fixture works")
    }

    async fn socket(&self, origin: Option<&str>) -> Result<Socket, Error> {
        let mut request = format!("ws://{}/ws", self.addr).into_client_request()?;
        if let Some(origin) = origin {
            request
                .headers_mut()
                .insert("Origin", origin.parse().expect("it is valid"));
        }
        let (stream, _) = connect_async(request).await?;
        Ok(Socket { stream })
    }

    /// A program that has sent its token.
    async fn program(&self, rights: impl Into<BTreeSet<Right>>) -> Socket {
        let token = self.program_token(rights);
        let mut socket = self.socket(None).await.expect("the fixture works");
        socket.say(json!({ "token": token })).await;
        assert!(socket.line().await["ok"]["rights"].is_array());
        socket
    }

    async fn end(mut self) {
        self.server.stop().await;
        self.attached.finish().await;
    }
}

struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    async fn say(&mut self, line: Value) {
        let message = Message::text(line.to_string());
        self.stream.send(message).await.expect("the fixture works");
    }

    async fn message(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(Duration::from_secs(20), self.stream.next());
        next.await.expect("an answer in time")?.ok()
    }

    async fn line(&mut self) -> Value {
        match self.message().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).expect("the fixture works"),
            other => panic!("a line was expected, not {other:?}"),
        }
    }

    /// The code with which the server closes the connection.
    async fn close_code(&mut self) -> u16 {
        loop {
            match self.message().await {
                Some(Message::Close(Some(frame))) => return frame.code.into(),
                Some(_) => {}
                None => panic!("the connection broke"),
            }
        }
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

fn refused_with(result: Result<Socket, Error>) -> u16 {
    match result {
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the WebSocket was accepted"),
    }
}

#[tokio::test]
async fn another_name_for_this_machine_is_refused() {
    // DNS rebinding: evil.example resolves to 127.0.0.1, so its page has the same origin.
    let site = Site::new().await;
    let port = site.addr.port();
    for host in [
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        format!("localhost:{port}"),
        format!("127.0.0.1:{}", port ^ 1),
        "127.0.0.1".to_owned(),
        format!("127.0.0.1:{port}\r\nHost: evil.example:{port}"),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = site.http(&request).await;
        assert!(
            ["400", "421"].contains(&status(&answer)),
            "{host}: {answer}"
        );
    }
    assert_eq!(status(&site.get("/", "").await), "200");
    site.end().await;
}

#[tokio::test]
async fn no_answer_may_be_framed_sniffed_or_read_by_other_sites() {
    let site = Site::new().await;
    for path in ["/", "/app.js", "/nothing", "/content/x", "/ws"] {
        let answer = site.get(path, "").await.to_ascii_lowercase();
        let (head, _) = answer.split_once("\r\n\r\n").unwrap();
        for header in [
            "frame-ancestors 'none'",
            "default-src 'none'",
            "x-frame-options: deny",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cross-origin-resource-policy: same-origin",
            "cache-control: no-store",
        ] {
            assert!(head.contains(header), "{path}: no {header} in {head}");
        }
        assert!(!head.contains("unsafe-inline") && !head.contains("access-control"));
        assert!(!head.contains("set-cookie"), "{head}");
    }
    site.end().await;
}

#[tokio::test]
async fn requests_of_other_sites_are_refused() {
    let site = Site::new().await;
    for origin in [
        "http://evil.example",
        "null",
        "https://127.0.0.1",
        "http://127.0.0.1",
        &site.origin().replace("http", "https"),
        &format!("{}.evil.example", site.origin()),
    ] {
        let header = format!("Origin: {origin}\r\n");
        assert_eq!(status(&site.get("/", &header).await), "403", "{origin}");
        let posted = site.send("POST", "/ticket/x", &header, "").await;
        assert_eq!(status(&posted), "403", "{origin}");
        let socket = site.socket(Some(origin)).await;
        assert_eq!(refused_with(socket), 403, "{origin}");
    }
    // Only a login has no origin, and only its own site or a file may send one.
    let evil = "Origin: http://evil.example\r\n";
    let token = format!("token={}", site.login_file().token);
    let answer = site.send("POST", "/login", evil, &token).await;
    assert_eq!(status(&answer), "403");
    site.end().await;
}

#[tokio::test]
async fn a_login_works_once() {
    let site = Site::new().await;
    let login = site.login_file();
    assert_eq!(status(&site.log_in("wrong").await), "403");
    assert_eq!(status(&site.log_in("").await), "403");
    assert_eq!(status(&site.log_in(&login.token).await), "200");
    assert_eq!(status(&site.log_in(&login.token).await), "403");
    // The file is as old as its last change.
    let login = site.login_file();
    let file = std::fs::File::options()
        .write(true)
        .open(&login.path)
        .unwrap();
    let written = file.metadata().unwrap().modified().unwrap();
    file.set_modified(written - Duration::from_secs(70))
        .unwrap();
    assert_eq!(status(&site.log_in(&login.token).await), "403");
    assert!(!login.path.exists());
    site.end().await;
}

#[tokio::test]
async fn a_page_with_its_token_and_origin_reads_and_acts() {
    let site = Site::new().await;
    let token = site.page_token().await;
    let mut page = site.socket(Some(&site.origin())).await.unwrap();
    page.say(json!({ "token": token })).await;
    let rights = json!(["read", "send", "manage"]);
    assert_eq!(page.line().await["ok"]["rights"], rights);
    page.say(json!({"id": 1, "cmd": "subscribe"})).await;
    assert_eq!(page.line().await, json!({"id": 1, "ok": {}}));
    page.say(json!({"id": 2, "cmd": "broadcast", "text": "hi\nall", "wait": "queued"}))
        .await;
    let (mut answered, mut shown) = (false, false);
    while !(answered && shown) {
        let line = page.line().await;
        answered |= line["id"] == 2 && line["ok"]["state"] == "queued";
        shown |= line["event"] == "message" && line["text"] == "hi\nall";
    }
    // A line feed within a request is no second request.
    let text = "{\"id\":3,\n\"cmd\":\"ping\"}";
    page.stream.send(Message::text(text)).await.unwrap();
    assert!(page.line().await["ok"]["pid"].is_u64());
    page.say(json!("nonsense")).await;
    assert_eq!(page.line().await["error"]["code"], "usage");
    site.end().await;
}

#[tokio::test]
async fn a_token_that_was_copied_out_of_the_browser_is_refused() {
    let site = Site::new().await;
    let token = site.page_token().await;
    let mut socket = site.socket(None).await.unwrap();
    socket.say(json!({ "token": token })).await;
    assert_eq!(socket.line().await["error"]["code"], "forbidden");
    assert_eq!(socket.close_code().await, 4401);
    site.end().await;
}

#[tokio::test]
async fn a_websocket_without_a_valid_token_learns_nothing() {
    let site = Site::new().await;
    for first in [
        json!({"token": "hobnob-token-wrong"}),
        json!({"token": ""}),
        json!({"id": 1, "cmd": "status"}),
        json!({"token": "x", "more": 1}),
    ] {
        let mut socket = site.socket(Some(&site.origin())).await.unwrap();
        socket.say(first.clone()).await;
        assert_eq!(socket.line().await["error"]["code"], "forbidden", "{first}");
        assert_eq!(socket.close_code().await, 4401);
    }
    site.end().await;
}

#[tokio::test]
async fn a_websocket_that_sends_no_token_is_closed() {
    let site = Site::new().await;
    let mut socket = site.socket(None).await.unwrap();
    assert_eq!(socket.line().await["error"]["code"], "forbidden");
    assert_eq!(socket.close_code().await, 4401);
    site.end().await;
}

#[tokio::test]
async fn a_program_does_only_what_its_rights_permit() {
    let site = Site::new().await;
    let mut reader = site.program([Right::Read]).await;
    reader.say(json!({"id": 1, "cmd": "history"})).await;
    assert!(reader.line().await["ok"]["messages"].is_array());
    for request in [
        json!({"id": 2, "cmd": "broadcast", "text": "hi"}),
        json!({"id": 2, "cmd": "nick", "nick": "eve"}),
        json!({"id": 2, "cmd": "offer", "room": "lobby", "path": "/etc/passwd"}),
    ] {
        reader.say(request).await;
        let answer = reader.line().await;
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&json!(2), &json!("forbidden"))
        );
    }
    site.end().await;
}

#[tokio::test]
async fn a_revoked_token_ends_its_connection() {
    let site = Site::new().await;
    let mut program = site.program([Right::Read]).await;
    Tokens::of(&site.home).revoke("program").unwrap();
    program.say(json!({"id": 1, "cmd": "history"})).await;
    assert_eq!(program.close_code().await, 4401);
    site.end().await;
}

#[tokio::test]
async fn a_message_that_is_too_long_ends_the_connection() {
    let site = Site::new().await;
    let mut program = site.program([Right::Send]).await;
    let text = "x".repeat(300 * 1024);
    let line = json!({"id": 1, "cmd": "broadcast", "text": text});
    // The server may end the connection while the message is being sent.
    let _sent = program.stream.send(Message::text(line.to_string())).await;
    while let Some(message) = program.message().await {
        assert!(!message.is_text(), "{message:?}");
    }
    site.end().await;
}

#[tokio::test]
async fn files_are_offered_and_read_with_a_token_only() {
    let site = Site::new().await;
    let token = site.page_token().await;
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let path = "/upload/%23lobby/..%2Fnotes%20of%20ann.txt";
    for wrong in ["", "Authorization: Bearer hobnob-token-wrong\r\n"] {
        let answer = site.send("PUT", path, wrong, "some text").await;
        assert_eq!(status(&answer), "401");
    }
    let answer = site.send("PUT", path, &bearer, "some text").await;
    assert_eq!(status(&answer), "200", "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let sent: Value = serde_json::from_str(body.trim()).unwrap();
    let id = sent["id"].as_str().unwrap();
    assert_eq!(
        status(&site.get(&format!("/content/{id}"), "").await),
        "401"
    );
    let content = site.get(&format!("/content/{id}"), &bearer).await;
    assert!(content.ends_with("some text"), "{content}");
    assert!(content.contains("application/octet-stream") && content.contains("sandbox"));
    assert!(
        content.contains("filename*=UTF-8''.._notes%20of%20ann.txt"),
        "{content}"
    );
    // A link for the browser works once.
    let answer = site
        .send("POST", &format!("/ticket/{id}"), &bearer, "")
        .await;
    let (_, link) = answer.split_once("\r\n\r\n").unwrap();
    assert!(site.get(link.trim(), "").await.ends_with("some text"));
    assert_eq!(status(&site.get(link.trim(), "").await), "403");
    site.end().await;
}

#[tokio::test]
async fn backups_and_carried_messages_need_the_right_to_manage_and_leave_no_file() {
    let site = Site::new().await;
    let peer = "a".repeat(52);
    let requests = [
        ("POST", "/backup".to_owned(), "a passphrase"),
        ("POST", format!("/export/{peer}"), ""),
        ("PUT", "/import".to_owned(), "no sealed file"),
    ];
    let sender = site.program_token([Right::Read, Right::Send]);
    for (bearer, expected) in [
        (String::new(), "401"),
        (format!("Authorization: Bearer {sender}\r\n"), "403"),
    ] {
        for (verb, path, body) in &requests {
            let answer = site.send(verb, path, &bearer, body).await;
            assert_eq!(status(&answer), expected, "{path}");
        }
    }
    let bearer = format!("Authorization: Bearer {}\r\n", site.page_token().await);
    let answer = site.send("POST", "/backup", &bearer, "a passphrase").await;
    assert!(answer.ends_with("sealed with a passphrase"), "{answer}");
    let answer = site.send("PUT", "/import", &bearer, "no sealed file").await;
    assert_eq!(status(&answer), "400", "{answer}");
    let answer = site
        .send("POST", "/export/nobody%20there", &bearer, "")
        .await;
    assert_eq!(status(&answer), "400", "{answer}");
    let uploads = site.folder.path().join("uploads");
    let left = std::fs::read_dir(uploads).expect("it was used").count();
    assert_eq!(left, 0);
    site.end().await;
}

#[tokio::test]
async fn the_program_lends_its_words_to_a_page_with_a_token() {
    let site = Site::new().await;
    let bearer = format!("Authorization: Bearer {}\r\n", site.page_token().await);
    let checks = r#"{"checks":[]}"#;
    let answer = site.send("POST", "/words/diagnosis", "", checks).await;
    assert_eq!(status(&answer), "401");
    let answer = site.send("POST", "/words/diagnosis", &bearer, checks).await;
    assert!(answer.contains("[\"0 checks\"]"), "{answer}");
    let recovered = r#"{"number":7,"code":"store-recovered"}"#;
    let answer = site.send("POST", "/words/notice", &bearer, recovered).await;
    assert!(answer.contains("\"notice 7\""), "{answer}");
    let answer = site.send("POST", "/qr", &bearer, "code").await;
    assert!(answer.contains("[\"10\"]"), "{answer}");
    site.end().await;
}

#[tokio::test]
async fn connections_have_a_limit_and_idle_ones_end() {
    let site = Site::new().await;
    let mut silent = Vec::new();
    for _ in 0..hobnob_web::server::CONNECTIONS_MAX {
        silent.push(TcpStream::connect(site.addr).await.unwrap());
    }
    // The server closes one more without an answer.
    let mut refused = TcpStream::connect(site.addr).await.unwrap();
    let mut answer = Vec::new();
    let _reset = refused.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
    // And those that send nothing, after a while.
    let mut first = silent.remove(0);
    let end = tokio::time::timeout(Duration::from_secs(30), first.read_to_end(&mut answer));
    let _reset = end.await.expect("the server ends an idle connection");
    site.end().await;
}

#[tokio::test]
async fn a_websocket_ends_with_its_server() {
    let mut site = Site::new().await;
    let mut program = site.program([Right::Read]).await;
    assert_eq!(
        announcement::find(&site.home).map(|found| found.addr),
        Some(site.addr)
    );
    site.server.stop().await;
    assert_eq!(program.close_code().await, 1012);
    site.attached.finish().await;
}

#[tokio::test]
async fn there_are_places_for_a_number_of_websockets_and_each_is_free_again() {
    let site = Site::new().await;
    let token = site.program_token([Right::Read]);
    let mut open = Vec::new();
    for _ in 0..WEBSOCKETS_MAX {
        let mut socket = site.socket(None).await.expect("there is a place");
        socket.say(json!({ "token": token })).await;
        assert!(socket.line().await["ok"]["rights"].is_array());
        open.push(socket);
    }
    assert_eq!(refused_with(site.socket(None).await), 503, "one too many");
    drop(open.pop());
    let again = async {
        while site.socket(None).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again)
        .await
        .expect("a place is free again");
    site.end().await;
}

#[tokio::test]
async fn a_few_files_are_uploaded_at_once_and_unfinished_ones_leave_nothing() {
    let site = Site::new().await;
    let token = site.program_token([Right::Send]);
    let head = |name: &str| {
        let addr = site.addr;
        format!(
            "PUT /upload/%23lobby/{name} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\nContent-Length: 4\r\n\r\n"
        )
    };
    let uploads = site.folder.path().join("uploads");
    let stored = || std::fs::read_dir(&uploads).map_or(0, Iterator::count);
    let until_stored = async |count: usize| {
        while stored() != count {
            tokio::task::yield_now().await;
        }
    };
    let within = Duration::from_secs(20);
    let mut half = Vec::new();
    for number in 0..UPLOADS_MAX {
        let mut stream = TcpStream::connect(site.addr)
            .await
            .expect("the fixture works");
        let part = format!("{}ha", head(&number.to_string()));
        stream
            .write_all(part.as_bytes())
            .await
            .expect("the fixture works");
        half.push(stream);
    }
    tokio::time::timeout(within, until_stored(UPLOADS_MAX))
        .await
        .expect("all of them have begun");
    let refused = site.http(&format!("{}half", head("more"))).await;
    assert_eq!(status(&refused), "503", "{refused}");
    drop(half);
    tokio::time::timeout(within, until_stored(0))
        .await
        .expect("they are deleted");
    let whole = site.http(&format!("{}half", head("more"))).await;
    assert_eq!(status(&whole), "200", "{whole}");
    assert_eq!(stored(), 1);
    site.end().await;
}

#[tokio::test]
async fn a_folder_is_offered_with_a_caption() {
    let site = Site::new().await;
    let bearer = format!("Authorization: Bearer {}\r\n", site.page_token().await);
    let path = "/folder/%23lobby/photos/of%20%C3%BCs";
    let body = "{\"path\":\"a/one.txt\",\"size\":3}\none{\"path\":\"two.txt\",\"size\":3}\ntwo";
    assert_eq!(status(&site.send("PUT", path, "", body).await), "401");
    let answer = site.send("PUT", path, &bearer, body).await;
    assert_eq!(status(&answer), "200", "{answer}");
    let files = site.attached.client.ask(ListFiles {}).await.unwrap().files;
    let [file] = &files[..] else {
        panic!("{files:?}");
    };
    assert_eq!(
        (&*file.offer.name, &*file.offer.caption),
        ("photos", "of üs")
    );
    assert_eq!(file.offer.files, Some(2));
    let saved = file.saved.as_deref().unwrap();
    assert_eq!(std::fs::read(saved.join("a/one.txt")).unwrap(), b"one");
    // A folder that leads elsewhere is refused, and leaves nothing.
    let kept = || {
        std::fs::read_dir(site.folder.path().join("uploads"))
            .unwrap()
            .count()
    };
    let before = kept();
    let body = "{\"path\":\"../../key\",\"size\":0}\n";
    let answer = site.send("PUT", path, &bearer, body).await;
    assert_eq!(status(&answer), "400", "{answer}");
    assert_eq!(kept(), before);
    site.end().await;
}

#[tokio::test]
async fn only_the_page_makes_tokens_and_sees_passwords() {
    let site = Site::new().await;
    let program = site.program_token([Right::Read, Right::Send, Right::Manage]);
    let page = site.page_token().await;
    let new = r#"{"name":"bot","rights":["read"],"seconds":60}"#;
    let requests = [
        ("GET", "/tokens", ""),
        ("POST", "/tokens", new),
        ("DELETE", "/tokens/bot", ""),
        ("GET", "/irc-password", ""),
        ("POST", "/irc-password", ""),
        ("GET", "/lock", ""),
    ];
    for (token, expected) in [(None, "401"), (Some(&program), "403"), (Some(&page), "200")] {
        let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let bearer = bearer.unwrap_or_default();
        for (verb, path, body) in requests {
            let answer = site.send(verb, path, &bearer, body).await;
            assert_eq!(status(&answer), expected, "{verb} {path}: {answer}");
        }
    }
    let names: Vec<String> = Tokens::of(&site.home)
        .list()
        .unwrap()
        .into_iter()
        .map(|it| it.name)
        .collect();
    assert!(
        !names.contains(&"bot".to_owned()),
        "it was revoked: {names:?}"
    );
    // A wrong request, and a home that is not locked.
    let bearer = format!("Authorization: Bearer {page}\r\n");
    for (verb, path, body) in [
        ("POST", "/tokens", r#"{"name":"bot","rights":[]}"#),
        ("POST", "/tokens", r#"{"name":"","rights":["read"]}"#),
        ("DELETE", "/tokens/bot", ""),
        ("PUT", "/passphrase", r#"{"old":"a","new":"b"}"#),
    ] {
        let answer = site.send(verb, path, &bearer, body).await;
        assert_eq!(status(&answer), "400", "{verb} {path}: {answer}");
    }
    site.end().await;
}

#[tokio::test]
async fn links_to_files_need_the_right_to_manage_and_leave_no_file() {
    let site = Site::new().await;
    let sender = site.program_token([Right::Read, Right::Send]);
    let bearer = format!("Authorization: Bearer {sender}\r\n");
    let body = "{\"name\":\"a.txt\",\"times\":1}\nabc";
    assert_eq!(
        status(&site.send("PUT", "/link", &bearer, body).await),
        "403"
    );
    assert_eq!(status(&site.get("/links/7", &bearer).await), "403");
    let bearer = format!("Authorization: Bearer {}\r\n", site.page_token().await);
    for wrong in [
        "",
        "{\"name\":\"a.txt\"}\nabc",
        "{\"name\":\"a.txt\",\"times\":0}\nabc",
        "{\"name\":\"..\",\"times\":1}\nabc",
        "abc",
    ] {
        let answer = site.send("PUT", "/link", &bearer, wrong).await;
        assert_eq!(status(&answer), "400", "{wrong}: {answer}");
    }
    let kept = || std::fs::read_dir(site.folder.path().join("links")).map_or(0, Iterator::count);
    assert_eq!(kept(), 0);
    let made = async || {
        let answer = site.send("PUT", "/link", &bearer, body).await;
        (status(&answer).to_owned(), answer)
    };
    for _ in 0..LINKS_MAX {
        let (status, answer) = made().await;
        assert_eq!(status, "200", "{answer}");
        assert!(
            answer.contains("\"name\":\"a.txt\"") && answer.contains("https://"),
            "{answer}"
        );
    }
    assert_eq!(made().await.0, "503");
    assert_eq!(kept(), LINKS_MAX);
    let answer = site.send("DELETE", "/link/1", &bearer, "").await;
    assert_eq!(status(&answer), "200", "{answer}");
    // The list answers once the link has ended.
    let mut seen = 0;
    loop {
        let answer = site.get(&format!("/links/{seen}"), &bearer).await;
        let (_, list) = answer.split_once("\r\n\r\n").unwrap();
        let list: Value = serde_json::from_str(list.trim()).unwrap();
        if list["links"][0]["ended"] == "stopped" {
            break;
        }
        seen = list["seen"].as_u64().unwrap();
    }
    assert_eq!(made().await.0, "200");
    site.end().await;
}
