//! Relays of a fleet on a real NATS server, and somebody hostile who can reach NATS.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use async_nats::ConnectOptions;
use futures_util::StreamExt;
use hobnob_protocol::fleet::FleetList;
use hobnob_protocol::relay::{
    FromRelay, OpenRefusal, Register, RosterChange, ToRelay, close, features,
};
use hobnob_protocol::{DeviceId, RelayAddr, RoomTag, SecretKey, codec};
use hobnob_relay::admission::{BanTarget, Rule};
use hobnob_relay::fleet::{FleetConfig, ListFile, NewListError, UserKey, new_user_key};
use hobnob_relay::keys;
use hobnob_relay::server::{Config, Server};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::time::interval;

use crate::client::{Client, LIMIT, Link, register, seed_of, until};
use crate::{config_in, loopback_addr};

/// How often a test asks again. A relay ends the connection of a node that asks much more often.
const PACE: Duration = Duration::from_millis(150);

/// A NATS server with TLS and user keys on a free port. Dropping it kills the process.
struct Nats {
    process: Child,
    dir: TempDir,
    url: String,
    /// The keys that it admits.
    users: Vec<UserKey>,
}

impl Nats {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let users: Vec<UserKey> = (0..3).map(|_| new_user_key().unwrap()).collect();
        certificates(dir.path());
        let admitted: Vec<String> = users
            .iter()
            .map(|user| format!("{{ nkey: {} }}", user.public))
            .collect();
        let at = |file: &str| dir.path().join(file).display().to_string();
        let config = format!(
            "listen: \"127.0.0.1:-1\"\nports_file_dir: \"{}\"\n\
             tls {{ cert_file: \"{}\", key_file: \"{}\" }}\n\
             authorization {{ users: [ {} ] }}\n",
            dir.path().display(),
            at("nats.pem"),
            at("nats.key"),
            admitted.join(", ")
        );
        std::fs::write(dir.path().join("nats.conf"), config).unwrap();
        let process = Command::new("/usr/sbin/nats-server")
            .args(["-c", &at("nats.conf")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server is installed by scripts/setup");
        let ports = dir
            .path()
            .join(format!("nats-server_{}.ports", process.id()));
        until(Duration::from_secs(20), || port(&ports).is_some()).await;
        let url = format!("nats://127.0.0.1:{}", port(&ports).unwrap());
        Self {
            process,
            dir,
            url,
            users,
        }
    }

    fn authorities(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    fn config(&self, list: &ListFile, user: usize) -> FleetConfig {
        let credentials = self.dir.path().join(format!("{user}.nkey"));
        std::fs::write(&credentials, &self.users[user].seed).unwrap();
        FleetConfig {
            list: list.clone(),
            servers: vec![self.url.clone()],
            credentials,
            authorities: Some(self.authorities()),
        }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _status = self.process.wait();
    }
}

/// The client port in the file that the server writes.
fn port(file: &Path) -> Option<u16> {
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    let url = ports["nats"][0].as_str()?;
    url.rsplit_once(':')?.1.parse().ok()
}

fn certificates(dir: &Path) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let own = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let write = |file: &str, label: &str, der: &[u8]| {
        let body = data_encoding::BASE64.encode(der);
        let text = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        std::fs::write(dir.join(file), text).unwrap();
    };
    write("ca.pem", "CERTIFICATE", own.der());
    write("nats.pem", "CERTIFICATE", certificate.der());
    write("nats.key", "PRIVATE KEY", &key.serialize_der());
}

/// Two relays of a fleet, and a third one that does not run.
struct Fleet {
    nats: Nats,
    key: SecretKey,
    third: SecretKey,
    list: ListFile,
    homes: [TempDir; 2],
    servers: [Server; 2],
}

fn start(home: &TempDir, fleet: FleetConfig) -> Server {
    let config = config_in(home, "[::]:0".parse().unwrap(), Rule::Open);
    let fleet = Some(fleet);
    Server::start(Config { fleet, ..config }).unwrap()
}

fn list(number: u64, fleet: &SecretKey, relays: &[DeviceId]) -> ListFile {
    let relay = |id: &DeviceId| RelayAddr {
        id: Some(*id),
        at: format!("{}.example:4627", id.short()).parse().unwrap(),
    };
    let list = FleetList::new(number, relays.iter().map(relay).collect()).unwrap();
    ListFile::sign(list, fleet)
}

impl Fleet {
    async fn start() -> Self {
        let nats = Nats::start().await;
        let key = keys::new();
        let homes = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let ids = homes
            .each_ref()
            .map(|home| keys::load_or_create(home.path()).unwrap().id());
        let third = keys::new();
        let list = list(2, &key, &[ids[0], ids[1], third.id()]);
        let servers = [0, 1].map(|n| start(&homes[n], nats.config(&list, n)));
        Self {
            nats,
            key,
            third,
            list,
            homes,
            servers,
        }
    }

    /// Starts a relay again that was shut down, with the same home.
    fn starts_again(&mut self, n: usize) {
        self.servers[n] = start(&self.homes[n], self.nats.config(&self.list, n));
    }

    /// The bans of a relay, once they are these.
    async fn until_banned(&self, at: usize, expected: &[BanTarget]) {
        let expected: BTreeSet<BanTarget> = expected.iter().copied().collect();
        let mut look = interval(Duration::from_millis(50));
        let mut bans = BTreeSet::new();
        let looking = async {
            while bans != expected {
                look.tick().await;
                let table = self.servers[at].table().await.unwrap();
                bans = table.bans.targets().collect();
            }
        };
        let found = tokio::time::timeout(LIMIT, looking).await;
        assert!(found.is_ok(), "{bans:?} at relay {at}, not {expected:?}");
    }

    async fn client(&self, seed: u16, at: usize) -> Client {
        Client::new(seed, loopback_addr(&self.servers[at])).await
    }

    fn subject(&self, peer: DeviceId) -> String {
        format!("hobnob.{}.peer.{peer}", self.key.id())
    }

    /// A relay's key, as somebody has it who has taken the relay over.
    fn key_of(&self, relay: usize) -> SecretKey {
        keys::load_or_create(self.homes[relay].path()).unwrap()
    }

    /// A message of this kind about a peer, signed with a key for a fleet. docs/decisions/0096.
    fn message(
        &self,
        kind: u8,
        key: &SecretKey,
        peer: DeviceId,
        nonce: [u8; 16],
        since_ms: u64,
    ) -> Vec<u8> {
        let body = codec::encode(&(kind, key.id(), peer, nonce, since_ms));
        self.signed("hobnob 1 fleet message", key, &body)
    }

    /// A signature and the body.
    fn signed(&self, label: &str, key: &SecretKey, body: &[u8]) -> Vec<u8> {
        let mut hash = blake3::Hasher::new_derive_key(label);
        hash.update(self.key.id().as_bytes()).update(body);
        let signature = key.sign(hash.finalize().as_bytes());
        [&signature.as_bytes()[..], body].concat()
    }

    /// A relay says that it has banned a peer, or removed the ban. docs/decisions/0101.
    fn ban(&self, key: &SecretKey, peer: DeviceId, (at_ms, banned): (u64, bool)) -> Vec<u8> {
        let body = codec::encode(&(4_u8, key.id(), vec![(peer.to_string(), at_ms, banned)]));
        self.signed("hobnob 1 fleet report", key, &body)
    }

    /// A relay says that a peer has joined a room, or left it. docs/decisions/0101.
    fn change(&self, key: &SecretKey, number: u64, (here, peer): (bool, DeviceId)) -> Vec<u8> {
        let body = codec::encode(&(0_u8, key.id(), number, vec![(here, peer, room(1))]));
        self.signed("hobnob 1 fleet report", key, &body)
    }

    /// The answer of the third relay to a question for its peers in room 1.
    fn roster_answer(&self, question: &[u8], number: u64, peers: &[DeviceId]) -> Vec<u8> {
        let (_, _, nonce, rooms): (u8, DeviceId, [u8; 16], Vec<RoomTag>) =
            codec::decode::<_, 4_096>(&question[64..]).unwrap();
        assert_eq!(rooms, [room(1)]);
        let head = (2_u8, self.third.id(), nonce, number);
        let body = codec::encode(&(head, (0_u8, 1_u8, vec![(room(1), peers)])));
        self.signed("hobnob 1 fleet report", &self.third, &body)
    }

    /// A connection of somebody who has stolen a user key of NATS.
    async fn intruder(&self) -> async_nats::Client {
        ConnectOptions::with_nkey(self.nats.users[2].seed.clone())
            .require_tls(true)
            .add_root_certificates(self.nats.authorities())
            .connect(self.nats.url.clone())
            .await
            .unwrap()
    }

    async fn shutdown(&self) {
        for server in &self.servers {
            server.shutdown().await;
        }
    }
}

fn room(n: u8) -> RoomTag {
    RoomTag::from_bytes([n; 32])
}

/// A registered node that uses the fleet, with the roster that it has received.
struct InRooms {
    link: Link,
    version: u64,
    sees: BTreeMap<DeviceId, Vec<RoomTag>>,
}

impl InRooms {
    async fn new(client: &Client, rooms: &[RoomTag]) -> Self {
        let (link, welcome) = joins_rooms(client, features::FLEET, rooms).await;
        assert!(matches!(welcome, FromRelay::Welcome(_)), "{welcome:?}");
        Self {
            link,
            version: 0,
            sees: BTreeMap::new(),
        }
    }

    async fn changes_to(&mut self, rooms: &[RoomTag]) {
        self.link.says(&ToRelay::Rooms(rooms.to_vec())).await;
    }

    /// Reads what the relay sends until the roster has exactly these peers, all in room 1.
    async fn until_sees(&mut self, peers: &[DeviceId]) {
        let expected: BTreeMap<_, _> = peers.iter().map(|peer| (*peer, vec![room(1)])).collect();
        while self.sees != expected {
            self.reads().await;
        }
    }

    /// Sends heartbeats until the roster has no peers any more.
    async fn until_alone(&mut self) {
        let mut paced = interval(Duration::from_secs(4));
        while !self.sees.is_empty() {
            paced.tick().await;
            self.link.says(&ToRelay::Heartbeat(self.version)).await;
            self.reads().await;
        }
    }

    async fn reads(&mut self) {
        let roster = self.link.roster().await;
        if roster.anew {
            self.sees.clear();
        }
        for change in roster.changes {
            match change {
                RosterChange::Here { peer, rooms } => drop(self.sees.insert(peer, rooms)),
                RosterChange::Gone { peer } => drop(self.sees.remove(&peer)),
                RosterChange::Unknown(kind) => panic!("kind {kind}"),
            }
        }
        self.version = roster.version;
    }
}

/// Registers with these abilities.
async fn joins(client: &Client, bits: u64) -> (Link, FromRelay) {
    joins_rooms(client, bits, &[]).await
}

async fn joins_rooms(client: &Client, bits: u64, rooms: &[RoomTag]) -> (Link, FromRelay) {
    let mut link = client.connects().await;
    let register = Register {
        features: bits,
        ..register(None, rooms)
    };
    link.says(&ToRelay::Register(register)).await;
    let welcome = link.receives().await.unwrap();
    (link, welcome)
}

async fn answer(link: &mut Link, peer: DeviceId) -> FromRelay {
    link.says(&ToRelay::Open(peer)).await;
    link.receives_where(|frame| match frame {
        FromRelay::Elsewhere { peer: of, .. } | FromRelay::NotOpened { peer: of, .. }
            if *of == peer =>
        {
            Some(frame.clone())
        }
        _ => None,
    })
    .await
}

/// Asks until the answer is another one than "unsure": the relays may not have reached NATS yet.
async fn sure_answer(link: &mut Link, peer: DeviceId) -> FromRelay {
    let why = OpenRefusal::Unsure;
    let mut paced = interval(PACE);
    loop {
        paced.tick().await;
        let answer = answer(link, peer).await;
        if answer != (FromRelay::NotOpened { peer, why }) {
            return answer;
        }
    }
}

/// Asks until the relay of the peer is known.
async fn until_elsewhere(link: &mut Link, peer: DeviceId) -> DeviceId {
    let mut paced = interval(PACE);
    loop {
        paced.tick().await;
        if let FromRelay::Elsewhere { relay, .. } = answer(link, peer).await {
            return relay;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_of_another_relay_is_found_there_and_visited() {
    let fleet = Fleet::start().await;
    let (ann, bob) = (fleet.client(1, 0).await, fleet.client(2, 1).await);
    let (mut at_home, _) = joins(&ann, features::FLEET).await;
    let (mut bobs, _) = joins(&bob, features::FLEET).await;
    assert_eq!(
        until_elsewhere(&mut at_home, bob.id()).await,
        fleet.servers[1].id()
    );
    let visiting = fleet.client(1, 1).await;
    let (mut visit, welcome) = joins(&visiting, features::FLEET | features::VISITOR).await;
    let FromRelay::Welcome(welcome) = welcome else {
        panic!("no welcome: {welcome:?}")
    };
    assert_ne!(welcome.features & features::VISITOR, 0);
    visit.says(&ToRelay::Open(bob.id())).await;
    assert_eq!(visit.opened().await.0, bob.id());
    assert_eq!(bobs.opened().await.0, ann.id());
    // A visit does not end the registration at home.
    assert_eq!(
        until_elsewhere(&mut at_home, bob.id()).await,
        fleet.servers[1].id()
    );
    let nobody = SecretKey::from_seed([77; 32]).id();
    let why = OpenRefusal::NotHere;
    assert_eq!(
        sure_answer(&mut at_home, nobody).await,
        FromRelay::NotOpened { peer: nobody, why }
    );
    let (mut old, _) = joins(&fleet.client(3, 0).await, 0).await;
    let peer = bob.id();
    assert_eq!(
        answer(&mut old, peer).await,
        FromRelay::NotOpened { peer, why },
        "a node that knows no fleets"
    );
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_gets_the_list_before_it_registers_and_later_only_newer_ones() {
    let fleet = Fleet::start().await;
    let ann = fleet.client(1, 0).await;
    let mut link = ann.connects().await;
    link.says(&ToRelay::FleetList(0)).await;
    let FromRelay::FleetList(Some(first)) = link.receives().await.unwrap() else {
        panic!("no list")
    };
    let first = first.check::<FleetList>(fleet.key.id()).unwrap();
    assert!(first.record().member(fleet.servers[0].id()).is_some());
    link.says(&ToRelay::Register(register(None, &[]))).await;
    assert!(matches!(link.receives().await, Ok(FromRelay::Welcome(_))));
    link.says(&ToRelay::FleetList(2)).await;
    assert_eq!(link.receives().await, Ok(FromRelay::FleetList(None)));
    let ids = fleet.servers.each_ref().map(Server::id);
    let [server, _] = &fleet.servers;
    let older = list(1, &fleet.key, &ids);
    let refused = server.change_fleet_list(older);
    assert_eq!(refused, Err(NewListError::Lower { old: 2, new: 1 }));
    assert_eq!(
        server.change_fleet_list(list(3, &fleet.key, &ids)),
        Ok(true)
    );
    link.says(&ToRelay::FleetList(2)).await;
    assert!(matches!(
        link.receives().await,
        Ok(FromRelay::FleetList(Some(_)))
    ));
    // Asking twice before the registration is not allowed.
    let mut greedy = fleet.client(2, 0).await.connects().await;
    greedy.says(&ToRelay::FleetList(0)).await;
    greedy.says(&ToRelay::FleetList(0)).await;
    assert_eq!(greedy.ends().await.code, close::PROTOCOL);
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_strangers_and_old_answers_are_ignored() {
    let fleet = Fleet::start().await;
    let (ann, bob) = (fleet.client(1, 0).await, fleet.client(2, 1).await);
    let (mut anns, _) = joins(&ann, features::FLEET).await;
    let (_bobs, _) = joins(&bob, features::FLEET).await;
    until_elsewhere(&mut anns, bob.id()).await;
    // The intruder answers for a peer that is nowhere.
    let victim = SecretKey::from_seed([77; 32]).id();
    let intruder = fleet.intruder().await;
    let mut questions = intruder.subscribe(fleet.subject(victim)).await.unwrap();
    intruder.flush().await.unwrap();
    let (stranger, member) = (SecretKey::from_seed([9; 32]), fleet.key_of(1));
    let forged = [
        Vec::new(),
        vec![0; 300],
        fleet.message(1, &stranger, victim, [0; 16], 0),
        // A real answer of a member to an older question.
        fleet.message(1, &member, victim, [1; 16], 0),
    ];
    let answering = async {
        let mut asked = 0;
        while let Some(question) = questions.next().await {
            asked += 1;
            let reply = question.reply.expect("a question has a reply subject");
            for answer in &forged {
                let (reply, answer) = (reply.clone(), answer.clone());
                intruder.publish(reply, answer.into()).await.unwrap();
            }
            intruder.flush().await.unwrap();
            if asked == 3 {
                return;
            }
        }
    };
    let (got, ()) = tokio::join!(answer(&mut anns, victim), answering);
    let (peer, why) = (victim, OpenRefusal::Unsure);
    assert_eq!(got, FromRelay::NotOpened { peer, why });
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_newer_registration_at_a_member_ends_one_here() {
    let fleet = Fleet::start().await;
    let (ann, bob) = (fleet.client(1, 0).await, fleet.client(2, 1).await);
    let (mut anns, _) = joins(&ann, features::FLEET).await;
    let (mut bobs, _) = joins(&bob, features::FLEET).await;
    until_elsewhere(&mut anns, bob.id()).await;
    let intruder = fleet.intruder().await;
    let (stranger, member) = (SecretKey::from_seed([9; 32]), fleet.key_of(0));
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let later = u64::try_from(now).unwrap() + 1_000;
    let here = |key: &SecretKey, of, since| fleet.message(2, key, of, [0; 16], since);
    let subject = fleet.subject(bob.id());
    let ignored = [
        here(&stranger, bob.id(), later),
        here(&member, ann.id(), later),
        // No clock is that much ahead.
        here(&member, bob.id(), 1 << 52),
        // An old report of a member, as it may be replayed.
        here(&member, bob.id(), 1),
    ];
    for message in ignored {
        intruder
            .publish(subject.clone(), message.into())
            .await
            .unwrap();
    }
    // A flood that nobody signed.
    for _ in 0..20_000 {
        intruder
            .publish(subject.clone(), "noise".into())
            .await
            .unwrap();
    }
    intruder.flush().await.unwrap();
    assert_eq!(
        until_elsewhere(&mut anns, bob.id()).await,
        fleet.servers[1].id()
    );
    let table = fleet.servers[1].table().await.unwrap();
    assert_eq!(table.connections, 1, "bob is still registered");
    // A relay of the fleet has registered bob later. The flood may still fill the queue.
    let moved = here(&member, bob.id(), later);
    let repeat = async {
        let mut paced = interval(PACE);
        loop {
            paced.tick().await;
            intruder
                .publish(subject.clone(), moved.clone().into())
                .await
                .unwrap();
            intruder.flush().await.unwrap();
        }
    };
    let ended = tokio::select! {
        ended = bobs.ends() => ended,
        () = repeat => unreachable!("it never returns"),
    };
    assert_eq!(ended.code, close::REPLACED);
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_lists_the_peers_of_all_relays() {
    let fleet = Fleet::start().await;
    let [ann, bob, cid] = [(1, 0), (2, 1), (3, 1)].map(|(seed, at)| fleet.client(seed, at));
    let (ann, bob, cid) = tokio::join!(ann, bob, cid);
    let mut anns = InRooms::new(&ann, &[room(1)]).await;
    let mut bobs = InRooms::new(&bob, &[room(1), room(2)]).await;
    anns.until_sees(&[bob.id()]).await;
    bobs.until_sees(&[ann.id()]).await;
    assert_eq!(
        until_elsewhere(&mut anns.link, bob.id()).await,
        fleet.servers[1].id()
    );
    // Others come and go.
    let cids = InRooms::new(&cid, &[room(1)]).await;
    anns.until_sees(&[bob.id(), cid.id()]).await;
    bobs.changes_to(&[room(2)]).await;
    anns.until_sees(&[cid.id()]).await;
    cids.link.connection.close(close::BYE.into(), b"");
    anns.until_sees(&[]).await;
    // Whoever is banned at one relay is gone at all.
    bobs.changes_to(&[room(1)]).await;
    anns.until_sees(&[bob.id()]).await;
    fleet.servers[1].ban(&bob.id().to_string()).await.unwrap();
    anns.until_sees(&[]).await;
    // A room without a peer of a relay is nothing to it.
    let mut cids = InRooms::new(&cid, &[room(1)]).await;
    cids.until_sees(&[ann.id()]).await;
    anns.changes_to(&[]).await;
    cids.until_sees(&[]).await;
    anns.changes_to(&[room(1)]).await;
    anns.until_sees(&[cid.id()]).await;
    // A node that knows no fleets is of no concern to the other relays.
    let (_old, _) = joins_rooms(&fleet.client(4, 1).await, 0, &[room(1)]).await;
    let dan = fleet.client(5, 1).await;
    let _dans = InRooms::new(&dan, &[room(1)]).await;
    anns.until_sees(&[cid.id(), dan.id()]).await;
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_believed_in_order_and_for_as_long_as_it_speaks() {
    let fleet = Fleet::start().await;
    let intruder = fleet.intruder().await;
    let (third, stranger) = (&fleet.third, SecretKey::from_seed([9; 32]));
    let name = |what: &str| format!("hobnob.{}.{what}", fleet.key.id());
    let inbox = name(&format!("inbox.{}.report", third.id()));
    let mut questions = intruder.subscribe(inbox).await.unwrap();
    intruder.flush().await.unwrap();
    let ann = fleet.client(1, 0).await;
    let mut anns = InRooms::new(&ann, &[room(1)]).await;
    let ghosts = [77, 78].map(|n| SecretKey::from_seed([n; 32]).id());
    let asker = name(&format!("inbox.{}.report", fleet.servers[0].id()));
    let question = questions.next().await.unwrap();
    let answer = fleet.roster_answer(&question.payload, 10, &ghosts[..1]);
    intruder
        .publish(asker.clone(), answer.into())
        .await
        .unwrap();
    anns.until_sees(&ghosts[..1]).await;
    let subject = name(&format!("report.{}", third.id()));
    let stranger_subject = name(&format!("report.{}", stranger.id()));
    let publishes = async |subject: &str, message: Vec<u8>| {
        let sent = intruder.publish(subject.to_owned(), message.into()).await;
        sent.unwrap();
    };
    let (joins, leaves) = ((true, ghosts[1]), (false, ghosts[0]));
    publishes(&stranger_subject, fleet.change(&stranger, 11, joins)).await;
    // Of a member, but on the subject of another relay.
    let other = name(&format!("report.{}", fleet.servers[1].id()));
    publishes(&other, fleet.change(third, 11, leaves)).await;
    let mut forged = fleet.change(third, 11, leaves);
    forged[0] ^= 1;
    publishes(&subject, forged).await;
    // An old message, as it may be replayed.
    publishes(&subject, fleet.change(third, 10, leaves)).await;
    publishes(&subject, fleet.change(third, 11, joins)).await;
    anns.until_sees(&ghosts).await;
    // A message is missing: the relay asks again.
    publishes(&subject, fleet.change(third, 13, joins)).await;
    let question = questions.next().await.unwrap();
    let answer = fleet.roster_answer(&question.payload, 13, &ghosts[1..]);
    publishes(&asker, answer).await;
    anns.until_sees(&ghosts[1..]).await;
    // The third relay says nothing any more. It is asked, and does not answer.
    tokio::time::timeout(Duration::from_secs(60), anns.until_alone())
        .await
        .expect("a silent relay has no peers");
    questions.next().await.unwrap();
    // A list without it: nobody listens to it.
    let ids = fleet.servers.each_ref().map(Server::id);
    let without = list(3, &fleet.key, &ids);
    assert_eq!(fleet.servers[0].change_fleet_list(without), Ok(true));
    publishes(&subject, fleet.change(third, 14, joins)).await;
    let bob = fleet.client(2, 1).await;
    let _bobs = InRooms::new(&bob, &[room(1)]).await;
    anns.until_sees(&[bob.id()]).await;
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_holds_at_all_relays_also_at_one_that_was_not_running() {
    let mut fleet = Fleet::start().await;
    let [bob, cid] = [2, 3].map(|seed| SecretKey::from_seed(seed_of(seed)).id());
    let range = BanTarget::Range("192.0.2.0/24".parse().unwrap());
    let client = fleet.client(2, 1).await;
    let (mut bobs, _) = joins(&client, features::FLEET).await;
    let ban = async |fleet: &Fleet, at: usize, target: &str| {
        fleet.servers[at].ban(target).await.unwrap();
    };
    ban(&fleet, 0, &bob.to_string()).await;
    assert_eq!(bobs.ends().await.code, close::BANNED);
    assert_eq!(client.is_refused("").await.code, close::BANNED);
    // Both change something while the other one does not run.
    fleet.servers[1].shutdown().await;
    let written = std::fs::read_to_string(fleet.homes[1].path().join("banned")).unwrap();
    assert!(written.contains(&bob.to_string()), "{written}");
    fleet.servers[0].unban(&bob.to_string()).await.unwrap();
    ban(&fleet, 0, "192.0.2.0/24").await;
    fleet.servers[0].shutdown().await;
    fleet.starts_again(1);
    ban(&fleet, 1, &cid.to_string()).await;
    fleet
        .until_banned(1, &[BanTarget::Peer(bob), BanTarget::Peer(cid)])
        .await;
    fleet.starts_again(0);
    for at in [0, 1] {
        fleet.until_banned(at, &[BanTarget::Peer(cid), range]).await;
    }
    // A change in the file counts like a command. What another relay has changed in the meantime stays,
    // so the operator waits until it is in the file.
    let path = fleet.homes[0].path().join("banned");
    let has_cid = || {
        std::fs::read_to_string(&path)
            .unwrap()
            .contains(&cid.to_string())
    };
    until(LIMIT, has_cid).await;
    let text = format!("{bob}\n{}\n", "192.0.2.0/24");
    std::fs::write(&path, text).unwrap();
    let server = &fleet.servers[0];
    let limits = hobnob_relay::core::Limits::default();
    server.change(Rule::Open, limits, None).await.unwrap();
    fleet.until_banned(1, &[BanTarget::Peer(bob), range]).await;
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_kicked_at_any_relay_and_may_return() {
    let fleet = Fleet::start().await;
    let (ann, bob) = (fleet.client(1, 0).await, fleet.client(2, 1).await);
    let (mut anns, _) = joins(&ann, features::FLEET).await;
    let (mut bobs, _) = joins(&bob, features::FLEET).await;
    until_elsewhere(&mut anns, bob.id()).await;
    fleet.servers[0].kick(&bob.id().to_string()).await.unwrap();
    assert_eq!(bobs.ends().await.code, close::KICKED);
    let (_bobs, welcome) = joins(&bob, features::FLEET).await;
    assert!(matches!(welcome, FromRelay::Welcome(_)), "{welcome:?}");
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bans_of_strangers_and_of_the_future_are_ignored() {
    let fleet = Fleet::start().await;
    let intruder = fleet.intruder().await;
    let (third, stranger) = (&fleet.third, SecretKey::from_seed([9; 32]));
    let [ann, bob, cid] = [1, 2, 3].map(|seed| SecretKey::from_seed(seed_of(seed)).id());
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let now = u64::try_from(now).unwrap();
    let subject = format!("hobnob.{}.report.{}", fleet.key.id(), third.id());
    let client = fleet.client(2, 0).await;
    let (mut bobs, _) = joins(&client, features::FLEET).await;
    let reports = [
        fleet.ban(&stranger, ann, (now, true)),
        fleet.ban(third, cid, (now + 3_600_000, true)),
        fleet.ban(third, bob, (now, true)),
        // It was made before that ban.
        fleet.ban(third, bob, (now - 1, false)),
    ];
    let mut paced = interval(PACE);
    // The relay may not listen yet.
    let publishing = async {
        loop {
            paced.tick().await;
            for report in &reports {
                let (subject, report) = (subject.clone(), report.clone());
                intruder.publish(subject, report.into()).await.unwrap();
            }
            intruder.flush().await.unwrap();
        }
    };
    let ended = tokio::select! {
        ended = bobs.ends() => ended,
        () = publishing => unreachable!("it never returns"),
    };
    assert_eq!(ended.code, close::BANNED);
    for at in [0, 1] {
        fleet.until_banned(at, &[BanTarget::Peer(bob)]).await;
    }
    fleet.servers[1].unban(&bob.to_string()).await.unwrap();
    fleet.until_banned(0, &[]).await;
    fleet.shutdown().await;
}
