//! A drawing for two, which both change at once, over datagrams.
//!
//! ```sh
//! cargo run --release -p hobnob --example draw -- ann     # on bob's machine; and `-- bob` on ann's
//! ```
//!
//! Type `COLUMN ROW SIGN` to draw, such as `10 3 x`. Both pictures are the same within a round trip.
//!
//! Datagrams can be lost. So each sign has a number, of two the higher one stays, and the whole picture
//! is sent twice a second. Then a lost datagram is corrected by a later one, and nothing waits for it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use etcetera::BaseStrategy;
use hobnob::{App, AppError, Cause, Nickname, Node, PersonId, RelayAddr, Target};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

/// The size of the picture.
const COLUMNS: u8 = 40;
const ROWS: u8 = 12;

/// How often the whole picture is sent.
const AGAIN: Duration = Duration::from_millis(500);

/// Bytes of a sign in a datagram: column, row, number, sign.
const SIGN_BYTES: usize = 7;

/// Signs in one datagram, which has 1,100 bytes at most.
const SIGNS_MAX: usize = 150;

/// A drawing for two, over hobnob.
#[derive(Debug, Parser)]
struct Args {
    /// With whom to draw: a nickname, a ticket or an address. They name you, too.
    peer: Target,
    /// The folder for your key. Default: hobnob-draw in the XDG data folder.
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Your nickname from now on.
    #[arg(long, value_name = "NAME")]
    nick: Option<Nickname>,
    /// Listen on this address and UDP port only.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Reach a distant peer through this relay (repeatable).
    #[arg(long = "relay", value_name = "[ID@]HOST:PORT")]
    relays: Vec<RelayAddr>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut builder = Node::builder(args.home.map_or_else(default_home, Ok)?);
    if let Some(nick) = args.nick {
        builder = builder.nick(nick);
    }
    if let Some(addr) = args.listen {
        builder = builder.listen(addr);
    }
    for relay in args.relays {
        builder = builder.relay(relay);
    }
    let node = builder.start().await?;
    let drawn = draw(&node, args.peer).await;
    node.shutdown().await;
    drawn
}

fn default_home() -> anyhow::Result<PathBuf> {
    let base = etcetera::choose_base_strategy()
        .context("can't tell where your home folder is: name one with --home DIR")?;
    Ok(base.data_dir().join("hobnob-draw"))
}

async fn draw(node: &Node, peer: Target) -> anyhow::Result<()> {
    println!("Your ticket: {}", node.status().await?.ticket);
    let peer = meet(node, peer).await?;
    // Programs of two nodes talk only if both users have accepted each other.
    let name = node.accept_contact(peer).await?.name;
    println!("Drawing with {name}. Type COLUMN ROW SIGN, or `quit`.");

    let app = node.app("org.example.draw")?;
    let mut picture = Picture::default();
    let mut again = tokio::time::interval(AGAIN);
    let mut lines = BufReader::new(stdin()).lines();
    loop {
        tokio::select! {
            datagram = app.recv_datagram() => {
                let datagram = datagram?;
                if datagram.from == peer && picture.merge(&datagram.bytes) {
                    picture.show();
                }
            }
            line = lines.next_line() => match line?.as_deref().map(str::trim) {
                None | Some("quit") => return Ok(()),
                Some(line) => match picture.sign(line) {
                    Ok(sign) => {
                        send(&app, peer, &sign)?;
                        picture.show();
                    }
                    Err(error) => println!("{error}"),
                },
            },
            _ = again.tick() => {
                for signs in picture.encoded().chunks(SIGNS_MAX * SIGN_BYTES) {
                    send(&app, peer, signs)?;
                }
            }
        }
    }
}

/// Waits until the node knows the peer.
async fn meet(node: &Node, peer: Target) -> anyhow::Result<PersonId> {
    let mut again = tokio::time::interval(AGAIN);
    loop {
        again.tick().await;
        match node.resolve(peer.clone()).await {
            Ok(peer) => return Ok(peer),
            Err(error) if error.cause() == Cause::NoSuchPeer => {}
            Err(error) => bail!(error),
        }
    }
}

/// Sends a datagram, unless the peer is away. It gets the whole picture when it is back.
fn send(app: &App, peer: PersonId, signs: &[u8]) -> anyhow::Result<()> {
    match app.send_datagram(peer, signs) {
        Ok(()) | Err(AppError::NotConnected | AppError::TooFast) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The signs by place, each with its number.
#[derive(Debug, Default)]
struct Picture {
    signs: BTreeMap<(u8, u8), (u32, u8)>,
    last: u32,
}

impl Picture {
    /// Draws what the user typed. Returns the sign, encoded.
    fn sign(&mut self, line: &str) -> anyhow::Result<Vec<u8>> {
        let words: Vec<_> = line.split_whitespace().collect();
        let [column, row, sign] = words[..] else {
            bail!("type COLUMN ROW SIGN, such as `10 3 x`");
        };
        let place: (u8, u8) = (column.parse()?, row.parse()?);
        let &[sign] = sign.as_bytes() else {
            bail!("{sign} is not one ASCII character");
        };
        self.last += 1;
        let encoded = encode(place, (self.last, sign));
        if !self.merge(&encoded) {
            bail!("the picture has {COLUMNS} columns and {ROWS} rows, counted from 0");
        }
        Ok(encoded)
    }

    /// Takes the signs of a datagram that are newer. Returns whether there were any.
    fn merge(&mut self, datagram: &[u8]) -> bool {
        let mut changed = false;
        for sign in datagram.chunks_exact(SIGN_BYTES) {
            let &[column, row, a, b, c, d, sign] = sign else {
                continue;
            };
            let new = (u32::from_be_bytes([a, b, c, d]), sign);
            // What a peer sends may be anything.
            if column >= COLUMNS || row >= ROWS || !(sign == b' ' || sign.is_ascii_graphic()) {
                continue;
            }
            let old = self.signs.entry((column, row)).or_default();
            if new > *old {
                (*old, changed) = (new, true);
            }
            self.last = self.last.max(new.0);
        }
        changed
    }

    fn encoded(&self) -> Vec<u8> {
        let signs = self.signs.iter();
        signs
            .flat_map(|(place, sign)| encode(*place, *sign))
            .collect()
    }

    fn show(&self) {
        let sign = |column, row| self.signs.get(&(column, row)).map_or(b' ', |sign| sign.1);
        println!("+{}+", "-".repeat(COLUMNS.into()));
        for row in 0..ROWS {
            let line: String = (0..COLUMNS)
                .map(|column| char::from(sign(column, row)))
                .collect();
            println!("|{line}|");
        }
        println!("+{}+", "-".repeat(COLUMNS.into()));
    }
}

fn encode((column, row): (u8, u8), (number, sign): (u32, u8)) -> Vec<u8> {
    [&[column, row][..], &number.to_be_bytes(), &[sign]].concat()
}
