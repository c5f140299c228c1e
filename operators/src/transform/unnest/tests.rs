//! Elements and what is made of them.

use super::super::Place;
use super::super::fixture::{at, errors, language, lines, table, told};
use super::*;

const ROWS: &str = r#"
    id int | items json
    1      | [{"sku":"a","n":2},{"n":"x","sku":7}]
    2      | {"sku":"b","n":1,"more":[1]}
    3      | []
    4      | -
    5      | null
    6      | 5
    7      | [null,1]
"#;

fn config(fields: &[(&str, &str)], value: Option<&str>) -> UnnestConfig {
    let owned = |(name, ty): &(&str, &str)| ((*name).to_owned(), (*ty).to_owned());
    UnnestConfig {
        input: String::new(),
        column: "items".to_owned(),
        fields: fields.iter().map(owned).collect(),
        value: value.map(str::to_owned),
        names: Ordered::default(),
        position: None,
        keep_empty: false,
        on_error: OnError::Null,
    }
}

fn parts() -> UnnestConfig {
    config(&[("sku", "text"), ("n", "int")], None)
}

fn unnested(config: &UnnestConfig, place: Place, rows: &str) -> (Vec<String>, Vec<String>) {
    let (schema, chunk) = table(rows);
    let (unnest, out) = Unnest::check(config, &schema, &language()).unwrap();
    let mut at = at(place);
    let rows = unnest.evaluate(&[chunk], &mut at).unwrap();
    assert_eq!(rows.rows().schema(), out.arrow());
    (lines(&rows), errors(&at))
}

#[test]
fn an_element_is_a_row_and_a_member_a_column() {
    let (rows, wrong) = unnested(&parts(), Place::BehindGate, ROWS);
    assert_eq!(
        rows,
        [
            "1 | a | 2",
            "1 | 7 | -",
            "2 | b | 1",
            "7 | - | -",
            "7 | - | -"
        ]
    );
    assert_eq!(
        wrong,
        [
            "0: column `n`: not an int",
            "5: the value does not nest",
            "6: an element is no object"
        ]
    );
}

#[test]
fn rows_without_elements_are_kept_when_asked_for_and_elements_are_numbered() {
    let config = UnnestConfig {
        keep_empty: true,
        position: Some("at".to_owned()),
        names: [("part".to_owned(), "sku".to_owned())]
            .into_iter()
            .collect(),
        ..config(&[("part", "text")], None)
    };
    let (rows, _) = unnested(&config, Place::BehindGate, ROWS);
    let expected = [
        "1 | a | 0",
        "1 | 7 | 1",
        "2 | b | 0",
        "3 | - | -",
        "4 | - | -",
        "5 | - | -",
        "6 | - | -",
        "7 | - | 0",
        "7 | - | 1",
    ];
    assert_eq!(rows, expected);
    assert_eq!(
        unnested(&config, Place::Dimension, "id int | items json")
            .0
            .len(),
        0
    );
}

#[test]
fn single_values_stay_in_their_column() {
    let rows = r#"
        items json            | id int
        [1,2.0,"3",null,true] | 1
        {"a":1}               | 2
    "#;
    let (made, wrong) = unnested(&config(&[], Some("int")), Place::BehindGate, rows);
    assert_eq!(made, ["1 | 1", "2 | 1", "- | 1", "- | 1", "- | 1", "- | 2"]);
    assert_eq!(wrong.len(), 3);
    let (made, _) = unnested(&config(&[], Some("json")), Place::BehindGate, rows);
    assert_eq!(made[2], "\"3\" | 1");
    assert_eq!(made[5], "{\"a\":1} | 2");
}

#[test]
fn a_row_with_an_error_is_dropped_alone_and_before_the_gate_brings_it_to_its_key() {
    let config = UnnestConfig {
        on_error: OnError::Drop,
        ..parts()
    };
    let (rows, wrong) = unnested(&config, Place::BehindGate, ROWS);
    assert_eq!(rows, ["1 | a | 2", "2 | b | 1", "7 | - | -"]);
    assert_eq!(wrong.len(), 3);
    // Behind the gate they are of one key; before it each has an origin of its own.
    let (rows, wrong) = unnested(&config, Place::BeforeGate, ROWS);
    assert_eq!(rows.len(), 6, "ghosts go on");
    assert_eq!(wrong[0], "1: column `n`: not an int");
    let stop = UnnestConfig {
        on_error: OnError::Stop,
        ..parts()
    };
    let (schema, chunk) = table(ROWS);
    let (unnest, _) = Unnest::check(&stop, &schema, &language()).unwrap();
    assert!(
        unnest
            .evaluate(&[chunk], &mut at(Place::BehindGate))
            .is_err()
    );
}

#[test]
fn hostile_documents_are_errors_of_their_rows() {
    let deep = "[".repeat(200);
    let rows = format!(
        "id int | items json
         1      | {deep}
         2      | [1,
         3      | \"text\"
         4      | {{\"n\":1,\"n\":2}}"
    );
    let (rows, wrong) = unnested(&parts(), Place::BehindGate, &rows);
    assert_eq!(
        rows,
        ["4 | - | 2"],
        "of members of one name the last counts"
    );
    assert_eq!(
        wrong,
        [
            "0: the text is no JSON",
            "1: the text is no JSON",
            "2: the value does not nest"
        ]
    );
}

#[test]
fn it_reads_its_column_whatever_is_needed_and_keeps_the_key() {
    let (schema, _) = table("items json | ssn text | x int");
    let schema = schema.with_key(Some(1));
    let (unnest, out) = Unnest::check(&parts(), &schema, &language()).unwrap();
    assert_eq!(out.names().collect::<Vec<_>>(), ["ssn", "x", "sku", "n"]);
    assert_eq!(out.key(), Some(0));
    assert_eq!(
        unnest.reads(&BTreeSet::from([1, 3])),
        [BTreeSet::from([0, 2])]
    );
    assert_eq!(unnest.reads(&BTreeSet::new()), [BTreeSet::from([0])]);
}

#[test]
fn all_that_is_wrong_is_told() {
    let (schema, _) = table(ROWS);
    let wrong = |config: &UnnestConfig| told(Unnest::check(config, &schema, &language()));
    let several = UnnestConfig {
        column: "id".to_owned(),
        names: [("sku".to_owned(), "SKU".to_owned())].into_iter().collect(),
        position: Some("n".to_owned()),
        ..config(&[("n", "integer")], Some("txt"))
    };
    assert_eq!(
        wrong(&several),
        [
            "column: `id` is int, not json",
            "value: there is no type `txt`",
            "fields.n: there is no type `integer`",
            "names.sku: there is no field `sku`",
            "value: elements are values or objects, not both",
        ]
    );
    assert_eq!(
        wrong(&config(&[("id", "int")], None)),
        ["fields.id: there is a column `id` already"]
    );
    assert_eq!(
        wrong(&config(&[], None)),
        ["column: it is not said what the elements are"]
    );
}
