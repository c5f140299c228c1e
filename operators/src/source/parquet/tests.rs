//! Files are written by the parquet crate, checked and read back.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::PathBuf;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;

use super::*;
use crate::source::{Amiss, Ask, Only, Source};
use crate::value::{Value, cells};

/// A file in a folder of its own, and what its author writes about it.
struct Sample {
    folder: TempDir,
    config: ParquetConfig,
}

impl Sample {
    /// Columns of a file, in row groups of two rows.
    fn new(columns: Vec<(&str, ArrayRef)>) -> Self {
        let sample = Sample {
            folder: tempfile::tempdir().unwrap(),
            config: ParquetConfig {
                path: String::new(),
                id: Vec::new(),
                columns: BTreeMap::new(),
                types: BTreeMap::new(),
                prefix_of: BTreeMap::new(),
                version: Vec::new(),
                condition: None,
            },
        };
        sample.write(columns);
        sample
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("visits.parquet")
    }

    fn write(&self, columns: Vec<(&str, ArrayRef)>) {
        let columns = columns.into_iter().map(|(name, array)| (name, array, true));
        let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(2))
            .build();
        let file = File::create(self.path()).unwrap();
        let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties)).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
    }

    fn rename(mut self, new: &str, old: &str) -> Self {
        self.config.columns.insert(new.to_owned(), old.to_owned());
        self
    }

    fn id(mut self, names: &[&str]) -> Self {
        self.config.id = strings(names);
        self
    }

    fn check(&self) -> Result<Source, Amiss> {
        let zone = Tz::America__New_York;
        Parquet::check(&self.config, "visits", &self.path(), zone).map(Source::new)
    }

    fn problems(&self) -> Vec<String> {
        let problems = self.check().err().unwrap().problems;
        problems
            .into_iter()
            .map(|problem| problem.message)
            .collect()
    }

    /// All columns of all rows, and what is wrong with which row.
    fn table(&self) -> (Vec<Vec<Value>>, Vec<(usize, String)>) {
        let source = self.check().unwrap();
        let columns: Vec<String> = source.schema().names().map(str::to_owned).collect();
        table(&source, &Ask::all_of(&columns))
    }

    /// The cells of its only column.
    fn cells(&self) -> Vec<Value> {
        let (rows, errors) = self.table();
        assert_eq!(errors, []);
        rows.into_iter().map(|mut row| row.remove(0)).collect()
    }
}

fn table(source: &Source, ask: &Ask) -> (Vec<Vec<Value>>, Vec<(usize, String)>) {
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    let outcome = source.read_all(ask, &mut |read| {
        let batch = read.chunk.rows();
        assert_eq!(batch.num_columns(), ask.columns.len());
        errors.extend(read.errors.iter().map(|error| {
            let row = rows.len() + error.origin as usize;
            (row, error.message.clone())
        }));
        rows.extend((0..batch.num_rows()).map(|row| cells(batch.columns(), row)));
        ControlFlow::Continue(())
    });
    outcome.unwrap();
    (rows, errors)
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn ints(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

#[test]
fn a_value_is_brought_to_the_nearest_of_our_types() {
    let cells = |array: ArrayRef| Sample::new(vec![("a", array)]).cells();
    let [one, two] = [1, 2].map(Value::Int);
    assert_eq!(
        cells(Arc::new(Int8Array::from(vec![1, 2]))),
        [one.clone(), two.clone()]
    );
    assert_eq!(cells(Arc::new(UInt32Array::from(vec![1, 2]))), [one, two]);
    let decimal = Decimal128Array::from(vec![Some(125), None]);
    let decimal = decimal.with_precision_and_scale(5, 2).unwrap();
    assert_eq!(cells(Arc::new(decimal)), [Value::Float(1.25), Value::Null]);
    assert_eq!(
        cells(Arc::new(Float32Array::from(vec![0.5]))),
        [Value::Float(0.5)]
    );
    assert_eq!(
        cells(Arc::new(BooleanArray::from(vec![true]))),
        [Value::Bool(true)]
    );
    assert_eq!(
        cells(Arc::new(Date32Array::from(vec![-1]))),
        [Value::Date(-1)]
    );
    assert_eq!(
        cells(Arc::new(NullArray::new(2))),
        [Value::Null, Value::Null]
    );
    let dictionary: DictionaryArray<Int32Type> = [Some("a"), None, Some("a")].into_iter().collect();
    assert_eq!(
        cells(Arc::new(dictionary)),
        [text("a"), Value::Null, text("a")]
    );
    assert_eq!(
        cells(Arc::new(LargeStringArray::from(vec!["é"]))),
        [text("é")]
    );
    assert_eq!(cells(Arc::new(StringViewArray::from(vec![""]))), [text("")]);
}

#[test]
fn there_is_one_zero_and_one_nan() {
    let floats = Float64Array::from(vec![-0.0, -f64::NAN, f64::INFINITY]);
    let bits = |value: &Value| match value {
        Value::Float(value) => value.to_bits(),
        other => panic!("{other:?}"),
    };
    let cells = Sample::new(vec![("a", Arc::new(floats))]).cells();
    let expected = [0.0_f64, f64::NAN, f64::INFINITY].map(f64::to_bits);
    assert_eq!(cells.iter().map(bits).collect::<Vec<_>>(), expected);
}

#[test]
fn timestamps_of_every_unit_are_wall_clocks_in_microseconds() {
    let cells = |array: ArrayRef| Sample::new(vec![("a", array)]).cells();
    let seconds = TimestampSecondArray::from(vec![-1]);
    assert_eq!(cells(Arc::new(seconds)), [Value::Timestamp(-1_000_000)]);
    let nanos = TimestampNanosecondArray::from(vec![-1, 1_999]);
    assert_eq!(
        cells(Arc::new(nanos)),
        [Value::Timestamp(-1), Value::Timestamp(1)]
    );
    // Noon in UTC, in summer: eight in New York.
    let noon = 1_719_835_200_000;
    let zoned = TimestampMillisecondArray::from(vec![noon]).with_timezone("Europe/Berlin");
    let eight = (noon - 4 * 3_600_000) * 1000;
    assert_eq!(cells(Arc::new(zoned)), [Value::Timestamp(eight)]);
}

#[test]
fn a_value_that_its_type_cannot_hold_is_null_and_an_error_of_its_row() {
    let unsigned = UInt64Array::from(vec![Some(7), None, Some(u64::MAX)]);
    let far = TimestampMillisecondArray::from(vec![i64::MAX, 0, 0]);
    let sample = Sample::new(vec![("n", Arc::new(unsigned)), ("t", Arc::new(far))]);
    let (rows, errors) = sample.table();
    assert_eq!(rows[0], [Value::Int(7), Value::Null]);
    assert_eq!(rows[2], [Value::Null, Value::Timestamp(0)]);
    let expected = [
        (0, "column `t`: not a timestamp"),
        (2, "column `n`: not an int"),
    ];
    assert_eq!(
        errors,
        expected.map(|(row, message)| (row, message.to_owned()))
    );
}

#[test]
fn what_nests_is_json() {
    let items: ArrayRef = Arc::new(StructArray::from(vec![
        (
            Arc::new(Field::new("drug", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec![Some("a\"b"), None])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("count", DataType::Int64, true)),
            ints(&[1, 2]),
        ),
    ]));
    let list = ListArray::new(
        Arc::new(Field::new("item", items.data_type().clone(), true)),
        OffsetBuffer::from_lengths([2, 0, 0]),
        items,
        Some(vec![true, true, false].into()),
    );
    let cells = Sample::new(vec![("a", Arc::new(list))]).cells();
    let nested = r#"[{"drug":"a\"b","count":1},{"drug":null,"count":2}]"#;
    assert_eq!(cells, [text(nested), text("[]"), Value::Null]);
}

#[test]
fn only_the_columns_asked_for_are_read_in_the_order_asked_for() {
    let sample = Sample::new(vec![
        ("a", ints(&[1, 2, 3])),
        ("b", texts(&["x", "y", "z"])),
        ("c", ints(&[7, 8, 9])),
    ]);
    let source = sample.check().unwrap();
    let (rows, _) = table(&source, &Ask::all_of(&strings(&["c", "a"])));
    assert_eq!(rows[2], [Value::Int(9), Value::Int(3)]);
    let (rows, _) = table(&source, &Ask::default());
    assert_eq!(rows, vec![Vec::<Value>::new(); 3]);
    let bytes = |columns: &[&str]| {
        let ask = Ask::all_of(&strings(columns));
        let (_, scanned) = source
            .read_all(&ask, &mut |_| ControlFlow::Continue(()))
            .unwrap();
        scanned.bytes
    };
    assert_eq!(bytes(&[]), 0);
    assert_eq!(
        bytes(&["a", "b", "c"]),
        bytes(&["a"]) + bytes(&["b"]) + bytes(&["c"])
    );
}

#[test]
fn each_row_group_is_a_unit_with_its_bounds() {
    let sample = Sample::new(vec![
        ("ssn", texts(&["b", "a", "c", "c", "d"])),
        (
            "n",
            Arc::new(Int32Array::from(vec![Some(3), None, None, None, Some(-1)])),
        ),
        ("f", Arc::new(Float64Array::from(vec![1.0; 5]))),
    ]);
    let source = sample.check().unwrap();
    let bounds = |column: &str| {
        let ask = Ask {
            bounds_of: Some(column.to_owned()),
            ..Ask::default()
        };
        let units = source.units(&ask).unwrap().units;
        let parts: Vec<_> = units
            .iter()
            .map(|unit| (unit.file().part, unit.rows))
            .collect();
        let part = |group, rows| (Part::RowGroup(group), Some(rows));
        assert_eq!(parts, [part(0, 2), part(1, 2), part(2, 1)]);
        units
            .into_iter()
            .map(|unit| unit.bounds)
            .collect::<Vec<_>>()
    };
    let between = |least: Value, greatest: Value, nulls| {
        Some(Bounds {
            least,
            greatest,
            prefix: None,
            nulls,
        })
    };
    let expected = [("a", "b"), ("c", "c"), ("d", "d")];
    let expected = expected.map(|(least, greatest)| between(text(least), text(greatest), false));
    assert_eq!(bounds("ssn"), expected);
    let (three, one) = (Value::Int(3), Value::Int(-1));
    let expected = [
        between(three.clone(), three, true),
        None,
        between(one.clone(), one, false),
    ];
    assert_eq!(bounds("n"), expected);
    // NaN is the greatest, and does not show in statistics.
    let expected = between(Value::Float(1.0), Value::Float(f64::NAN), false);
    assert_eq!(bounds("f"), vec![expected; 3]);
}

#[test]
fn rows_of_some_keys_are_read_alone() {
    let sample = Sample::new(vec![
        (
            "ssn",
            Arc::new(StringArray::from(vec![
                Some("b"),
                None,
                Some("a"),
                Some("b"),
                Some("c"),
            ])),
        ),
        ("n", Arc::new(UInt64Array::from(vec![1, 2, 3, u64::MAX, 5]))),
    ]);
    let source = sample.check().unwrap();
    let ask = |only| Ask {
        columns: strings(&["n"]),
        only: Some(only),
        ..Ask::default()
    };
    let (rows, errors) = table(&source, &ask(Only::of("ssn", strings(&["b", "z"]))));
    assert_eq!(rows, [[Value::Int(1)], [Value::Null]]);
    assert_eq!(errors, [(1, "column `n`: not an int".to_owned())]);
    let (rows, _) = table(&source, &ask(Only::of("n", strings(&["5", ""]))));
    assert_eq!(rows, [[Value::Int(5)]]);
    let (rows, _) = table(&source, &ask(Only::of("n", Vec::new())));
    assert!(rows.is_empty());
}

#[test]
fn a_file_without_rows_is_read() {
    let sample = Sample::new(vec![("a", Arc::new(Int64Array::from(Vec::<i64>::new())))]);
    assert!(sample.cells().is_empty());
    assert_eq!(
        sample
            .check()
            .unwrap()
            .units(&Ask::default())
            .unwrap()
            .files()
            .len(),
        1
    );
}

#[test]
fn columns_have_new_names_and_those_of_no_type_are_not_there() {
    let columns = || {
        vec![
            ("Visit Id", ints(&[1])),
            (
                "photo",
                Arc::new(BinaryArray::from(vec![b"x".as_slice()])) as ArrayRef,
            ),
        ]
    };
    let sample = Sample::new(columns())
        .rename("visit_id", "Visit Id")
        .id(&["visit_id"]);
    let source = sample.check().unwrap();
    assert_eq!(
        source.schema().columns(),
        [("visit_id".to_owned(), Type::Int)]
    );
    assert_eq!(source.id(), ["visit_id"]);
    assert_eq!(
        table(&source, &Ask::all_of(&strings(&["visit_id"]))).0,
        [[Value::Int(1)]]
    );
    let wrong = Sample::new(columns())
        .rename("x", "visit id")
        .id(&["photo", "y"]);
    let expected = [
        "there is no column `visit id` in the file",
        "there is no column `y`",
        "column `photo` is of type Binary",
    ];
    assert_eq!(wrong.problems(), expected);
}

#[test]
fn a_file_that_is_no_longer_what_was_checked_is_told() {
    let sample = Sample::new(vec![("a", ints(&[1])), ("b", ints(&[2]))]);
    let source = sample.check().unwrap();
    let ask = Ask::all_of(&strings(&["a"]));
    let told = || source.units(&ask).unwrap_err().to_string();
    let pinned = source.units(&ask).unwrap();
    sample.write(vec![("a", texts(&["1"]))]);
    assert!(
        told().ends_with("its column `a` is text now, not int"),
        "{}",
        told()
    );
    let outcome = source.read(
        &[&pinned.units[0]],
        &ask,
        &mut |_| ControlFlow::Continue(()),
    );
    assert!(
        matches!(outcome, Err(SourceError::Changed { .. })),
        "{outcome:?}"
    );
    assert!(matches!(
        source.unchanged(&pinned),
        Err(SourceError::Changed { .. })
    ));
    sample.write(vec![("b", ints(&[1]))]);
    assert!(
        told().ends_with("it has no column `a` any more"),
        "{}",
        told()
    );
    std::fs::write(sample.path(), "no parquet").unwrap();
    assert!(told().contains("cannot be read: "), "{}", told());
    assert!(sample.problems()[0].contains("cannot be read: "));
    std::fs::remove_file(sample.path()).unwrap();
    assert!(told().starts_with("there is no file `"));
    assert_eq!(sample.problems(), ["there is no file `visits.parquet`"]);
}

/// Pages of both versions, with and without nulls, in a file that is read whole and in one that is not.
#[test]
fn pages_are_read_however_they_are_packed() {
    use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
    use parquet::file::properties::WriterVersion;

    let packed = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ];
    for count in [40_i64, 60_000] {
        let numbers = (0..count).map(|row| (row % 3 > 0).then_some(row * 7919));
        let texts = (0..count).map(|row| (row % 1000 > 500).then(|| format!("{}", row % 7)));
        let of_file = [
            (
                "number",
                Arc::new(numbers.collect::<Int64Array>()) as ArrayRef,
            ),
            ("text", Arc::new(texts.collect::<StringArray>())),
            (
                "nothing",
                Arc::new(Int64Array::new_null(usize::try_from(count).unwrap())),
            ),
        ];
        let rows = of_file
            .iter()
            .map(|(name, column)| (*name, Arc::clone(column), true));
        let rows = RecordBatch::try_from_iter_with_nullable(rows).unwrap();
        let expected: Vec<Vec<Value>> = (0..rows.num_rows())
            .map(|row| cells(rows.columns(), row))
            .collect();
        let sample = Sample::new(vec![("number", new_null_array(&DataType::Int64, 1))]);
        for packed in packed {
            for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
                let properties = WriterProperties::builder()
                    .set_compression(packed)
                    .set_writer_version(version);
                let file = File::create(sample.path()).unwrap();
                let schema = rows.schema();
                let writer = ArrowWriter::try_new(file, schema, Some(properties.build()));
                let mut writer = writer.unwrap();
                writer.write(&rows).unwrap();
                writer.close().unwrap();
                let (read, errors) = sample.table();
                assert_eq!(errors, []);
                assert!(read == expected, "{packed} {version:?} {count}");
            }
        }
    }
}

#[test]
fn chunks_are_bounded() {
    let many: Vec<i64> = (0..20_000).collect();
    let sample = Sample::new(vec![("a", ints(&[]))]);
    let rows = RecordBatch::try_from_iter([("a", ints(&many))]).unwrap();
    let file = File::create(sample.path()).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    let (mut lengths, mut cells) = (Vec::new(), Vec::new());
    let source = sample.check().unwrap();
    let outcome = source.read_all(&Ask::all_of(&strings(&["a"])), &mut |read| {
        lengths.push(read.chunk.len());
        let column = read.chunk.rows().column(0);
        cells.extend_from_slice(column.as_primitive::<Int64Type>().values());
        ControlFlow::Continue(())
    });
    assert_eq!(outcome.unwrap().1.rows, 20_000);
    assert_eq!(lengths, [16_384, 3616]);
    assert_eq!(cells, many);
}
