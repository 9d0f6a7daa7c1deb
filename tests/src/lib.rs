//! What hobnob is tested with: a network lab of small machines, and chaos that is let loose on it.
//!
//! The tests themselves are in `tests/`, one file a theme, and read as features: `lab.cut(&[&ann]);
//! ann.says("hi"); lab.heal(); bob.shows_once("hi")`. The lab knows nothing of hobnob's insides: it
//! runs the real program and reads what it prints.

pub mod chaos;
pub mod delayed_path;
pub mod hostile;
pub mod lab;
pub mod lying_relay;
