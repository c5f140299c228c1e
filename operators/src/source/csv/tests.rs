//! The source as a whole: files are written, checked and read back. Parsing of single cells is
//! tested in `decode`, the choice of a type in `infer`, a missing file in `source::file`.

use std::fs::{self, File};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;

use super::*;
use crate::problem::Step;
use crate::source::{Amiss, Ask, Instant, LostLine, Read, Source};
use crate::value::{Value, cells};

mod checks;
mod properties;

/// A file in a folder of its own, and what its author writes about it.
struct Sample {
    folder: TempDir,
    name: &'static str,
    config: CsvConfig,
    pinned: BTreeMap<String, Type>,
}

impl Sample {
    fn new(content: impl AsRef<[u8]>) -> Self {
        let sample = Sample {
            folder: tempfile::tempdir().unwrap(),
            name: "visits.csv",
            config: config(),
            pinned: BTreeMap::new(),
        };
        sample.write(content);
        sample
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(self.name)
    }

    fn write(&self, content: impl AsRef<[u8]>) {
        fs::write(self.path(), content).unwrap();
    }

    fn ty(mut self, name: &str, ty: &str) -> Self {
        self.config.types.insert(name.to_owned(), ty.to_owned());
        self
    }

    fn rename(mut self, new: &str, old: &str) -> Self {
        self.config.columns.insert(new.to_owned(), old.to_owned());
        self
    }

    fn null(mut self, token: &str) -> Self {
        self.config.null = token.to_owned();
        self
    }

    fn id(mut self, names: &[&str]) -> Self {
        self.config.id = strings(names);
        self
    }

    fn check(&self) -> Result<FileScan<Csv>, Amiss> {
        Csv::check(
            &self.config,
            "visits",
            &self.path(),
            Tz::America__New_York,
            &self.pinned,
        )
    }

    /// The fields and messages of all problems.
    fn problems(&self) -> Vec<(String, String)> {
        let told = |problem: Problem| (place(&problem), problem.message);
        self.check()
            .unwrap_err()
            .problems
            .into_iter()
            .map(told)
            .collect()
    }

    fn csv(&self) -> Source {
        Source::new(self.check().unwrap())
    }

    /// All columns of all rows; the header order.
    fn table(&self) -> Table {
        let csv = self.csv();
        let names: Vec<String> = csv.schema().names().map(str::to_owned).collect();
        Table::of(&csv, &names)
    }
}

/// All that was read.
#[derive(Debug, Default, PartialEq)]
struct Table {
    rows: Vec<Vec<Value>>,
    /// Row of the whole file, and message.
    errors: Vec<(usize, String)>,
    lost: Vec<String>,
    /// The length of each chunk.
    chunks: Vec<usize>,
}

impl Table {
    fn of(csv: &Source, columns: &[String]) -> Table {
        let mut table = Table::default();
        let outcome = csv.read_all(&Ask::all_of(columns), &mut |read| {
            table.add(&read);
            ControlFlow::Continue(())
        });
        outcome.unwrap();
        table
    }

    fn add(&mut self, read: &Read) {
        let before = self.rows.len();
        let batch = read.chunk.rows();
        let rows = (0..batch.num_rows()).map(|row| cells(batch.columns(), row));
        self.rows.extend(rows);
        for error in &read.errors {
            assert_eq!(&*error.stage, "visits");
            self.errors
                .push((before + error.origin as usize, error.message.clone()));
        }
        self.lost.extend(read.lost.iter().map(LostLine::to_string));
        self.chunks.push(read.chunk.len());
    }
}

fn config() -> CsvConfig {
    CsvConfig {
        path: "$inputs/visits.csv".to_owned(),
        id: Vec::new(),
        types: BTreeMap::new(),
        columns: BTreeMap::new(),
        null: String::new(),
        delimiter: ",".to_owned(),
        prefix_of: BTreeMap::new(),
        version: Vec::new(),
        condition: None,
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn place(problem: &Problem) -> String {
    let step = |step: &Step| match step {
        Step::Key(key) => key.clone(),
        Step::Index(index) => index.to_string(),
    };
    problem.field.iter().map(step).collect::<Vec<_>>().join(".")
}

#[test]
fn a_header_in_another_order_gives_the_same_rows() {
    let sample = Sample::new("a,b\n1,x\n2,y\n");
    let csv = sample.csv();
    let columns = strings(&["b", "a"]);
    let before = Table::of(&csv, &columns);
    assert_eq!(before.rows[0], [text("x"), Value::Int(1)]);
    sample.write("new,b,a\n,x,1\n,y,2\n");
    assert_eq!(Table::of(&csv, &columns), before);
    assert_eq!(Table::of(&sample.csv(), &columns), before);
}

#[test]
fn only_the_columns_asked_for_are_decoded() {
    let sample = Sample::new("a,b\n1,x\n2,y\n").ty("b", "int");
    let table = Table::of(&sample.csv(), &strings(&["a"]));
    assert_eq!(table.rows, [[Value::Int(1)], [Value::Int(2)]]);
    assert_eq!(table.errors, []);
    // The rows count even where nothing of them is needed.
    assert_eq!(Table::of(&sample.csv(), &[]).chunks, [2]);
}

#[test]
fn a_cell_of_another_type_is_null_and_an_error_of_its_row() {
    let table = Sample::new("i,f,b,d,t,x\n1,1,1,2024-01-01,2024-01-01,1\n5 ,?,?,?,?,?\n,,,,,\n")
        .ty("i", "int")
        .ty("f", "float")
        .ty("b", "bool")
        .ty("d", "date")
        .ty("t", "timestamp")
        .table();
    assert!(table.rows[0].iter().all(|cell| *cell != Value::Null));
    assert!(table.rows[1][..5].iter().all(|cell| *cell == Value::Null));
    assert_eq!(table.rows[1][5], text("?"));
    assert!(table.rows[2].iter().all(|cell| *cell == Value::Null));
    let messages = [
        "column `i`: not an int",
        "column `f`: not a float",
        "column `b`: not a bool",
        "column `d`: not a date",
        "column `t`: not a timestamp",
    ];
    assert_eq!(
        table.errors,
        messages.map(|message| (1, message.to_owned()))
    );
}

#[test]
fn the_null_token_is_null_in_every_type_and_the_empty_field_is_then_a_text() {
    let table = Sample::new("x,n,y\nNA,NA,NA\n,,NA \n\"NA\",1,na\n")
        .null("NA")
        .ty("n", "int")
        .table();
    assert_eq!(table.rows[0], [Value::Null, Value::Null, Value::Null]);
    assert_eq!(table.rows[1], [text(""), Value::Null, text("NA ")]);
    assert_eq!(table.rows[2], [text("NA"), Value::Int(1), text("na")]);
    assert_eq!(table.errors, [(1, "column `n`: not an int".to_owned())]);
}

#[test]
fn texts_are_never_trimmed_and_quotes_hold_anything() {
    let table = Sample::new("a,b\n x ,\"1,\"\"2\"\"\r\n3\"\r\n\"\",y\n").table();
    assert_eq!(table.rows[0], [text(" x "), text("1,\"2\"\r\n3")]);
    assert_eq!(table.rows[1], [text(""), text("y")]);
}

#[test]
fn broken_lines_are_told_with_their_line_and_reading_goes_on() {
    let lines = "a,b\n1,\"x\ny\"\n\n\n2\n3,z\n4,\n5,6,7\n\"8\n8\",9,9\n10,11";
    for (content, name) in [
        (lines.to_owned(), "LF"),
        (lines.replace('\n', "\r\n"), "CRLF"),
    ] {
        let table = Sample::new(content).table();
        assert_eq!(table.rows.len(), 4, "{name}");
        let lost = [
            "line 6: 1 field where the header has 2",
            "line 9: 3 fields where the header has 2",
            "line 10: 3 fields where the header has 2",
        ];
        assert_eq!(table.lost, lost, "{name}");
        assert_eq!(table.rows[3], [Value::Int(10), text("11")], "{name}");
    }
}

#[test]
fn a_line_that_is_not_utf_8_is_lost_whatever_is_asked_for() {
    let sample = Sample::new(b"a,b\n1,\xff\n2,x\n3,\xc3\n\xa9,x\n".as_slice());
    let table = Table::of(&sample.csv(), &strings(&["a"]));
    assert_eq!(table.rows, [[Value::Int(2)]]);
    assert_eq!(
        table.lost,
        [
            "line 2: not UTF-8",
            "line 4: not UTF-8",
            "line 5: not UTF-8"
        ]
    );
}

#[test]
fn errors_hold_no_values() {
    let table = Sample::new("ssn,b\n900-11-2222,1\n900-11-2222,1,1\n")
        .ty("ssn", "int")
        .table();
    assert_eq!((table.errors.len(), table.lost.len()), (1, 1));
    let told = format!("{:?} {:?}", table.errors, table.lost);
    assert!(!told.contains("900-11"), "{told}");
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_name() {
    assert_eq!(
        Sample::new("\u{feff}a,b\n1,2\n")
            .csv()
            .schema()
            .position("a"),
        Some(0)
    );
    assert_eq!(
        Sample::new("\u{feff}\"a\",b\n1,2\n")
            .csv()
            .schema()
            .position("a"),
        Some(0)
    );
}

#[test]
fn a_header_alone_is_no_rows_of_text() {
    for content in ["a,b", "a,b\n", "\r\na,b\r\n\r\n"] {
        let sample = Sample::new(content).ty("b", "date");
        assert_eq!(sample.csv().schema().kind(0), Type::Text);
        assert_eq!(sample.csv().schema().kind(1), Type::Date);
        assert_eq!(sample.table(), Table::default());
    }
}

#[test]
fn chunks_are_bounded_in_rows_and_errors_count_from_their_chunk() {
    let mut content = "a\n".to_owned();
    for row in 0..20_000 {
        content += if row == 8192 || row == 19_999 {
            "x\n"
        } else {
            "1\n"
        };
    }
    let table = Sample::new(content).ty("a", "int").table();
    assert_eq!(table.chunks, [8192, 8192, 3616]);
    let rows: Vec<usize> = table.errors.iter().map(|(row, _)| *row).collect();
    assert_eq!(rows, [8192, 19_999]);
}

#[test]
fn chunks_are_bounded_in_bytes_and_in_lost_lines() {
    let row = format!("{}\n", "x".repeat(1 << 20));
    let table = Sample::new(format!("a\n{}", row.repeat(20))).table();
    assert_eq!(table.chunks, [16, 4]);
    let table = Sample::new(format!("a\n{}", "1,2\n".repeat(10_000))).table();
    assert_eq!((table.chunks, table.lost.len()), (vec![0, 0], 10_000));
}

#[test]
fn a_break_ends_the_reading() {
    let sample = Sample::new(format!("a\n{}", "1\n".repeat(20_000)));
    let mut calls = 0;
    let ask = Ask::all_of(&strings(&["a"]));
    let outcome = sample.csv().read_all(&ask, &mut |_| {
        calls += 1;
        ControlFlow::Break(())
    });
    assert_eq!((calls, outcome.unwrap().1.rows), (1, 8192));
}

#[test]
fn a_quote_that_is_not_closed_ends_the_reading() {
    let broken = [
        "a,b\n1,x\n2,\"y\n3,z\n",
        "a,b\n1,x\n2,\"",
        "a,b\n1,x\n2,\"y\"\"",
        "a,b\n1,x\n\"\0",
    ];
    for content in broken {
        let sample = Sample::new("a,b\n1,x\n");
        let csv = sample.csv();
        sample.write(content);
        let error = csv
            .read_all(&Ask::default(), &mut |_| ControlFlow::Continue(()))
            .unwrap_err();
        assert!(
            matches!(error, SourceError::Unclosed { line: 3, .. }),
            "{error} {content:?}"
        );
        let problems = sample.problems();
        assert_eq!(problems[0].0, "path");
        assert!(problems[0].1.contains("at or after line 3"), "{problems:?}");
    }
    // What only looks like the end of the input, or like an open quote, is data.
    let table = Sample::new("a\n\0\n\"\0\"\nx\"y\n\"\n\0\"\n\0").table();
    let cells = ["\0", "\0", "x\"y", "\n\0", "\0"];
    assert_eq!(table.rows, cells.map(|cell| [text(cell)]));
}

#[test]
fn a_quote_that_is_not_closed_does_not_read_the_file_into_memory() {
    let sample = Sample::new("a,b\n1,x\n2,\"y\n");
    let file = File::options().write(true).open(sample.path()).unwrap();
    // A file with a hole: zeros that take no place.
    file.set_len(1 << 40).unwrap();
    let problems = sample.problems();
    assert!(problems[0].1.contains("at or after line 3"), "{problems:?}");
}

#[test]
fn the_instant_is_that_of_the_file() {
    let sample = Sample::new("a\n1\n");
    let file = File::options().write(true).open(sample.path()).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_micros(1_234_567))
        .unwrap();
    let instant = || sample.csv().units(&Ask::default()).unwrap().instant();
    let before = instant();
    let Instant::Files {
        files,
        bytes,
        modified,
        ..
    } = before
    else {
        panic!("{before:?}");
    };
    assert_eq!((files, bytes, modified), (1, 4, Some(1_234_567)));
    assert_eq!(instant(), before);
    file.set_modified(UNIX_EPOCH - Duration::from_micros(5))
        .unwrap();
    let modified = Some(-5);
    assert!(matches!(instant(), Instant::Files { modified: at, .. } if at == modified));
    assert_ne!(instant(), before);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_told() {
    let sample = Sample::new("a\n1\n");
    let file = || File::options().append(true).open(sample.path()).unwrap();
    let changes: [&dyn Fn(); 3] = [
        &|| file().write_all(b"2\n").unwrap(),
        &|| file().set_modified(UNIX_EPOCH).unwrap(),
        &|| file().set_len(1).unwrap(),
    ];
    for change in changes {
        let ask = Ask::all_of(&strings(&["a"]));
        let outcome = sample.csv().read_all(&ask, &mut |_| {
            change();
            ControlFlow::Continue(())
        });
        assert!(
            matches!(outcome, Err(SourceError::Changed { .. })),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_file_that_is_no_longer_what_was_checked_is_told() {
    let sample = Sample::new("a,b\n1,2\n");
    let csv = sample.csv();
    let error = |columns: &[&str]| {
        let ask = Ask::all_of(&strings(columns));
        let outcome = csv.read_all(&ask, &mut |_| ControlFlow::Continue(()));
        outcome.unwrap_err().to_string()
    };
    sample.write("a,c\n1,2\n");
    assert!(error(&["a", "b"]).ends_with("has no column `b` any more"));
    sample.write("a,a\n1,2\n");
    assert!(error(&["a"]).ends_with("has the column `a` twice"));
    sample.write("");
    assert!(error(&[]).ends_with("is missing: the file is empty"));
    fs::remove_file(sample.path()).unwrap();
    assert!(error(&[]).starts_with("there is no file `"));
}
