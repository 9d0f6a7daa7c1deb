//! Names and texts that contain terminal control sequences.

use hobnob_protocol::{Body, Entry, Frame};
use hobnob_tests::hostile::{Forger, Host, Mallory, TestNet, encoded, is_clean};

/// Clears the screen, rings the bell, sets a title, reorders and hides text, and breaks lines.
const CONTROLS: &str = "ev\u{1b}[2J\u{7}\u{1b}]0;pwned\u{7}\u{202e}il\u{2066}\r\n\u{9b}31m\u{0}\u{8}\u{200b}\u{feff}\u{e0041}\u{2028}x";

#[test]
fn control_characters_in_names_and_texts_are_shown_as_visible_characters() {
    let net = TestNet::new();
    let plain = Host::start(net.dir(), "carl", &["-v", "--listen", "127.0.0.1:0"]);
    net.attack(async |_: &TestNet| {
        for host in [&net.ann, &plain] {
            let mallory = Mallory::new();
            let mut stream = mallory.in_session_as(host, CONTROLS, Vec::new()).await;
            let direct = hobnob_protocol::ConversationId::direct(host.id(), mallory.id());
            let mut log = Forger::new(mallory.key(), direct);
            stream.sends_batch(&log.texts(&[CONTROLS])).await;
            let app = Body::App {
                kind: "org.example.evil".into(),
                bytes: CONTROLS.into(),
            };
            let app = Entry::new(9, 1, app);
            stream.sends_batch(&log.entries(&[encoded(&app)])).await;
            let unknown = Body::Unknown {
                kind: 77,
                bytes: CONTROLS.into(),
            };
            let unknown = Entry::new(10, u64::MAX, unknown);
            stream.sends_batch(&log.entries(&[encoded(&unknown)])).await;
            stream.sends_batch(&log.texts(&["the last message"])).await;
            host.has("the last message");
            stream
                .sends(&Frame::Profile(mallory.profile(&format!("{CONTROLS} two"))))
                .await;
            stream.is_alive().await;
            stream.connection.close(77u32.into(), CONTROLS.as_bytes());
        }
    });
    plain.logs(&["it ended the session"]);
    net.ann.logs(&["it ended the session"]);
    for host in [&net.ann, &plain] {
        host.prints(&["the last message"]);
        host.is_clean();
        assert_clean_output(host, &["peers"]);
        assert_clean_output(host, &["--json", "peers"]);
        assert_clean_output(host, &["history"]);
        assert_clean_output(host, &["--json", "history"]);
        assert_clean_output(host, &["send", CONTROLS, "who are you?"]);
        assert_clean_output(host, &["history", CONTROLS]);
        assert!(
            host.run_with_input(&["--plain"], "/peers\n/history\n/quit\n")
                .stdout
                .lines()
                .all(is_clean)
        );
    }
    let line = &net.ann.run(&["--json", "peers"]).expect(0).json();
    let nick = line
        .iter()
        .filter_map(|line| line["nick"].as_str())
        .find(|nick| nick.starts_with("ev"))
        .expect("ann lists mallory");
    assert!(is_clean(nick) && nick.chars().count() <= 32, "{nick:?}");
    net.survives(&[]);
}

#[test]
fn a_close_reason_with_control_characters_is_quoted_safely() {
    let net = TestNet::new();
    let mallory = net.attack(async |_: &TestNet| Mallory::new());
    let ((), output) = net.attack_while(
        async |_: &TestNet| {
            let connection = mallory.is_dialed().await.expect("an honest dial");
            connection.close(77u32.into(), CONTROLS.as_bytes());
        },
        || {
            net.ann
                .run(&["send", "--timeout", "5s", &mallory.addr().to_string(), "hi"])
        },
    );
    assert!(
        output.stderr.lines().all(is_clean) && output.stdout.lines().all(is_clean),
        "{output:?}"
    );
    assert_ne!(output.code, Some(0));
    net.survives(&[]);
}

fn assert_clean_output(host: &Host, arguments: &[&str]) {
    if arguments.iter().any(|argument| argument.contains('\0')) {
        // An argument of a program cannot contain NUL.
        return;
    }
    let output = host.run(arguments);
    assert!(
        output
            .stdout
            .lines()
            .chain(output.stderr.lines())
            .all(is_clean),
        "{output:?}"
    );
}
