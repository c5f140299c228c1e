//! What an author declares: how it shapes the schema, and what is told when it is wrong.

use serde::de::value::{Error, MapDeserializer};

use super::*;

#[test]
fn only_the_path_must_be_given() {
    let fields = MapDeserializer::<_, Error>::new([("path", "visits.csv")].into_iter());
    let config = CsvConfig::deserialize(fields).unwrap();
    assert_eq!((config.null.as_str(), config.delimiter.as_str()), ("", ","));
    assert!(config.id.is_empty() && config.types.is_empty() && config.columns.is_empty());
    let fields = [("path", "visits.csv"), ("delimeter", ";")];
    let fields = MapDeserializer::<_, Error>::new(fields.into_iter());
    assert!(CsvConfig::deserialize(fields).is_err());
}

#[test]
fn the_schema_has_new_names_and_types_that_are_declared_pinned_or_inferred() {
    let mut sample = Sample::new("Visit Id,ssn,miles,day\n1,900,1,2024-01-01\n2,901,2.5,\n")
        .rename("visit_id", "Visit Id")
        .ty("ssn", "text")
        .id(&["visit_id"]);
    sample.pinned.insert("day".to_owned(), Type::Text);
    sample.pinned.insert("ssn".to_owned(), Type::Int);
    sample.pinned.insert("gone".to_owned(), Type::Int);
    let csv = sample.csv();
    let columns = [
        ("visit_id", Type::Int),
        ("ssn", Type::Text),
        ("miles", Type::Float),
        ("day", Type::Text),
    ];
    let columns = columns.map(|(name, ty)| (name.to_owned(), ty));
    assert_eq!(csv.schema().columns(), columns);
    assert_eq!(csv.id(), ["visit_id"]);
    let inferred: Vec<&str> = csv.inferred().keys().map(String::as_str).collect();
    assert_eq!(inferred, ["day", "miles", "visit_id"]);
    assert_eq!(csv.inferred()["day"], Type::Text);
}

#[test]
fn nulls_do_not_count_for_the_type_but_empty_texts_do() {
    let kinds = |sample: Sample| {
        let csv = sample.csv();
        csv.schema()
            .columns()
            .iter()
            .map(|(_, ty)| *ty)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        kinds(Sample::new("a,b\n,\n1,\n,\n")),
        [Type::Int, Type::Text]
    );
    assert_eq!(
        kinds(Sample::new("a,b\n,NA\n1,2\n").null("NA")),
        [Type::Text, Type::Int]
    );
}

#[test]
fn a_file_without_a_header_is_a_problem() {
    for content in ["", "\n\n", "\u{feff}", "\r\n"] {
        let problems = Sample::new(content).problems();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].0, "path");
        assert!(
            problems[0].1.ends_with("is missing: the file is empty"),
            "{}",
            problems[0].1
        );
    }
    let utf_16 = Sample::new(b"\xff\xfea\0,\0b\0\n\0".as_slice()).problems();
    assert!(utf_16[0].1.ends_with("is not UTF-8"), "{}", utf_16[0].1);
}

#[test]
fn all_problems_are_told_at_once() {
    let sample = Sample::new("a,b,c,c\n1,2,3,4\n")
        .id(&["a", "d", "new"])
        .ty("A", "int")
        .ty("b", "number")
        .rename("a", "b")
        .rename("new", "ab")
        .rename("one", "c")
        .rename("two", "c");
    let told = |field: &str, message: &str| (field.to_owned(), message.to_owned());
    let expected = [
        told("types.b", "there is no type `number`"),
        told("path", "the header has the column `c` twice"),
        told("columns.new", "there is no column `ab` in the file"),
        told("columns.two", "`c` is already renamed to `one`"),
        told("columns.a", "two columns would be named `a`"),
        told("types.A", "there is no column `A`"),
        told("types.b", "there is no column `b`"),
        told("id.1", "there is no column `d`"),
    ];
    assert_eq!(sample.problems(), expected);
}

#[test]
fn problems_say_what_was_meant() {
    let help = |sample: Sample| {
        let problems = sample.check().unwrap_err().problems;
        assert_eq!(problems.len(), 1);
        problems[0].help.clone().unwrap()
    };
    let sample = || Sample::new("Visit Id,ssn\n1,2\n");
    assert_eq!(help(sample().id(&["snn"])), "did you mean `ssn`?");
    assert_eq!(
        help(sample().ty("visit_id", "int")),
        "did you mean `Visit Id`?"
    );
    assert_eq!(help(sample().ty("ssn", "txt")), "did you mean `text`?");
    assert_eq!(
        help(sample().rename("x", "visit id")),
        "did you mean `Visit Id`?"
    );
    let mut missing = sample();
    missing.config.path = "ignored".to_owned();
    fs::rename(missing.path(), missing.path().with_extension("tsv")).unwrap();
    assert_eq!(help(missing), "did you mean `visits.tsv`?");
}

#[test]
fn names_can_be_swapped() {
    let table = Sample::new("a,b\n1,x\n")
        .rename("a", "b")
        .rename("b", "a")
        .table();
    assert_eq!(table.rows, [[Value::Int(1), text("x")]]);
}

#[test]
fn the_delimiter_is_one_ascii_character() {
    for delimiter in ["", ";;", "é", "\"", "\n", "\r", "\0"] {
        let mut sample = Sample::new("a,b\n").ty("x", "int");
        sample.config.delimiter = delimiter.to_owned();
        assert_eq!(sample.problems()[0].0, "delimiter", "{delimiter:?}");
        fs::remove_file(sample.path()).unwrap();
        assert_eq!(sample.problems()[1].0, "path", "{delimiter:?}");
    }
    for delimiter in [";", "\t", "|", "\u{1}", " ", "."] {
        let mut sample = Sample::new(format!("a{delimiter}b\n1{delimiter}x\n"));
        sample.config.delimiter = delimiter.to_owned();
        assert_eq!(
            sample.table().rows,
            [[Value::Int(1), text("x")]],
            "{delimiter:?}"
        );
    }
}

#[test]
fn quotes_tell_an_empty_text_from_null_where_a_text_can_be() {
    let sample = Sample::new("a,b,c\n\"\",\"\",x\n,,x\n\"x\",\"1\",\"\"\n").ty("a", "text");
    let (text, null) = (|text: &str| Value::Text(text.to_owned()), Value::Null);
    let table = sample.table();
    let expected = [
        [text(""), null.clone(), text("x")],
        [null.clone(), null, text("x")],
        [text("x"), Value::Int(1), text("")],
    ];
    assert_eq!(table.rows, expected);
    assert_eq!(table.errors, []);
    let sample = Sample::new("a,b\nNA,NA\n\"NA\",\"NA\"\n,1\n").null("NA");
    let expected = [
        [Value::Null, Value::Null],
        [text("NA"), Value::Null],
        [text(""), Value::Int(1)],
    ];
    assert_eq!(sample.table().rows, expected);
}

#[test]
fn quotes_are_told_of_rows_across_the_pieces_in_which_a_file_is_read() {
    let long = "x".repeat(70_000);
    let lines = format!("\"\",\"{long}\",\r\n\r\n,{long},\"\"\r\n");
    let sample = Sample::new(format!("a,b,c\r\n{}", lines.repeat(5)));
    let is_empty = |cell: &Value| *cell == Value::Text(String::new());
    for (at, row) in sample.table().rows.iter().enumerate() {
        let expected = if at % 2 == 0 {
            (true, false)
        } else {
            (false, true)
        };
        assert_eq!((is_empty(&row[0]), is_empty(&row[2])), expected, "row {at}");
    }
}

#[test]
fn what_is_wrong_with_names_leaves_the_columns_known() {
    let content = "a,b\n1,x\n";
    let columns = |sample: Sample| {
        let amiss = sample.check().unwrap_err();
        assert!(!amiss.problems.is_empty());
        amiss.schema.map(|schema| schema.columns().to_vec())
    };
    let all = [("a", Type::Int), ("b", Type::Text)];
    let all = Some(all.map(|(name, ty)| (name.to_owned(), ty)).to_vec());
    assert_eq!(columns(Sample::new(content).id(&["z"])), all);
    assert_eq!(columns(Sample::new(content).ty("z", "int")), all);
    // Here the name or the type of some column is not known.
    assert_eq!(columns(Sample::new(content).ty("a", "number")), None);
    assert_eq!(columns(Sample::new(content).rename("z", "y")), None);
    assert_eq!(columns(Sample::new("a,a\n1,2\n")), None);
}
