//! A long-running `hobnob` process and the JSON lines that it prints.

use std::collections::BTreeSet;
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::home::Home;
use super::memory;
use super::process::hobnob_binary;
use super::transcript::{Printed, Transcript};
use super::usage::{self, Usage};
use super::wait::until;

/// A process in a home. It can be stopped and started again. It is killed when this value is
/// dropped.
#[derive(Debug)]
pub(super) struct Daemon {
    home: Home,
    arguments: Vec<String>,
    /// The name of the field with the identity in its `listening` line.
    identity: &'static str,
    id: OnceLock<String>,
    transcript: Arc<Transcript>,
    running: Mutex<Option<Running>>,
}

/// The process and the threads that read its pipes.
#[derive(Debug)]
struct Running {
    process: Child,
    readers: [JoinHandle<()>; 2],
}

impl Daemon {
    pub(super) fn new(home: Home, identity: &'static str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&a| a.to_owned()).collect();
        Self {
            home,
            arguments,
            identity,
            id: OnceLock::new(),
            transcript: Arc::default(),
            running: Mutex::default(),
        }
    }

    /// The id of the node or relay.
    pub(super) fn id(&self) -> &str {
        self.id
            .get()
            .expect("a started process has reported its id")
    }

    /// Starts the process and waits until it listens.
    pub(super) fn start(&self) {
        if let Err(why) = self.try_start() {
            panic!("{} did not start: {why}", self.name());
        }
    }

    /// Starts the process and returns immediately.
    pub(super) fn launch(&self) {
        let mut running = self.running();
        assert!(running.is_none(), "{} is running already", self.name());
        let home = self.home.shown();
        let fixed = ["--json", "--home", &home];
        let verbose = std::env::var(VERBOSE).ok();
        let given = self.arguments.iter().map(String::as_str);
        let arguments: Vec<&str> = fixed
            .into_iter()
            .chain(given)
            .chain(verbose.as_deref())
            .collect();
        self.transcript.begin_run();
        let mut process =
            self.home
                .machine()
                .spawn(hobnob_binary(), &arguments, self.home.environment());
        let (out, err) = (
            process.stdout.take().expect("piped"),
            process.stderr.take().expect("piped"),
        );
        let (events, errors) = (Arc::clone(&self.transcript), Arc::clone(&self.transcript));
        let copy_as = verbose.map(|_| self.name().to_owned());
        let readers = [
            std::thread::spawn(move || events.read_events(out)),
            std::thread::spawn(move || errors.read_errors(err, copy_as.as_deref())),
        ];
        *running = Some(Running { process, readers });
    }

    /// Starts the process and waits until it listens or exits.
    pub(super) fn try_start(&self) -> Result<(), String> {
        self.launch();
        let listening = self.transcript.wait(STARTING, |printed| {
            let line = printed
                .this_run()
                .iter()
                .find(|event| event["event"] == "listening")?;
            Some(
                line[self.identity]
                    .as_str()
                    .expect("a listening line has an identity")
                    .to_owned(),
            )
        });
        match listening {
            Ok(id) => {
                assert_eq!(
                    &id,
                    self.id.get_or_init(|| id.clone()),
                    "{} has another identity than before",
                    self.name()
                );
                Ok(())
            }
            Err(why) => {
                self.kill9();
                Err(why)
            }
        }
    }

    /// Kills the process, like a power failure.
    pub(super) fn kill9(&self) {
        if let Some(mut running) = self.running().take() {
            // The process may have exited already.
            let _ = running.process.kill();
            let _ = running.process.wait();
            running.join();
        }
    }

    /// Stops the process for now (SIGSTOP): the system still receives for it, and nothing answers.
    pub(super) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Undoes [`Daemon::freeze`].
    pub(super) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let running = self.running();
        let running = running
            .as_ref()
            .expect("only a running process is signalled");
        kill_process(running.pid(), signal).expect("the process is ours");
    }

    /// Sends SIGTERM, waits until the process exits, and checks its exit code.
    pub(super) fn terminate(&self) {
        let mut running = self
            .running()
            .take()
            .unwrap_or_else(|| panic!("{} is not running", self.name()));
        kill_process(running.pid(), Signal::TERM).expect("the process is ours");
        let ended = until(
            &format!("{} exits on SIGTERM", self.name()),
            STARTING,
            || {
                running
                    .process
                    .try_wait()
                    .expect("the process is ours")
                    .ok_or_else(|| "it still runs".to_owned())
            },
        );
        running.join();
        assert_eq!(
            ended.code(),
            Some(0),
            "{} did not exit with code 0",
            self.name()
        );
    }

    /// Waits until `check` returns a value for the output.
    pub(super) fn wait<T>(
        &self,
        what: &str,
        within: Duration,
        check: impl FnMut(&Printed) -> Option<T>,
    ) -> T {
        self.transcript
            .wait(within, check)
            .unwrap_or_else(|why| panic!("{} did not {what}: {why}", self.name()))
    }

    /// Passes the output so far to a function.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Printed) -> T) -> T {
        self.transcript.look(look)
    }

    /// Which of these words are in the memory of the process.
    pub(super) fn memory_contains(&self, words: &[String]) -> BTreeSet<String> {
        let running = self.running();
        memory::search(running.as_ref().expect("it is running").pid(), words)
    }

    /// Keeps only those events from now on that fit.
    pub(super) fn keep_only(&self, fits: fn(&Value) -> bool) {
        self.transcript.keep_only(fits);
    }

    /// What the process and its home use now.
    pub(super) fn usage(&self) -> Usage {
        let running = self.running();
        let process = running.as_ref().expect("it is running").pid();
        Usage::of(process, self.home.path())
    }

    /// The processor time that the process has used.
    pub(super) fn processor_time(&self) -> Duration {
        let running = self.running();
        usage::processor_time(running.as_ref().expect("it is running").pid())
    }

    /// The memory that the process uses now, in bytes.
    pub(super) fn memory(&self) -> u64 {
        let running = self.running();
        memory::resident(running.as_ref().expect("it is running").pid())
    }

    fn name(&self) -> &str {
        self.home.nick()
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn pid(&self) -> Pid {
        i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id is a positive i32")
    }

    fn join(self) {
        for reader in self.readers {
            let _ = reader.join();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// Time limit for starting and for stopping, on a machine that is busy with other tests.
const STARTING: Duration = Duration::from_secs(30);

/// Set this variable to `-v` or `-vv` to investigate a failure. Every program in the lab gets this
/// option, and its log is copied to the standard error of the test.
const VERBOSE: &str = "LAB_VERBOSE";
