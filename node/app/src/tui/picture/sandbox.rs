//! Takes from this process what a decoder does not need: files, sockets, other processes, and more
//! than a fair share of memory and time. What it inherited besides standard input and output is of no
//! use to it either.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// The address space of the process. Decoding takes 220 MB at most.
const MEMORY_MAX: u64 = 512 * 1024 * 1024;

/// Processor time in seconds. Decoding takes 1.6 s at most.
const SECONDS_MAX: u64 = 10;

/// Confines this process for the rest of its life. It can then only read and write what is open,
/// use memory, and exit.
pub(super) fn enter() -> io::Result<()> {
    let limits = [
        (Resource::As, MEMORY_MAX),
        (Resource::Cpu, SECONDS_MAX),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nofile, 0),
    ];
    for (resource, most) in limits {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, limit)?;
    }
    refuse_system_calls()
}

/// Other systems have the limits only.
#[cfg(not(target_os = "linux"))]
fn refuse_system_calls() -> io::Result<()> {
    Ok(())
}

/// From now on, all system calls of this thread but a few fail with "operation not permitted".
#[cfg(target_os = "linux")]
fn refuse_system_calls() -> io::Result<()> {
    let filter = seccomp::filter().map_err(io::Error::other)?;
    seccompiler::apply_filter(&filter).map_err(io::Error::other)
}

#[cfg(target_os = "linux")]
mod seccomp {
    use std::collections::BTreeMap;

    use rustix::io::Errno;
    use seccompiler::{
        BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
        SeccompFilter, SeccompRule,
    };

    /// In the third argument of `mmap` and `mprotect`: memory that can be executed.
    const EXECUTABLE: u64 = 0x4;

    /// In the fourth argument of `mmap`: memory, not a file.
    const ANONYMOUS: u64 = 0x20;

    /// The calls that a decoder and the allocator need.
    pub(super) fn filter() -> Result<BpfProgram, BackendError> {
        let allowed = [
            libc::SYS_close,
            libc::SYS_brk,
            libc::SYS_munmap,
            libc::SYS_mremap,
            libc::SYS_madvise,
            libc::SYS_futex,
            libc::SYS_getrandom,
            libc::SYS_clock_gettime,
            libc::SYS_sched_yield,
            libc::SYS_sigaltstack,
            libc::SYS_rt_sigprocmask,
            libc::SYS_rt_sigreturn,
            libc::SYS_exit,
            libc::SYS_exit_group,
        ];
        let is = |argument, value| {
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
        };
        let has = |argument, mask, value| {
            SeccompCondition::new(
                argument,
                SeccompCmpArgLen::Dword,
                SeccompCmpOp::MaskedEq(mask),
                value,
            )
        };
        let mut rules: BTreeMap<_, _> = allowed.map(|call| (call, Vec::new())).into();
        let rule = SeccompRule::new;
        rules.insert(libc::SYS_read, vec![rule(vec![is(0, 0)?])?]);
        let outputs = vec![rule(vec![is(0, 1)?])?, rule(vec![is(0, 2)?])?];
        rules.insert(libc::SYS_write, outputs);
        let memory = vec![has(2, EXECUTABLE, 0)?, has(3, ANONYMOUS, ANONYMOUS)?];
        rules.insert(libc::SYS_mmap, vec![rule(memory)?]);
        let not_executable = vec![has(2, EXECUTABLE, 0)?];
        rules.insert(libc::SYS_mprotect, vec![rule(not_executable)?]);
        let refused = SeccompAction::Errno(Errno::PERM.raw_os_error().unsigned_abs());
        SeccompFilter::new(
            rules,
            refused,
            SeccompAction::Allow,
            std::env::consts::ARCH.try_into()?,
        )?
        .try_into()
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::net::UdpSocket;
    use std::process::Command;

    use super::*;

    #[test]
    fn after_the_filter_nothing_can_be_opened_read_or_started() {
        // The filter applies to its thread only.
        let mut open = File::open("/etc/hostname").expect("every system has it");
        let confined = std::thread::spawn(move || {
            refuse_system_calls().expect("the kernel knows filters");
            let refused = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
            assert!(refused(File::open("/etc/hostname").unwrap_err()));
            assert!(refused(open.read_exact(&mut [0]).unwrap_err()));
            assert!(refused(UdpSocket::bind("127.0.0.1:0").unwrap_err()));
            assert!(refused(Command::new("true").spawn().unwrap_err()));
            // There is still memory.
            assert_eq!(vec![1_u8; 10 * 1024 * 1024].len(), 10 * 1024 * 1024);
        });
        confined.join().expect("confined as described");
    }
}
