//! Nothing changed: nothing is looked at and nothing is written.

use tests::harness::Scratch;

use super::{after, done};

const INPUTS: [&str; 15] = [
    "dimcaregiver",
    "dimcontract",
    "dimoffice",
    "dimpatient",
    "dimpatientaddress",
    "dimpayer",
    "dimprovider",
    "dimservicecode",
    "dimuser",
    "excluded_agency",
    "excluded_ssn",
    "factvisitcallperformance_cr",
    "factvisitcallperformance_deleted_cr",
    "mph",
    "settings",
];

/// Insists that another run, on another number of workers, finds nothing to do.
pub(super) fn is_at_rest(scratch: &Scratch, exit: i32) {
    let mut again = scratch.copy();
    again.workers = 3;
    let before = again.written();
    let ran = again.run().exits(exit);
    assert_eq!(
        ran.number("/keys/recomputed"),
        0,
        "a run without changes computes nothing"
    );
    assert!(
        again.written() == before,
        "a run without changes writes nothing"
    );
}

pub(super) fn shuffle(scratch: &mut Scratch) {
    for (seed, name) in (1..).zip(INPUTS) {
        scratch.sheet(name, |sheet| sheet.shuffle(seed));
    }
}

#[test]
fn rows_in_another_order_are_the_same_rows() {
    let (_, ran) = after(shuffle, 0);
    assert_eq!(done(&ran), (0, [0; 4]));
    assert_eq!(ran.number("/sinks/visits_flat_table/commits"), 0);
}
