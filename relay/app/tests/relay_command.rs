//! `hobnob-relay` as its operator uses it: real processes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};

use hobnob_protocol::{DeviceId, SecretKey};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn hobnob_relay(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hobnob-relay"));
    command
        .args(arguments)
        .arg("--home")
        .arg(home)
        .env_remove("HOBNOB_HOME");
    command
}

/// A relay as a separate process, which ends with the test.
struct Relay {
    process: Child,
    lines: BufReader<ChildStdout>,
    log: BufReader<ChildStderr>,
}

impl Relay {
    fn start(home: &Path, arguments: &[&str]) -> (Self, Value) {
        let arguments = [&["--json"], arguments].concat();
        let mut process = hobnob_relay(home, &arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A relay on a terminal ends on SIGHUP.
            .stdin(Stdio::null())
            .spawn()
            .expect("starts");
        let lines = BufReader::new(process.stdout.take().expect("is piped"));
        let log = BufReader::new(process.stderr.take().expect("is piped"));
        let mut relay = Self {
            process,
            lines,
            log,
        };
        let listening = relay.line();
        (relay, listening)
    }

    /// The next line that it prints.
    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("reads");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// The next line of its log that has these words.
    fn logs(&mut self, words: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.log.read_line(&mut line).expect("reads"),
                0,
                "no {words:?}"
            );
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Asks it to read its files again, like `systemctl reload` does.
    fn reloads(&self) {
        kill_process(Pid::from_child(&self.process), Signal::HUP).expect("it runs");
    }

    /// Stops it like systemd does. Returns its exit code.
    fn stops(mut self) -> Option<i32> {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, Signal::TERM).expect("it runs");
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("reads");
        assert_eq!(rest, "");
        self.process.wait().expect("ends").code()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.process.kill();
        let _code = self.process.wait();
    }
}

fn run(home: &Path, arguments: &[&str]) -> Output {
    hobnob_relay(home, arguments).output().expect("runs")
}

/// What a command printed, and its exit code.
fn says(home: &Path, arguments: &[&str]) -> (String, Option<i32>) {
    let output = run(home, arguments);
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8(text).expect("text"), output.status.code())
}

fn somebody() -> DeviceId {
    SecretKey::from_seed([1; 32]).id()
}

#[test]
fn a_relay_prints_its_address_and_keeps_its_identity_and_bans() {
    let home = tempfile::tempdir().expect("a folder");
    let (relay, listening) = Relay::start(home.path(), &["--listen", "127.0.0.1:0"]);
    assert_eq!(
        (&listening["v"], &listening["event"]),
        (&Value::from(1), &Value::from("listening"))
    );
    let id: DeviceId = listening["relay"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an id");
    assert!(
        listening["addrs"][0]
            .as_str()
            .expect("an address")
            .starts_with("127.0.0.1:"),
        "{listening}"
    );

    let bob = somebody();
    assert_eq!(says(home.path(), &["peers"]), (String::new(), Some(0)));
    assert_eq!(
        says(home.path(), &["ban", &bob.to_string()]),
        (format!("banned {bob}\n"), Some(0))
    );
    let banned = format!("{{\"v\":1,\"event\":\"banned\",\"peer\":\"{bob}\"}}\n");
    assert_eq!(says(home.path(), &["peers", "--json"]), (banned, Some(0)));
    assert_eq!(relay.stops(), Some(0));

    let (relay, listening) = Relay::start(home.path(), &["--listen", "127.0.0.1:0"]);
    assert_eq!(listening["relay"], Value::from(id.to_string()));
    assert_eq!(
        says(home.path(), &["unban", &bob.short()]),
        (format!("no longer banned {bob}\n"), Some(0))
    );
    assert_eq!(
        says(home.path(), &["peers", "--json"]),
        (String::new(), Some(0))
    );
    assert_eq!(relay.stops(), Some(0));
}

#[test]
fn a_failure_has_a_sentence_with_advice_and_an_exit_code() {
    let home = tempfile::tempdir().expect("a folder");
    let fails = |arguments: &[&str], code, words: &str| {
        let (text, exit) = says(home.path(), arguments);
        assert!(
            exit == Some(code) && text.contains(words),
            "{arguments:?}: {exit:?} {text}"
        );
    };
    fails(&["peers"], 1, "start it with hobnob relay");
    let (_relay, listening) = Relay::start(home.path(), &["--listen", "127.0.0.1:0"]);
    fails(&["kick", "bob"], 3, "no peer matches");
    fails(&["kick", &somebody().to_string()], 1, "is not connected");
    fails(&["unban", &somebody().to_string()], 1, "is not banned");
    fails(&[], 1, "already runs, as process");
    fails(
        &["--rate", "1M", "peers"],
        2,
        "applies only when a relay starts",
    );
    fails(&["--nick", "ann"], 2, "unexpected argument '--nick'");

    let other = tempfile::tempdir().expect("a folder");
    let taken = listening["addrs"][0].as_str().expect("an address");
    let (text, exit) = says(other.path(), &["--listen", taken]);
    assert!(
        exit == Some(1) && text.contains("is in use by another program"),
        "{exit:?} {text}"
    );
    let (text, exit) = says(other.path(), &["--token-file", "/nowhere"]);
    assert!(
        exit == Some(1) && text.contains("/nowhere"),
        "{exit:?} {text}"
    );
}

#[test]
fn a_relay_serves_its_status_at_the_given_address() {
    let home = tempfile::tempdir().expect("a folder");
    let (mut relay, _) = Relay::start(
        home.path(),
        &["--listen", "127.0.0.1:0", "--status", "127.0.0.1:0"],
    );
    let status = relay.line();
    assert_eq!(status["event"], "status");
    let addr = status["addr"].as_str().expect("an address");
    let mut asked = TcpStream::connect(addr).expect("connects");
    write!(
        asked,
        "GET /healthz HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n"
    )
    .expect("writes");
    let mut answer = String::new();
    asked.read_to_string(&mut answer).expect("reads");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    // An unfinished request does not delay the end of the relay.
    let mut slow = TcpStream::connect(addr).expect("connects");
    write!(slow, "GET / HT").expect("writes");
    assert_eq!(relay.stops(), Some(0));
}

#[test]
fn hangup_reads_the_files_again_and_a_broken_file_keeps_the_old_settings() {
    let home = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = home.path().join(name);
        std::fs::write(&path, text).expect("writes");
        path.display().to_string()
    };
    let tokens = file("tokens", "summer sesame 2099-01-01\n");
    let config = file(
        "relay.toml",
        &format!("listen = '127.0.0.1:0'\npeers-max = 5\ntokens-file = {tokens:?}\n"),
    );
    let (mut relay, _) = Relay::start(home.path(), &["--config", &config, "--rate", "1M"]);

    file("tokens", "summer sesame 2099-01-01\nwinter poppy\n");
    relay.reloads();
    let line = relay.logs("hobnob relay: ");
    assert_eq!(
        line,
        "hobnob relay: changed: tokens added or changed: winter\n"
    );

    file(
        "relay.toml",
        &format!("listen = '127.0.0.1:0'\npeers-max = 6\nrate = '2M'\ntokens-file = {tokens:?}\n"),
    );
    relay.reloads();
    let line = relay.logs("hobnob relay: ");
    assert_eq!(line, "hobnob relay: changed: peers-max: 6 instead of 5\n");

    for (name, text, says) in [
        ("tokens", "winter\n", "tokens line 1: a line has a name"),
        ("relay.toml", "peer-max = 7\n", "did you mean \"peers-max\""),
        ("relay/banned", "nobody\n", "banned line 1: "),
    ] {
        let before = std::fs::read_to_string(home.path().join(name)).unwrap_or_default();
        file(name, text);
        relay.reloads();
        let line = relay.logs("hobnob relay: ");
        assert!(
            line.contains("kept the old settings") && line.contains(says),
            "{line}"
        );
        file(name, &before);
    }
    file("relay/banned", "192.0.2.0/24\n");
    relay.reloads();
    assert_eq!(
        relay.logs("hobnob relay: "),
        "hobnob relay: changed: bans added: 1\n"
    );
    relay.reloads();
    relay.logs("nothing has changed");
    assert_eq!(
        says(home.path(), &["bans"]),
        ("banned 192.0.2.0/24\n".into(), Some(0))
    );
    assert_eq!(relay.stops(), Some(0));
}

#[test]
fn a_config_file_is_strict_and_a_service_finds_its_tokens_among_its_credentials() {
    let home = tempfile::tempdir().expect("a folder");
    let config = home.path().join("relay.toml");
    std::fs::write(&config, "tokenfile = 'x'\n").expect("writes");
    let config = config.display().to_string();
    let (text, exit) = says(home.path(), &["--config", &config]);
    assert!(
        exit == Some(2) && text.contains("\"tokenfile\"") && text.contains("\"token-file\""),
        "{exit:?} {text}"
    );
    let (text, exit) = says(home.path(), &["--admin-group", "0"]);
    assert!(
        exit == Some(2) && text.contains("--admin-socket"),
        "{exit:?} {text}"
    );

    std::fs::write(home.path().join("tokens"), "broken\n").expect("writes");
    let output = hobnob_relay(home.path(), &["--listen", "127.0.0.1:0"])
        .env("CREDENTIALS_DIRECTORY", home.path())
        .output()
        .expect("runs");
    let text = String::from_utf8(output.stderr).expect("text");
    assert!(text.contains("tokens line 1: "), "{text}");
}

#[test]
fn bans_are_logged_in_the_documented_form() {
    let home = tempfile::tempdir().expect("a folder");
    let (mut relay, _) = Relay::start(home.path(), &["--listen", "127.0.0.1:0"]);
    assert_eq!(says(home.path(), &["ban", "192.0.2.7"]).1, Some(0));
    let line = relay.logs(" banned ");
    assert!(
        line.ends_with(" hobnob-relay banned target=192.0.2.7/32\n"),
        "{line}"
    );
    assert_eq!(relay.stops(), Some(0));
}

/// As under systemd with a socket unit: the sockets are descriptors 3 and 4.
#[test]
fn a_relay_uses_the_sockets_that_the_service_manager_has_bound() {
    let home = tempfile::tempdir().expect("a folder");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let in_order = udp.as_raw_fd() < tcp.as_raw_fd();
    assert!(in_order, "the shell moves them to 3 and 4 one by one");
    rustix::io::fcntl_setfd(&udp, rustix::io::FdFlags::empty()).expect("open");
    rustix::io::fcntl_setfd(&tcp, rustix::io::FdFlags::empty()).expect("open");
    let script = format!(
        "exec 3<&{} 4<&{}; export LISTEN_FDS=2 LISTEN_PID=$$; exec \"$0\" \"$@\"",
        udp.as_raw_fd(),
        tcp.as_raw_fd()
    );
    let path = home.path().to_str().expect("ASCII");
    let mut process = Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_hobnob-relay")])
        .args(["--json", "--home", path])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .expect("starts");
    let lines = BufReader::new(process.stdout.take().expect("is piped"));
    let log = BufReader::new(process.stderr.take().expect("is piped"));
    let mut relay = Relay {
        process,
        lines,
        log,
    };
    let listening = relay.line();
    let at = udp.local_addr().expect("bound");
    assert_eq!(listening["addrs"], serde_json::json!([at.to_string()]));
    let asking = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let request = hobnob_transport::stun::client::request([0; 12]);
    asking.send_to(&request, at).expect("sent");
    assert!(asking.recv(&mut [0; 100]).expect("an answer") > 0);
    let mut stream = TcpStream::connect(tcp.local_addr().expect("bound")).expect("listens");
    stream.write_all(b"no TLS at all\n").expect("sent");
    // The relay accepts it and closes it. Nobody else would.
    let mut rest = Vec::new();
    let _reset = stream.read_to_end(&mut rest);
    drop((udp, tcp));
    assert_eq!(relay.stops(), Some(0));
}
