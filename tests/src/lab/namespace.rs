//! The namespaces of one machine (network, mounts and processes), and running commands in them.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::process::{Output, finish, pipes};

/// Namespaces that exist until this value is dropped or this process ends. All processes in them
/// are killed then.
#[derive(Debug)]
pub(super) struct Namespace {
    /// The process that holds the namespaces. It waits for the first process in them, which reads a
    /// pipe from the test until the pipe is closed.
    holder: Child,
    network: File,
    processes: File,
}

impl Namespace {
    /// New namespaces. Their only interface is loopback, which is up.
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
            .expect("unshare(1) of the package util-linux runs");
        let mut line = String::new();
        let out = holder.stdout.take().expect("piped above");
        BufReader::new(out)
            .read_line(&mut line)
            .expect("the holder's output is text");
        assert_eq!(line, "up\n", "the holder of a namespace did not start");
        let pid = holder.id();
        let open = |kind| File::open(format!("/proc/{pid}/ns/{kind}")).expect("the holder runs");
        Self {
            network: open("net"),
            processes: open("pid_for_children"),
            holder,
        }
    }

    /// A process id that names this network for `ip link … netns`.
    pub(super) fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// A command that sees the mounts of this namespace when [`Namespace::spawn`] starts it.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()))
            .arg("--")
            .arg(program);
        command
    }

    /// Starts the command in these namespaces. The child's process id is that of the command
    /// itself.
    ///
    /// A new thread enters the namespaces and starts the command, which inherits them. Then the
    /// thread ends.
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

    /// Runs a function in this network, on a new thread.
    pub(super) fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let enter_and_act = || {
            move_into_link_name_space(self.network.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("a process may enter namespaces that it created");
            act()
        };
        std::thread::scope(|scope| scope.spawn(enter_and_act).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs a tool such as `ip` or `nft` in this network and waits until it exits.
    ///
    /// The tool does not enter the process namespace. There, `ip` could not find other networks by
    /// process id.
    pub(super) fn tool(&self, program: &str, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.pid()))
            .args(["--", program])
            .args(arguments);
        pipes(&mut command);
        let child = command
            .spawn()
            .expect("nsenter(1) of the package util-linux runs");
        finish(
            format!("{program} {} <<< {input:?}", arguments.join(" ")),
            child,
            input,
            TOOL_TIME,
        )
    }

    /// Runs a batch of `ip` commands. All must succeed.
    pub(super) fn ip(&self, lines: &str) {
        self.tool("ip", &["-batch", "-"], lines).expect(0);
    }

    /// Applies nftables rules atomically.
    pub(super) fn nft(&self, rules: &str) {
        self.tool("nft", &["-f", "-"], rules).expect(0);
    }

    /// Changes a setting of this network below `/proc/sys/net`.
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

/// Time limit for `ip`, `nft` and similar tools.
const TOOL_TIME: Duration = Duration::from_secs(30);
