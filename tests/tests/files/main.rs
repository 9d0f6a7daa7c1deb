//! Files from node to node, on real machines: whole, verified, resumed after anything, and nowhere
//! but where they belong.

mod cuts;
mod far;
mod hand;
mod transfers;

use hand::{Hand, bytes_of, random_file, same};
