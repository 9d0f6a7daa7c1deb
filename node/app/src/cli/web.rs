//! The web page: `hobnob web`, `hobnob up --web`, and `hobnob token`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use hobnob::ConversationRef;
use hobnob_control::wire::to_line;
use hobnob_control::{Client, Home};
use hobnob_irc::Token;
use hobnob_local::signals::Signals;
use hobnob_web::tokens::{Token as ProgramToken, Tokens};
use hobnob_web::{HomeLock, WebError, WebServer, Words, announcement, login};
use qrcode::{Color, QrCode};
use zeroize::Zeroizing;

use super::args::{TokenCommand, WebArgs};
use super::{export, lock};
use crate::backup;
use crate::backup::sealing::Lock;
use crate::shared::common_flags::CommonFlags;
use crate::shared::erasing;
use crate::shared::exit_code::{Exit, Usage};
use crate::shared::output::{self, Output};
use crate::shared::settings::Settings;
use crate::shared::{browser, diagnosis, notices, passphrase, session, settings_file, values};

/// Where `hobnob web` serves the page if no setting names an address.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4680);

/// The page that `hobnob up` serves, or none.
pub(crate) struct Served {
    server: Option<WebServer>,
}

impl Served {
    /// Serves the page at the address of the flag or the setting, if there is one.
    pub(crate) async fn start(home: &Home, flag: Option<SocketAddr>) -> anyhow::Result<Served> {
        let addr = match flag {
            Some(addr) => Some(addr),
            None => Settings::of(home)?.web,
        };
        let server = match addr {
            Some(addr) => Some(serve(home, addr).await?),
            None => None,
        };
        Ok(Served { server })
    }

    /// A sentence about the address.
    pub(crate) fn line(&self) -> Option<String> {
        let addr = self.server.as_ref()?.addr();
        Some(format!("web page on http://{addr}, opened by `hobnob web`"))
    }

    pub(crate) async fn stop(self) {
        if let Some(mut server) = self.server {
            server.stop().await;
        }
    }
}

async fn serve(home: &Home, addr: SocketAddr) -> anyhow::Result<WebServer> {
    match WebServer::start(home, addr, WORDS).await {
        Err(error @ WebError::NotLoopback(_)) => Err(Usage(error.to_string()).into()),
        served => Ok(served?),
    }
}

const WORDS: Words = Words {
    qr,
    diagnosis: diagnosis::lines,
    notice: notices::words,
    settings: settings_file::list,
    set: settings_file::set,
    backup: |home, passphrase, file| Box::pin(make_backup(home, passphrase, file)),
    messages: |home, of, format, file| Box::pin(save_messages(home, of, format, file)),
    irc_password: |home, new| {
        let token = Token::of_home(home.data_dir(), new);
        let token = token.map_err(|error| error.to_string())?;
        Ok(token.as_str().to_owned())
    },
    lock: |home| {
        let locks = hobnob::locks_of(home.data_dir()).map_err(|error| error.to_string())?;
        Ok(locks.map(|locks| HomeLock {
            passphrase: locks.has_passphrase,
            keyring: locks.keyring_id.is_some(),
        }))
    },
    change_passphrase: |home, old, new| Box::pin(change_passphrase(home, old, new)),
};

/// Writes messages that the browser saves.
async fn save_messages(
    home: Home,
    of: Option<ConversationRef>,
    format: String,
    file: PathBuf,
) -> Result<(), String> {
    let format = format.parse::<export::Format>()?;
    let written = async {
        let client = Client::connect(&home).await?;
        export::to_file(&client, of, format, &file).await
    };
    let written = written.await;
    written.map(drop).map_err(|error| format!("{error:#}"))
}

/// Changes the passphrase of a locked home, or adds one.
async fn change_passphrase(
    home: Home,
    old: Zeroizing<String>,
    new: Zeroizing<String>,
) -> Result<(), String> {
    let change = move || -> anyhow::Result<()> {
        let new = passphrase::checked(new)?;
        let source = passphrase::typed(old);
        lock::set_passphrase(home.data_dir(), &source, &new)
    };
    let changed = tokio::task::spawn_blocking(change).await;
    changed
        .map_err(|error| error.to_string())?
        .map_err(|error| format!("{error:#}"))
}

/// Makes a backup that the browser saves.
async fn make_backup(
    home: Home,
    passphrase: Zeroizing<String>,
    file: PathBuf,
) -> Result<(), String> {
    let made = async {
        let lock = Lock::Passphrase(passphrase::checked(passphrase)?);
        let client = Client::connect(&home).await?;
        backup::make(&client, &home, lock, file).await
    };
    made.await.map(drop).map_err(|error| format!("{error:#}"))
}

fn qr(text: &str) -> Vec<Vec<bool>> {
    let Ok(code) = QrCode::new(text) else {
        return Vec::new();
    };
    let dark: Vec<bool> = code
        .to_colors()
        .into_iter()
        .map(|color| color == Color::Dark)
        .collect();
    dark.chunks(code.width()).map(<[bool]>::to_vec).collect()
}

/// `hobnob web`: opens the page in the browser. If nobody serves it, serves it until a signal.
pub(crate) async fn web(flags: &CommonFlags, args: WebArgs) -> anyhow::Result<Exit> {
    let home = flags.home()?;
    if let Some(found) = announcement::find(&home) {
        open(&found.folder, found.addr, args)?;
        return Ok(Exit::Done);
    }
    let mut signals = Signals::new()?;
    let (home, attached) = session::stay(flags).await?;
    let mut server = match Settings::of(&home)?.web {
        Some(addr) => serve(&home, addr).await?,
        // Another user's page may have the usual port.
        None => match serve(&home, DEFAULT).await {
            Ok(server) => server,
            Err(_) => serve(&home, SocketAddr::new(DEFAULT.ip(), 0)).await?,
        },
    };
    let folder = home.socket().parent().unwrap_or(home.data_dir());
    open(folder, server.addr(), args)?;
    output::say(&format!(
        "The page is on http://{} as long as this command runs. Ctrl-C ends it.",
        server.addr()
    ));
    let mut events = attached.client.events().await?;
    let node_ended = async { while events.next().await.is_some() {} };
    tokio::select! {
        () = signals.any() => {}
        () = node_ended => output::say("The node has ended."),
    }
    server.stop().await;
    session::leave(attached, &mut signals).await;
    Ok(Exit::Done)
}

/// Writes a login file, and opens it in the browser or explains how to log in.
fn open(folder: &Path, addr: SocketAddr, args: WebArgs) -> anyhow::Result<()> {
    let login = login::write(folder, addr)?;
    let file = login.path.display();
    if args.code {
        output::line(&format!("http://{addr}/"))?;
        output::line(&login.token)?;
        return Ok(());
    }
    if !args.no_open && browser::start(login.path.as_os_str()) {
        output::say(&format!(
            "The browser opens the page. If it does not, open {file} within a minute."
        ));
        return Ok(());
    }
    output::line(&format!("file://{file}"))?;
    output::say("Open this file in a browser within a minute. It works once.");
    Ok(())
}

/// `hobnob token`.
pub(crate) fn token(
    flags: &CommonFlags,
    out: Output,
    command: TokenCommand,
) -> anyhow::Result<Exit> {
    let tokens = Tokens::of(&flags.home()?);
    match command {
        TokenCommand::Create {
            name,
            rights,
            expires,
        } => {
            let time = erasing::keep_time(&expires).map_err(Usage)?;
            let secret = tokens.create(&name, rights.into_iter().collect(), time)?;
            output::line(&secret)?;
            output::say_on_terminal("Nothing can show this token again. Store it safely.");
        }
        TokenCommand::List => {
            for token in tokens.list()? {
                show(&token, out)?;
            }
        }
        TokenCommand::Revoke { name } => tokens.revoke(&name)?,
    }
    Ok(Exit::Done)
}

fn show(token: &ProgramToken, out: Output) -> io::Result<()> {
    if out.json {
        return output::raw(&to_line(&token.public()));
    }
    let rights: Vec<&str> = token.rights.iter().map(|right| right.as_str()).collect();
    let expires = token
        .expires
        .map_or_else(|| "never".to_owned(), values::local_second);
    output::line(&format!(
        "{}  {}  expires: {expires}",
        token.name,
        rights.join(",")
    ))
}
