//! What is told of sections that are wrong.

use super::*;
use crate::transform::fixture::told;

fn problems(kind: &'static str, path: &str, fields: &str) -> Vec<String> {
    let fixture = Fixture::new(kind, path, &COLUMNS, fields);
    told(fixture.check().map(|_| ()))
}

#[test]
fn all_problems_of_a_section_are_told_at_once() {
    assert_eq!(
        problems(
            "parquet",
            "a",
            r#", "key": ["idd"], "newest_by": ["name", "name"], "write": "upsert", "on_retract":
            "mark", "partition_by": ["nam"], "row_group_rows": 0, "compression": "zst", "level": 3"#
        ),
        [
            "compression: pages cannot be packed with `zst`",
            "row_group_rows: a row group has at least one row",
            "write: a sink of type `parquet` does not write `upsert`",
            "on_retract: a retraction cannot `mark` in a file",
            "key.0: there is no column `idd`",
            "newest_by.1: `name` is listed twice",
            "partition_by.0: there is no column `nam`",
        ]
    );
    assert_eq!(
        problems(
            "csv",
            "a.csv",
            r#", "key": [], "order_by": ["x desc"], "delimiter": "ab", "null": "\"""#
        ),
        [
            "delimiter: a delimiter is one ASCII character that no number or date has",
            "null: what stands for null is never quoted, and so holds nothing special",
            "order_by.0: there is no column `x`",
            "key: no column identifies a row",
        ]
    );
}

#[test]
fn levels_and_folders_must_be_possible() {
    assert_eq!(
        problems("parquet", "a", r#", "level": 23"#),
        ["level: `zstd` has no such level"]
    );
    assert_eq!(
        problems("parquet", "a", r#", "compression": "snappy", "level": 1"#),
        ["level: `snappy` has no levels"]
    );
    assert_eq!(
        problems("parquet", "a.parquet", r#", "partition_by": ["name"]"#),
        ["partition_by: one file has no folders to part its rows by"]
    );
    assert_eq!(
        problems("parquet", "a", r#", "partition_by": ["name", "id"]"#),
        ["partition_by: no column is left for the files"]
    );
    for delimiter in ["5", "-", "\\\"", "\\n", "é", ""] {
        let fields = format!(r#", "delimiter": "{delimiter}""#);
        assert_eq!(problems("csv", "a.csv", &fields).len(), 1, "{delimiter}");
    }
    for compression in ["zstd", "snappy", "gzip", "lz4", "none"] {
        let fields = format!(r#", "compression": "{compression}""#);
        let mut fixture = Fixture::new("parquet", "a", &COLUMNS, &fields);
        fixture.commit(&[(row(1, "x"), "k")], &[]);
        assert_eq!(fixture.live().len(), 1, "{compression}");
    }
}

#[test]
fn names_of_ours_are_refused() {
    let columns = [("id", Type::Int), ("_Tidemill_owner", Type::Text)];
    let fixture = Fixture::new("json", "a.json", &columns, "");
    assert_eq!(
        told(fixture.check().map(|_| ())),
        ["input: a column of this sink cannot be called \"_Tidemill_owner\""]
    );
}
