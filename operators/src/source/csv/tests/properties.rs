//! What holds for any table and for any bytes: a table that the csv crate writes is read back equal;
//! what was inferred decodes; no input panics.

use chrono::{NaiveDate, NaiveTime, TimeDelta};
use proptest::prelude::*;

use super::*;
use crate::key::Key;
use crate::sink::files::Declared;
use crate::sink::files::csv::CsvConfig as SinkConfig;
use crate::sink::policy::Lookups;
use crate::sink::{Fence, Fenced, Updates};
use crate::value::column;

/// A table of random cells: the types of its columns, and its rows.
fn tables() -> impl Strategy<Value = (Vec<Type>, Vec<Vec<Value>>)> {
    let kinds = prop::collection::vec(prop::sample::select(Type::ALL.to_vec()), 1..6);
    kinds.prop_flat_map(|kinds| {
        let row: Vec<_> = kinds.iter().map(|ty| cells(*ty)).collect();
        (Just(kinds), prop::collection::vec(row, 0..20))
    })
}

fn cells(ty: Type) -> BoxedStrategy<Value> {
    let days = -719_528..2_932_896;
    let value = match ty {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::Int => any::<i64>().prop_map(Value::Int).boxed(),
        Type::Float => any::<f64>().prop_map(Value::Float).boxed(),
        Type::Text => "([a,;\"\r\n\0é ]|NA){0,4}".prop_map(Value::Text).boxed(),
        Type::Date => days.prop_map(Value::Date).boxed(),
        Type::Timestamp => (days, 0..86_400_000_000_i64)
            .prop_map(|(day, micros)| Value::Timestamp(i64::from(day) * 86_400_000_000 + micros))
            .boxed(),
        Type::Json => r#"\[1,"[a-z]{0,3}"\]|\{"a":null\}"#.prop_map(Value::Text).boxed(),
    };
    prop_oneof![1 => Just(Value::Null), 4 => value].boxed()
}

fn written(value: &Value, null: &str) -> String {
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
    match value {
        Value::Null => null.to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(value) => value.clone(),
        Value::Date(days) => (epoch + TimeDelta::days((*days).into())).to_string(),
        Value::Timestamp(micros) => {
            let wall = epoch.and_time(NaiveTime::MIN) + TimeDelta::microseconds(*micros);
            format!("{wall:?}")
        }
    }
}

/// Writes rows by a sink of type `csv`, with the sample's path, null and delimiter.
fn written_by_sink(sample: &Sample, names: &[String], kinds: &[Type], rows: &[Vec<Value>]) {
    let columns = names.iter().cloned().zip(kinds.iter().copied());
    let schema = Schema::new(columns.collect());
    let path = sample.path();
    let config = SinkConfig {
        input: String::new(),
        path: String::new(),
        key: vec![names[0].clone()],
        newest_by: Vec::new(),
        order_by: Vec::new(),
        write: None,
        on_retract: None,
        null: sample.config.null.clone(),
        delimiter: Some(sample.config.delimiter.clone()),
    };
    let declared = Declared {
        pipeline: "p",
        name: "s",
        path: &path,
        schema: &schema,
    };
    let cells = |at: usize| column(kinds[at], rows.iter().map(|row| &row[at]));
    let columns = (0..kinds.len()).map(cells).collect();
    let updates = Updates {
        rows: crate::chunk::batch(schema.arrow(), columns, rows.len()).unwrap(),
        owners: vec![Key::of("k"); rows.len()],
        known: vec![false; rows.len()],
        retractions: Vec::new(),
    };
    let next = Fence {
        state_id: "state".to_owned(),
        epoch: 1,
    };
    let mut writer = config.check(declared).unwrap().open(false).unwrap();
    writer.begin(None, &next).unwrap();
    let applied = writer.apply(&updates, &Lookups::default(), None).unwrap();
    assert_eq!(applied.refused, []);
    writer.commit().unwrap();
}

proptest! {
    #[test]
    fn what_is_written_in_any_order_of_columns_is_read_back(
        ((kinds, rows), order, null, crlf) in tables().prop_flat_map(|(kinds, rows)| {
            let order = Just((0..kinds.len()).collect::<Vec<_>>()).prop_shuffle();
            (Just((kinds, rows)), order, prop::sample::select(vec!["", "NA"]), any::<bool>())
        })
    ) {
        let names: Vec<String> = (0..kinds.len()).map(|column| format!("c{column}")).collect();
        let terminator = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
        let mut writer = csv::WriterBuilder::new().terminator(terminator).from_writer(Vec::new());
        writer.write_record(order.iter().map(|column| &names[*column])).unwrap();
        for row in &rows {
            writer.write_record(order.iter().map(|column| written(&row[*column], null))).unwrap();
        }
        let mut sample = Sample::new(writer.into_inner().unwrap()).null(null);
        for (name, ty) in names.iter().zip(&kinds) {
            sample = sample.ty(name, &ty.to_string());
        }
        // The crate quotes nothing that reads as null, but for an empty field alone on its line.
        let is_quoted = kinds.len() == 1 && null.is_empty();
        let as_read = |(cell, ty): (&Value, &Type)| match cell {
            Value::Null if is_quoted && *ty == Type::Text => Value::Text(String::new()),
            Value::Text(text) if text == null && !is_quoted => Value::Null,
            cell => cell.clone(),
        };
        let expected: Vec<Vec<Value>> =
            rows.iter().map(|row| row.iter().zip(&kinds).map(as_read).collect()).collect();
        let table = Table::of(&sample.csv(), &names);
        prop_assert_eq!(table.errors, vec![]);
        prop_assert_eq!(table.lost, Vec::<String>::new());
        prop_assert_eq!(table.rows, expected);
    }

    #[test]
    fn what_our_sink_writes_is_read_back_nulls_and_empty_texts_apart(
        (kinds, rows) in tables(), null in prop::sample::select(vec!["", "NA"]),
        delimiter in prop::sample::select(vec![",", ";"]), packed in any::<bool>(),
    ) {
        let names: Vec<String> = (0..=kinds.len()).map(|column| format!("c{column}")).collect();
        let kinds: Vec<Type> = [Type::Int].into_iter().chain(kinds).collect();
        let number = |(number, row): (i64, &Vec<Value>)| [vec![Value::Int(number)], row.clone()].concat();
        let rows: Vec<Vec<Value>> = (0..).zip(&rows).map(number).collect();
        let mut sample = Sample::new("").null(null);
        sample.config.delimiter = delimiter.to_owned();
        sample.name = if packed { "rows.csv.gz" } else { "rows.csv" };
        for (name, ty) in names.iter().zip(&kinds) {
            sample = sample.ty(name, &ty.to_string());
        }
        written_by_sink(&sample, &names, &kinds, &rows);
        let table = Table::of(&sample.csv(), &names);
        prop_assert_eq!(table.errors, vec![]);
        prop_assert_eq!(table.lost, Vec::<String>::new());
        prop_assert_eq!(table.rows, rows);
    }

    #[test]
    fn what_is_inferred_decodes_without_errors(
        rows in prop::collection::vec(
            prop_oneof![
                prop::sample::select(vec![
                    "", "true", "F", "0", "-0", "007", "1e5", "1e999", "inf", "9223372036854775808",
                    "2024-01-01", "2024-02-30", "2024-01-01 10:00", "2024-01-01T10:00:00.1+02",
                ]).prop_map(str::to_owned),
                any::<i64>().prop_map(|value| value.to_string()),
                any::<f64>().prop_map(|value| value.to_string()),
            ],
            0..4,
        )
    ) {
        let lines: Vec<String> = rows.iter().map(|cell| format!("{cell},\n")).collect();
        let table = Sample::new(format!("a,b\n{}", lines.concat())).table();
        prop_assert_eq!(table.errors, vec![]);
        prop_assert_eq!(table.rows.len(), rows.len());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(content in prop::collection::vec(
        prop::sample::select(b"ab,\"\"\r\n\n\0\xc3\xa9\xef\xbb\xbf1".to_vec()), 0..60,
    )) {
        let lines = content.split(|byte| *byte == b'\n').count() as u64;
        let sample = Sample::new(content);
        let Ok(csv) = sample.check().map(Source::new) else { return Ok(()) };
        let columns: Vec<String> = csv.schema().names().map(str::to_owned).collect();
        csv.read_all(&Ask::all_of(&columns), &mut |read| {
            for lost in &read.lost {
                assert!(lost.line.is_some_and(|line| 1 <= line && line <= lines), "{lost}");
            }
            ControlFlow::Continue(())
        }).unwrap();
    }
}
