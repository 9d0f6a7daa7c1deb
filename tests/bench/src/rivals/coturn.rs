//! coturn, a TURN relay, with its own load generator, which sends from client to client over two
//! hops.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use super::server::Server;

pub(crate) struct Coturn {
    server: Server,
    port: u16,
}

/// Number of clients that send at the same time.
const CLIENTS: usize = 20;

impl Coturn {
    pub(crate) async fn start(dir: &Path) -> anyhow::Result<Self> {
        // turnserver cannot choose a free port itself, so this finds one.
        let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let mut command = Command::new("turnserver");
        command.args([
            "-L",
            "127.0.0.1",
            "-E",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "--allow-loopback-peers",
            "-n",
        ]);
        command.args([
            "--no-tls",
            "--no-dtls",
            "--no-tcp",
            "--no-cli",
            "-a",
            "-u",
            "u:p",
            "-r",
            "bench",
            "--log-file=stdout",
        ]);
        command
            .arg("--pidfile")
            .arg(dir.join("pid"))
            .arg("-b")
            .arg(dir.join("db"));
        let server = Server::start(&mut command, "coturn", dir.join("log"))?;
        let is_ready = async || {
            std::fs::read_to_string(dir.join("log"))
                .ok()?
                .contains("Relay ports initialization done")
                .then_some(())
        };
        server.starts(is_ready).await?;
        Ok(Self { server, port })
    }

    /// Sends about `count` messages of this length between clients. Returns the server's processor
    /// time for each arrived message, in microseconds.
    pub(crate) async fn cpu_per_message(&self, count: usize, bytes: usize) -> anyhow::Result<f64> {
        let before = crate::relay::cpu(self.server.id())?;
        let mut client = tokio::process::Command::new("turnutils_uclient");
        client.args([
            "-u",
            "u",
            "-w",
            "p",
            "-y",
            "-c",
            "-z",
            "1",
            "-p",
            &self.port.to_string(),
        ]);
        client.args([
            "-n",
            &(count / CLIENTS).to_string(),
            "-m",
            &CLIENTS.to_string(),
            "-l",
            &bytes.to_string(),
            "127.0.0.1",
        ]);
        let output = client
            .kill_on_drop(true)
            .output()
            .await
            .context("no turnutils_uclient: apt-get install coturn")?;
        let output = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        let arrived = output
            .lines()
            .filter_map(|line| line.rsplit_once("tot_recv_msgs="))
            .next_back();
        let arrived = arrived.and_then(|(_, n)| {
            n.split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse::<usize>()
                .ok()
        });
        let arrived = arrived.context("turnutils_uclient printed no number of messages")?;
        ensure!(
            arrived * 10 > count * 9,
            "only {arrived} of {count} messages passed through coturn"
        );
        Ok((crate::relay::cpu(self.server.id())? - before).as_secs_f64() * 1e6 / arrived as f64)
    }
}
