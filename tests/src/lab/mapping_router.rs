//! A router that maps ports at the request of its machines: the program `miniupnpd`, as on many home
//! routers.

use std::process::Child;
use std::time::Duration;

use super::namespace::Namespace;
use super::nat::WAN;
use super::process::pipes;
use super::switch::Switch;
use super::wait::until;

/// The protocols that a router speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocols {
    /// PCP. Its port is also that of NAT-PMP.
    Pcp,
    /// NAT-PMP. Requests of PCP are lost.
    NatPmp,
    /// UPnP IGD.
    Upnp,
}

/// A running `miniupnpd`. Dropping it kills the process.
#[derive(Debug)]
pub struct MappingRouter {
    lan: Switch,
    process: Child,
}

impl MappingRouter {
    pub(super) fn start(lan: &Switch, protocols: Protocols) -> Self {
        let router = lan.namespace();
        router.nft(CHAINS);
        if protocols == Protocols::NatPmp {
            // PCP is version 2 in the first byte.
            router.nft(
                "table inet upnp {\nchain older {\ntype filter hook input priority -1\n\
                 udp dport 5351 @th,64,8 2 drop\n}\n}\n",
            );
        }
        let (pcp, upnp, port) = match protocols {
            Protocols::Pcp | Protocols::NatPmp => ("yes", "no", PCP),
            Protocols::Upnp => ("no", "yes", SSDP),
        };
        let config = lan.lab().file(
            &format!("miniupnpd-{}.conf", lan.lab().number()),
            &format!(
                "ext_ifname={WAN}\nlistening_ip=hub\nenable_natpmp={pcp}\nenable_upnp={upnp}\n\
                 upnp_table_name=upnp\nupnp_nat_table_name=upnp\nipv6_disable=yes\nsecure_mode=yes\n\
                 uuid=17e6bc0f-91b8-4a5f-88f8-9e6e94cbc735\n\
                 allow 1024-65535 0.0.0.0/0 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n"
            ),
        );
        let mut command = router.command("/usr/sbin/miniupnpd");
        command.args(["-d", "-f", &config, "-P", &format!("{config}.pid")]);
        pipes(&mut command);
        // Nobody reads what it prints, so it must not block on a pipe.
        command.stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::null());
        let process = router
            .spawn(&mut command)
            .expect("miniupnpd is installed by scripts/setup");
        let started = Self {
            lan: lan.clone(),
            process,
        };
        until("miniupnpd listens", Duration::from_secs(10), || {
            let bound = listens(started.lan.namespace(), port);
            bound
                .then_some(())
                .ok_or(format!("port {port} is not bound"))
        });
        started
    }

    /// The external ports that lead to a machine inside.
    pub fn ports(&self) -> Vec<u16> {
        let arguments = ["list", "chain", "inet", "upnp", "prerouting_miniupnpd"];
        let rules = self.lan.namespace().tool("nft", &arguments, "").expect(0);
        let port = |rule: &str| {
            let (_, rest) = rule.split_once("dport ")?;
            rest.split_whitespace().next()?.parse().ok()
        };
        let rules = rules.stdout.lines().filter(|line| line.contains("dnat"));
        rules.filter_map(port).collect()
    }
}

impl Drop for MappingRouter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether a program in this network has the UDP port.
fn listens(network: &Namespace, port: u16) -> bool {
    let sockets = network.tool("cat", &["/proc/self/net/udp"], "").expect(0);
    sockets.stdout.contains(&format!(":{port:04X} "))
}

const PCP: u16 = 5351;
const SSDP: u16 = 1900;

/// The chains that miniupnpd fills.
const CHAINS: &str = "table inet upnp {
    chain forward { type filter hook forward priority -1; jump miniupnpd; }
    chain prerouting { type nat hook prerouting priority dstnat; jump prerouting_miniupnpd; }
    chain postrouting { type nat hook postrouting priority srcnat - 2; jump postrouting_miniupnpd; }
    chain miniupnpd { }
    chain prerouting_miniupnpd { }
    chain postrouting_miniupnpd { }
}
";
