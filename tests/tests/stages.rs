//! What stages do is told by the program.

use crate::rooms;

#[test]
fn several_rows_where_a_lookup_means_one_are_told_before_any_row_meets_them() {
    let scratch = rooms::example();
    scratch.run().exits(0);
    scratch.sheet("rooms", |rooms| rooms.push(&["Cellar", "1.0"]));
    let one = scratch.run().exits(0);
    assert_eq!(one.report["warnings"], serde_json::json!({}));
    scratch.sheet("rooms", |rooms| rooms.push(&["Cellar", "2.0"]));
    for outcome in [scratch.plan().exits(0), scratch.run().exits(0)] {
        let told = "of 1 value of `on` there are several rows on the right";
        assert_eq!(outcome.report["warnings"]["priced"], told);
    }
    rooms::is_current(&scratch).unwrap();
}
