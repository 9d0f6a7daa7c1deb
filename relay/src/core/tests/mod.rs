//! The relay as its peers see it: a net of nodes that believe what they are told.

mod channels;
mod liveness;
mod model;
mod roster;
mod test_net;
