//! Relays in the lab: nodes behind NATs reach each other through real relays.

mod abuse;
mod carriers;
mod failover;
mod for_contacts;
mod locations;
mod matrix;
mod operator;
mod path_changes;
mod port_mapping;
mod reach;
mod real_parts;
mod records;
mod relay_net;
mod rooms;
mod secrecy;
mod sleep;
