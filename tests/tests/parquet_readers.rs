//! Goal: Parquet that is written here is read by what everybody reads Parquet with.
//!
//! Method: rows with the extremes of every type go to files in each compression, and to folders;
//! some change, so that files are written again. What pyarrow and `DuckDB` read then must be the rows,
//! which are written here a second time as text. Both are real, in the versions of
//! `requirements.txt`, and a test without them fails.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use serde_json::{Value as Json, json};
use tests::harness::{Scratch, scratch_folder};

use crate::visits::PROGRAM;

const PIPELINE: &str = r#"
[pipeline]
name = "readers"

[sources.rows]
type  = "csv"
path  = "rows.csv"
id    = ["id"]
types = { id = "int", place = "text", name = "text", price = "float", ok = "bool", day = "date", at = "timestamp", tags = "json" }

[transforms.by_place]
type  = "batch-partition"
input = "rows"
by    = "place"

[sinks.parted]
type           = "parquet"
input          = "by_place"
path           = "parted"
key            = ["id"]
partition_by   = ["place"]
row_group_rows = 2
"#;

const HEADER: &str = "id,place,name,price,ok,day,at,tags";
const ROWS: [&str; 5] = [
    "-9223372036854775808,a,,-0.0,true,0001-01-01,1969-12-31 23:59:59.999999,[]",
    "2,a,\"x, \"\"y\"\"\",1e308,false,1969-12-31,0001-01-01 00:00:00,\"{\"\"n\"\":[1,null]}\"",
    "3,b c/d,żółw 🐢,0.1,,2024-02-29,2024-02-29 12:30:00,",
    "4,b c/d,,,,,,",
    "9223372036854775807,a,last,-1e-300,true,9999-12-31,9999-12-31 23:59:59.999999,\"[\"\"é\"\"]\"",
];

/// The rows as Python shows their cells, by the names of the columns. There is one zero.
fn expected() -> Json {
    let columns = ["at", "day", "id", "name", "ok", "place", "price", "tags"];
    let rows = json!([
        [
            "1969-12-31T23:59:59.999999",
            "0001-01-01",
            "-9223372036854775808",
            null,
            "True",
            "a",
            "0.0",
            "[]"
        ],
        [
            "0001-01-01T00:00:00",
            "1969-12-31",
            "2",
            "x, \"y\"",
            "False",
            "a",
            "1e+308",
            "{\"n\":[1,null]}"
        ],
        [
            "2024-02-29T12:30:00",
            "2024-02-29",
            "3",
            "żółw 🐢",
            null,
            "b c/d",
            "0.1",
            null
        ],
        [null, null, "4", null, null, "b c/d", null, null],
        [
            "9999-12-31T23:59:59.999999",
            "9999-12-31",
            "9223372036854775807",
            "last",
            "True",
            "a",
            "-1e-300",
            "[\"é\"]"
        ],
    ]);
    json!({"columns": columns, "rows": rows})
}

/// The pipeline with a sink for each compression, and those of the sinks' targets.
fn readers() -> (Scratch, Vec<String>) {
    let scratch = Scratch::of(scratch_folder().path(), PROGRAM);
    let (mut pipeline, mut targets) = (PIPELINE.to_owned(), vec!["parted".to_owned()]);
    for compression in ["zstd", "snappy", "gzip", "lz4", "none"] {
        let target = format!("{compression}.parquet");
        write!(
            pipeline,
            "[sinks.{compression}]\ntype = \"parquet\"\ninput = \"by_place\"\npath = \"{target}\"\n\
             key = [\"id\"]\ncompression = \"{compression}\"\nrow_group_rows = 2\n"
        )
        .unwrap();
        targets.push(target);
    }
    scratch.write("pipeline.toml", pipeline);
    (scratch, targets)
}

/// What both read of each target.
fn read(scratch: &Scratch, targets: &[String]) -> Json {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = here.with_file_name("target/python/bin/python");
    let mut command = Command::new(&python);
    command
        .arg(here.join("fixtures/read_parquet.py"))
        .args(targets);
    let read = command.current_dir(scratch.path("")).output();
    let read = read.unwrap_or_else(|error| {
        panic!(
            "this test reads Parquet with pyarrow and DuckDB, which are not at {} ({error}): install \
             them with `tests/install`",
            python.display()
        )
    });
    let said = String::from_utf8_lossy(&read.stderr);
    assert!(read.status.success(), "the files cannot be read: {said}");
    serde_json::from_slice(&read.stdout).unwrap()
}

#[test]
fn pyarrow_and_duckdb_read_the_rows_that_were_written() {
    let (scratch, targets) = readers();
    let none: [&str; 0] = [];
    // First without rows, then with others than in the end: so that files are written again.
    let before = [
        ROWS[0],
        "2,b c/d,other,0.5,true,2020-01-01,2020-01-01 00:00:00,7",
        ROWS[3],
        "5,a,,,,,,",
    ];
    for rows in [&none[..], &before, &ROWS] {
        scratch.write("rows.csv", format!("{HEADER}\n{}\n", rows.join("\n")));
        scratch.run().exits(0);
    }
    let read = read(&scratch, &targets);
    for target in &targets {
        for reader in ["pyarrow", "duckdb"] {
            assert_eq!(read[target][reader], expected(), "{reader} reads {target}");
        }
    }
}
