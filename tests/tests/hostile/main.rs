//! Peers that want harm, over real TLS, against real nodes. What each attack may not touch is in [`hobnob_tests::hostile::Town`].

mod entries;
mod frames;
mod handshakes;
