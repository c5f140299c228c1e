//! What a condition spares, and what is told of one that does not fit.

use super::*;

#[test]
fn what_a_path_rules_out_is_not_opened() {
    let folder = Folder::new();
    folder.write("state=NY/day=1/a.csv", "n\n1\n");
    folder.write("state=NY/day=2/a.csv", "n\n2\n");
    folder.write("state=CA/day=1/a.csv", "n\n3\n");
    let source = || folder.csv("state={state}/day={day}/*.csv");
    let ny = where_(source(), "state = 'NY' and n > 1 and upper(day) = '2'");
    let gone = where_(source(), "state = 'TX'");
    // No later than now would it fail to open what is ruled out.
    fs::write(folder.path("state=CA/day=1/a.csv"), "broken").unwrap();
    let ask = Ask::all_of(&names(&["n"]));
    assert_eq!(read(&ny, &ask).unwrap(), [[Value::Int(2)]]);
    let pinned = ny.units(&ask).unwrap();
    assert_eq!((pinned.files().len(), pinned.skipped.paths), (1, 2));
    // What comes where nothing is looked for changes nothing.
    folder.write("state=CA/day=2/a.csv", "n\n1\n");
    ny.unchanged(&pinned).unwrap();
    folder.write("state=NY/day=2/b.csv", "n\n1\n");
    assert!(ny.unchanged(&pinned).is_err());
    assert!(read(&gone, &ask).unwrap().is_empty());
}

#[test]
fn row_groups_that_bounds_rule_out_are_not_read() {
    let folder = Folder::new();
    let cells: Vec<Value> = (0..10).map(Value::Int).collect();
    let rows = RecordBatch::try_from_iter([("n", column(Type::Int, cells.iter()))]).unwrap();
    write_parquet(&folder.path("a.parquet"), &rows, 2, Codec::SNAPPY);
    write_parquet(
        &folder.path("b.parquet"),
        &rows.slice(0, 2),
        2,
        Codec::SNAPPY,
    );
    let source = where_(folder.parquet("*.parquet"), "n between 3 and 5 or n = 9");
    let ask = Ask::all_of(&names(&["n"]));
    let pinned = source.units(&ask).unwrap();
    assert_eq!(pinned.units.len(), 3);
    let skipped = pinned.skipped;
    assert_eq!((skipped.files, skipped.row_groups, skipped.rows), (1, 2, 6));
    assert!(skipped.bytes > 0);
    assert_eq!(
        read(&source, &ask).unwrap(),
        [3, 4, 5, 9].map(|n| [Value::Int(n)])
    );
}

#[test]
fn a_row_of_which_the_condition_cannot_be_told_is_a_lost_line() {
    let folder = Folder::new();
    folder.write("a.csv", "n,m\n1,1\n0,1\nx,1\n,1\n4,y\n");
    let more = CsvConfig {
        types: map(&[("n", "int"), ("m", "int")]),
        ..plain()
    };
    let source = where_(folder.check("a.csv", more).unwrap(), "4 / n > 0");
    assert_eq!(rows(&source).len(), 2);
    let expected = ["column `n`: not an int", "divide by zero"];
    let expected = expected.map(|why| format!("`where` cannot be evaluated: {why}"));
    assert_eq!(lost(&source), expected);
    let mut columns = rows(&source).into_iter().map(|row| row[1].clone());
    assert!(
        columns.any(|cell| cell == Value::Null),
        "other columns are as they are"
    );
}

#[test]
fn a_condition_that_does_not_fit_is_told() {
    let folder = Folder::new();
    folder.write("a.csv", "n\n1\n");
    for text in ["m > 1", "n", "n >"] {
        let problem = folder.csv("a.csv").with_condition(Some(text), &language());
        assert_eq!(
            problem.err().unwrap().problems[0].field,
            ["where".into()],
            "{text}"
        );
    }
}
