//! What whole pipelines make: stages on both sides of the gate, and sinks that know a row by its id.

use super::{Outcome, errors, outcome, shown};

/// Rows of a sink with a key.
fn keyed(sink: &str, s: &str) -> Outcome {
    let stages = format!(
        "[transforms.p]\ntype = \"batch-partition\"\ninput = \"s\"\nby = \"k\"\n\
         [sinks.out]\ntype = \"sqlite\"\ninput = \"p\"\npath = \"o.db\"\ntable = \"t\"\n{sink}\n"
    );
    outcome(&stages, s, "")
}

#[test]
fn two_rows_of_one_id_are_an_error_unless_one_is_the_newest() {
    let rows = "1,k,1,4 2,k,1,5 3,k,1,5 4,k,2,1";
    let outcome = keyed("key = [\"a\"]", rows);
    assert_eq!(shown(&outcome, "out"), "4,k,2,1");
    assert_eq!(
        errors(&outcome),
        ["k - out: 3 rows of one key have the same id"]
    );
    let outcome = keyed("key = [\"a\"]\nnewest_by = [\"b\"]", rows);
    assert_eq!(shown(&outcome, "out"), "2,k,1,5 4,k,2,1");
}

#[test]
fn a_row_with_a_null_in_its_id_is_an_error_of_its_key() {
    let outcome = keyed("key = [\"a\", \"b\"]", "1,k,,4 2,k,1,5 3,m,,5 4,m,2,");
    assert_eq!(shown(&outcome, "out"), "2,k,1,5");
    assert_eq!(
        errors(&outcome),
        [
            "k - out: `a` is null, and the sink finds a row by its key",
            "m - out: `a` is null, and the sink finds a row by its key",
            "m - out: `b` is null, and the sink finds a row by its key",
        ]
    );
}

#[test]
fn of_two_keys_that_yield_an_id_the_least_has_it() {
    let outcome = keyed("key = [\"a\"]", "1,m,1,1 2,k,1,2 3,z,1,3");
    assert_eq!(shown(&outcome, "out"), "2,k,1,2");
    assert_eq!(errors(&outcome).len(), 2);
    // A key that yields it twice yields nothing.
    let outcome = keyed("key = [\"a\"]", "1,m,1,1 2,k,1,2 3,k,1,3");
    assert_eq!(shown(&outcome, "out"), "1,m,1,1");
}

#[test]
fn a_stage_that_nobody_uses_or_only_for_its_errors_does_no_harm() {
    let stages = "[transforms.unused]\ntype = \"derive\"\ninput = \"d\"\nset = { n = \"v + 1\" }\n\
                  [transforms.p]\ntype = \"batch-partition\"\ninput = \"s\"\nby = \"k\"\n\
                  [transforms.x]\ntype = \"derive\"\ninput = \"p\"\nset = { n = \"1 / b\" }\n\
                  [sinks.out]\ntype = \"sqlite\"\ninput = \"p\"\npath = \"o.db\"\ntable = \"t\"\nkey = [\"id\"]\n\
                  [sinks.e]\ntype = \"sqlite\"\ninput = \"x.errors\"\npath = \"o.db\"\ntable = \"e\"\n\
                  key = [\"error_id\"]\n";
    let outcome = outcome(stages, "1,k,1,0 2,k,1,1", "");
    assert_eq!(shown(&outcome, "e"), "x,column `n`: divide by zero,,k");
}

#[test]
fn a_union_before_the_gate_gives_the_group_the_rows_of_each_input_in_turn() {
    // Row 2 comes from both branches of `s`: it is there twice, as another row of each.
    let stages = r#"
        [transforms.low]
        type = "filter"
        input = "s"
        when = "10 / a > 3"
        [transforms.high]
        type = "select"
        input = "s"
        columns = ["b", "a", "k", "id"]
        [transforms.u]
        type = "union"
        inputs = ["high", "low"]
        [transforms.p]
        type = "batch-partition"
        input = "u"
        by = "k"
        [transforms.x]
        type = "latest"
        input = "p"
        by = ["k"]
        order_by = ["k"]
        [sinks.out]
        type = "console"
        input = "p"
        [sinks.first]
        type = "console"
        input = "x"
    "#;
    let outcome = outcome(stages, "1,k,0,0 2,k,2,0 3,m,1,1", "");
    assert_eq!(
        shown(&outcome, "out"),
        "0,0,k,1 0,2,k,2 0,2,k,2 1,1,m,3 1,1,m,3"
    );
    assert_eq!(shown(&outcome, "first"), "0,0,k,1 1,1,m,3");
    assert_eq!(errors(&outcome), ["k id=1 low: divide by zero"]);
}

#[test]
fn a_union_behind_the_gate_and_in_a_dimension_takes_its_inputs_in_turn() {
    let stages = r#"
        [transforms.p]
        type = "batch-partition"
        input = "s"
        by = "k"
        [transforms.low]
        type = "filter"
        input = "p"
        when = "10 / a > 3"
        [transforms.u]
        type = "union"
        inputs = ["low", "p"]
        [transforms.first]
        type = "latest"
        input = "u"
        by = ["k"]
        order_by = ["k"]
        [transforms.more]
        type = "filter"
        input = "d"
        when = "v > 1"
        [transforms.both]
        type = "union"
        inputs = ["more", "d"]
        [transforms.x]
        type = "lookup"
        left = "first"
        right = "both"
        on = { k = "k" }
        matches = "all"
        [sinks.out]
        type = "console"
        input = "x"
    "#;
    let outcome = outcome(stages, "1,k,0,0 2,k,2,0 3,m,0,1", "k,1,1 k,2,2");
    assert_eq!(
        shown(&outcome, "out"),
        "2,k,2,0,1,1 2,k,2,0,2,2 2,k,2,0,2,2 3,m,0,1,,"
    );
}

#[test]
fn an_aggregate_in_a_dimension_may_be_of_all_rows_and_of_no_column() {
    let stages = "[transforms.all]\ntype = \"aggregate\"\ninput = \"d\"\nby = []\nset = { n = \"count(*)\" }\n\
                  [transforms.p]\ntype = \"batch-partition\"\ninput = \"s\"\nby = \"k\"\n\
                  [transforms.x]\ntype = \"lookup\"\nleft = \"p\"\nright = \"all\"\non = { a = \"n\" }\n\
                  columns = { n = \"n\" }\n[sinks.out]\ntype = \"console\"\ninput = \"x\"\n";
    let two = outcome(stages, "1,k,2,0 2,k,1,0", "k,1,1 m,2,2");
    assert_eq!(shown(&two, "out"), "1,k,2,0,2 2,k,1,0,");
    let none = outcome(stages, "1,k,0,0", "");
    assert_eq!(shown(&none, "out"), "1,k,0,0,");
}

#[test]
fn nested_values_are_taken_apart_on_both_sides_of_the_gate() {
    let source = "[sources.o]\ntype = \"csv\"\npath = \"s.csv\"\nid = [\"id\"]\n\
                  columns = { items = \"a\" }\ntypes = { id = \"int\", k = \"text\", items = \"json\", b = \"int\" }\n";
    let before = "[transforms.x]\ntype = \"unnest\"\ninput = \"o\"\ncolumn = \"items\"\nposition = \"n\"\n\
                  fields = { part = \"json\", v = \"int\" }\nkeep_empty = true\non_error = \"drop\"\n\
                  [transforms.p]\ntype = \"batch-partition\"\ninput = \"x\"\nby = \"k\"\n\
                  [transforms.y]\ntype = \"unnest\"\ninput = \"p\"\ncolumn = \"part\"\nvalue = \"int\"\n\
                  [sinks.out]\ntype = \"console\"\ninput = \"y\"\n";
    let rows = [
        "1,k,\"[{\"\"v\"\":1,\"\"part\"\":[1,2]},{\"\"v\"\":2,\"\"part\"\":[null,\"\"x\"\"]}]\",0",
        "2,k,\"{\"\"part\"\":[7],\"\"v\"\":\"\"x\"\"}\",0",
        "3,k,[],0",
        "4,m,5,0",
        "5,,\"[{\"\"v\"\":true}]\",0",
    ];
    let outcome = outcome(&format!("{source}{before}"), &rows.join(" "), "");
    assert_eq!(
        shown(&outcome, "out"),
        "1,k,0,,2,1 1,k,0,,2,1 1,k,0,1,1,0 1,k,0,2,1,0"
    );
    assert_eq!(
        errors(&outcome),
        [
            "o id=5 x: column `v`: not an int",
            "k id=2 x: column `v`: not an int",
            "k - y: column `part`: not an int",
            "m id=4 x: the value does not nest",
        ]
    );
}
