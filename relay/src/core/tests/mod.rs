//! The relay as its peers see it: a network of simulated nodes.

mod channels;
mod fleet;
mod liveness;
mod model;
mod roster;
mod sleep;
mod test_net;
