//! Which rows match, and what is brought.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::fixture::{errors, lines, table, told};
use super::*;
use crate::transform::Place;
use crate::transform::Prepared;

const LEFT: &str = "
    id int | who text | at int
    1      | a        | 1
    2      | a        | 5
    3      | b        | 5
    4      | -        | 5
    5      | c        | -
    6      | x        | 5
";
const RIGHT: &str = "
    name text | low int | high int | note text
    a         | 0       | 4        | early
    a         | 5       | 9        | late
    b         | 5       | 5        | just
    c         | 0       | 9        | any
    -         | 0       | 9        | null
    b         | -       | 9        | open
";

fn pairs(entries: &[(&str, &str)]) -> Ordered<String> {
    let owned = |(name, of): &(&str, &str)| ((*name).to_owned(), (*of).to_owned());
    entries.iter().map(owned).collect()
}

fn config(join: Join, matches: Matches, order_by: &[&str]) -> LookupConfig {
    LookupConfig {
        left: String::new(),
        right: String::new(),
        on: pairs(&[("who", "name")]),
        between: None,
        join,
        matches,
        order_by: order_by.iter().map(|by| (*by).to_owned()).collect(),
        columns: Some(pairs(&[("note", "note")])),
        on_error: OnError::Null,
    }
}

fn in_range(config: LookupConfig) -> LookupConfig {
    LookupConfig {
        between: Some(BetweenConfig {
            value: "at".to_owned(),
            low: "low".to_owned(),
            high: "high".to_owned(),
        }),
        ..config
    }
}

/// `id note` of each row that comes out, and what is wrong.
fn found(config: &LookupConfig, place: Place, right: &str) -> (Vec<String>, Vec<String>) {
    let ((left, chunk), (right, dimension)) = (table(LEFT), table(right));
    let (lookup, out) = Lookup::check(config, &left, &right).unwrap();
    let name: Arc<str> = Arc::from("stage");
    let dimension = Dimension {
        name: Arc::clone(&name),
        rows: dimension.rows().clone(),
    };
    let prepared = Prepared {
        indexes: BTreeMap::from([(Arc::clone(&name), lookup.index(&dimension))]),
        ..Prepared::default()
    };
    let mut at = Evaluation::new(place, &prepared);
    at.enter(&name);
    let rows = lookup.evaluate(&[chunk], &mut at).unwrap();
    assert_eq!(rows.rows().schema(), out.arrow());
    let short = lines(&rows).into_iter().map(|line| {
        let cells: Vec<&str> = line.split(" | ").collect();
        [cells[0]]
            .iter()
            .chain(cells.get(3))
            .copied()
            .collect::<Vec<_>>()
            .join(" ")
    });
    (short.collect(), errors(&at))
}

fn rows(config: &LookupConfig) -> String {
    found(config, Place::BehindGate, RIGHT).0.join(", ")
}

#[test]
fn null_equals_nothing_and_several_matches_are_an_error() {
    let config = config(Join::Left, Matches::Error, &[]);
    let (found, wrong) = found(&config, Place::BehindGate, RIGHT);
    assert_eq!(found, ["1 -", "2 -", "3 -", "4 -", "5 any", "6 -"]);
    assert_eq!(
        wrong,
        ["0: 2 rows match", "1: 2 rows match", "2: 2 rows match"]
    );
}

#[test]
fn each_join_keeps_its_rows() {
    let with = |join| rows(&config(join, Matches::First, &["low"]));
    assert_eq!(with(Join::Inner), "1 early, 2 early, 3 open, 5 any");
    assert_eq!(
        with(Join::Left),
        "1 early, 2 early, 3 open, 4 -, 5 any, 6 -"
    );
    let anti = LookupConfig {
        columns: None,
        ..config(Join::Anti, Matches::Error, &[])
    };
    assert_eq!(rows(&anti), "4, 6");
    let semi = LookupConfig {
        join: Join::Semi,
        ..anti
    };
    // Each once, however many rows match, and that there are several is no error.
    assert_eq!(rows(&semi), "1, 2, 3, 5");
    assert_eq!(rows(&in_range(semi)), "1, 2, 3");
}

#[test]
fn several_rows_where_one_is_meant_are_told() {
    let warning = |config: &LookupConfig| {
        let ((left, _), (right, dimension)) = (table(LEFT), table(RIGHT));
        let (lookup, _) = Lookup::check(config, &left, &right).unwrap();
        let name = Arc::from("right");
        let rows = dimension.rows().clone();
        lookup.warning(&lookup.index(&Dimension { name, rows }))
    };
    let two = "of 2 values of `on` there are several rows on the right";
    let left = |matches, order: &[&str]| config(Join::Left, matches, order);
    assert_eq!(warning(&left(Matches::Error, &[])).as_deref(), Some(two));
    assert_eq!(warning(&left(Matches::First, &[])).as_deref(), Some(two));
    // An order says which is meant, and so does a range; all of them are not one.
    assert_eq!(warning(&left(Matches::First, &["low"])), None);
    assert_eq!(warning(&in_range(left(Matches::Error, &[]))), None);
    assert_eq!(warning(&left(Matches::All, &[])), None);
    let by_note = LookupConfig {
        on: pairs(&[("who", "note")]),
        ..left(Matches::Error, &[])
    };
    assert_eq!(warning(&by_note), None);
}

#[test]
fn the_first_in_order_matches_and_ties_go_by_canonical_order() {
    let first = |order: &[&str]| rows(&config(Join::Inner, Matches::First, order));
    assert_eq!(first(&["low desc"]), "1 late, 2 late, 3 just, 5 any");
    assert_eq!(first(&[]), "1 early, 2 early, 3 just, 5 any");
    let all = config(Join::Inner, Matches::All, &["low"]);
    assert_eq!(
        rows(&all),
        "1 early, 1 late, 2 early, 2 late, 3 open, 3 just, 5 any"
    );
}

#[test]
fn a_range_holds_both_its_ends_and_no_null() {
    let config = in_range(config(Join::Left, Matches::Error, &[]));
    assert_eq!(rows(&config), "1 early, 2 late, 3 just, 4 -, 5 -, 6 -");
    let any = LookupConfig {
        on: Ordered::default(),
        ..in_range(self::config(Join::Inner, Matches::All, &["low", "note"]))
    };
    let expected = "1 any, 1 early, 1 null, 2 any, 2 null, 2 just, 2 late";
    assert!(rows(&any).starts_with(expected), "{}", rows(&any));
}

#[test]
fn an_empty_dimension_matches_nothing() {
    let empty = "name text | low int | high int | note text";
    let config = config(Join::Left, Matches::Error, &[]);
    let (found, wrong) = found(&config, Place::BehindGate, empty);
    assert_eq!(found, ["1 -", "2 -", "3 -", "4 -", "5 -", "6 -"]);
    assert!(wrong.is_empty());
}

#[test]
fn before_the_gate_each_of_several_rows_has_an_origin_of_its_own() {
    let config = config(Join::Inner, Matches::All, &["low"]);
    let ((left, chunk), (right, dimension)) = (table(LEFT), table(RIGHT));
    let (lookup, _) = Lookup::check(&config, &left, &right).unwrap();
    let name: Arc<str> = Arc::from("stage");
    let dimension = Dimension {
        name: Arc::clone(&name),
        rows: dimension.rows().clone(),
    };
    let prepared = Prepared {
        indexes: BTreeMap::from([(Arc::clone(&name), lookup.index(&dimension))]),
        ..Prepared::default()
    };
    let mut at = Evaluation::new(Place::BeforeGate, &prepared);
    at.enter(&name);
    let rows = lookup.evaluate(&[chunk], &mut at).unwrap();
    // The rows without a match were numbered, too, before they were dropped.
    let origins = rows.origin().values().to_vec();
    let sources: Vec<u32> = origins
        .iter()
        .map(|&origin| at.source_row(origin))
        .collect();
    assert_eq!(sources, [0, 0, 1, 1, 2, 2, 4]);
    let distinct: BTreeSet<u32> = origins.into_iter().collect();
    assert_eq!(distinct.len(), 7);
}

#[test]
fn what_matches_must_be_said_and_be_of_one_type() {
    let ((left, _), (right, _)) = (table(LEFT), table(RIGHT));
    let wrong = |config: LookupConfig| told(Lookup::check(&config, &left, &right));
    let none = LookupConfig {
        on: Ordered::default(),
        columns: None,
        ..config(Join::Left, Matches::Error, &["lo"])
    };
    assert_eq!(
        wrong(none),
        [
            ": it is not said which rows match",
            "order_by.0: there is no column `lo`"
        ]
    );
    let types = LookupConfig {
        on: pairs(&[("at", "name"), ("id", "low")]),
        columns: Some(pairs(&[("who", "note"), ("x", "y")])),
        ..config(Join::Left, Matches::Error, &[])
    };
    assert_eq!(
        wrong(types),
        [
            "on.at: `at` and `name` are of two types",
            "columns.who: there is a column `who` on the left already",
            "columns.x: there is no column `y`"
        ]
    );
    let semi = config(Join::Semi, Matches::Error, &[]);
    assert_eq!(
        wrong(semi),
        ["columns: a semi lookup keeps rows with a match"]
    );
}
