//! Starts a node. Every step that can fail for a reason that the user must know comes before the
//! engine runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hobnob_mailbox::Mailboxes;
use hobnob_protocol::frame::ROOMS_MAX;
use hobnob_protocol::relay::TOKEN_MAX;
use hobnob_protocol::{ContentHash, DeviceId, Nickname, Salts, SecretKey};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::apps::Apps;
use super::clock::{Clock, random, random_seed};
use super::engine::{
    Attention, Engine, Erasing, Holding, Internal, Introductions, Lending, Mail, NICK_SETTING,
    OwnRecords, Parts, RELAY_SETTING, SharedRelays, restore_fleet_lists,
};
use super::events::Publisher;
use super::transfers::messages::{EngineHandle, ToTransfers};
use super::transfers::pictures::Pictures;
use super::transfers::{self, TransferTask};
use super::{Config, HoldFor, Node, RELAYS_MAX, StartError};
use crate::data_key::{DataKey, disk_of};
use crate::held;
use crate::locked_home::{self, LockError, read_key_file};
use crate::net::endpoint::Endpoint;
use crate::net::interfaces::Interfaces;
use crate::net::socket;
use crate::store::{
    DATABASE, HIGHLIGHT_CHARS_MAX, HIGHLIGHTS_MAX, KnownPeer, Mentions, Opened, Store,
};
use hobnob_core::past_names::PastNames;
use hobnob_core::picture_exchange::PictureExchange;
use hobnob_core::policy::Policies;
use hobnob_core::replica::{OPEN_ROOM_OFFER_MS, Replica};
use hobnob_transport::key_file::{self, KeyFileError};
use hobnob_transport::lock::{Lock, Taken};

/// Commands and session events that wait for the engine. Senders of more wait.
const COMMANDS_MAX: usize = 1024;
const SESSION_EVENTS_MAX: usize = 256;

/// How often the machine's interfaces are checked for changes.
const INTERFACES_EVERY: Duration = Duration::from_secs(1);

/// Opens the home if it is locked. The passphrase may take a user's time.
async fn open_home(config: &Config) -> Result<Option<DataKey>, StartError> {
    let (dir, source) = (config.data_dir.clone(), config.unlock.clone());
    let open = move || locked_home::open(&dir, source.as_ref());
    let opened = tokio::task::spawn_blocking(open).await;
    Ok(opened.map_err(std::io::Error::other)??)
}

/// Loads the node's key, or creates it on the first run.
fn load_key(dir: &Path, data_key: Option<&DataKey>) -> Result<SecretKey, StartError> {
    match data_key {
        Some(data_key) => load_sealed_key(dir, data_key),
        None => load_plain_key(dir),
    }
}

fn load_sealed_key(dir: &Path, data_key: &DataKey) -> Result<SecretKey, StartError> {
    let path = dir.join(key_file::FILE);
    let text = read_key_file(dir, Some(data_key))?;
    // A home is locked only once it has a key. Another one would be another identity.
    let text = text.ok_or_else(|| LockError::Key(path.clone()))?;
    Ok(key_file::parse(&text).map_err(|_| LockError::Key(path))?)
}

fn load_plain_key(dir: &Path) -> Result<SecretKey, StartError> {
    key_file::load_or_create(dir, random_seed).map_err(|error| match error {
        KeyFileError::Damaged { path, damage } => StartError::Key {
            path: path.display().to_string(),
            why: damage.to_string(),
        },
        KeyFileError::Unusable { error, .. } => StartError::Home {
            dir: dir.display().to_string(),
            source: error,
        },
    })
}

/// Takes the lock of the folder, and starts a node there.
pub(super) async fn start_alone(config: Config) -> Result<Node, StartError> {
    let dir = || config.data_dir.display().to_string();
    let taken = Lock::take(&config.data_dir).map_err(|(path, source)| StartError::Home {
        dir: path.display().to_string(),
        source,
    });
    match taken? {
        Taken::Ours(lock) => start(config, Some(lock)).await,
        Taken::Busy(pid) => Err(StartError::InUse { dir: dir(), pid }),
    }
}

/// Starts a node. Without a `lock`, the caller holds it as long as the node runs.
pub(super) async fn start(config: Config, lock: Option<Lock>) -> Result<Node, StartError> {
    check(&config)?;
    let clock = Clock::start();
    make_dir(&config.data_dir)?;
    let data_key = open_home(&config).await?;
    let key = Arc::new(load_key(&config.data_dir, data_key.as_ref())?);
    let (internal, internal_events) = mpsc::unbounded_channel();
    let mut opened = open_store(&config, data_key.as_ref(), clock, internal.clone()).await?;
    let nick = choose_nick(&config, &opened, &key);
    let mentions = Mentions::new(key.id().person(), &nick, &config.highlights);
    // Before the store begins to index texts, which it does soon.
    opened.store.set_mentions(mentions.clone());
    let (bound, side_datagrams) = socket::bind(config.listen)?;
    let (endpoint, accepted) = Endpoint::new(&bound, &key)?;
    let interfaces = Interfaces::now()?;
    if config.proxy.only {
        endpoint.stay_on_links();
    }

    let (commands, command_queue) = mpsc::channel(COMMANDS_MAX);
    let publisher = Publisher::new();
    let events = publisher.stream();
    let (met, met_changed) = watch::channel(0);
    let (contacts, known_contacts) = watch::channel(BTreeSet::new());
    let (transfers, transfers_queue) = mpsc::unbounded_channel();
    let (session_events, session_queue) = mpsc::channel(SESSION_EVENTS_MAX);
    let repaired = opened.repaired;
    let profile_pictures = PictureExchange::new(std::mem::take(&mut opened.pictures));
    let own = own_records(
        &mut opened.peers,
        key.clone(),
        nick.clone(),
        |picture| profile_pictures.has(picture),
        clock,
    );
    let lent = own
        .contact()
        .and_then(|contact| contact.record().lends.clone());
    let lending = Lending::new(
        config.borrow_relays && !config.lends_relay,
        lent.filter(|_| config.lends_relay),
    );
    let past_names = PastNames::restore(std::mem::take(&mut opened.past_names));
    let rows = std::mem::take(&mut opened.mail);
    let (mail, to_store) = Mail::restore(key.clone(), &rows, random_seed(), clock.now().wall_ms);
    opened.store.set_mail(to_store);
    let run = random();
    let replica = Replica::new(
        key.clone(),
        run,
        Salts::new(random_seed()),
        interfaces.networks(),
        clock.now(),
        opened.loaded,
    );
    let (tasks, stopping) = (TaskTracker::new(), CancellationToken::new());
    let apps = Apps::new(clock, tasks.clone(), stopping.clone());
    let mailboxes = open_held(&config, data_key.as_ref(), clock).await?;
    let parts = Parts {
        clock,
        key: key.clone(),
        run,
        nick,
        own,
        profile_pictures,
        past_names,
        mail,
        holding: Holding::new(config.hold_for.clone(), mailboxes),
        replica,
        store: opened.store,
        endpoint,
        bound,
        side_datagrams,
        policies: Policies::new(opened.policies),
        direct_with: config.direct_with,
        sharing: config.sharing,
        relay_ids: relay_ids(&opened.settings),
        fleet_lists: restore_fleet_lists(&opened.settings),
        relay_token: config.relay_token.clone(),
        shared_relays: SharedRelays::restore(&opened.settings),
        proxy: config.proxy.clone(),
        lending,
        contacts,
        external_port: config.external_port,
        introductions: Introductions::restore(&opened.settings),
        erasing: Erasing::new(&opened.settings, config.keep),
        attention: Attention::new(mentions, &opened.settings),
        interfaces: interfaces.clone(),
        accepted,
        commands: command_queue,
        internal: internal.clone(),
        pictures: Pictures::default(),
        internal_events,
        session_events,
        session_queue,
        events: publisher,
        met,
        transfers: transfers.clone(),
        apps: apps.clone(),
        tasks,
        stopping,
        lock,
    };
    let shared_relays = parts.shared_relays.addrs();
    start_transfers(&config, data_key, &parts, transfers_queue, internal)?;
    let mut engine = Engine::new(parts);
    if let Some(repaired) = repaired {
        engine.database_repaired(repaired);
    }
    engine.remember(opened.peers);
    engine.restore_held();
    engine.start_holding();
    engine.join_first_rooms(&config.rooms);
    engine.retain_all();
    engine.watch_interfaces(interfaces, INTERFACES_EVERY);
    for relay in config.relays.into_iter().chain(shared_relays) {
        engine.add_relay(relay, true);
    }
    engine.store_own_records();
    engine.choose_lent_relays();
    engine.own_relays_changed();
    engine.reach_at_known_relays();
    if config.mdns {
        engine.discover(run);
    }
    if config.port_mapping && !config.proxy.only {
        engine.map_port();
    }
    tokio::spawn(engine.run());
    Ok(Node {
        id: key.id().person(),
        data_dir: config.data_dir.clone(),
        commands,
        transfers,
        events,
        apps,
        met: met_changed,
        contacts: known_contacts,
        clock,
        proxy_only: config.proxy.only,
    })
}

fn start_transfers(
    config: &Config,
    data_key: Option<DataKey>,
    parts: &Parts,
    queue: mpsc::UnboundedReceiver<ToTransfers>,
    internal: mpsc::UnboundedSender<Internal>,
) -> Result<(), StartError> {
    let parts = transfers::Parts {
        clock: parts.clock,
        me: parts.key.id().person(),
        home: config.data_dir.clone(),
        data_key,
        config: config.files.clone(),
        store: parts.store.offers(),
        engine: EngineHandle::new(move |what| {
            // An engine that has ended answers nothing more.
            let _ = internal.send(Internal::Transfers(what));
        }),
        pictures: parts.pictures.clone(),
        tasks: parts.tasks.clone(),
        stopping: parts.stopping.clone(),
    };
    Ok(TransferTask::start(parts, queue)?)
}

/// Rejects options that do not fit into a frame, before anything begins.
fn check(config: &Config) -> Result<(), StartError> {
    let [highlights, longest_highlight] = highlight_limits(&config.highlights);
    let limits = [
        highlights,
        longest_highlight,
        (config.rooms.len(), ROOMS_MAX, "rooms"),
        (config.relays.len(), RELAYS_MAX, "relays"),
        (
            config
                .relay_token
                .as_ref()
                .map_or(0, |token| token.as_bytes().len()),
            TOKEN_MAX,
            "bytes in its relay token",
        ),
    ];
    match limits.into_iter().find(|(given, max, _)| given > max) {
        Some((given, max, what)) => Err(StartError::TooMuch {
            what: format!("{max} {what}"),
            given,
        }),
        None => Ok(()),
    }
}

/// The number and the length of highlight words, each with its limit and what it counts.
pub(super) fn highlight_limits(words: &[String]) -> [(usize, usize, &'static str); 2] {
    let lengths = words.iter().map(|word| word.chars().count());
    let longest = lengths.max().unwrap_or(0);
    [
        (words.len(), HIGHLIGHTS_MAX, "highlight words"),
        (
            longest,
            HIGHLIGHT_CHARS_MAX,
            "characters in a highlight word",
        ),
    ]
}

fn make_dir(dir: &Path) -> Result<(), StartError> {
    let made = if dir.is_dir() {
        Ok(())
    } else {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
    };
    let home = |source| StartError::Home {
        dir: dir.display().to_string(),
        source,
    };
    made.map_err(home)?;
    let mode = fs::metadata(dir).map_err(home)?.permissions().mode();
    if mode & 0o022 != 0 {
        warn!(
            "others may write to {}: they could replace the key",
            dir.display()
        );
    }
    Ok(())
}

/// Opens the store in a thread where blocking is allowed. Its answers go to the engine.
async fn open_store(
    config: &Config,
    data_key: Option<&DataKey>,
    clock: Clock,
    internal: mpsc::UnboundedSender<Internal>,
) -> Result<Opened, StartError> {
    let path = config.data_dir.join(DATABASE);
    let since_ms = clock.now().wall_ms.saturating_sub(OPEN_ROOM_OFFER_MS);
    let disk = disk_of(data_key);
    let open = move || {
        Store::open_on(&disk, &path, since_ms, move |commit, result| {
            // An engine that has ended asks for nothing more.
            let _ = internal.send(Internal::Stored(commit, result));
        })
    };
    let opened = tokio::task::spawn_blocking(open)
        .await
        .map_err(std::io::Error::other)??;
    Ok(opened)
}

/// Opens the database of the mail that this node holds for others. It is opened, too, if the node
/// holds for nobody any more: those who are named in it may fetch what is left.
async fn open_held(
    config: &Config,
    data_key: Option<&DataKey>,
    clock: Clock,
) -> Result<Option<Mailboxes>, StartError> {
    let home = config.data_dir.clone();
    if config.hold_for == HoldFor::Nobody && !home.join(held::FILE).exists() {
        return Ok(None);
    }
    let (disk, bytes_max) = (disk_of(data_key), config.hold_max);
    let open = move || held::open(&home, &disk, bytes_max, move || clock.now().wall_ms);
    let opened = tokio::task::spawn_blocking(open).await;
    Ok(Some(opened.map_err(std::io::Error::other)??))
}

/// The nickname of the configuration, or of the last run, or the system's user name, or the id.
fn choose_nick(config: &Config, opened: &Opened, key: &SecretKey) -> Nickname {
    if let Some(nick) = &config.nick {
        opened.store.set_setting(NICK_SETTING, nick.as_str());
        return nick.clone();
    }
    let kept = opened
        .settings
        .get(NICK_SETTING)
        .and_then(|nick| Nickname::new(nick).ok());
    let of_user = || {
        ["USER", "LOGNAME"]
            .iter()
            .filter_map(|name| std::env::var(name).ok())
            .find_map(|n| Nickname::cleaned(&n))
    };
    kept.or_else(of_user)
        .unwrap_or_else(|| Nickname::new(&key.id().short()).expect("eight letters are a nickname"))
}

/// Continues with the records of the last run, which the store keeps as those of a peer.
fn own_records(
    peers: &mut Vec<KnownPeer>,
    key: Arc<SecretKey>,
    nick: Nickname,
    has_picture: impl Fn(ContentHash) -> bool,
    clock: Clock,
) -> OwnRecords {
    let me = key.id();
    let own = peers.iter().position(|known| known.peer == me.person());
    let own = own.map(|at| peers.remove(at));
    let (public, contact) = own.map_or((None, None), |own| (own.public, own.contact));
    let now_ms = clock.now().wall_ms;
    OwnRecords::restore(key, public, contact, nick, has_picture, now_ms)
}

/// The identities that relays proved in earlier runs, by address.
fn relay_ids(settings: &BTreeMap<String, String>) -> BTreeMap<String, DeviceId> {
    let of_relay = |(name, id): (&String, &String)| {
        Some((
            name.strip_prefix(RELAY_SETTING)?.to_owned(),
            id.parse().ok()?,
        ))
    };
    settings.iter().filter_map(of_relay).collect()
}
