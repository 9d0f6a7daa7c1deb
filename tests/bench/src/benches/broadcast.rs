//! Benchmarks of the lobby: one node sends to twenty others, where all nodes have sessions with each
//! other, and to a hundred others, which have a session with the sender only.

use std::path::Path;

use hobnob::protocol::RoomName;
use hobnob::{Node, RoomInfo};
use hobnob_tests::lab::{Stopwatch, pause};

use super::many;
use crate::nodes::{self, Reader};
use crate::plan::Plan;
use crate::report::{Aim, Report};
use crate::rivals::mosquitto::Mosquitto;
use crate::turns::Contest;

const BYTES: usize = 200;

pub(crate) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let counts = (plan.pick(500, 3000), plan.pick(5000, 20_000));
    let lobby = Lobby::new(&plan.folder("lobby")?, 20, true).await?;
    compare(plan, report, lobby, plan.pick(3, 8), counts).await
}

pub(crate) async fn to_a_hundred(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let counts = (plan.pick(100, 500), plan.pick(1000, 5_000));
    let lobby = Lobby::new(&plan.folder("lobby-of-100")?, 100, false).await?;
    compare(plan, report, lobby, plan.pick(2, 5), counts).await
}

async fn compare(
    plan: &Plan,
    report: &mut Report,
    mut lobby: Lobby,
    rounds: usize,
    (ours_count, theirs_count): (usize, usize),
) -> anyhow::Result<()> {
    let listeners = lobby.readers.len();
    let dir = plan.folder(&format!("mosquitto-{listeners}"))?;
    let mut mosquitto = plan.rival(Mosquitto::start(&dir, listeners)).await;
    let contest = Contest {
        ours: "hobnob, deliveries, each on disk and acknowledged",
        theirs: "mosquitto, QoS 0, deliveries, nothing stored",
        unit: "/s",
        rounds,
        aim: Aim::AtLeast(1.0),
    };
    let theirs = mosquitto.as_mut().map(|mosquitto| {
        async move || {
            let begun = Stopwatch::start();
            mosquitto.publish(theirs_count, BYTES).await?;
            Ok(many(listeners * theirs_count) / begun.elapsed().as_secs_f64())
        }
    });
    contest
        .run(report, async || lobby.send(ours_count).await, theirs)
        .await?;
    for node in &lobby.nodes {
        node.shutdown().await;
    }
    Ok(())
}

/// The nodes in the lobby. The first one sends.
struct Lobby {
    nodes: Vec<Node>,
    readers: Vec<Reader>,
}

impl Lobby {
    /// With `mesh` all nodes have sessions with each other, and otherwise with the first one.
    async fn new(dir: &Path, listeners: usize, mesh: bool) -> anyhow::Result<Self> {
        let mut nodes: Vec<Node> = Vec::new();
        for number in 0..=listeners {
            let node = nodes::start(dir, &format!("node{number}")).await?;
            let known = if mesh {
                nodes.len()
            } else {
                nodes.len().min(1)
            };
            for other in &nodes[..known] {
                node.resolve(nodes::address(other).await?).await?;
            }
            nodes.push(node);
        }
        for (number, node) in nodes.iter().enumerate() {
            let others = if mesh || number == 0 { listeners } else { 1 };
            while here(node)
                .await?
                .is_none_or(|lobby| lobby.here.len() < others)
            {
                tokio::task::block_in_place(|| pause(std::time::Duration::from_millis(20)));
            }
        }
        let readers = nodes[1..].iter().map(Reader::of).collect();
        Ok(Self { nodes, readers })
    }

    /// Sends `count` messages, and waits until all nodes have received them.
    async fn send(&mut self, count: usize) -> anyhow::Result<f64> {
        let before: Vec<usize> = self.readers.iter().map(Reader::count).collect();
        let begun = Stopwatch::start();
        let send_one = |node: Node| async move {
            Ok(node
                .broadcast(RoomName::lobby(), nodes::text(BYTES))
                .await?
                .id)
        };
        let ids = nodes::send_all(&self.nodes[0], count, send_one).await?;
        for (reader, before) in self.readers.iter().zip(before) {
            reader.has(before + count).await;
        }
        let took = begun.elapsed().as_secs_f64();
        nodes::check_delivered(&self.nodes[0], &ids).await?;
        nodes::index(&self.nodes.iter().collect::<Vec<_>>()).await?;
        Ok(many(self.readers.len() * count) / took)
    }
}

async fn here(node: &Node) -> anyhow::Result<Option<RoomInfo>> {
    Ok(node
        .rooms()
        .await?
        .into_iter()
        .find(|room| room.name == RoomName::lobby()))
}
