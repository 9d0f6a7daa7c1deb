//! A node that ends at the worst moment: when a chat subscribes to its events.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::JoinHandle;

use hobnob_tests::lab::{Lab, Size, hobnob_binary};
use serde_json::{Value, json};

/// Imitates the node of a home until a client subscribes. Then it ends and removes its socket.
fn ends_when_subscribed(home: &Path) -> JoinHandle<()> {
    fs::create_dir_all(home).expect("the lab's folder is writable");
    let socket = home.join("control.sock");
    let listener = UnixListener::bind(&socket).expect("the socket is free");
    let home = home.to_owned();
    std::thread::spawn(move || {
        let mut open: Vec<UnixStream> = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().expect("a client connects");
            let mut line = String::new();
            BufReader::new(stream.try_clone().expect("a stream can be cloned"))
                .read_line(&mut line)
                .expect("the client sends a request");
            let request: Value = serde_json::from_str(&line).expect("a request is JSON");
            if request["cmd"] == "subscribe" {
                break fs::remove_file(&socket).expect("the socket exists");
            }
            assert_eq!(request["cmd"], "ping");
            let pong =
                json!({"id": request["id"], "ok": {"pid": 1, "home": home, "version": "0.1.0"}});
            writeln!(stream, "{pong}").expect("the client reads");
            open.push(stream);
        }
    })
}

#[test]
fn the_full_screen_chat_continues_with_another_node() {
    let lab = Lab::open();
    let home = lab.switch().machine("ann").home("ann");
    let node = ends_when_subscribed(home.path());
    let arguments = ["--home", &home.path().to_string_lossy()];
    let mut ann = home.machine().terminal(
        hobnob_binary(),
        &arguments,
        Size {
            columns: 80,
            rows: 24,
        },
    );
    ann.shows("the node that this chat used has ended");
    ann.shows("You are");
    node.join().expect("the chat subscribed");
    ann.enters("/quit");
    assert_eq!(ann.ends(), Some(0));
}

#[test]
fn the_plain_chat_continues_with_another_node() {
    let lab = Lab::open();
    let home = lab.switch().machine("ann").home("ann");
    let node = ends_when_subscribed(home.path());
    let ann = home.machine().screen(
        hobnob_binary(),
        &["--home", &home.path().to_string_lossy(), "--plain"],
    );
    ann.shows("the node that this chat used has ended");
    ann.shows("You are");
    node.join().expect("the chat subscribed");
}
