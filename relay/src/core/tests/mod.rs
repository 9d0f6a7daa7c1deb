//! The relay as its peers see it: a town of nodes that believe what they are told.

mod channels;
mod liveness;
mod model;
mod roster;
mod town;
