//! Programs of other people that read what hobnob says by public standards: a STUN client, an mDNS
//! browser, and the checker of metrics.

use std::collections::BTreeMap;

use hobnob_tests::lab::{Lab, Nat, OnInternet};

#[test]
fn a_stun_client_learns_its_public_address_from_a_relay() {
    let lab = Lab::open();
    let internet = lab.internet();
    let relay = internet.machine("relay").relay(&[]);
    let site = internet.site(Nat::PortRestricted);
    let address = relay.address();
    let (port, host) = (address.port().to_string(), address.ip().to_string());
    let client = site.machine("client");
    let answer = client.run("turnutils_stunclient", &["-p", &port, &host]);
    let answer = answer.expect(0).stdout;
    let public = format!("UDP reflexive addr: {}:", site.public_ipv4());
    assert!(answer.contains(&public), "{answer}");
}

/// Starts a system bus and Avahi's daemon in a mount namespace of their own, and browses until there
/// is a resolved service.
const BROWSE: &str = r#"
set -eu
mount -t tmpfs none /run
mkdir /run/avahi-daemon
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/bus
dbus-daemon --config-file="$1" --nofork & bus=$!
trap 'kill $bus $avahi 2>/dev/null' EXIT
until [ -S /run/bus ]; do kill -0 $bus; sleep 0.05; done
avahi-daemon --no-drop-root --no-chroot --no-rlimits --file="$2" >&2 & avahi=$!
until avahi-browse --resolve --parsable --terminate _hobnob._udp | grep '^='; do
    kill -0 $avahi
    sleep 0.2
done
"#;

const BUS: &str = r#"<busconfig><type>system</type><listen>unix:path=/run/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
</busconfig>"#;

#[test]
fn an_mdns_browser_finds_a_node() {
    let lab = Lab::open();
    let lan = lab.switch();
    let [a, b] = ["a", "b"].map(|name| lab.machine(name));
    a.join(&lan);
    b.join(&lan);
    let ann = a.up("ann", &[]);
    let bus = lab.file("bus.conf", BUS);
    let avahi = lab.file(
        "avahi.conf",
        "[server]\n[publish]\n[reflector]\n[rlimits]\n",
    );
    let script = ["--mount", "sh", "-c", BROWSE, "sh", &bus, &avahi];
    let found = b.run("unshare", &script).expect(0).stdout;
    // =;interface;protocol;name;type;domain;host;address;port;text
    let fits = |line: &&str| line.contains(ann.id()) && line.contains(&format!(";{};", a.ipv4()));
    let line = found.lines().find(fits);
    let line = line.unwrap_or_else(|| panic!("{} at {} is missing: {found}", ann.id(), a.ipv4()));
    assert!(line.contains(";_hobnob._udp;local;"), "{line}");
}

#[test]
fn the_checker_of_prometheus_accepts_the_metrics_and_the_alerts() {
    let lab = Lab::open();
    let internet = lab.internet();
    let machine = internet.machine("relay");
    let relay = machine.relay(&["--status", "127.0.0.1:9627"]);
    let ann = machine.up("ann", &["--relay", &relay.name()]);
    ann.notices("relay-up");
    let metrics = machine.run(
        "curl",
        &["--silent", "--fail", "http://127.0.0.1:9627/metrics"],
    );
    let metrics = metrics.expect(0).stdout;
    assert!(
        metrics.contains("\nhobnob_relay_peers{state=\"alive\"} 1\n"),
        "{metrics}"
    );
    let check = ["check", "metrics"];
    let checked = machine.run_with("promtool", &check, &BTreeMap::new(), &metrics);
    checked.expect(0);
    let alerts = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../scripts/monitoring/alerts.yml"
    );
    machine
        .run("promtool", &["check", "rules", alerts])
        .expect(0);
}
