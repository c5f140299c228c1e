//! Random commits: whatever came before, a reader finds the rows that were told and not retracted.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const MIXED: [(&str, Type); 6] = [
    ("id", Type::Int),
    ("part", Type::Text),
    ("x", Type::Float),
    ("ok", Type::Bool),
    ("at", Type::Timestamp),
    ("doc", Type::Json),
];

/// What happens to an id in a commit.
#[derive(Clone, Debug)]
enum Turn {
    Comes(Vec<Value>, &'static str),
    Goes,
}

fn turns() -> impl Strategy<Value = Vec<BTreeMap<i64, Turn>>> {
    let part = select(vec!["", "a", "b,\"", "c/d\n", "null", "\u{1}%", "-"]);
    let part = part.prop_map(|text| match text {
        "-" => Value::Null,
        text => Value::Text(text.to_owned()),
    });
    let x = select(vec![0.0, -0.0, 0.1, -1e300, 5e-324, 123_456_789.0]);
    let at = -10_i64.pow(15)..10_i64.pow(15);
    let doc = select(vec![
        "{}",
        "[1, 2]",
        "\"a b\"",
        "1.10",
        "{\"a\":{\"b\":[]}}",
        "-",
    ]);
    let doc = doc.prop_map(|text| match text {
        "-" => Value::Null,
        text => Value::Text(text.replace(", ", ",")),
    });
    let cells = (part, x, any::<Option<bool>>(), at, doc);
    let row = cells.prop_map(|(part, x, ok, at, doc)| {
        let ok = ok.map_or(Value::Null, Value::Bool);
        vec![part, Value::Float(x), ok, Value::Timestamp(at), doc]
    });
    let comes =
        (row, select(vec!["k", "l", "\u{1}m"])).prop_map(|(row, owner)| Turn::Comes(row, owner));
    let turn = prop_oneof![3 => comes, 1 => Just(Turn::Goes)];
    proptest::collection::vec(proptest::collection::btree_map(0..14_i64, turn, 0..9), 1..7)
}

fn holds(mut fixture: Fixture, commits: &[BTreeMap<i64, Turn>]) -> Result<(), TestCaseError> {
    let stores_owner = fixture.kind == "parquet" && fixture.schema.key().is_none();
    let mut expected: BTreeMap<Value, (Vec<Value>, Option<String>)> = BTreeMap::new();
    for turns in commits {
        let (mut rows, mut gone) = (Vec::new(), Vec::new());
        let (mut inserted, mut retracted) = (0, 0);
        for (number, turn) in turns {
            let key = Value::Int(*number);
            match turn {
                Turn::Comes(cells, owner) => {
                    let row = [std::slice::from_ref(&key), cells.as_slice()].concat();
                    let owner_text = stores_owner.then(|| Key::of(owner).owner().into_owned());
                    let before = expected.insert(key, (row.clone(), owner_text));
                    inserted += usize::from(before.is_none());
                    rows.push((row, *owner));
                }
                Turn::Goes => {
                    retracted += usize::from(expected.remove(&key).is_some());
                    gone.push((vec![key], "k"));
                }
            }
        }
        let rehearsed = fixture.rehearse(&rows, &gone).0;
        let applied = fixture.commit(&rows, &gone);
        prop_assert_eq!(&rehearsed, &applied);
        prop_assert_eq!((applied.inserted, applied.retracted), (inserted, retracted));
        prop_assert_eq!(fixture.live(), expected.clone());
        fixture.open().intact().unwrap();
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_folder_of_parquet_holds_what_was_told(commits in turns()) {
        holds(Fixture::new("parquet", "a", &MIXED, r#", "row_group_rows": 2"#), &commits)?;
    }

    #[test]
    fn partitioned_parquet_without_the_key_holds_what_was_told(commits in turns()) {
        let fields = r#", "row_group_rows": 2, "partition_by": ["part", "ok"]"#;
        holds(Fixture::new("parquet", "a", &MIXED, fields).without_key(), &commits)?;
    }

    #[test]
    fn one_file_of_any_format_holds_what_was_told(commits in turns()) {
        holds(Fixture::new("parquet", "a.parquet", &MIXED, ""), &commits)?;
        holds(Fixture::new("csv", "a.csv", &MIXED, r#", "order_by": ["x desc"]"#), &commits)?;
        holds(Fixture::new("csv", "a.csv.gz", &MIXED, r#", "null": "null""#), &commits)?;
        holds(Fixture::new("ndjson", "a.ndjson.zst", &MIXED, ""), &commits)?;
        holds(Fixture::new("json", "a.json", &MIXED, r#", "pretty": true"#), &commits)?;
    }
}
