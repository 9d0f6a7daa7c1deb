//! One machine's worth of isolation: a network, mount and process namespace, and how a command gets
//! in there.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::process::{Output, finish, pipes};

/// Namespaces that end, with every process in them, when this value or this process does.
#[derive(Debug)]
pub(super) struct Namespace {
    /// Has the namespaces; waits for the first process in them, which reads our end of a pipe until
    /// it closes.
    holder: Child,
    network: File,
    processes: File,
}

impl Namespace {
    /// New, empty ones: no interface but loopback, which is up.
    pub(super) fn new() -> Self {
        let mut holder = Command::new("unshare")
            .args([
                "--net",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "sh",
                "-c",
                "ip link set lo up; echo up; exec cat",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare(1), of package util-linux, runs");
        let mut line = String::new();
        let out = holder.stdout.take().expect("piped above");
        BufReader::new(out)
            .read_line(&mut line)
            .expect("the holder's output is text");
        assert_eq!(line, "up\n", "the holder of a namespace did not come up");
        let pid = holder.id();
        let open = |kind| File::open(format!("/proc/{pid}/ns/{kind}")).expect("the holder lives");
        Self {
            network: open("net"),
            processes: open("pid_for_children"),
            holder,
        }
    }

    /// A process id that tells `ip link … netns` which network this is.
    pub(super) fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// A command that will see the mounts of this namespace once [`Namespace::spawn`] starts it.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()))
            .arg("--")
            .arg(program);
        command
    }

    /// Starts the command in here. The child's process id is that of the command itself.
    ///
    /// A thread of its own enters the namespaces, which hold for its children, and ends.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let enter_and_spawn = || {
            move_into_link_name_space(self.network.as_fd(), Some(LinkNameSpaceType::Network))?;
            move_into_link_name_space(self.processes.as_fd(), Some(LinkNameSpaceType::ProcessID))?;
            command.spawn()
        };
        std::thread::scope(|scope| {
            scope
                .spawn(enter_and_spawn)
                .join()
                .expect("entering a namespace does not panic")
        })
    }

    /// Does something in this network, on a thread of its own.
    pub(super) fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let enter_and_act = || {
            move_into_link_name_space(self.network.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("we may enter what we made");
            act()
        };
        std::thread::scope(|scope| scope.spawn(enter_and_act).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs one of the tools that build networks to its end, in this network.
    ///
    /// It stays outside of the process namespace, where process ids name other networks to `ip`.
    pub(super) fn tool(&self, program: &str, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.pid()))
            .args(["--", program])
            .args(arguments);
        pipes(&mut command);
        let child = command
            .spawn()
            .expect("nsenter(1), of package util-linux, runs");
        finish(
            format!("{program} {} <<< {input:?}", arguments.join(" ")),
            child,
            input,
            TOOL_TIME,
        )
    }

    /// Runs lines of `ip`, which must all succeed.
    pub(super) fn ip(&self, lines: &str) {
        self.tool("ip", &["-batch", "-"], lines).expect(0);
    }

    /// Replaces rules of nftables, all at once.
    pub(super) fn nft(&self, rules: &str) {
        self.tool("nft", &["-f", "-"], rules).expect(0);
    }

    /// Sets a setting of this network, below `/proc/sys/net`.
    pub(super) fn set(&self, setting: &str, value: impl std::fmt::Display) {
        let line = format!("echo {value} > /proc/sys/net/{setting}");
        self.tool("sh", &["-c", &line], "").expect(0);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Killing the holder kills the first process inside (`--kill-child`), and the kernel then
        // kills all others.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// For `ip`, `nft` and the like to end.
const TOOL_TIME: Duration = Duration::from_secs(30);
