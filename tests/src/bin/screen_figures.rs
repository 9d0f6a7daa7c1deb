//! Measures processor time, memory and response times of the full-screen chat in a real terminal:
//! idle, during a flood of messages, beside a large file, and in a long conversation. `scripts/screen-figures` runs it.
//! It fails if a value exceeds its limit.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use hobnob::{DeliveryState, Node};
use hobnob_control::wire::{SendMessage, SentLine, Text, WaitOptions};
use hobnob_control::{Client, ClientError, Home};
use hobnob_protocol::{Body, RoomName, SecretKey, Target};
use hobnob_tests::lab::{Lab, Size, Stopwatch, Terminal, pause};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const SCREEN: Size = Size {
    columns: 100,
    rows: 30,
};

/// Messages per second of the flood, and its duration.
const FLOOD: usize = 10_000;

/// Messages per second beside a file, and the size of the file.
const BESIDE_FILE: usize = 2_000;
const FILE_BYTES: u64 = 1 << 30;
const FLOOD_TIME: Duration = Duration::from_secs(10);

/// Maximum number of concurrent requests.
const IN_FLIGHT: usize = 240;

/// Limits of the measured values.
const KEY_MS: f64 = 50.0;
const KEY_P99_MS: f64 = 20.0;
const FRAMES_A_SECOND: f64 = 61.0;
const IDLE_PERCENT: f64 = 1.0;
const OPEN_MS: f64 = 100.0;
const MEMORY_MIB: f64 = 100.0;

fn main() -> anyhow::Result<()> {
    let entries: usize = std::env::args()
        .nth(1)
        .map_or(Ok(1_000_000), |n| n.parse())
        .context("the argument is the number of entries")?;
    let lab = Lab::open();
    let switch = lab.switch();
    let (machine, other) = (switch.machine("ann"), switch.machine("bob"));
    let node = machine.up("ann", &[]);
    let home = node.home().path().to_owned();
    // The tasks of this runtime use the network of bob's machine.
    let runtime = other.inside(Runtime::new)?;
    let screen = || {
        machine.terminal(
            hobnob_tests::lab::hobnob_binary(),
            &["--home", &home.to_string_lossy()],
            SCREEN,
        )
    };

    let mut ann = screen();
    ann.shows("ann (");
    idle(&ann)?;
    flood(&mut ann, &runtime)?;
    ann.enters("/quit");
    ann.ends();

    runtime.block_on(fill(&home, entries))?;
    long(screen(), entries)
}

/// Measures the processor time of an idle screen.
fn idle(screen: &Terminal) -> anyhow::Result<()> {
    const WATCHED: Duration = Duration::from_secs(10);
    // Idle except for the spinner of an empty room.
    let before = processor_time(screen.pid())?;
    pause(WATCHED);
    let percent = (processor_time(screen.pid())? - before) / WATCHED.as_secs_f64() * 100.0;
    println!("idle, while it searches for peers: {percent:.2} % of a processor");
    ensure!(percent < IDLE_PERCENT, "more than {IDLE_PERCENT} %");
    Ok(())
}

/// Measures the response time of keys, and the frames per second, while messages arrive from
/// another machine.
fn flood(screen: &mut Terminal, runtime: &Runtime) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let bob = runtime
        .block_on(runtime.spawn(Node::builder(dir.path()).nick("bob".parse()?).start()))??;
    screen.shows("bob");
    let flooding = runtime.spawn(send_flood(bob.clone(), FLOOD));
    screen.shows("flood 1");
    let (begun, frames_before) = (Stopwatch::start(), frames(screen));
    let keys = press_keys(screen, |_| {
        begun.elapsed() > FLOOD_TIME - Duration::from_secs(2)
    })?;
    let a_second = (frames(screen) - frames_before) as f64 / begun.elapsed().as_secs_f64();
    let sent = runtime.block_on(flooding)??;
    screen.shows("the flood is over");
    let rate = sent as f64 / begun.elapsed().as_secs_f64();
    println!("{rate:.0} messages per second: {keys}; {a_second:.1} frames per second");
    ensure!(
        rate >= FLOOD as f64 * 0.95,
        "fewer than {FLOOD} messages per second"
    );
    ensure!(
        a_second <= FRAMES_A_SECOND,
        "more than {FRAMES_A_SECOND} frames per second"
    );
    ensure!(keys.worst() <= KEY_MS, "a key took more than {KEY_MS} ms");
    beside_file(screen, runtime, &bob, dir.path())?;
    runtime.block_on(bob.shutdown());
    Ok(())
}

/// Measures the response time of keys while a large file and messages arrive.
fn beside_file(
    screen: &mut Terminal,
    runtime: &Runtime,
    bob: &Node,
    folder: &Path,
) -> anyhow::Result<()> {
    let film = folder.join("film.bin");
    std::fs::File::create(&film)?.set_len(FILE_BYTES)?;
    runtime.block_on(bob.offer_in(RoomName::lobby(), film))?;
    screen.shows("film.bin");
    let flooding = runtime.spawn(send_flood(bob.clone(), BESIDE_FILE));
    screen.enters("/accept film.bin");
    // Until the file is here, or the flood is over.
    let begun = Stopwatch::start();
    let is_over = |screen: &Terminal| {
        begun.elapsed() > FLOOD_TIME - Duration::from_secs(2) || screen.screen().contains("saved")
    };
    let keys = press_keys(screen, is_over)?;
    let took = begun.elapsed();
    let sent = runtime.block_on(flooding)??;
    screen.shows("the flood is over");
    println!(
        "a file of 1 GiB for {took:.1?}, and {:.0} messages per second: {keys}",
        sent as f64 / FLOOD_TIME.as_secs_f64()
    );
    ensure!(
        keys.p99() < KEY_P99_MS,
        "of a hundred keys, one took more than {KEY_P99_MS} ms"
    );
    Ok(())
}

/// Response times in milliseconds, sorted.
struct Keys(Vec<f64>);

impl Keys {
    fn worst(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    fn p99(&self) -> f64 {
        self.0[(self.0.len() * 99).div_ceil(100) - 1]
    }
}

impl std::fmt::Display for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (count, median) = (self.0.len(), self.0[self.0.len() / 2]);
        let (p99, worst) = (self.p99(), self.worst());
        write!(
            f,
            "{count} keys, response time {median:.1} ms (median), {p99:.1} ms (p99), {worst:.1} ms (worst)"
        )
    }
}

/// Types words, and measures how long each takes to the screen.
fn press_keys(screen: &mut Terminal, is_over: impl Fn(&Terminal) -> bool) -> anyhow::Result<Keys> {
    let mut times = Vec::new();
    for n in 0_u32.. {
        if is_over(screen) {
            break;
        }
        let word = format!("k{n}e");
        let pressed = Stopwatch::start();
        screen.presses(&word);
        screen.until(&word, |shown| {
            shown
                .lines()
                .last()
                .is_some_and(|input| input.contains(&word))
        });
        times.push(pressed.elapsed().as_secs_f64() * 1000.0);
        screen.presses("\x15");
        pause(Duration::from_millis(37));
    }
    ensure!(!times.is_empty(), "no key was pressed");
    times.sort_by(f64::total_cmp);
    Ok(Keys(times))
}

/// Sends the messages of the flood at an even rate. Returns how many it sent.
async fn send_flood(bob: Node, a_second: usize) -> anyhow::Result<usize> {
    let begun = Stopwatch::start();
    let (mut sent, mut answers) = (0, JoinSet::new());
    while begun.elapsed() < FLOOD_TIME {
        while sent < usize::try_from(begun.elapsed().as_millis())? * a_second / 1000 {
            sent += 1;
            if answers.len() >= IN_FLIGHT {
                answers
                    .join_next()
                    .await
                    .context("requests are in flight")???;
            }
            let bob = bob.clone();
            answers.spawn(async move {
                bob.broadcast(RoomName::lobby(), format!("flood {sent}").into())
                    .await
            });
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    while let Some(answer) = answers.join_next().await {
        answer??;
    }
    bob.broadcast(RoomName::lobby(), "the flood is over".into())
        .await?;
    Ok(sent)
}

/// Fills a conversation with a peer that is never online. A room stores fewer entries of one
/// author.
async fn fill(home: &Path, entries: usize) -> anyhow::Result<()> {
    let target: Target = format!("hobnob:{}", SecretKey::from_seed([7; 32]).id()).parse()?;
    let client = Client::connect(&Home::at(home)?).await?;
    let mut answers = JoinSet::new();
    for n in 0..entries {
        let body = Body::Text(format!(
            "entry {n} of a long conversation, as long as such lines are"
        ))
        .into();
        begin(
            &client,
            SendMessage {
                client_id: None,
                target: Text(target.clone()),
                body,
                options: QUEUED,
            },
            &mut answers,
        )
        .await?;
    }
    answers.join_all().await;
    Ok(())
}

/// Starts a request. Waits first if too many are in flight.
async fn begin(
    client: &Client,
    request: SendMessage,
    answers: &mut JoinSet<Result<SentLine, ClientError>>,
) -> anyhow::Result<()> {
    if answers.len() >= IN_FLIGHT {
        answers.join_next().await;
    }
    answers.spawn(client.begin(request).await?);
    Ok(())
}

/// Opens the long conversation, scrolls through it, and measures times and memory.
fn long(mut screen: Terminal, entries: usize) -> anyhow::Result<()> {
    screen.shows("2 @");
    let last = format!("entry {} of", entries - 1);
    let opened = Stopwatch::start();
    screen.presses("\x1b2");
    screen.shows(&last);
    let ms = opened.elapsed().as_secs_f64() * 1000.0;
    let jump = Stopwatch::start();
    screen.presses("\x1b[1;3H");
    screen.shows("entry 0 of");
    let jump_ms = jump.elapsed().as_secs_f64() * 1000.0;
    screen.presses("\x1b[1;3F");
    screen.shows(&last);
    for _ in 0..500 {
        screen.presses("\x1b[5~");
    }
    screen.hides(&last);
    pause(Duration::from_secs(2));
    let mib = resident_mib(screen.pid())?;
    println!(
        "a conversation of {entries} entries: opens in {ms:.1} ms, jumps to its start in {jump_ms:.1} ms, uses {mib:.1} MiB"
    );
    ensure!(ms < OPEN_MS, "more than {OPEN_MS} ms");
    ensure!(mib < MEMORY_MIB, "more than {MEMORY_MIB} MiB");
    Ok(())
}

const QUEUED: WaitOptions = WaitOptions {
    wait: DeliveryState::Queued,
    timeout_ms: 0,
};

/// Counts the frames drawn so far: each one ends by showing the cursor.
fn frames(screen: &Terminal) -> usize {
    screen
        .bytes()
        .windows(SHOWN.len())
        .filter(|bytes| *bytes == SHOWN)
        .count()
}

const SHOWN: &[u8] = b"\x1b[?25h";

/// Seconds of processor time used so far (proc(5): fields 14 and 15 of stat, in hundredths).
fn processor_time(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .context("the name is in brackets")?
        .split_whitespace()
        .collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks / 100.0)
}

fn resident_mib(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("a process uses memory")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}
