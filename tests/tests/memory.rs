//! Goal: a run takes about the memory that its pipeline allows, however much it reads.
//!
//! Method: four times as many bytes of rows as `memory`, in row groups of random keys; the greatest
//! resident set of the process is compared with that of a run over a few rows.

use std::fs;
use std::process::{Child, Stdio};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use tests::harness::{Outcome, Scratch, scratch_folder, write_parquet};

use crate::visits::PROGRAM;

const PIPELINE: &str = r#"
[pipeline]
name      = "memory"
state_dir = "output/.tidemill"
memory    = "32MiB"

[sources.letters]
type = "parquet"
path = "letters/*.parquet"
id   = ["letter"]

[transforms.by_person]
type  = "batch-partition"
input = "letters"
by    = "person"
cut   = { prefix = 2 }

[transforms.read]
type  = "aggregate"
input = "by_person"
by    = ["person"]
set   = { letters = "count(*)", last = "max(text)" }

[transforms.signed]
type  = "derive"
input = "read"
set   = { last = "right(last, 40)" }

[sinks.table]
type  = "sqlite"
input = "signed"
path  = "output/letters.db"
table = "letters"
key   = ["person"]
"#;

/// Bytes of a letter.
const TEXT: usize = 4096;

/// What a run may take beyond `memory` and what it takes anyway: rows that are decoded and on their
/// way to their groups, and what an allocator keeps of what it was given back.
const ON_THEIR_WAY: u64 = 64 << 20;

/// The pipeline over so many letters of 2000 persons, in files of four row groups.
fn folder(letters: i64) -> Scratch {
    let empty = scratch_folder();
    let mut scratch = Scratch::of(empty.path(), PROGRAM);
    "output/letters.db".clone_into(&mut scratch.database);
    scratch.write("pipeline.toml", PIPELINE);
    let all: Vec<i64> = (0..letters).collect();
    for (number, letters) in all.chunks(4096).enumerate() {
        let path = scratch.path(&format!("letters/{number:03}.parquet"));
        write_parquet(&path, &rows(letters), 1024);
    }
    scratch
}

/// Letters of persons in no order.
fn rows(letters: &[i64]) -> RecordBatch {
    let persons = letters.iter().map(|letter| {
        let mixed = letter.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        format!("{:04}", mixed % 2000)
    });
    let texts = letters.iter().map(|letter| format!("{letter:0>TEXT$}"));
    let columns = [
        (
            "letter",
            Arc::new(Int64Array::from(letters.to_vec())) as ArrayRef,
        ),
        ("person", Arc::new(StringArray::from_iter_values(persons))),
        ("text", Arc::new(StringArray::from_iter_values(texts))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// A run, and the greatest resident set that it had, in bytes.
fn measured(scratch: &Scratch) -> u64 {
    let mut command = scratch.command(&["run"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut most = 0;
    // The kernel keeps the greatest: only what comes after the last look is missed.
    while child.try_wait().expect("it is ours").is_none() {
        most = resident(&child).unwrap_or(most);
        std::thread::yield_now();
    }
    Outcome::ended(&child.wait_with_output().expect("it is ours")).exits(0);
    assert!(most > 0, "the system tells the resident set");
    most
}

/// `VmHWM` of a process, as proc(5) has it; none when it has ended.
fn resident(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[test]
fn a_run_takes_the_memory_that_it_may() {
    let base = measured(&folder(10));
    let letters = 4 * (32 << 20) / i64::try_from(TEXT).unwrap();
    let scratch = folder(letters);
    let limit = base + (32 << 20) + ON_THEIR_WAY;
    let with = |from: &str, to: &str| {
        let other = scratch.copy();
        other.edit("pipeline.toml", from, to);
        other
    };
    let much = with("memory    = \"32MiB\"\n", "");
    measured(&much);
    let expected = much.tables();
    assert_eq!(expected["letters"].rows.len(), 2000);
    drop(much);
    for cut in ["cut   = { prefix = 2 }", "cut   = { hash = 7 }", ""] {
        let little = with("cut   = { prefix = 2 }", cut);
        let most = measured(&little);
        assert!(
            most < limit,
            "{cut}: {most} bytes, not {limit}; {base} anyway"
        );
        assert!(little.tables() == expected, "{cut}");
    }
}

#[test]
fn a_key_with_too_many_rows_is_an_error_until_they_go() {
    let scratch = folder(300);
    scratch.edit(
        "pipeline.toml",
        "by    = \"person\"\n",
        "by    = \"person\"\nmax_group_rows = 3\n",
    );
    let errors = "\n[sinks.errors]\ntype = \"sqlite\"\ninput = \"by_person.errors\"\n\
                  path = \"output/letters.db\"\ntable = \"errors\"\nkey = [\"error_id\"]\n";
    let pipeline = String::from_utf8(scratch.bytes("pipeline.toml")).unwrap();
    scratch.write("pipeline.toml", pipeline + errors);
    scratch.run().exits(0);
    let persons = scratch.tables()["letters"].rows.len();
    let many = |letters: &[i64]| {
        let rows = rows(letters);
        let persons = StringArray::from(vec!["x"; letters.len()]);
        let mut columns = rows.columns().to_vec();
        columns[1] = Arc::new(persons);
        let rows = RecordBatch::try_new(rows.schema(), columns).unwrap();
        write_parquet(&scratch.path("letters/x.parquet"), &rows, 2);
    };
    many(&[1001, 1002, 1003]);
    scratch.run().exits(0);
    assert_eq!(scratch.tables()["letters"].rows.len(), persons + 1);
    many(&[1001, 1002, 1003, 1004]);
    let ran = scratch.run().exits(65);
    assert_eq!(ran.number("/errors/by_person"), 1);
    let tables = scratch.tables();
    assert_eq!(
        tables["letters"].rows.len(),
        persons,
        "the key has no rows, all others do"
    );
    let error = tables["errors"].rows.values().next().unwrap();
    assert_eq!(
        error["message"].to_string(),
        "4 rows of one key, more than `max_group_rows`: 3"
    );
    assert_eq!(error["key"].to_string(), "x");
    scratch.verify().exits(0);
    // It stands while nothing changes, and goes with the rows.
    let again = scratch.run().exits(65);
    assert_eq!(again.number("/keys/open"), 0);
    many(&[1001, 1003]);
    let ran = scratch.run().exits(0);
    assert_eq!(ran.number("/sinks/errors/retracted"), 1);
    assert_eq!(scratch.tables()["letters"].rows.len(), persons + 1);
    scratch.verify().exits(0);
    fs::remove_file(scratch.path("letters/x.parquet")).unwrap();
    scratch.run().exits(0);
    assert_eq!(scratch.tables()["letters"].rows.len(), persons);
}
