//! Files from node to node, on real machines: whole, verified, resumed after anything, and nowhere
//! but where they belong.

mod actions;
mod cuts;
mod delayed;
mod transfers;

use actions::{FileActions, bytes_of, random_file, same};
