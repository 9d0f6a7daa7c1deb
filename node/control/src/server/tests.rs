//! Server and client over a real socket, with a node that has nobody to talk to.

use std::path::Path;
use std::time::Duration;

use hobnob_protocol::{Body, Nickname, PersonId, RoomName, RoomTarget, Target, Ticket};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::attach::{Attached, attach};
use crate::client::ClientError;
use crate::wire::*;
use hobnob::{Config, DeliveryState};
use hobnob_local::home::{Claim, Home};

/// Longer than any test takes: what would end a request by time never does.
const LONG_MS: u64 = 600_000;

fn config(home: &Home) -> Config {
    Config {
        listen: "127.0.0.1:0".parse().ok(),
        mdns: false,
        ..Config::new(home.data_dir())
    }
}

async fn attached(dir: &Path) -> Attached {
    let home = Home::at(dir).unwrap();
    attach(&home, || config(&home)).await.unwrap()
}

/// A direct message to somebody who never comes.
fn send(text: &str, wait: DeliveryState, timeout_ms: u64) -> SendMessage {
    let target = Text(Target::Ticket(Ticket {
        id: PersonId::from_bytes([0x42; 32]),
        addrs: vec![],
        relays: vec![],
    }));
    SendMessage {
        client_id: None,
        target,
        body: Body::Text(text.into()).into(),
        options: WaitOptions { wait, timeout_ms },
    }
}

fn texts(messages: &[MessageLine]) -> Vec<&str> {
    messages
        .iter()
        .filter_map(|m| m.body.text.as_deref())
        .collect()
}

async fn line(stream: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    line
}

#[tokio::test]
async fn a_waiting_send_holds_up_nothing_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let ann = attached(folder.path()).await;
    let waiting = ann
        .client
        .begin(send("first", DeliveryState::Delivered, LONG_MS))
        .await
        .unwrap();
    let second: SentLine = ann
        .client
        .ask(send("second", DeliveryState::Queued, LONG_MS))
        .await
        .unwrap();
    assert_eq!(second.state, DeliveryState::Queued);
    let history = ann.client.history(HistoryFilter::default()).await.unwrap();
    assert_eq!(texts(&history), ["first", "second"]);
    drop(waiting);
}

#[tokio::test]
async fn a_send_that_is_not_delivered_in_time_says_how_far_it_came() {
    let folder = tempfile::tempdir().unwrap();
    let ann = attached(folder.path()).await;
    let sent: SentLine = ann
        .client
        .ask(send("hi", DeliveryState::Delivered, 10))
        .await
        .unwrap();
    assert_eq!(sent.state, DeliveryState::Queued);
}

#[tokio::test]
async fn messages_are_queued_in_the_order_of_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let ann = attached(folder.path()).await;
    let expected: Vec<String> = (0..500).map(|n| format!("message {n}")).collect();
    let mut answers = Vec::new();
    for text in &expected {
        answers.push(
            ann.client
                .begin(send(text, DeliveryState::Queued, LONG_MS))
                .await
                .unwrap(),
        );
    }
    for answer in answers {
        answer.await.unwrap();
    }
    let history = ann.client.history(HistoryFilter::default()).await.unwrap();
    assert_eq!(texts(&history), expected);
    let newest = ann
        .client
        .history(HistoryFilter {
            limit: Some(300),
            ..HistoryFilter::default()
        })
        .await
        .unwrap();
    assert_eq!(texts(&newest), expected[200..]);
}

#[tokio::test]
async fn a_wrong_line_gets_an_error_and_the_connection_stays() {
    let folder = tempfile::tempdir().unwrap();
    let ann = attached(folder.path()).await;
    let mut raw = BufReader::new(
        UnixStream::connect(folder.path().join("control.sock"))
            .await
            .unwrap(),
    );
    let long = format!("{}\n", "x".repeat(REQUEST_BYTES_MAX + 1));
    for (wrong, says) in [
        ("{nonsense\n", "not a request"),
        ("\u{0}\n", "not a request"),
        (long.as_str(), "at most 262144 bytes"),
    ] {
        raw.write_all(wrong.as_bytes()).await.unwrap();
        let answer = line(&mut raw).await;
        assert!(
            answer.starts_with(r#"{"id":null,"error":{"code":"usage","exit":2"#)
                && answer.contains(says),
            "{answer}"
        );
    }
    raw.write_all(b"{\"id\":9,\"cmd\":\"rooms\"}\n")
        .await
        .unwrap();
    assert!(
        line(&mut raw)
            .await
            .starts_with(r##"{"id":9,"ok":{"rooms":[{"room":"#lobby","open":true,"##)
    );
    drop(ann);
}

#[tokio::test]
async fn one_that_will_ask_no_more_still_gets_its_answers() {
    let folder = tempfile::tempdir().unwrap();
    let ann = attached(folder.path()).await;
    let mut raw = UnixStream::connect(folder.path().join("control.sock"))
        .await
        .unwrap();
    raw.write_all(
        b"{\"id\":1,\"cmd\":\"part\",\"room\":\"lobby\"}\n{\"id\":2,\"cmd\":\"rooms\"}\n",
    )
    .await
    .unwrap();
    raw.shutdown().await.unwrap();
    let mut answers = String::new();
    raw.read_to_string(&mut answers).await.unwrap();
    assert!(
        answers.contains("{\"id\":1,\"ok\":{}}\n")
            && answers.contains("{\"id\":2,\"ok\":{\"rooms\":"),
        "{answers}"
    );
    drop(ann);
}

#[tokio::test]
async fn errors_tell_their_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let ann = attached(folder.path()).await;
    let body = |text: &str| BodyFields::from(Body::Text(text.into()));
    let room = |room: &str| Text(room.parse::<RoomName>().unwrap());
    let options = WaitOptions {
        wait: DeliveryState::Queued,
        timeout_ms: 0,
    };
    let nobody = || Text("nobody".parse::<Target>().unwrap());
    let cases: [(AnyRequest, u8); 6] = [
        (
            BroadcastMessage {
                client_id: None,
                room: room("lobby"),
                body: body(""),
                options,
            }
            .into(),
            2,
        ),
        (
            BroadcastMessage {
                client_id: None,
                room: room("lobby"),
                body: body(&"x".repeat(16 * 1024 + 1)),
                options,
            }
            .into(),
            2,
        ),
        (
            BroadcastMessage {
                client_id: None,
                room: room("lobby"),
                body: BodyFields::default(),
                options,
            }
            .into(),
            2,
        ),
        (
            SendMessage {
                client_id: None,
                target: nobody(),
                body: body("hi"),
                options,
            }
            .into(),
            3,
        ),
        (Resolve { target: nobody() }.into(), 3),
        (
            PartRoom {
                room: room("elsewhere"),
            }
            .into(),
            2,
        ),
    ];
    for (command, exit) in cases {
        match ann.client.ask(command.clone()).await {
            Err(ClientError::Refused(failure)) => {
                assert_eq!(failure.exit, exit, "{command:?}: {failure}")
            }
            other => panic!("{command:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn subscribers_hear_of_what_others_do() {
    let folder = tempfile::tempdir().unwrap();
    let ann = attached(folder.path()).await;
    let mut events = ann.client.events().await.unwrap();
    let sent: SentLine = ann
        .client
        .ask(send("hi", DeliveryState::Queued, 0))
        .await
        .unwrap();
    let own = loop {
        if let WireEvent::Message(message) = events.next().await.unwrap() {
            break message;
        }
    };
    assert_eq!((own.id, own.state), (sent.id, Some(DeliveryState::Queued)));
    let mut host = ann.host.unwrap();
    host.stop().await;
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn two_at_once_on_one_home_share_one_node_which_stays_for_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = tokio::join!(attached(folder.path()), attached(folder.path()));
    let (host, guest) = if one.host.is_some() {
        (one, two)
    } else {
        (two, one)
    };
    assert!(host.host.is_some() && guest.host.is_none());
    let finish = tokio::spawn(host.finish());
    let sent: SentLine = guest
        .client
        .ask(send("hi", DeliveryState::Delivered, 100))
        .await
        .unwrap();
    assert_eq!(sent.state, DeliveryState::Queued);
    assert!(!finish.is_finished());
    guest.finish().await;
    finish.await.unwrap();
    assert!(!folder.path().join("control.sock").exists());
    assert!(attached(folder.path()).await.host.is_some());
}

#[tokio::test]
async fn many_short_commands_on_one_home_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder.path()).unwrap();
    let keeper = attached(folder.path()).await;
    let commands = (0..40).map(|n| {
        let home = home.clone();
        tokio::spawn(async move {
            let attached = attach(&home, || config(&home)).await.unwrap();
            let sent: SentLine = attached
                .client
                .ask(send(&n.to_string(), DeliveryState::Queued, 0))
                .await
                .unwrap();
            attached.finish().await;
            sent.id
        })
    });
    let mut ids = Vec::new();
    for command in commands.collect::<Vec<_>>() {
        ids.push(command.await.unwrap());
    }
    let history = keeper
        .client
        .history(HistoryFilter::default())
        .await
        .unwrap();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), history.len()), (40, 40));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_come_and_go_hand_the_home_over() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder.path()).unwrap();
    let commands = (0..30).map(|_| {
        let home = home.clone();
        tokio::spawn(async move {
            let attached = attach(&home, || config(&home)).await.unwrap();
            attached.client.ask(GetStatus {}).await.unwrap();
            attached.finish().await;
        })
    });
    for command in commands.collect::<Vec<_>>() {
        command.await.unwrap();
    }
}

#[tokio::test]
async fn a_stop_answers_those_who_wait_and_frees_the_home() {
    let folder = tempfile::tempdir().unwrap();
    let ann = attached(folder.path()).await;
    let waiting = ann
        .client
        .begin(send("hi", DeliveryState::Delivered, LONG_MS))
        .await
        .unwrap();
    ann.client.ask(Ping {}).await.unwrap();
    let mut host = ann.host.unwrap();
    host.stop().await;
    assert_eq!(waiting.await.unwrap().state, DeliveryState::Queued);
    drop(host);
    let home = Home::at(folder.path()).unwrap();
    assert!(matches!(home.claim().unwrap(), Claim::Ours(_)));
    assert!(matches!(
        ann.client.ask(Ping {}).await,
        Err(ClientError::Lost)
    ));
}

#[tokio::test]
async fn a_client_that_left_keeps_no_node_alive() {
    let folder = tempfile::tempdir().unwrap();
    let ann = attached(folder.path()).await;
    let guest = attached(folder.path()).await;
    let waiting = guest
        .client
        .begin(send("hi", DeliveryState::Delivered, LONG_MS))
        .await
        .unwrap();
    guest.client.ask(Ping {}).await.unwrap();
    drop((waiting, guest));
    tokio::time::timeout(Duration::from_secs(5), ann.finish())
        .await
        .expect("the guest has gone");
}

#[tokio::test]
async fn commands_that_change_something_take_their_turn() {
    let folder = tempfile::tempdir().unwrap();
    let ann = attached(folder.path()).await;
    let room = Text("ops".parse::<RoomName>().unwrap());
    let options = WaitOptions {
        wait: DeliveryState::Queued,
        timeout_ms: 0,
    };
    let body = Body::Text("hi".into()).into();
    let nick = Nickname::new("ann").unwrap();
    let nicked = ann
        .client
        .begin(SetNick { nick: nick.clone() })
        .await
        .unwrap();
    let joined = ann
        .client
        .begin(JoinRoom {
            room: Text(RoomTarget::Name(room.0.clone())),
            secret: None,
        })
        .await
        .unwrap();
    let spoken = ann
        .client
        .begin(BroadcastMessage {
            client_id: None,
            room,
            body,
            options,
        })
        .await
        .unwrap();
    assert!(nicked.await.is_ok() && joined.await.unwrap().open);
    assert_eq!(spoken.await.unwrap().to, []);
    assert_eq!(ann.client.ask(GetStatus {}).await.unwrap().nick, nick);
}

#[tokio::test]
async fn a_home_that_shares_its_socket_folder_never_speaks_as_another() {
    let folder = tempfile::tempdir().unwrap();
    let [ann, bob] = ["ann", "bob"].map(|name| {
        Home::with_socket(
            &folder.path().join(name),
            &folder.path().join("run/control.sock"),
        )
    });
    let _running = attach(&ann, || config(&ann)).await.unwrap();
    match attach(&bob, || config(&bob)).await {
        Err(error) => assert!(
            error.to_string().contains("the node of another home"),
            "{error}"
        ),
        Ok(_) => panic!("ann's node answered for bob"),
    }
}

/// Requests that made programs of this kind fail: each is answered on one line, with its id as far as
/// it can be read, and none does something else than it says.
#[tokio::test]
async fn wrong_requests_are_errors_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ann = attached(folder.path()).await;
    let stream = UnixStream::connect(folder.path().join("control.sock"))
        .await
        .unwrap();
    let mut raw = BufReader::new(stream);
    let inputs = include_str!("../../../../tests/inputs/json-requests.jsonl");
    let field = |line: &str, name: &str| -> Option<String> {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(value.get(name)?.as_str()?.to_owned())
    };
    for input in inputs.lines() {
        let (request, expected) = (
            field(input, "line").unwrap(),
            field(input, "expect").unwrap(),
        );
        // A message needs somebody to send it to.
        let id = PersonId::from_bytes([0x42; 32]).to_string();
        let bob = Text(Target::Ticket(Ticket {
            id: id.parse().unwrap(),
            addrs: vec![],
            relays: vec![],
        }));
        let bob = serde_json::to_string(&bob).unwrap();
        let request = request
            .replace("\"bob\"", &bob)
            .replace("\"text\":\"one", "\"timeout_ms\":0,\"text\":\"one");
        raw.write_all(format!("{request}\n").as_bytes())
            .await
            .unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(60), line(&mut raw));
        let answer = answer.await.expect("an answer");
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("one line of JSON");
        let sent: Option<serde_json::Value> = serde_json::from_str(&request).ok();
        let id = sent.and_then(|sent| sent.get("id")?.as_u64());
        let is_error = answer.get("error").is_some();
        assert_eq!(
            is_error,
            !expected.starts_with("delivered"),
            "{request}: {answer}"
        );
        if let Some(id) = id {
            assert_eq!(answer["id"].as_u64(), Some(id), "{request}: {answer}");
        }
        let named = expected.strip_prefix("error: unknown field ");
        if let Some(name) = named.and_then(|rest| rest.split(';').next()) {
            let text = answer["error"]["text"].as_str().unwrap_or_default();
            assert!(text.contains(name), "{request}: {text}");
        }
        for part in ["id", "limit"] {
            if expected == format!("error: {part}") {
                let text = answer["error"]["text"].as_str().unwrap_or_default();
                assert!(text.contains(part), "{request}: {text}");
            }
        }
    }
    let RoomList { rooms } = ann.client.ask(ListRooms {}).await.unwrap();
    assert_eq!(rooms.len(), 1, "only the lobby: {rooms:?}");
    let history = ann.client.history(HistoryFilter::default()).await.unwrap();
    assert_eq!(texts(&history), ["one\u{2028}two"]);
}

#[tokio::test]
async fn a_repeated_client_id_is_not_sent_twice_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let named = |text: &str| SendMessage {
        client_id: Some(Text("order-1".parse().unwrap())),
        ..send(text, DeliveryState::Queued, 0)
    };
    let ann = attached(folder.path()).await;
    let (first, second) = tokio::join!(
        ann.client.ask(named("two pizzas")),
        ann.client.ask(named("two pizzas"))
    );
    let (first, second): (SentLine, SentLine) = (first.unwrap(), second.unwrap());
    assert_eq!(first.id, second.id);
    ann.finish().await;
    let ann = attached(folder.path()).await;
    let third: SentLine = ann.client.ask(named("two pizzas")).await.unwrap();
    assert_eq!(third.id, first.id);
    let history = ann.client.history(HistoryFilter::default()).await.unwrap();
    assert_eq!(texts(&history), ["two pizzas"]);
    let id = history[0].client_id.as_ref().map(|id| id.0.as_str());
    assert_eq!(id, Some("order-1"));
}

#[tokio::test]
async fn offers_are_in_the_order_of_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let ann = attached(folder.path()).await;
    let path = folder.path().join("large");
    std::fs::write(&path, vec![7; 8 << 20]).unwrap();
    let SendMessage { target, .. } = send("", DeliveryState::Queued, 0);
    let offer = ann.client.begin(OfferFile {
        caption: String::new(),
        target: Some(target),
        room: None,
        path,
        client_id: None,
        options: WaitOptions::ON_DISK,
    });
    let offer = offer.await.unwrap();
    let text = ann
        .client
        .begin(send("after the file", DeliveryState::Queued, 0));
    let text = text.await.unwrap();
    drop((offer, text));
    let history = loop {
        let history = ann.client.history(HistoryFilter::default()).await.unwrap();
        if history.len() == 2 {
            break history;
        }
        tokio::task::yield_now().await;
    };
    assert!(history[0].body.file.is_some(), "{history:?}");
}
