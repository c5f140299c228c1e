//! Small tables whose outcome was worked out by hand. Every one is put to the reference and to the
//! product's stages.

use std::fs;
use std::path::Path;

use chrono::DateTime;
use operators::source::{Ask, Read, Source};
use operators::value::Value;
use pipelines::plan::Plan;
use tests::reference::{Given, Outcome, Tables};
use tests::{columnar, reference, tables};

/// A source `s` (id, k, a, b: ints but for k), a dimension `d` (k, v: text and int).
const HEAD: &str = r#"
[pipeline]
name = "hand"
[sources.s]
type = "csv"
path = "s.csv"
id = ["id"]
types = { id = "int", k = "text", a = "int", b = "int" }
[sources.d]
type = "csv"
path = "d.csv"
types = { k = "text", v = "int", w = "int" }
"#;

fn outcome(stages: &str, s: &str, d: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let csv = |header: &str, rows: &str| {
        let rows = rows.split_whitespace().collect::<Vec<_>>().join("\n");
        format!("{header}\n{rows}")
    };
    fs::write(folder.path().join("s.csv"), csv("id,k,a,b", s)).unwrap();
    fs::write(folder.path().join("d.csv"), csv("k,v,w", d)).unwrap();
    let plan = plan(folder.path(), &format!("{HEAD}{stages}"));
    let given = Given {
        tables: read(&plan),
        ..Given::default()
    };
    let reference = reference::run(&plan, &given);
    assert_eq!(
        columnar::run(&plan),
        reference,
        "the product's stages (left) differ"
    );
    reference
}

fn plan(folder: &Path, toml: &str) -> Plan {
    let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    tables::plan(folder, toml, now).unwrap_or_else(|wrong| panic!("{wrong:#?}\n{toml}"))
}

/// The rows of the files, read as the product reads them: reading is not what is tested here.
fn read(plan: &Plan) -> Tables {
    let all = |source: &Source| {
        let columns: Vec<String> = source.schema().names().map(str::to_owned).collect();
        let mut rows = Vec::new();
        let mut receive = |read: Read| {
            let batch = read.chunk.rows().clone();
            rows.extend((0..batch.num_rows()).map(|row| {
                batch
                    .columns()
                    .iter()
                    .map(|column| Value::at(column, row))
                    .collect::<Vec<_>>()
            }));
            std::ops::ControlFlow::Continue(())
        };
        source
            .read_all(&Ask::all_of(&columns), &mut receive)
            .unwrap();
        rows
    };
    plan.sources
        .iter()
        .map(|plan| (plan.name.to_string(), all(&plan.source)))
        .collect()
}

/// Rows as `a,b c,d`, nulls as nothing, each as often as it is there; the order is that of values.
fn shown(outcome: &Outcome, sink: &str) -> String {
    let rows = outcome.sinks[sink].iter();
    let row = |row: &[Value]| {
        row.iter()
            .map(Value::to_string)
            .collect::<Vec<_>>()
            .join(",")
    };
    let rows = rows.flat_map(|(cells, count)| (0..*count).map(|_| row(cells)));
    rows.collect::<Vec<_>>().join(" ")
}

fn errors(outcome: &Outcome) -> Vec<String> {
    let shown = |fault: &reference::Fault| {
        let row = fault.row.as_deref().unwrap_or("-");
        format!(
            "{} {row} {}: {}",
            fault.key.text(),
            fault.stage,
            fault.message
        )
    };
    outcome.errors.iter().map(shown).collect()
}

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
fn of_two_keys_that_yield_an_id_the_least_has_it() {
    let outcome = keyed("key = [\"a\"]", "1,m,1,1 2,k,1,2 3,z,1,3");
    assert_eq!(shown(&outcome, "out"), "2,k,1,2");
    assert_eq!(errors(&outcome).len(), 2);
    // A key that yields it twice yields nothing.
    let outcome = keyed("key = [\"a\"]", "1,m,1,1 2,k,1,2 3,k,1,3");
    assert_eq!(shown(&outcome, "out"), "1,m,1,1");
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
fn of_several_rows_made_of_one_before_the_gate_one_can_be_dropped() {
    let stages = "[transforms.all]\ntype = \"lookup\"\nleft = \"s\"\nright = \"d\"\nmatches = \"all\"\n\
                  on = { k = \"k\" }\ncolumns = { v = \"v\" }\n\
                  [transforms.x]\ntype = \"derive\"\ninput = \"all\"\non_error = \"drop\"\n\
                  set = { c = \"6 / v\" }";
    let outcome = before(stages, "1,k,1,1", "k,0,0 k,2,0");
    assert_eq!(shown(&outcome, "out"), "1,k,1,1,2,3");
    assert_eq!(errors(&outcome), ["k id=1 x: column `c`: divide by zero"]);
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
