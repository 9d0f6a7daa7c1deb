//! A cluster of NATS servers on machines of the lab: TLS with a certificate authority of the test, and
//! one user key (nkey) for each relay.

use std::process::Child;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use data_encoding::BASE64;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::Lab;
use super::machine::Machine;
use super::wait::until;

/// The servers of one cluster. Dropping it kills the processes.
#[derive(Debug)]
pub struct NatsCluster {
    servers: Vec<Server>,
    authorities: String,
}

#[derive(Debug)]
struct Server {
    machine: Machine,
    config: String,
    process: Mutex<Option<Child>>,
}

impl NatsCluster {
    /// Starts a server on each of these machines, and waits until they listen. `users`: the public
    /// keys that they admit.
    pub fn start(lab: &Lab, machines: &[Machine], users: &[String]) -> Self {
        let hosts: Vec<String> = machines.iter().map(Machine::ipv4).collect();
        let files = certificates(lab, &hosts);
        let routes: Vec<String> = hosts
            .iter()
            .map(|host| format!("\"nats-route://{host}:{CLUSTER_PORT}\""))
            .collect();
        let users: Vec<String> = users
            .iter()
            .map(|user| format!("{{ nkey: {user} }}"))
            .collect();
        let tls = format!(
            "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", timeout: 10 }}",
            files.certificate, files.key, files.authorities
        );
        let server = |(n, machine): (usize, &Machine)| {
            let config = format!(
                "server_name: n{n}\nlisten: \"0.0.0.0:{PORT}\"\n{tls}\n\
                 authorization {{ users: [ {} ] }}\nmax_payload: 16384\n\
                 cluster {{ name: fleet, listen: \"0.0.0.0:{CLUSTER_PORT}\", {tls}, routes: [ {} ] }}\n",
                users.join(", "),
                routes.join(", "),
            );
            Server {
                machine: machine.clone(),
                config: lab.file(&format!("nats-{n}.conf"), &config),
                process: Mutex::default(),
            }
        };
        let cluster = Self {
            servers: machines.iter().enumerate().map(server).collect(),
            authorities: files.authorities,
        };
        (0..machines.len()).for_each(|n| cluster.start_again(n));
        cluster
    }

    /// The flags of a relay that uses this cluster: the addresses of the servers and their authority.
    pub fn flags(&self) -> Vec<String> {
        let mut flags = vec!["--fleet-ca".to_owned(), self.authorities.clone()];
        for server in &self.servers {
            let url = format!("nats://{}:{PORT}", server.machine.ipv4());
            flags.extend(["--fleet".to_owned(), url]);
        }
        flags
    }

    /// Kills a server.
    pub fn kill9(&self, n: usize) {
        self.servers[n].kill();
    }

    /// Starts a killed server again, and waits until it listens.
    pub fn start_again(&self, n: usize) {
        self.servers[n].start();
    }
}

impl Server {
    fn start(&self) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let child = self.machine.spawn_silent(PROGRAM, &["-c", &self.config]);
        *process = Some(child);
        drop(process);
        until("nats-server listens", Duration::from_secs(20), || {
            let sockets = self
                .machine
                .run("cat", &["/proc/self/net/tcp", "/proc/self/net/tcp6"]);
            let sockets = sockets.expect(0).stdout;
            // State 0A is LISTEN.
            let listens = sockets
                .lines()
                .any(|line| line.contains(&format!(":{PORT:04X} ")) && line.contains(" 0A "));
            listens
                .then_some(())
                .ok_or("the port is not bound".to_owned())
        });
    }

    fn kill(&self) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut child) = process.take() {
            // It may have ended by itself.
            let _ended = child.kill();
            let _status = child.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The paths of PEM files.
struct Certificates {
    authorities: String,
    certificate: String,
    key: String,
}

/// An authority, and a certificate of it for these hosts.
fn certificates(lab: &Lab, hosts: &[String]) -> Certificates {
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let own = authority.self_signed(&authority_key).expect("signed");
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(hosts.to_vec()).expect("addresses");
    let certificate = params.signed_by(&key, &issuer).expect("signed");
    let pem = |file: &str, label: &str, der: &[u8]| {
        let body = BASE64.encode(der);
        let text = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        lab.file(file, &text)
    };
    Certificates {
        authorities: pem("nats-ca.pem", "CERTIFICATE", own.der()),
        certificate: pem("nats.pem", "CERTIFICATE", certificate.der()),
        key: pem("nats.key", "PRIVATE KEY", &key.serialize_der()),
    }
}

/// Debian's package installs it there. `scripts/setup` installs the package.
const PROGRAM: &str = "/usr/sbin/nats-server";

const PORT: u16 = 4222;
const CLUSTER_PORT: u16 = 6222;
