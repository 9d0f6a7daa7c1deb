//! The relay as its peers see it: a network of simulated nodes.

mod channels;
mod liveness;
mod model;
mod roster;
mod test_net;
