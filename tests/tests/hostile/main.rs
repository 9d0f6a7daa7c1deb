//! Hostile peers over real TLS against real nodes. [`hobnob_tests::hostile::TestNet`] lists what no
//! attack may affect.

mod addresses;
mod control_characters;
mod crowds;
mod datagrams;
mod entries;
mod files;
mod floods;
mod frames;
mod handshakes;
mod pictures;
mod programs;
mod records;
mod rooms;
