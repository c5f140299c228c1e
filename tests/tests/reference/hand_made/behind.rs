//! What a stage makes of the rows of a key.

use operators::value::Value;

use super::{Outcome, errors, outcome, shown};

/// Behind the gate: the partition, one stage `x`, and its rows as they are.
fn behind(stage: &str, s: &str, d: &str) -> Outcome {
    let stages = format!(
        "[transforms.p]\ntype = \"batch-partition\"\ninput = \"s\"\nby = \"k\"\n\
         [transforms.x]\n{stage}\n[sinks.out]\ntype = \"console\"\ninput = \"x\"\n"
    );
    outcome(&stages, s, d)
}

#[test]
fn a_filter_keeps_what_is_true_and_tells_what_fails() {
    let rows = "1,k,0,0 2,k,2,0 3,k,,0 4,m,5,0";
    let stage = "type = \"filter\"\ninput = \"p\"\nwhen = \"10 / a > 3\"";
    let outcome = behind(stage, rows, "");
    assert_eq!(shown(&outcome, "out"), "2,k,2,0");
    assert_eq!(errors(&outcome), ["k - x: divide by zero"]);
}

#[test]
fn a_derive_sets_null_or_drops_where_it_fails() {
    let rows = "1,k,0,0 2,k,2,0";
    let stage = "type = \"derive\"\ninput = \"p\"\nset = { c = \"10 / a\", d = \"c + 1\" }";
    let outcome = behind(stage, rows, "");
    assert_eq!(shown(&outcome, "out"), "1,k,0,0,, 2,k,2,0,5,6");
    let outcome = behind(&format!("{stage}\non_error = \"drop\""), rows, "");
    assert_eq!(shown(&outcome, "out"), "2,k,2,0,5,6");
    assert_eq!(errors(&outcome), ["k - x: column `c`: divide by zero"]);
}

#[test]
fn a_row_that_was_dropped_is_looked_at_by_no_stage_behind() {
    let stage = "type = \"derive\"\ninput = \"p\"\non_error = \"drop\"\n\
                 set = { c = \"10 / a\", d = \"10 / b\" }";
    let outcome = behind(stage, "1,k,0,0 2,k,1,0", "");
    assert_eq!(shown(&outcome, "out"), "");
    let expected = [
        "k - x: column `c`: divide by zero",
        "k - x: column `d`: divide by zero",
    ];
    assert_eq!(errors(&outcome), expected);
}

#[test]
fn rules_mark_and_keep_rows_for_which_any_holds() {
    let stage = "type = \"rules\"\ninput = \"p\"\nvalues = [\"+\", \"-\"]\n\
                 rules = [{ column = \"r\", when = \"10 / a = 5\" }, { column = \"t\", when = \"b > 0\" }]";
    let rows = "1,k,0,0 2,k,2,0 3,k,0,1 4,k,1,1 5,k,,1";
    let outcome = behind(stage, rows, "");
    assert_eq!(
        shown(&outcome, "out"),
        "2,k,2,0,+,- 3,k,0,1,-,+ 4,k,1,1,-,+ 5,k,,1,-,+"
    );
    let outcome = behind(&format!("{stage}\non_error = \"drop\""), rows, "");
    assert_eq!(shown(&outcome, "out"), "2,k,2,0,+,- 4,k,1,1,-,+ 5,k,,1,-,+");
}

#[test]
fn the_latest_of_equals_is_the_first_in_canonical_order() {
    let stage = |order: &str| {
        format!("type = \"latest\"\ninput = \"p\"\nby = [\"k\", \"a\"]\norder_by = [\"{order}\"]")
    };
    let rows = "3,k,1,9 2,k,1,9 1,k,1,5 4,k,,1 5,k,,2 6,m,1,";
    assert_eq!(
        shown(&behind(&stage("b"), rows, ""), "out"),
        "2,k,1,9 5,k,,2 6,m,1,"
    );
    assert_eq!(
        shown(&behind(&stage("b desc"), rows, ""), "out"),
        "1,k,1,5 4,k,,1 6,m,1,"
    );
}

#[test]
fn distinct_rows_are_equal_in_every_column_and_null_equals_null() {
    let stage = "type = \"distinct\"\ninput = \"p\"";
    let outcome = behind(stage, "1,k,,1 1,k,,1 2,k,,1", "");
    assert_eq!(shown(&outcome, "out"), "1,k,,1 2,k,,1");
}

#[test]
fn pairs_are_equal_in_on_and_differ_in_unequal() {
    let stage = |more: &str| {
        format!(
            "type = \"conflict-join\"\ninput = \"p\"\non = [\"k\", \"a\"]\nunequal = [\"b\"]\n\
             right_prefix = \"r_\"\npairs = \"all\"\n{more}"
        )
    };
    // 3 has null, which differs from nothing; 4 equals 1; 5 is of another `a`, 6 of none.
    let rows = "1,k,1,1 2,k,1,2 3,k,1, 4,k,1,1 5,k,2,1 6,k,,1 7,k,,2 8,m,1,3";
    let ordered = "1,k,1,1,2,k,1,2 2,k,1,2,1,k,1,1 2,k,1,2,4,k,1,1 4,k,1,1,2,k,1,2";
    assert_eq!(shown(&behind(&stage(""), rows, ""), "out"), ordered);
    let unordered = "1,k,1,1,2,k,1,2 2,k,1,2,4,k,1,1";
    assert_eq!(
        shown(&behind(&stage("order = \"unordered\""), rows, ""), "out"),
        unordered
    );
}

#[test]
fn equal_rows_are_still_two_rows() {
    let stage = |order: &str| {
        format!(
            "type = \"conflict-join\"\ninput = \"p\"\non = [\"k\"]\nright_prefix = \"r_\"\n\
             pairs = \"all\"\norder = \"{order}\""
        )
    };
    let pair = "1,k,1,1,1,k,1,1";
    let rows = "1,k,1,1 1,k,1,1";
    assert_eq!(
        shown(&behind(&stage("ordered"), rows, ""), "out"),
        format!("{pair} {pair}")
    );
    assert_eq!(shown(&behind(&stage("unordered"), rows, ""), "out"), pair);
}

#[test]
fn intervals_overlap_by_their_bounds() {
    let pairs = |bounds: &str, rows: &str| {
        let stage = format!(
            "type = \"conflict-join\"\ninput = \"p\"\non = [\"k\"]\nright_prefix = \"r_\"\n\
             order = \"unordered\"\noverlap = {{ start = \"a\", end = \"b\", bounds = \"{bounds}\" }}"
        );
        let outcome = behind(&stage, rows, "");
        let pair = |row: &Vec<Value>| format!("{}{}", row[0], row[4]);
        outcome.sinks["out"]
            .keys()
            .map(pair)
            .collect::<Vec<_>>()
            .join(" ")
    };
    // 1: 1..3, 2: 3..5 touches it, 3: the point 3, 4: the point 2, 5: backwards, 6: half known.
    let rows = "1,k,1,3 2,k,3,5 3,k,3,3 4,k,2,2 5,k,4,1 6,k,1,";
    assert_eq!(pairs("[]", rows), "12 13 14 23");
    assert_eq!(pairs("[)", rows), "");
    assert_eq!(pairs("()", rows), "14");
    for bounds in ["[]", "[)", "()"] {
        assert_eq!(
            pairs(bounds, "1,k,1,3 2,k,1,3 3,k,2,9"),
            "12 13 23",
            "{bounds}"
        );
    }
}

#[test]
fn lookups_bring_first_all_or_none() {
    let lookup = |more: &str| {
        format!("type = \"lookup\"\nleft = \"p\"\nright = \"d\"\non = {{ k = \"k\" }}\n{more}")
    };
    let rows = "1,k,1,1 2,m,1,1 3,n,1,1";
    let right = "k,5,1 k,4,2 m,7,0 ,9,9";
    let out = |more: &str| {
        let outcome = behind(&lookup(more), rows, right);
        (shown(&outcome, "out"), errors(&outcome))
    };
    let none: Vec<String> = Vec::new();
    assert_eq!(
        out("matches = \"all\"\norder_by = [\"v\"]"),
        (
            "1,k,1,1,4,2 1,k,1,1,5,1 2,m,1,1,7,0 3,n,1,1,,".to_owned(),
            none.clone()
        )
    );
    assert_eq!(
        out(
            "join = \"inner\"\nmatches = \"first\"\norder_by = [\"v desc\"]\ncolumns = { v = \"v\" }"
        ),
        ("1,k,1,1,5 2,m,1,1,7".to_owned(), none.clone())
    );
    assert_eq!(out("join = \"anti\""), ("3,n,1,1".to_owned(), none));
    let several = vec!["k - x: 2 rows match".to_owned()];
    assert_eq!(
        out(""),
        (
            "1,k,1,1,, 2,m,1,1,7,0 3,n,1,1,,".to_owned(),
            several.clone()
        )
    );
    assert_eq!(
        out("join = \"inner\""),
        ("2,m,1,1,7,0".to_owned(), several.clone())
    );
    assert_eq!(
        out("on_error = \"drop\""),
        ("2,m,1,1,7,0 3,n,1,1,,".to_owned(), several)
    );
}

#[test]
fn a_range_holds_both_its_ends_and_needs_them() {
    let stage = "type = \"lookup\"\nleft = \"p\"\nright = \"d\"\njoin = \"inner\"\nmatches = \"all\"\n\
                 between = { value = \"a\", low = \"v\", high = \"w\" }\ncolumns = { c = \"k\" }";
    let outcome = behind(stage, "1,k,1,0 2,k,3,0 3,k,4,0 4,k,,0", "x,1,3 y,3, z,3,3");
    assert_eq!(shown(&outcome, "out"), "1,k,1,0,x 2,k,3,0,x 2,k,3,0,z");
}

#[test]
fn unequal_columns_may_hold_no_null_and_groups_no_pair() {
    let stage = "type = \"conflict-join\"\ninput = \"p\"\non = [\"k\"]\nunequal = [\"a\"]\n\
                 right_prefix = \"r_\"\npairs = \"all\"\norder = \"unordered\"";
    assert_eq!(shown(&behind(stage, "", ""), "out"), "");
    assert_eq!(shown(&behind(stage, "1,k,1,1 2,m,1,1", ""), "out"), "");
    assert_eq!(
        shown(&behind(stage, "1,k,1,1 2,k,2,1 3,k,2,1", ""), "out"),
        "1,k,1,1,2,k,2,1 1,k,1,1,3,k,2,1"
    );
}
