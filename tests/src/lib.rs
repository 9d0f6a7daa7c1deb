//! The network lab, the simulator, end-to-end tests and benches.

pub mod sim;
