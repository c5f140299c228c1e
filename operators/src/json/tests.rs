//! Documents, held against those of `serde_json`.

use proptest::prelude::*;

use super::*;

/// The document as `serde_json` has it.
fn tree(item: &Item) -> serde_json::Value {
    serde_json::from_str(&document(item)).unwrap()
}

/// Holds when both take a text for the same document, or both for none.
fn agree(text: &str) {
    let theirs = serde_json::from_str::<serde_json::Value>(text);
    let ours = read(text);
    match (&ours, &theirs) {
        (Ok(item), Ok(theirs)) => assert_eq!(tree(item), *theirs, "{text}"),
        // It has no float for such a number, and we have its text.
        (Ok(_), Err(error)) if error.to_string().starts_with("number out of range") => {}
        (Err(Malformed), Err(_)) => {}
        _ => panic!("{text:?}: {ours:?}, and serde_json {theirs:?}"),
    }
}

#[test]
fn hostile_texts_are_documents_or_not() {
    for text in [
        "",
        " ",
        "null",
        " true ",
        "falsee",
        "nul",
        "0",
        "-0",
        "01",
        "-",
        "1.",
        ".5",
        "1.5e",
        "1e+5",
        "1E-5",
        "+1",
        "0x1",
        "NaN",
        "Infinity",
        "1 2",
        "[]",
        "[ ]",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1,2]",
        "{}",
        "{ }",
        "{\"a\":1}",
        "{\"a\" : 1 , \"b\":[{}]}",
        "{\"a\":}",
        "{\"a\"}",
        "{a:1}",
        "{\"a\":1,}",
        "{,}",
        "[[]",
        "[]]",
        "[}",
        "{]",
        "\"a",
        "\"a\\\"",
        "\"\\u00e4\"",
        "\"\\u00\"",
        "\"\\uD83D\\uDE00\"",
        "\"\\uD83D\"",
        "\"\\uDE00\"",
        "\"\\uD83D\\u0041\"",
        "\"\\x\"",
        "\"\\",
        "\"\t\"",
        "\"\u{7f}ä😀\"",
        "\"\\b\\f\\n\\r\\t\\/\"",
        "{\"a\\nb\":\"\\\\\"}",
        "\u{feff}1",
        "{\"a\":1}{\"b\":2}",
        "[1]x",
        "\"a\" \"b\"",
        "1e999",
        "\"\\u12g4\"",
        "[\"]\",\"}\",\"\\\"\"]",
        "{\"a\":{\"b\":[1,{\"c\":null}]}}",
        "[{},[],{}]",
        "{\"a\":[],}",
        "\u{a0}1",
        "1\u{0}",
    ] {
        agree(text);
    }
}

#[test]
fn a_document_nests_so_deep_and_no_deeper() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    agree(&nested(127));
    assert!(read(&nested(127)).is_ok() && read(&nested(128)).is_err());
    assert!(read(&"[".repeat(1_000_000)).is_err());
}

#[test]
fn what_nests_stays_as_it_is_written_but_for_spaces() {
    let text = " { \"b\" : [ 1.50 , \"a b\\\" c\" ] ,\n\t\"a\" : 12345678901234567890.0 } ";
    let compact = "{\"b\":[1.50,\"a b\\\" c\"],\"a\":12345678901234567890.0}";
    assert_eq!(document(&read(text).unwrap()), compact);
    let mut members = Members::of(text).unwrap();
    assert_eq!(members.next().unwrap().unwrap().0, "b");
    let (name, item) = members.next().unwrap().unwrap();
    assert_eq!(
        (name.as_ref(), document(&item).as_str()),
        ("a", "12345678901234567890.0")
    );
    assert_eq!(members.next(), Ok(None));
    assert!(Members::of("[1]").is_none());
}

#[test]
fn what_stands_behind_the_members_of_an_object_is_seen() {
    for text in ["{\"a\":1} x", "{\"a\":1}}", "{\"a\":1"] {
        let mut members = Members::of(text).unwrap();
        assert!(members.next().is_ok());
        assert_eq!(members.next(), Err(Malformed), "{text}");
    }
}

proptest! {
    #[test]
    fn texts_of_the_letters_of_json_are_read_as_serde_json_reads_them(
        text in "[\\[\\]{}:,\" \\\\0-2.eE+\\-truefalsn\\u{e4}]{0,24}"
    ) {
        agree(&text);
    }

    #[test]
    fn documents_that_are_cut_or_mended_are_read_as_serde_json_reads_them(
        keys in proptest::collection::vec("[a-c\"\\\\\u{1}ä]{0,3}", 0..4),
        number in proptest::num::f64::NORMAL,
        at in 0_usize..60,
        letter in "[\\[\\]{},:\"0 ]",
    ) {
        let members = keys.iter().map(|key| (key.clone(), serde_json::json!([number, {key: key}])));
        let text = serde_json::Value::Object(members.collect()).to_string();
        agree(&text);
        if let Some((before, _)) = text.split_at_checked(at) {
            agree(before);
            let rest = text[at..].chars().skip(1).collect::<String>();
            agree(&format!("{before}{letter}{rest}"));
        }
    }

    #[test]
    fn a_float_is_the_one_that_was_written(number in proptest::num::f64::NORMAL) {
        let text = format!("{number:?}");
        let cell = cell(&read(&text).unwrap(), Type::Float, Tz::UTC);
        prop_assert_eq!(cell, Some(Value::Float(number)));
    }
}

fn read_as(json: &str, ty: Type) -> Option<Value> {
    cell(&read(json).unwrap(), ty, Tz::Europe__Berlin)
}

#[test]
fn a_value_is_read_as_its_type_or_not_at_all() {
    let text = |text: &str| Some(Value::Text(text.to_owned()));
    for ty in Type::ALL {
        assert_eq!(read_as("null", ty), Some(Value::Null), "{ty}");
    }
    assert_eq!(read_as(r#""a\"b\u00e4""#, Type::Text), text("a\"bä"));
    assert_eq!(read_as("1.50", Type::Text), text("1.50"));
    assert_eq!(read_as("true", Type::Text), text("true"));
    assert_eq!(read_as("[1]", Type::Text), None);
    assert_eq!(
        read_as(r#"{"b": [1, {}], "a": "x"}"#, Type::Json),
        text(r#"{"b":[1,{}],"a":"x"}"#)
    );
    assert_eq!(read_as("\"x\\u00e4\"", Type::Json), text("\"xä\""));
    assert_eq!(read_as("false", Type::Bool), Some(Value::Bool(false)));
    assert_eq!(read_as("0", Type::Bool), None);
    assert_eq!(
        read_as("\"2024-02-29\"", Type::Date),
        Some(Value::Date(19_782))
    );
    assert_eq!(read_as("\"2024-02-30\"", Type::Date), None);
    assert_eq!(read_as("20240229", Type::Date), None);
    assert_eq!(
        read_as("\"1970-01-01T00:00Z\"", Type::Timestamp),
        Some(Value::Timestamp(3_600_000_000))
    );
}

#[test]
fn a_number_is_an_int_where_nothing_of_it_is_lost() {
    for (json, int) in [
        ("9223372036854775807", Some(i64::MAX)),
        ("-9223372036854775808", Some(i64::MIN)),
        ("3.0", Some(3)),
        ("-1e3", Some(-1000)),
        ("9223372036854775808", None),
        ("1e16", None),
        ("3.5", None),
        ("\"3\"", None),
        ("true", None),
    ] {
        assert_eq!(read_as(json, Type::Int), int.map(Value::Int), "{json}");
    }
    assert_eq!(read_as("3", Type::Float), Some(Value::Float(3.0)));
    assert_eq!(read_as("\"3\"", Type::Float), None);
    assert_eq!(read_as("1e999", Type::Float), None);
}
