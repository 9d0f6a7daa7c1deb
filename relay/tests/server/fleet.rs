//! Relays of a fleet on a real NATS server, and somebody hostile who can reach NATS.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use async_nats::ConnectOptions;
use futures_util::StreamExt;
use hobnob_protocol::fleet::FleetList;
use hobnob_protocol::relay::{FromRelay, OpenRefusal, Register, ToRelay, close, features};
use hobnob_protocol::{DeviceId, RelayAddr, SecretKey, codec};
use hobnob_relay::admission::Rule;
use hobnob_relay::fleet::{FleetConfig, ListFile, NewListError, UserKey, new_user_key};
use hobnob_relay::keys;
use hobnob_relay::server::{Config, Server};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::time::interval;

use crate::client::{Client, Link, register, until};
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

/// Two relays of a fleet.
struct Fleet {
    nats: Nats,
    key: SecretKey,
    homes: [TempDir; 2],
    servers: [Server; 2],
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
        let list = list(2, &key, &ids);
        let server = |n: usize| {
            let config = config_in(&homes[n], "[::]:0".parse().unwrap(), Rule::Open);
            let fleet = Some(nats.config(&list, n));
            Server::start(Config { fleet, ..config }).unwrap()
        };
        let servers = [server(0), server(1)];
        Self {
            nats,
            key,
            homes,
            servers,
        }
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
        let mut hash = blake3::Hasher::new_derive_key("hobnob 1 fleet message");
        hash.update(self.key.id().as_bytes()).update(&body);
        let signature = key.sign(hash.finalize().as_bytes());
        [&signature.as_bytes()[..], &body].concat()
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

/// Registers with these abilities.
async fn joins(client: &Client, bits: u64) -> (Link, FromRelay) {
    let mut link = client.connects().await;
    let register = Register {
        features: bits,
        ..register(None, &[])
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
