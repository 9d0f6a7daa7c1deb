//! A relay that holds mail, and two contacts.

use std::path::PathBuf;
use std::time::Duration;

use hobnob_tests::lab::{Home, Lab, Node, Relay, until};
use rusqlite::{Connection, OpenFlags};

pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The conversation of the first meeting.
const HELLO: [&str; 2] = ["hello", "hello yourself"];

/// A relay that holds mail, and two contacts that have met.
pub(crate) struct MailNet {
    pub(crate) relay: Relay,
    pub(crate) mail: PathBuf,
    pub(crate) ann: Node,
    pub(crate) bob: Node,
    _lab: Lab,
}

impl MailNet {
    pub(crate) fn new() -> Self {
        let net = Self::with("1G", |_| {});
        net.each_may_deposit();
        net
    }

    /// The relay holds at most this much mail. `prepare` acts on its home before it starts.
    pub(crate) fn with(max: &str, prepare: impl FnOnce(&Home)) -> Self {
        Self::build(max, prepare, |home, _| home)
    }

    /// The clocks of the relay, Ann and Bob are wrong by these offsets.
    pub(crate) fn with_clocks(offsets: [&str; 3]) -> Self {
        let clock = |home: Home, at: usize| home.with_clock(offsets[at]);
        let net = Self::build("1G", |_| {}, clock);
        net.each_may_deposit();
        net
    }

    /// `adapt` changes the homes of the relay, Ann and Bob, in this order.
    fn build(max: &str, prepare: impl FnOnce(&Home), adapt: impl Fn(Home, usize) -> Home) -> Self {
        let lab = Lab::open();
        let internet = lab.internet();
        let home = adapt(internet.machine("relay").home("relay"), 0);
        prepare(&home);
        let mail = home.path().join("mail");
        let at = mail.to_str().expect("the folder's name is text");
        let relay = home.relay(&["--mailbox", at, "--mailbox-max", max]);
        let up = |nick, number| {
            let home = adapt(internet.machine(nick).home(nick), number);
            home.up(&["--relay", &relay.name()])
        };
        let (ann, bob) = (up("ann", 1), up("bob", 2));
        meet(&ann, &bob);
        Self {
            relay,
            mail,
            ann,
            bob,
            _lab: lab,
        }
    }

    fn db(&self) -> Connection {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        Connection::open_with_flags(self.mail.join("mailbox.db"), flags).expect("it is there")
    }

    /// Waits until the relay knows both as recipients, with one sender each.
    pub(crate) fn each_may_deposit(&self) {
        until("two mailboxes with a sender", LIMIT, || {
            let sql = "SELECT count(DISTINCT recipient) FROM senders";
            let count: i64 = self
                .db()
                .query_row(sql, [], |row| row.get(0))
                .expect("a row");
            if count == 2 {
                Ok(())
            } else {
                Err(count.to_string())
            }
        });
    }

    /// Ann writes these texts, and has each on disk.
    pub(crate) fn ann_writes(&self, texts: &[String]) {
        let mut client = self.ann.client();
        assert!(client.is_open());
        for text in texts {
            let to = self.bob.id().parse().expect("an id");
            client.submit(to, text).expect("ann stores it");
        }
    }

    /// The whole conversation, if these texts came after the first meeting.
    pub(crate) fn after_hello(&self, texts: &[String]) -> Vec<String> {
        let hello = HELLO.map(str::to_owned);
        hello.into_iter().chain(texts.iter().cloned()).collect()
    }

    /// Ann writes this many messages while Bob is off, and is off when he reads them. His receipts
    /// reach her while he is off again.
    pub(crate) fn passes_without_meeting(&self, messages: usize) {
        let (ann, bob) = (&self.ann, &self.bob);
        bob.terminate();
        let sent = texts(messages);
        self.ann_writes(&sent);
        all_are(ann, bob, "held");
        let held = ann.history_of(bob);
        assert!(held.iter().any(|message| message["state"] == "held"));
        ann.terminate();
        bob.start();
        bob.shows_conversation(ann, &self.after_hello(&sent), LIMIT);
        until("receipts for ann", LIMIT, || {
            match (self.waiting_for(ann), self.waiting_for(bob)) {
                (1.., 0) => Ok(()),
                waiting => Err(format!("{waiting:?}")),
            }
        });
        bob.terminate();
        ann.start();
        all_are(ann, bob, "delivered");
    }

    /// Changes the holder's database while the holder is off.
    pub(crate) fn change_mail(&self, sql: &str) {
        let db = Connection::open(self.mail.join("mailbox.db")).expect("it is there");
        db.execute_batch(sql)
            .expect("the table is as the relay made it");
    }

    /// Waits until the relay holds mail for both, without a look at its disk.
    pub(crate) fn each_is_held_for(&self) {
        for node in [&self.ann, &self.bob] {
            until("a holder", LIMIT, || {
                let shown = node.run(&["mailbox"]).expect(0).json();
                let fetched = &shown[0]["held_by"][0]["fetched_at"];
                fetched
                    .as_str()
                    .map(|_| ())
                    .ok_or_else(|| shown[0].to_string())
            });
        }
    }

    /// The envelopes on the holder's disk that fit a condition. `?1` in it is the id of a node.
    pub(crate) fn db_count(&self, condition: &str, node: &Node) -> u64 {
        let id: hobnob_protocol::DeviceId = node.id().parse().expect("an id");
        let sql = format!("SELECT count(*) FROM envelopes WHERE {condition}");
        let count = self
            .db()
            .query_row(&sql, [&id.as_bytes()[..]], |row| row.get::<_, i64>(0));
        u64::try_from(count.expect("a row")).expect("a count")
    }

    /// The envelopes that wait for a peer.
    pub(crate) fn waiting_for(&self, node: &Node) -> u64 {
        let id: hobnob_protocol::DeviceId = node.id().parse().expect("an id");
        let sql = "SELECT envelopes FROM recipients WHERE peer = ?1";
        let count = self
            .db()
            .query_row(sql, [&id.as_bytes()[..]], |row| row.get::<_, i64>(0));
        u64::try_from(count.expect("a mailbox")).expect("a count")
    }
}

/// Two nodes meet and become contacts. Returns their conversation.
pub(crate) fn meet(ann: &Node, bob: &Node) -> Vec<String> {
    ann.sees(bob);
    bob.sees(ann);
    ann.are_contacts(bob);
    ann.tells(bob, HELLO[0]);
    bob.tells(ann, HELLO[1]);
    HELLO.map(str::to_owned).to_vec()
}

pub(crate) fn texts(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("message {n}")).collect()
}

/// Waits until all own messages of a conversation have this state.
pub(crate) fn all_are(node: &Node, of: &Node, state: &str) {
    until(&format!("{}: all {state}", node.nick()), LIMIT, || {
        let history = node.history_of(of);
        let mut own = history.iter().filter(|it| it["from"] == node.id());
        match own.find(|message| message["state"] != state && message["state"] != "delivered") {
            Some(other) => Err(other.to_string()),
            None => Ok(()),
        }
    });
}
