//! The programs that hobnob is compared with. Their clients here are minimal, so that the measured
//! time is the servers' time.

pub(crate) mod bare_quinn;
pub(crate) mod bare_sqlite;
pub(crate) mod coturn;
pub(crate) mod iroh;
pub(crate) mod mosquitto;
pub(crate) mod nats;
pub(crate) mod server;
pub(crate) mod thin_tcp;
