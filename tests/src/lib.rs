//! Fixtures of the end-to-end tests: a network lab of small machines, a browser, a program that speaks
//! JSON lines, hostile peers, a lying relay, a path with delay, and a crash test.
//!
//! The tests are in `tests/`, one file for each topic. They read as features: `lab.cut(&[&ann]);
//! ann.says("hi"); lab.heal(); bob.shows_once("hi")`. The lab does not use hobnob's internals. It
//! runs the real program and reads its output.

pub mod browser;
pub mod chaos;
pub mod delayed_path;
pub mod hostile;
pub mod json_lines;
pub mod lab;
pub mod lying_relay;
