//! The operator's commands on a relay that runs as another user. They need root, which
//! `scripts/test` checks.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A user and groups that no machine has.
const RELAY: u32 = 61_234;
const STRANGER: u32 = 61_235;
const ADMINS: u32 = 61_240;

/// The groups of a process besides the group of its user.
#[derive(Clone, Copy)]
enum Groups {
    None,
    /// The group is the first one of the process, as with `Group=` in a unit.
    First(u32),
    /// The group is a supplementary one, as with `usermod --append --groups`.
    Other(u32),
}

/// The program as another user, who is in these groups beside its own.
fn program_as(user: u32, groups: Groups, program: &Path) -> Command {
    let (first, others) = match groups {
        Groups::None => (user, "--clear-groups".to_owned()),
        Groups::First(group) => (group, "--clear-groups".to_owned()),
        Groups::Other(group) => (user, format!("--groups={group}")),
    };
    let groups = others;
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={user}"))
        .arg(format!("--regid={first}"))
        .arg(groups)
        .arg("--")
        .arg(program)
        .env_remove("HOBNOB_HOME")
        .stdin(Stdio::null());
    command
}

/// A relay as systemd would run it with `DynamicUser`: a user of its own, a closed state folder and
/// an open runtime folder.
struct Service {
    process: Child,
    folder: TempDir,
    /// A copy of the program in a place that every user can reach.
    program: PathBuf,
}

impl Service {
    fn start(arguments: &[&str], groups: Groups) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
        };
        mode(folder.path(), 0o755);
        for (name, access) in [("state", 0o700), ("run", 0o755)] {
            let dir = folder.path().join(name);
            fs::create_dir(&dir).expect("a folder");
            chown(&dir, Some(RELAY), Some(RELAY)).expect("these tests need root");
            mode(&dir, access);
        }
        let program = folder.path().join("hobnob-relay");
        fs::copy(env!("CARGO_BIN_EXE_hobnob-relay"), &program).expect("copies");
        mode(&program, 0o755);
        let mut process = program_as(RELAY, groups, &program)
            .args(["--listen", "127.0.0.1:0", "--json"])
            .arg("--home")
            .arg(folder.path().join("state"))
            .arg("--admin-socket")
            .arg(folder.path().join("run/control.sock"))
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("setpriv runs");
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().expect("is piped"))
            .read_line(&mut line)
            .expect("reads");
        assert!(line.contains("listening"), "{line:?}");
        Self {
            process,
            folder,
            program,
        }
    }

    /// The output of a command of this user, and its exit code.
    fn says(&self, user: u32, groups: Groups, arguments: &[&str]) -> (String, Option<i32>) {
        let output = program_as(user, groups, &self.program)
            .arg("--admin-socket")
            .arg(self.folder.path().join("run/control.sock"))
            .args(arguments)
            .output()
            .expect("setpriv runs");
        let text = [output.stdout, output.stderr].concat();
        (String::from_utf8(text).expect("text"), output.status.code())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.process.kill();
        let _code = self.process.wait();
    }
}

#[test]
fn root_may_use_the_commands_and_other_users_may_not() {
    let service = Service::start(&[], Groups::None);
    assert_eq!(
        service.says(0, Groups::None, &["peers"]),
        (String::new(), Some(0))
    );
    let banned = service.says(0, Groups::None, &["ban", "192.0.2.0/24"]);
    assert_eq!(banned, ("banned 192.0.2.0/24\n".to_owned(), Some(0)));
    let bans = service.says(RELAY, Groups::None, &["bans"]);
    assert_eq!(bans, ("banned 192.0.2.0/24\n".to_owned(), Some(0)));
    for groups in [Groups::None, Groups::Other(ADMINS)] {
        let (text, exit) = service.says(STRANGER, groups, &["peers"]);
        assert!(
            exit == Some(1) && text.contains("you may not use the relay"),
            "{exit:?} {text}"
        );
    }
}

#[test]
fn members_of_the_admin_group_may_use_the_commands() {
    let group = ADMINS.to_string();
    for own in [Groups::First(ADMINS), Groups::Other(ADMINS)] {
        let service = Service::start(&["--admin-group", &group], own);
        let socket = service.folder.path().join("run/control.sock");
        let mode = socket.metadata().expect("exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let succeeds = |groups, command: &[&str]| {
            let (text, exit) = service.says(STRANGER, groups, command);
            assert_eq!(exit, Some(0), "{command:?}: {text}");
        };
        for member in [Groups::First(ADMINS), Groups::Other(ADMINS)] {
            succeeds(member, &["peers"]);
            succeeds(member, &["ban", "2001:db8::/32"]);
            succeeds(member, &["bans"]);
            succeeds(member, &["unban", "2001:db8::/32"]);
        }
        let (text, exit) = service.says(STRANGER, Groups::None, &["peers"]);
        assert!(
            exit == Some(1) && text.contains("--admin-group"),
            "{exit:?} {text}"
        );
        assert_eq!(service.says(0, Groups::None, &["peers"]).1, Some(0));
    }
}

#[test]
fn root_finds_the_socket_by_the_home_of_the_relay() {
    let service = Service::start(&[], Groups::None);
    let home = service.folder.path().join("state");
    let output = Command::new(&service.program)
        .arg("--home")
        .arg(&home)
        .arg("bans")
        .output()
        .expect("runs");
    assert!(output.status.success(), "{output:?}");
}

/// The check of the credentials alone, as if the permissions of the socket had failed.
#[test]
fn a_process_outside_the_group_is_refused_even_if_it_can_connect() {
    let group = ADMINS.to_string();
    let service = Service::start(&["--admin-group", &group], Groups::Other(ADMINS));
    let socket = service.folder.path().join("run/control.sock");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).expect("a mode");
    let (text, exit) = service.says(STRANGER, Groups::None, &["peers"]);
    assert!(
        exit == Some(1) && !text.contains("--admin-group"),
        "{exit:?} {text}"
    );
    assert_eq!(
        service.says(STRANGER, Groups::Other(ADMINS), &["peers"]).1,
        Some(0)
    );
}
