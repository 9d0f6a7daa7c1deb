//! File transfers between nodes on lab machines: they are complete and verified, resume after any
//! interruption, and write only to the downloads folder.

mod actions;
mod cuts;
mod delayed;
mod names;
mod transfers;
mod waiting;

use actions::{FileActions, bytes_of, random_file, same};
