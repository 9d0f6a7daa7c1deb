//! Nodes are killed at random moments and lose no acknowledged message. `CHAOS_KILLS` sets the
//! number of kills, `SEED` the victims and pauses.

use hobnob_tests::chaos::Plan;
use hobnob_tests::lab::Lab;

#[test]
fn every_acknowledged_message_survives_two_hundred_kills() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    let report = Plan::from_environment(200).run(&ann, &bob);
    assert!(report.acknowledged > 0, "{report:?}");
    ann.sees(&bob);
    ann.tells(&bob, "we are still here");
    bob.shows_once("we are still here");
}
