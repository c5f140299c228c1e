//! What stages before the gate and in dimensions make of rows whose key is not known yet.

use super::{Outcome, errors, outcome, shown};

/// Before the gate: one stage `x`, the partition, and its rows as they are.
fn before(stages: &str, s: &str, d: &str) -> Outcome {
    let partition = "[transforms.p]\ntype = \"batch-partition\"\ninput = \"x\"\nby = \"k\"\n\
                     [sinks.out]\ntype = \"console\"\ninput = \"p\"\n\
                     [sinks.e]\ntype = \"sqlite\"\npath = \"e.db\"\ntable = \"e\"\n\
                     key = [\"error_id\"]\ninput = \"x.errors\"\n";
    outcome(&format!("{stages}\n{partition}"), s, d)
}

#[test]
fn an_error_before_the_gate_travels_with_its_row_to_the_key() {
    let stage = "[transforms.x]\ntype = \"derive\"\ninput = \"s\"\non_error = \"drop\"\n\
                 set = { c = \"1 / a\" }";
    let outcome = before(stage, "1,k,0,1 2,,0,1 3,,1,1 4,m,1,1", "");
    assert_eq!(shown(&outcome, "out"), "4,m,1,1,1");
    let expected = [
        "s id=3 s: the row has no key",
        "s id=2 x: column `c`: divide by zero",
        "k id=1 x: column `c`: divide by zero",
    ];
    assert_eq!(errors(&outcome), expected);
    assert_eq!(
        shown(&outcome, "e"),
        "x,column `c`: divide by zero,id=1,k x,column `c`: divide by zero,id=2,"
    );
}

#[test]
fn before_the_gate_a_dropped_row_makes_no_further_errors() {
    let stages = "[transforms.f]\ntype = \"derive\"\ninput = \"s\"\nset = { c = \"1 / a\" }\n\
                  [transforms.g]\ntype = \"filter\"\ninput = \"f\"\nwhen = \"b > 0\"\n\
                  [transforms.x]\ntype = \"derive\"\ninput = \"g\"\nset = { d = \"1 / b\" }";
    let outcome = before(stages, "1,k,0,0 2,k,1,1", "");
    assert_eq!(shown(&outcome, "out"), "2,k,1,1,1,1");
    assert_eq!(errors(&outcome), ["k id=1 f: column `c`: divide by zero"]);
}

#[test]
fn a_dimension_is_evaluated_whole() {
    let stages = "[transforms.one]\ntype = \"latest\"\ninput = \"d\"\nby = [\"w\"]\norder_by = [\"v\"]\n\
                  [transforms.x]\ntype = \"lookup\"\nleft = \"s\"\nright = \"one\"\njoin = \"inner\"\n\
                  on = { a = \"w\" }\ncolumns = { v = \"v\", dk = \"k\" }";
    let outcome = before(stages, "1,k,1,0 2,m,2,0", "a,5,1 b,7,1 c,7,1 d,1,2");
    assert_eq!(shown(&outcome, "out"), "1,k,1,0,7,b 2,m,2,0,1,d");
}

#[test]
fn of_several_rows_made_of_one_before_the_gate_one_can_be_dropped() {
    let stages = "[transforms.all]\ntype = \"lookup\"\nleft = \"s\"\nright = \"d\"\nmatches = \"all\"\n\
                  on = { k = \"k\" }\ncolumns = { v = \"v\" }\n\
                  [transforms.x]\ntype = \"derive\"\ninput = \"all\"\non_error = \"drop\"\n\
                  set = { c = \"6 / v\" }";
    let outcome = before(stages, "1,k,1,1", "k,0,0 k,2,0");
    assert_eq!(shown(&outcome, "out"), "1,k,1,1,2,3");
    assert_eq!(errors(&outcome), ["k id=1 x: column `c`: divide by zero"]);
}
