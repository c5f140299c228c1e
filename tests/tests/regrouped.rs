//! Goal: a pipeline that groups by another column than before loses no row, though the ids of its rows
//! and its sink's key stay as they are, and each row comes from another key.
//!
//! Method: 300 rows with two columns, either of which can be the key and both of which are in the
//! sink's; the pipeline is edited between runs.

use tests::harness::Scratch;

use crate::rooms;

const PIPELINE: &str = r#"
[pipeline]
name = "regrouped"
state_dir = "output/.tidemill"

[sources.meetings]
type = "csv"
path = "meetings.csv"
id = ["number"]

[transforms.grouped]
type = "batch-partition"
input = "meetings"
by = "host"
cut = { prefix = 2 }

[transforms.made]
type = "derive"
input = "grouped"
set = { noted = "1" }

[sinks.kept]
type = "sqlite"
input = "made"
path = "output/rooms.db"
table = "kept"
key = ["host", "guest", "number"]
"#;

/// The rows whose numbers are from `first` on.
fn write(scratch: &Scratch, first: u32) {
    let row = |number: u32| format!("{number},{},{}\n", 10 + number % 37, 10 + number % 41);
    let rows: String = (first..300).map(row).collect();
    scratch.write("meetings.csv", format!("number,host,guest\n{rows}"));
}

fn is_kept(scratch: &Scratch, rows: usize) {
    scratch.plan().exits(0);
    scratch.run().exits(0);
    scratch.verify().exits(0);
    assert_eq!(scratch.tables()["kept"].live(&[]).len(), rows);
}

#[test]
fn a_row_that_comes_from_another_key_after_an_edit_is_kept() {
    for workers in [1, 3] {
        let mut scratch = rooms::example();
        scratch.workers = workers;
        scratch.write("pipeline.toml", PIPELINE);
        write(&scratch, 0);
        is_kept(&scratch, 300);
        scratch.edit("pipeline.toml", "by = \"host\"", "by = \"guest\"");
        is_kept(&scratch, 300);
        // The way back, with rows that go at the same time, and one run more.
        scratch.edit("pipeline.toml", "by = \"guest\"", "by = \"host\"");
        write(&scratch, 3);
        is_kept(&scratch, 297);
        write(&scratch, 5);
        is_kept(&scratch, 295);
        // A column of the same name that does not hold the key unchanged any more.
        scratch.edit("pipeline.toml", "noted = \"1\"", "host = \"host + 0\"");
        write(&scratch, 7);
        is_kept(&scratch, 293);
    }
}
