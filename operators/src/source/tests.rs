//! What holds for any files, whatever is in them: the same rows, however they are spread over
//! files, compressed and encoded; and what their paths say.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression as Codec, ZstdLevel};
use ::parquet::file::properties::WriterProperties;
use arrow::array::{AsArray, RecordBatch};
use chrono_tz::Tz;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use tempfile::TempDir;

use super::csv::{Csv, CsvConfig};
use super::parquet::{Parquet, ParquetConfig};
use super::*;
use crate::expression::Columns;
use crate::problem::Problem;
use crate::transform::fixture::language;
use crate::value::{Value, column};

/// Files in a folder.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// A CSV source at `path` with `more` fields.
    fn check(&self, path: &str, more: CsvConfig) -> Result<Source, Amiss> {
        let config = CsvConfig {
            path: path.to_owned(),
            ..more
        };
        let pinned = BTreeMap::new();
        let source = Csv::check(
            &config,
            "visits",
            &self.0.path().join(path),
            Tz::UTC,
            &pinned,
        );
        source.map(Source::new)
    }

    fn csv(&self, path: &str) -> Source {
        self.check(path, plain()).unwrap()
    }

    fn problems(&self, path: &str, more: CsvConfig) -> Vec<String> {
        let problems = self.check(path, more).err().unwrap().problems;
        let told = |problem: Problem| format!("{:?} {}", problem.field, problem.message);
        problems.into_iter().map(told).collect()
    }

    fn parquet(&self, path: &str) -> Source {
        let config = ParquetConfig {
            path: path.to_owned(),
            id: Vec::new(),
            columns: BTreeMap::new(),
            types: BTreeMap::new(),
            prefix_of: BTreeMap::new(),
            version: Vec::new(),
            condition: None,
        };
        let source = Parquet::check(&config, "visits", &self.path(path), Tz::UTC);
        Source::new(source.unwrap())
    }
}

fn plain() -> CsvConfig {
    CsvConfig {
        path: String::new(),
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

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// All rows, of all columns.
fn rows(source: &Source) -> Vec<Vec<Value>> {
    let columns: Vec<String> = source.schema().names().map(str::to_owned).collect();
    read(source, &Ask::all_of(&columns)).unwrap()
}

fn read(source: &Source, ask: &Ask) -> Result<Vec<Vec<Value>>, SourceError> {
    let mut rows = Vec::new();
    source.read_all(ask, &mut |read| {
        let batch = read.chunk.rows();
        let row = |row| {
            batch
                .columns()
                .iter()
                .map(|column| Value::at(column, row))
                .collect()
        };
        rows.extend((0..batch.num_rows()).map(row));
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 1).unwrap()
}

#[test]
fn many_files_are_one_source_and_their_paths_are_columns() {
    let folder = Folder::new();
    folder.write("state=NY/078.csv", "n,ssn\n1,0781\n2,0782\n");
    folder.write("state=CA/123.csv", "ssn,n\n1230,3\n");
    folder.write("state=CA/124.csv", "ssn,n\n");
    let more = CsvConfig {
        types: map(&[("prefix", "int"), ("ssn", "text")]),
        ..plain()
    };
    let source = folder.check("state={state}/{prefix}.csv", more).unwrap();
    let kinds: Vec<String> = source
        .schema()
        .columns()
        .iter()
        .map(|it| format!("{it:?}"))
        .collect();
    let expected = [
        "(\"ssn\", Text)",
        "(\"n\", Int)",
        "(\"state\", Text)",
        "(\"prefix\", Int)",
    ];
    assert_eq!(kinds, expected);
    let row =
        |ssn, n, state, prefix| vec![text(ssn), Value::Int(n), text(state), Value::Int(prefix)];
    let expected = [
        row("1230", 3, "CA", 123),
        row("0781", 1, "NY", 78),
        row("0782", 2, "NY", 78),
    ];
    assert_eq!(rows(&source), expected);
    let ask = Ask::all_of(&names(&["state", "n"]));
    assert_eq!(read(&source, &ask).unwrap()[0], [text("CA"), Value::Int(3)]);
    let only = |column: &str, key: &str| Ask {
        only: Some(Only::of(column, names(&[key]))),
        ..Ask::all_of(&names(&["n"]))
    };
    assert_eq!(read(&source, &only("state", "NY")).unwrap().len(), 2);
    assert_eq!(
        read(&source, &only("ssn", "0782")).unwrap(),
        [[Value::Int(2)]]
    );
    assert_eq!(source.units(&Ask::default()).unwrap().instant().files, 3);
}

#[test]
fn the_files_of_a_source_agree_in_their_columns() {
    let folder = Folder::new();
    folder.write("a.csv", "a,b\n1,2\n");
    folder.write("b.csv", "b,a\n1,2\n");
    assert_eq!(
        rows(&folder.csv("*.csv")),
        [[1, 2], [2, 1]].map(|row| row.map(Value::Int))
    );
    folder.write("c.csv", "b,c\n1,2\n");
    folder.write("d.csv", "");
    let expected = [
        "[Key(\"path\")] `c.csv` has no column `a`, and `a.csv` has one",
        "[Key(\"path\")] `c.csv` has a column `c`, and `a.csv` has none",
    ];
    let told = folder.problems("*.csv", plain());
    assert_eq!(told[..2], expected);
    assert!(
        told[2].ends_with("d.csv` is missing: the file is empty"),
        "{told:?}"
    );
}

#[test]
fn a_path_that_nothing_matches_names_what_is_there() {
    let folder = Folder::new();
    folder.write("data/visits.tsv", "a\n");
    let problem = folder
        .check("data/*.csv", plain())
        .err()
        .unwrap()
        .problems
        .remove(0);
    assert_eq!(problem.message, "no file matches `*.csv`");
    assert!(problem.help.unwrap().contains("`visits.tsv`"));
    let problem = folder
        .check("dato/*.csv", plain())
        .err()
        .unwrap()
        .problems
        .remove(0);
    assert_eq!(problem.message, "there is no folder `dato`");
    assert_eq!(problem.help.unwrap(), "did you mean `data`?");
}

#[test]
fn what_paths_say_fits_the_columns() {
    let folder = Folder::new();
    folder.write("1/x.csv", "a,b\n1,2\n");
    let more = |types: &[_], prefix_of: &[_]| CsvConfig {
        types: map(types),
        prefix_of: map(prefix_of),
        ..plain()
    };
    let told = folder.problems("1/{a}.csv", plain());
    assert_eq!(
        told,
        ["[Key(\"path\")] the path and the files both have a column `a`"]
    );
    let told = folder.problems("{p}/x.csv", more(&[("p", "int"), ("q", "int")], &[]));
    assert_eq!(
        told,
        ["[Key(\"types\"), Key(\"q\")] there is no column `q`"]
    );
    let told = folder.problems("1/{p}.csv", more(&[("p", "int")], &[]));
    assert!(
        told[0].ends_with("x.csv` does not fit: `p` in it is not an int"),
        "{told:?}"
    );
    let told = folder.problems("1/{p}.csv", more(&[], &[("q", "a")]));
    let expected = [
        "[Key(\"prefix_of\"), Key(\"q\")] the path has no column of text `q`",
        "[Key(\"prefix_of\"), Key(\"q\")] the files have no column of text `a`",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_prefix_bounds_its_column_and_is_checked() {
    let folder = Folder::new();
    folder.write("123.csv", "ssn,n\n1230,1\n,2\n123,3\n");
    let more = || CsvConfig {
        types: map(&[("ssn", "text")]),
        prefix_of: map(&[("prefix", "ssn")]),
        ..plain()
    };
    let source = folder.check("{prefix}.csv", more()).unwrap();
    let ask = |column: &str| Ask {
        bounds_of: Some(column.to_owned()),
        ..Ask::all_of(&names(&["n"]))
    };
    let bounds = |column: &str| source.units(&ask(column)).unwrap().units.remove(0).bounds;
    let expected = Bounds {
        least: text("123"),
        greatest: text("124"),
        prefix: Some("123".to_owned()),
        nulls: true,
    };
    assert_eq!(bounds("ssn"), Some(expected));
    assert_eq!(bounds("prefix").unwrap().greatest, text("123"));
    assert_eq!(bounds("n"), None);
    assert_eq!(read(&source, &ask("ssn")).unwrap().len(), 3);
    folder.write("123.csv", "ssn,n\n1230,1\n124,2\n");
    let source = folder.check("{prefix}.csv", more()).unwrap();
    let error = read(&source, &ask("n")).unwrap_err();
    assert!(matches!(error, SourceError::Prefix { .. }), "{error}");
    assert!(!error.to_string().contains("124"), "{error}");
}

#[test]
fn a_file_that_comes_or_goes_changes_the_source() {
    let folder = Folder::new();
    folder.write("b.csv", "a\n1\n");
    folder.write("c.csv", "a\n1\n");
    let source = folder.csv("*.csv");
    let pinned = source.units(&Ask::default()).unwrap();
    source.unchanged(&pinned).unwrap();
    for name in ["a.csv", "d.csv"] {
        folder.write(name, "a\n1\n");
        let error = source.unchanged(&pinned).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        fs::remove_file(folder.path(name)).unwrap();
    }
    source.unchanged(&pinned).unwrap();
    fs::remove_file(folder.path("c.csv")).unwrap();
    let error = source.unchanged(&pinned).unwrap_err();
    assert!(matches!(error, SourceError::Changed { .. }), "{error}");
}

#[test]
fn lost_lines_name_their_file_where_there_may_be_several() {
    let folder = Folder::new();
    folder.write("x/a.csv", "a\n1,2\n");
    let lost = |path: &str| {
        let mut lost = Vec::new();
        let source = folder.csv(path);
        let outcome = source.read_all(&Ask::default(), &mut |read| {
            lost.extend(read.lost.iter().map(LostLine::to_string));
            ControlFlow::Continue(())
        });
        outcome.unwrap();
        lost
    };
    assert_eq!(lost("x/a.csv"), ["line 2: 2 fields where the header has 1"]);
    assert_eq!(
        lost("*/*.csv"),
        ["`x/a.csv`, line 2: 2 fields where the header has 1"]
    );
}

#[test]
fn a_compressed_file_is_read_to_its_end_or_told() {
    let folder = Folder::new();
    let parts = ["a\n1\n", "2\n"];
    let whole = parts.concat();
    folder.write("a.csv.gz", parts.map(|part| gzip(part.as_bytes())).concat());
    folder.write(
        "b.csv.zst",
        parts.map(|part| zstd(part.as_bytes())).concat(),
    );
    for name in ["a.csv.gz", "b.csv.zst"] {
        assert_eq!(rows(&folder.csv(name)), [[Value::Int(1)], [Value::Int(2)]]);
    }
    let mut cut = gzip(whole.as_bytes());
    cut.truncate(cut.len() - 9);
    folder.write("c.csv.gz", cut);
    let told = folder.problems("c.csv.gz", plain());
    assert!(told[0].contains("cannot read"), "{told:?}");
    folder.write("d.csv.gz", &whole);
    assert_eq!(folder.problems("d.csv.gz", plain()).len(), 1);
    folder.write("e.csv.zst", &zstd(whole.as_bytes())[..12]);
    assert_eq!(folder.problems("e.csv.zst", plain()).len(), 1);
}

#[test]
fn thousands_of_small_files_are_one_source() {
    let folder = Folder::new();
    let lines: Vec<String> = (0..500).map(|number| format!("{number}\n")).collect();
    for (number, line) in lines.iter().enumerate() {
        folder.write(&format!("many/{number:04}.csv"), format!("n\n{line}"));
    }
    folder.write("one.csv", format!("n\n{}", lines.concat()));
    assert_eq!(
        rows(&folder.csv("many/*.csv")),
        rows(&folder.csv("one.csv"))
    );
}

fn where_(source: Source, text: &str) -> Source {
    source.with_condition(Some(text), &language()).unwrap()
}

fn lost(source: &Source) -> Vec<String> {
    let mut lost = Vec::new();
    let outcome = source.read_all(&Ask::default(), &mut |read| {
        lost.extend(read.lost.iter().map(LostLine::to_string));
        ControlFlow::Continue(())
    });
    outcome.unwrap();
    lost
}

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
    assert_eq!((pinned.files.len(), pinned.skipped.paths), (1, 2));
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
fn a_version_is_of_columns() {
    let folder = Folder::new();
    folder.write("a.csv", "n,updated_at\n1,2026-01-01\n");
    let more = |columns: &[&str]| CsvConfig {
        version: names(columns),
        ..plain()
    };
    let source = folder.check("a.csv", more(&["updated_at"])).unwrap();
    assert_eq!(source.version(), ["updated_at"]);
    let told = folder.problems("a.csv", more(&["n", "updated"]));
    assert_eq!(
        told,
        ["[Key(\"version\"), Index(1)] there is no column `updated`"]
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

/// Random rows: a column of each type but json, which CSV reads as text.
fn tables() -> impl Strategy<Value = Vec<Vec<Value>>> {
    let nullable = |value: BoxedStrategy<Value>| prop_oneof![1 => Just(Value::Null), 4 => value];
    let row = (
        nullable("[a-c,\"\n é]{1,4}".prop_map(Value::Text).boxed()),
        nullable(any::<i64>().prop_map(Value::Int).boxed()),
        nullable(floats().prop_map(Value::Float).boxed()),
        nullable(any::<bool>().prop_map(Value::Bool).boxed()),
        nullable((-700_000..2_900_000).prop_map(Value::Date).boxed()),
        nullable(
            (-60_000_000_000_000_000..200_000_000_000_000_000_i64)
                .prop_map(Value::Timestamp)
                .boxed(),
        ),
    );
    let row = row.prop_map(|(a, b, c, d, e, f)| vec![a, b, c, d, e, f]);
    prop::collection::vec(row, 0..40)
}

fn floats() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), Just(f64::NAN), Just(0.0), -2.0..2.0]
}

/// Names of columns that are words of SQL stand in double quotes.
const CONDITIONS: [&str; 14] = [
    "\"int\" > 0",
    "\"int\" is null",
    "\"int\" is not null and not \"bool\"",
    "\"text\" >= 'b'",
    "\"text\" like 'a%' or \"text\" = 'b'",
    "\"text\" in ('a', 'b', 'c') and \"bool\"",
    "\"float\" > 0",
    "\"float\" < 0 or \"float\" = 'NaN'",
    "\"float\" <> 0",
    "\"bool\"",
    "\"bool\" is distinct from true",
    "\"date\" < '2000-01-01'",
    "\"timestamp\" >= '2000-01-01' or \"int\" < 0",
    "\"int\" % 2 = 0 and coalesce(\"text\", 'a') = 'a'",
];

const TYPES: [Type; 6] = [
    Type::Text,
    Type::Int,
    Type::Float,
    Type::Bool,
    Type::Date,
    Type::Timestamp,
];

fn as_csv(rows: &[Vec<Value>]) -> Vec<u8> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    writer.write_record(TYPES.map(|ty| ty.to_string())).unwrap();
    for row in rows {
        writer
            .write_record(row.iter().map(ToString::to_string))
            .unwrap();
    }
    writer.into_inner().unwrap()
}

fn as_batch(rows: &[Vec<Value>]) -> RecordBatch {
    let columns = TYPES.iter().enumerate().map(|(at, ty)| {
        let cells = rows.iter().map(|row| &row[at]);
        (ty.to_string(), column(*ty, cells), true)
    });
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn write_parquet(path: &Path, rows: &RecordBatch, group: usize, codec: Codec) {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group))
        .set_compression(codec)
        .build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_same_rows_come_of_any_files(
        table in tables(),
        cuts in prop::collection::vec(0..40_usize, 0..3),
        group in 1..10_usize,
        codec in prop::sample::select(vec![
            Codec::UNCOMPRESSED, Codec::SNAPPY, Codec::LZ4_RAW, Codec::ZSTD(ZstdLevel::default()),
        ]),
        conditions in prop::sample::subsequence(CONDITIONS.to_vec(), 3),
    ) {
        let folder = Folder::new();
        let csv = as_csv(&table);
        folder.write("a.csv", &csv);
        folder.write("a.csv.gz", gzip(&csv));
        folder.write("a.csv.zst", zstd(&csv));
        let batch = as_batch(&table);
        write_parquet(&folder.path("a.parquet"), &batch, group, codec);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(table.len())).collect();
        cuts.extend([0, table.len()]);
        cuts.sort_unstable();
        for (number, cut) in cuts.windows(2).enumerate() {
            let part = batch.slice(cut[0], cut[1] - cut[0]);
            write_parquet(&folder.path(&format!("many/{number}.parquet")), &part, group, codec);
            folder.write(&format!("many/{number}.csv.gz"), gzip(&as_csv(&table[cut[0]..cut[1]])));
        }
        let expected: Vec<Vec<Value>> = table;
        for path in ["a.csv", "a.csv.gz", "a.csv.zst", "many/*.csv.gz"] {
            let types = TYPES.map(|ty| (ty.to_string(), ty.to_string()));
            let more = CsvConfig { types: types.into(), ..plain() };
            prop_assert_eq!(rows(&folder.check(path, more).unwrap()), expected.clone(), "{}", path);
        }
        let columns: Vec<String> = TYPES.map(|ty| ty.to_string()).into();
        let ask = Ask::all_of(&columns);
        for path in ["a.parquet", "many/*.parquet", "{name}.parquet"] {
            let source = folder.parquet(path);
            prop_assert_eq!(read(&source, &ask).unwrap(), expected.clone(), "{}", path);
        }
        // A condition spares only what a filter behind the source would drop.
        let schema = Schema::new(TYPES.map(|ty| (ty.to_string(), ty)).into());
        for text in conditions {
            let filter = language().condition(text, &Columns::of(&schema)).unwrap();
            let truths = filter.evaluate(&as_batch(&expected)).values;
            let truths = truths.as_boolean().iter().map(|it| it == Some(true));
            let kept = expected.iter().zip(truths).filter(|(_, keep)| *keep);
            let kept: Vec<Vec<Value>> = kept.map(|(row, _)| row.clone()).collect();
            for path in ["a.parquet", "many/*.parquet"] {
                let source = where_(folder.parquet(path), text);
                prop_assert_eq!(read(&source, &ask).unwrap(), kept.clone(), "{} {}", path, text);
                let few = Ask::all_of(&columns[1..2]);
                let ints: Vec<Vec<Value>> = kept.iter().map(|row| vec![row[1].clone()]).collect();
                prop_assert_eq!(read(&source, &few).unwrap(), ints, "{} {}", path, text);
            }
        }
    }
}
