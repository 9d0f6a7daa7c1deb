//! Relays: people behind NATs who reach each other, over real nodes and relays in the lab.

mod abuse;
mod matrix;
mod operator;
mod reach;
mod rooms;
mod secrecy;
mod talk;
mod world;
