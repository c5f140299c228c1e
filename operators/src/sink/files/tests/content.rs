//! What stands in the files.

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;

const ALL: [(&str, Type); 7] = [
    ("id", Type::Int),
    ("text", Type::Text),
    ("x", Type::Float),
    ("ok", Type::Bool),
    ("day", Type::Date),
    ("at", Type::Timestamp),
    ("doc", Type::Json),
];

fn full(id: i64) -> Owned {
    let row = vec![
        Value::Int(id),
        Value::Text("a,\"b\"\nc".to_owned()),
        Value::Float(0.1),
        Value::Bool(true),
        Value::Date(19_753),
        Value::Timestamp(1_706_695_200_000_000),
        Value::Text("{\"b\":1.10,\"a\":[null,\"x y\"]}".to_owned()),
    ];
    (row, "k")
}

fn empty(id: i64) -> Owned {
    let mut row = vec![Value::Null; 7];
    row[0] = Value::Int(id);
    (row, "k")
}

#[test]
fn a_csv_file_quotes_what_it_must_and_tells_empty_text_from_null() {
    let mut fixture = Fixture::new("csv", "a.csv", &ALL, "");
    let mut blank = empty(3);
    blank.0[1] = Value::Text(String::new());
    blank.0[2] = Value::Float(f64::NAN);
    blank.0[5] = Value::Timestamp(-500_000);
    fixture.commit(&[full(1), empty(2), blank], &[]);
    let expected = "id,text,x,ok,day,at,doc\n\
        1,\"a,\"\"b\"\"\nc\",0.1,true,2024-01-31,2024-01-31T10:00:00,\
        \"{\"\"b\"\":1.10,\"\"a\"\":[null,\"\"x y\"\"]}\"\n\
        2,,,,,,\n\
        3,\"\",NaN,,,1969-12-31T23:59:59.500,\n";
    assert_eq!(fixture.text("a.csv"), expected);
    assert_eq!(fixture.live()[&Value::Int(1)].0, full(1).0);
    assert_eq!(
        fixture.live()[&Value::Int(3)].0[1],
        Value::Text(String::new())
    );
    assert_eq!(fixture.live()[&Value::Int(2)].0[1], Value::Null);
}

#[test]
fn a_csv_file_has_the_delimiter_and_the_null_that_the_author_wants() {
    let fields = r#", "delimiter": "|", "null": "NULL""#;
    let mut fixture = Fixture::new("csv", "a.csv", &COLUMNS, fields);
    let nobody = (vec![Value::Int(2), Value::Null], "k");
    let rows = [
        (row(1, "a,b"), "k"),
        nobody,
        (row(3, "NULL"), "k"),
        (row(4, ""), "k"),
    ];
    fixture.commit(&rows, &[]);
    assert_eq!(
        fixture.text("a.csv"),
        "id|name\n1|a,b\n2|NULL\n3|\"NULL\"\n4|\n"
    );
    let live: Vec<Vec<Value>> = fixture.live().into_values().map(|(row, _)| row).collect();
    assert_eq!(live, rows.map(|(row, _)| row));
}

#[test]
fn an_array_embeds_nested_values_and_a_line_is_an_object() {
    let line = "{\"id\":1,\"text\":\"a,\\\"b\\\"\\nc\",\"x\":0.1,\"ok\":true,\"day\":\"2024-01-31\",\
        \"at\":\"2024-01-31T10:00:00\",\"doc\":{\"b\":1.10,\"a\":[null,\"x y\"]}}";
    let nothing =
        "{\"id\":2,\"text\":null,\"x\":null,\"ok\":null,\"day\":null,\"at\":null,\"doc\":null}";
    for (kind, path, expected) in [
        ("json", "a.json", format!("[\n{line},\n{nothing}\n]\n")),
        ("ndjson", "a.ndjson", format!("{line}\n{nothing}\n")),
    ] {
        let mut fixture = Fixture::new(kind, path, &ALL, "");
        fixture.commit(&[full(1), empty(2)], &[]);
        assert_eq!(fixture.text(path), expected);
        let live: Vec<Vec<Value>> = fixture.live().into_values().map(|(row, _)| row).collect();
        assert_eq!(live, [full(1).0, empty(2).0]);
    }
}

#[test]
fn a_pretty_array_has_a_line_for_each_member() {
    let mut fixture = Fixture::new("json", "a.json", &COLUMNS, r#", "pretty": true"#);
    fixture.commit(&[(row(1, "x"), "k"), (row(2, "y"), "k")], &[]);
    let expected = "[\n  {\n    \"id\": 1,\n    \"name\": \"x\"\n  },\n  {\n    \"id\": 2,\n    \"name\": \"y\"\n  }\n]\n";
    assert_eq!(fixture.text("a.json"), expected);
    assert_eq!(fixture.live().len(), 2);
}

#[test]
fn rows_stand_in_the_order_of_the_author_whatever_the_order_of_commits() {
    let fields = r#", "order_by": ["name desc"]"#;
    let mut fixture = Fixture::new("ndjson", "a.ndjson", &COLUMNS, fields);
    fixture.commit(&[(row(3, "b"), "k"), (row(1, "a"), "k")], &[]);
    fixture.commit(&[(row(2, "b"), "k"), (row(4, "c"), "k")], &[]);
    let ids: Vec<String> = fixture
        .text("a.ndjson")
        .lines()
        .map(|line| line[6..7].to_owned())
        .collect();
    assert_eq!(ids, ["4", "2", "3", "1"]);
}

#[test]
fn no_row_at_all_is_a_file_too() {
    for (kind, path, expected) in [
        ("csv", "a.csv", "id,name\n"),
        ("json", "a.json", "[]\n"),
        ("ndjson", "a.ndjson", ""),
    ] {
        let mut fixture = Fixture::new(kind, path, &COLUMNS, "");
        fixture.commit(&[], &[]);
        assert_eq!(fixture.text(path), expected, "{kind}");
        assert!(fixture.live().is_empty());
        fixture.commit(&[(row(1, "x"), "k")], &[]);
        fixture.commit(&[], &[(id(1), "k")]);
        assert_eq!(fixture.text(path), expected, "{kind}");
    }
    for fields in ["", r#", "partition_by": ["name"]"#] {
        let mut fixture = Fixture::new("parquet", "a", &COLUMNS, fields);
        fixture.commit(&[], &[]);
        assert_eq!(fixture.files().len(), 2, "{:?}", fixture.files());
        assert!(fixture.live().is_empty());
        fixture.commit(&[(row(1, "x"), "k")], &[]);
        assert_eq!(fixture.files().len(), 2, "{:?}", fixture.files());
        assert_eq!(fixture.live().len(), 1);
        fixture.commit(&[], &[(id(1), "k")]);
        assert_eq!(fixture.files().len(), 2, "{:?}", fixture.files());
        assert!(fixture.live().is_empty());
    }
}

#[test]
fn files_are_packed_as_their_names_say() {
    for (path, magic) in [("a.csv.gz", [0x1f, 0x8b]), ("a.csv.zst", [0x28, 0xb5])] {
        let mut fixture = Fixture::new("csv", path, &COLUMNS, "");
        fixture.commit(&[(row(1, "x"), "k")], &[]);
        assert_eq!(fs::read(fixture.path(path)).unwrap()[..2], magic);
        fixture.commit(&[(row(2, "y"), "k")], &[]);
        assert_eq!(fixture.live().len(), 2);
    }
}

#[test]
fn folders_name_the_values_of_their_rows() {
    let fields = r#", "partition_by": ["name"]"#;
    let mut fixture = Fixture::new("parquet", "a", &COLUMNS, fields);
    let nobody = (vec![Value::Int(3), Value::Null], "k");
    let rows = [
        (row(1, "NY"), "k"),
        (row(2, "a/b"), "k"),
        nobody,
        (row(4, ""), "k"),
    ];
    fixture.commit(&rows, &[]);
    let folders: Vec<String> = fixture.files();
    assert_eq!(
        folders,
        [
            "a/_tidemill.manifest",
            "a/name=/part-00003.parquet",
            "a/name=NY/part-00000.parquet",
            "a/name=__HIVE_DEFAULT_PARTITION__/part-00002.parquet",
            "a/name=a%2Fb/part-00001.parquet",
        ]
    );
    let live: Vec<Vec<Value>> = fixture.live().into_values().map(|(row, _)| row).collect();
    assert_eq!(live, rows.map(|(row, _)| row));
    // A row that moves leaves its folder, which goes when it was the last one.
    let applied = fixture.commit(&[(row(1, "LA"), "k")], &[]);
    assert_eq!(counts(&applied), [0, 1, 0, 0, 0]);
    assert!(!fixture.path("a/name=NY").exists());
    assert_eq!(fixture.live()[&Value::Int(1)].0, row(1, "LA"));
}

#[test]
fn owners_stand_beside_rows_of_parquet_that_do_not_hold_them() {
    let mut fixture = Fixture::new("parquet", "a.parquet", &COLUMNS, "").without_key();
    fixture.commit(&[(row(1, "x"), "one"), (row(2, "y"), "two")], &[]);
    let owner = |id| fixture.live()[&Value::Int(id)].1.clone();
    assert_eq!(
        [owner(1), owner(2)],
        [Some("one".to_owned()), Some("two".to_owned())]
    );
    let applied = fixture.commit(&[(row(1, "x"), "two"), (row(2, "y"), "two")], &[]);
    assert_eq!(
        counts(&applied),
        [0, 1, 0, 1, 0],
        "another owner is a change"
    );
    let mut fixture = Fixture::new("csv", "a.csv", &COLUMNS, "").without_key();
    fixture.commit(&[(row(1, "x"), "one")], &[]);
    assert_eq!(fixture.live()[&Value::Int(1)].1, None);
}

#[test]
fn what_json_has_no_name_for_is_refused_and_the_others_are_written() {
    let columns = [("id", Type::Int), ("x", Type::Float), ("doc", Type::Json)];
    let mut fixture = Fixture::new("json", "a.json", &columns, "");
    let of = |id, x, doc: &str| {
        (
            vec![Value::Int(id), Value::Float(x), Value::Text(doc.to_owned())],
            "k",
        )
    };
    let rows = [
        of(1, f64::NAN, "{}"),
        of(2, f64::INFINITY, "{}"),
        of(3, 1.0, "{"),
        of(4, 1.0, "null"),
        of(5, 1e300, "[]"),
    ];
    let applied = fixture.commit(&rows, &[]);
    assert_eq!(counts(&applied), [1, 0, 0, 0, 4]);
    for refused in &applied.refused {
        let what = &refused.reason;
        assert!(what.starts_with("column `"), "{what}");
    }
    assert_eq!(fixture.live().len(), 1);
    assert_eq!(
        fixture.text("a.json"),
        "[\n{\"id\":5,\"x\":1e300,\"doc\":[]}\n]\n"
    );
}

#[test]
fn years_that_have_no_four_digits_are_refused_by_text() {
    let columns = [
        ("id", Type::Int),
        ("day", Type::Date),
        ("at", Type::Timestamp),
    ];
    let of = |id, day, at| {
        (
            vec![Value::Int(id), Value::Date(day), Value::Timestamp(at)],
            "k",
        )
    };
    let rows = [
        of(1, 2_932_896, 0),
        of(2, 2_932_897, 0),
        of(3, 0, i64::MAX),
        of(4, i32::MIN, 0),
    ];
    let mut fixture = Fixture::new("csv", "a.csv", &columns, "");
    assert_eq!(counts(&fixture.commit(&rows, &[])), [1, 0, 0, 0, 3]);
    assert!(fixture.text("a.csv").contains("9999-12-31"));
    let mut fixture = Fixture::new("parquet", "a", &columns, "");
    assert_eq!(counts(&fixture.commit(&rows, &[])), [4, 0, 0, 0, 0]);
    assert_eq!(fixture.live().len(), 4);
}

#[test]
fn a_column_whose_values_are_nearly_all_different_has_no_dictionary_of_them() {
    let fields = r#", "compression": "none""#;
    let mut fixture = Fixture::new("parquet", "a.parquet", &COLUMNS, fields);
    let rows = (0..20_000_i64).map(|id| (row(id * 0x9e37, &format!("name {}", id % 50)), "k"));
    let rows: Vec<Owned> = rows.collect();
    fixture.commit(&rows, &[]);
    let file = fs::File::open(fixture.path("a.parquet")).unwrap();
    let file = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let group = file.metadata().row_group(0);
    let bytes = |column| group.column(column).uncompressed_size() / group.num_rows();
    // A number is 8 bytes, and a place in a dictionary of 50 less than one; of 20,000 it is 15 bits.
    assert_eq!([bytes(0), bytes(1)], [8, 0]);
    assert_eq!(fixture.live().len(), rows.len());
}
