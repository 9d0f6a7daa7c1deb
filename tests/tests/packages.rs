//! `scripts/package` and the install script of the archive. `scripts/packages/check` also installs the
//! other packages, in a bare Debian folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hobnob_tests::lab::hobnob_binary;

fn run(command: &mut Command) -> Output {
    let output = command.output();
    output.unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn succeeds(command: &mut Command) -> String {
    let output = run(command);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).expect("it writes text")
}

/// The unpacked archive of the programs of this build.
fn unpacked(dir: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let hobnob = hobnob_binary();
    let programs = hobnob.parent().expect("a program is in a folder");
    let mut package = Command::new(root.join("scripts/package"));
    package.args(["tar", "sbom", "--programs"]).arg(programs);
    let sums = succeeds(package.arg("--out").arg(dir));
    assert!(
        sums.contains(".tar.gz") && sums.contains(".cdx.json"),
        "{sums}"
    );
    succeeds(
        Command::new("sh")
            .current_dir(dir)
            .args(["-c", "sha256sum --check SHA256SUMS && tar -xf *.tar.gz"]),
    );
    let mut entries = fs::read_dir(dir).expect("it is there").flatten();
    let folder = entries.find(|entry| entry.path().is_dir());
    folder.expect("the archive has a folder").path()
}

fn files(dir: &Path) -> Vec<String> {
    let list = succeeds(
        Command::new("find")
            .current_dir(dir)
            .args([".", "-type", "f"]),
    );
    list.lines().map(str::to_owned).collect()
}

#[test]
fn the_archive_is_installed_and_removed_and_a_damaged_one_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = unpacked(dir.path());
    let prefix = dir.path().join("a prefix");
    let install = || {
        let mut install = Command::new(folder.join("install.sh"));
        install.arg("--prefix").arg(&prefix);
        install
    };
    // A second installation replaces the first.
    for _ in 0..2 {
        assert!(succeeds(&mut install()).contains("is installed in"));
    }
    for program in ["bin/hobnob", "bin/hobnob-relay"] {
        let version = succeeds(Command::new(prefix.join(program)).arg("--version"));
        assert!(
            version.ends_with(concat!(env!("CARGO_PKG_VERSION"), "\n")),
            "{version}"
        );
    }
    let unit = fs::read_to_string(prefix.join("lib/systemd/system/hobnob-relay.service"));
    let starts = format!("ExecStart={}/bin/hobnob-relay --home", prefix.display());
    assert!(unit.expect("it is installed").contains(&starts));
    let page = prefix.join("share/man/man8/hobnob-relay.8.gz");
    let page = succeeds(Command::new("gzip").arg("-dc").arg(page));
    assert!(
        !page.contains("hobnob relay"),
        "the page is of the program hobnob-relay"
    );

    assert!(succeeds(install().arg("--uninstall")).contains("is removed"));
    assert_eq!(files(&prefix), [""; 0]);
    let again = run(install().arg("--uninstall"));
    assert_eq!(again.status.code(), Some(1));

    let mut program = fs::read(folder.join("bin/hobnob")).expect("it is there");
    *program.last_mut().expect("it is not empty") ^= 1;
    fs::write(folder.join("bin/hobnob"), program).expect("it is written");
    let refused = run(&mut install());
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{errors}");
    assert!(errors.contains("download the archive again"), "{errors}");
    assert_eq!(files(&prefix), [""; 0]);
}
