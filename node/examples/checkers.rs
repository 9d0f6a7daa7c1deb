//! Checkers (English draughts) for two, over the library alone.
//!
//! ```sh
//! cargo run --release -p hobnob --example checkers   # on two machines of one network; then: challenge NAME
//! cargo run --release -p hobnob --example checkers -- --relay ID@HOST:PORT    # anywhere
//! ```
//!
//! - `words`: the messages between two players
//! - `table`: the state that results from these messages
//! - `game` and `rules`: the game itself
//! - `screen`: what a player sees
//! - `app`: the program around them
//!
//! The moves are messages, and the program stores nothing else. So the game continues after a lost
//! connection, a crash or a break of days.

mod checkers {
    pub(crate) mod app;
    mod game;
    mod rules;
    mod screen;
    mod table;
    mod words;
}

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use etcetera::BaseStrategy;
use hobnob::{Nickname, Node, RelayAddr};

/// Checkers for two, over hobnob.
#[derive(Debug, Parser)]
struct Args {
    /// The folder for your key and your games. Default: hobnob-checkers in the XDG data folder.
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Your nickname from now on.
    #[arg(long, value_name = "NAME")]
    nick: Option<Nickname>,
    /// Listen on this address and UDP port only.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Disable discovery on the local network.
    #[arg(long)]
    no_mdns: bool,
    /// Reach distant players through this relay (repeatable).
    #[arg(long = "relay", value_name = "[ID@]HOST:PORT")]
    relays: Vec<RelayAddr>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let home = args.home.map_or_else(default_home, Ok)?;
    let mut builder = Node::builder(home).mdns(!args.no_mdns);
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
    let played = checkers::app::App::new(node.clone()).await?.run().await;
    node.shutdown().await;
    played
}

fn default_home() -> anyhow::Result<PathBuf> {
    let base = etcetera::choose_base_strategy()
        .context("can't tell where your home folder is: name one with --home DIR")?;
    Ok(base.data_dir().join("hobnob-checkers"))
}
