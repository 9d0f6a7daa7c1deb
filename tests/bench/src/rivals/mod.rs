//! What hobnob is measured against. The clients are as small as their protocols allow, so that it
//! is the servers that are slow.

pub(crate) mod bare_quinn;
pub(crate) mod bare_sqlite;
pub(crate) mod coturn;
pub(crate) mod iroh;
pub(crate) mod mosquitto;
pub(crate) mod nats;
pub(crate) mod server;
