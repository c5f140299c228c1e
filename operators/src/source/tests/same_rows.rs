//! Random rows come back the same however they are kept, and a condition keeps those of a filter.

use ::parquet::basic::ZstdLevel;
use arrow::array::AsArray;
use proptest::prelude::*;

use super::*;
use crate::expression::Columns;

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
