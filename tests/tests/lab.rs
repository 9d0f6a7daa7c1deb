//! Tests of the lab itself: switches, cuts, packet loss, unplugged machines, disks, screens and
//! clocks.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_tests::lab::{Addresses, Lab, Machine, until};

#[test]
fn machines_on_one_switch_reach_each_other_by_ipv4_and_ipv6() {
    let lab = Lab::open();
    let office = lab.switch();
    let (ann, bob) = (office.machine("ann"), office.machine("bob"));
    assert!(reaches(&ann, &bob.ipv4()));
    assert!(reaches(&bob, &ann.ipv4()));
    assert!(reaches(&ann, &bob.ipv6()));
    assert!(reaches(&ann, "127.0.0.1") && reaches(&ann, "::1"));
}

#[test]
fn an_ipv6_only_switch_has_no_ipv4() {
    let lab = Lab::open();
    let office = lab.switch_with(Addresses::Ipv6Only);
    let (ann, bob) = (office.machine("ann"), office.machine("bob"));
    assert!(reaches(&ann, &bob.ipv6()));
    let addresses = ann
        .run("ip", &["-4", "-oneline", "addr", "show", "dev", "eth0"])
        .expect(0);
    assert_eq!(addresses.stdout, "");
}

#[test]
fn a_cut_separates_two_halves_until_it_heals() {
    let lab = Lab::open();
    let office = lab.switch();
    let [ann, bob, cat, dan] = ["ann", "bob", "cat", "dan"].map(|name| office.machine(name));
    lab.cut(&[&ann, &bob]);
    assert!(reaches(&ann, &bob.ipv4()) && reaches(&cat, &dan.ipv4()));
    assert!(!reaches(&ann, &cat.ipv4()) && !reaches(&dan, &bob.ipv6()));
    assert!(has_link(&ann) && has_link(&cat));
    lab.heal();
    // The kernels failed to resolve each other's addresses. They retry after a pause of their own.
    until(
        "the two halves reach each other again",
        Duration::from_secs(10),
        || {
            let one = reaches(&ann, &cat.ipv4()) && reaches(&dan, &bob.ipv6());
            one.then_some(()).ok_or("no answer".to_owned())
        },
    );
}

#[test]
fn a_machine_on_two_switches_does_not_forward_packets() {
    let lab = Lab::open();
    let (left, right) = (lab.switch(), lab.switch());
    let (ann, bob, cat) = (
        left.machine("ann"),
        left.machine("bob"),
        right.machine("cat"),
    );
    bob.join(&right);
    assert!(reaches(&ann, &bob.ipv4()) && reaches(&bob, &cat.ipv4()));
    assert!(!reaches(&ann, &cat.ipv4()));
}

#[test]
fn a_machine_that_moves_gets_a_new_address() {
    let lab = Lab::open();
    let (office, cafe) = (lab.switch(), lab.switch());
    let (ann, bob, carl) = (
        office.machine("ann"),
        office.machine("bob"),
        cafe.machine("carl"),
    );
    let at_work = ann.ipv4();
    assert!(reaches(&ann, &bob.ipv4()));
    ann.move_to(&cafe);
    assert_ne!(ann.ipv4(), at_work);
    assert!(reaches(&ann, &carl.ipv4()) && reaches(&carl, &ann.ipv6()));
    assert!(!reaches(&ann, &bob.ipv4()) && !reaches(&bob, &at_work));
    ann.move_to(&office);
    assert!(reaches(&ann, &bob.ipv4()) && !reaches(&ann, &carl.ipv4()));
}

#[test]
fn an_unplugged_machine_is_silent_but_its_link_stays_up() {
    let lab = Lab::open();
    let office = lab.switch();
    let (ann, bob) = (office.machine("ann"), office.machine("bob"));
    ann.unplug();
    assert!(!reaches(&ann, &bob.ipv4()) && !reaches(&bob, &ann.ipv4()));
    assert!(has_link(&ann));
    ann.plug();
    // Bob's kernel failed to resolve ann's address. It retries after a pause of its own.
    until("bob reaches ann", Duration::from_secs(10), || {
        reaches(&bob, &ann.ipv4())
            .then_some(())
            .ok_or("no answer".to_owned())
    });
}

#[test]
fn loss_drops_about_the_given_share_of_packets() {
    let lab = Lab::open();
    let office = lab.switch();
    let (ann, bob) = (office.machine("ann"), office.machine("bob"));
    assert!(reaches(&ann, &bob.ipv4()));
    bob.loss(50);
    let pings = ann
        .run(
            "ping",
            &["-c", "200", "-i", "0.002", "-W", "1", &bob.ipv4()],
        )
        .stdout;
    let received: u32 = pings
        .split(" received")
        .next()
        .and_then(|s| s.split(' ').next_back())
        .and_then(|n| n.parse().ok())
        .expect("ping counts");
    assert!((60..=140).contains(&received), "{received} of 200");
    bob.loss(0);
    assert!(
        ann.run("ping", &["-c", "50", "-i", "0.002", &bob.ipv4()])
            .stdout
            .contains(" 50 received")
    );
}

#[test]
fn multicast_reaches_every_machine_of_the_switch() {
    let lab = Lab::open();
    let office = lab.switch();
    let machines = ["ann", "bob", "cat"].map(|name| office.machine(name));
    // Every machine answers a ping to the all-nodes address, the sender included.
    let pings = machines[0].run("ping", &["-c", "2", "ff02::1%eth0"]).stdout;
    for other in &machines[1..] {
        let address = other.ipv6();
        let address = address
            .split('%')
            .next()
            .expect("split returns at least one part");
        assert!(pings.contains(address), "{address} is missing: {pings}");
    }
}

#[test]
fn turning_a_machine_off_ends_all_its_programs() {
    let lab = Lab::open();
    let ann = lab.machine("ann");
    let mark = format!("{}", 1_000_000 + std::process::id());
    let background = format!("sleep {mark} > /dev/null 2>&1 < /dev/null &");
    ann.run("sh", &["-c", &background]).expect(0);
    assert_eq!(sleepers(&mark), 1);
    drop(ann);
    until("the program ends", Duration::from_secs(10), || {
        if sleepers(&mark) == 0 {
            Ok(())
        } else {
            Err("it still runs".to_owned())
        }
    });
}

#[test]
fn a_small_disk_exists_on_its_machine_only_and_fills_up() {
    let lab = Lab::open();
    let home = lab.machine("ann").home("ann");
    home.put_on_small_disk("1m");
    home.fill_disk();
    home.machine()
        .run(
            "sh",
            &["-c", &format!("echo hi > {}/note", home.path().display())],
        )
        .expect_one_of(&[1, 2]);
    assert!(
        !home.path().join("filler").exists(),
        "the disk exists on the machine only"
    );
    home.free_disk();
    home.machine()
        .run(
            "sh",
            &["-c", &format!("echo hi > {}/note", home.path().display())],
        )
        .expect(0);
}

#[test]
fn a_read_only_home_refuses_writes() {
    let lab = Lab::open();
    let home = lab.machine("ann").home("ann");
    std::fs::create_dir(home.path()).expect("the lab's folder is writable");
    home.make_read_only();
    home.machine()
        .run("touch", &[&format!("{}/x", home.path().display())])
        .says(&["read-only"]);
}

#[test]
fn a_screen_types_lines_and_records_every_byte() {
    let lab = Lab::open();
    let mut screen = lab
        .machine("ann")
        .screen("sh", &["-c", "read line; printf 'got %s\\033' \"$line\""]);
    screen.types("hi");
    screen.shows("got hi\u{1b}");
    assert_eq!(screen.bytes(), b"got hi\x1b");
}

#[test]
fn a_wrong_clock_affects_only_the_programs_of_its_home() {
    let lab = Lab::open();
    let ann = lab.machine("ann");
    let home = ann.home("ann").with_clock("+3650d");
    let year = |environment: &BTreeMap<String, String>| -> i32 {
        ann.run_with("date", &["+%Y"], environment, "")
            .expect(0)
            .stdout
            .trim()
            .parse()
            .expect("date prints a year")
    };
    assert!((9..=10).contains(&(year(home.environment()) - year(&BTreeMap::new()))));
}

fn reaches(from: &Machine, address: &str) -> bool {
    from.run("ping", &["-c", "1", "-W", "1", address]).code == Some(0)
}

fn has_link(machine: &Machine) -> bool {
    machine
        .run("ip", &["-oneline", "link", "show", "dev", "eth0"])
        .stdout
        .contains("state UP")
}

/// Counts the processes of this system that run `sleep` with this number of seconds.
fn sleepers(seconds: &str) -> usize {
    let commands = std::fs::read_dir("/proc")
        .expect("this is Linux")
        .flatten()
        .map(|entry| entry.path().join("cmdline"));
    let wanted = format!("sleep\0{seconds}\0");
    commands
        .filter(|path| std::fs::read(path).is_ok_and(|line| line == wanted.as_bytes()))
        .count()
}
