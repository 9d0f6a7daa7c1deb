//! Peers that want harm, over real TLS, against real nodes. What each attack may not touch is in
//! [`hobnob_tests::hostile::TestNet`].

mod addresses;
mod crowds;
mod datagrams;
mod entries;
mod files;
mod floods;
mod frames;
mod handshakes;
mod rooms;
mod words;
