//! The relay's place: registry and channels (pure), the forwarding plane, the server, the status page.
//!
//! Nothing is here yet. Nodes on one network need no relay; the relay for peers behind NAT is the next piece of work, and this
//! crate may depend on `hobnob-protocol` alone, so that a relay can be built and audited without the node.
