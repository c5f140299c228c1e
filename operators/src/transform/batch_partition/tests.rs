//! Keys, cuts and the columns that pass.

use std::collections::BTreeMap;

use super::*;
use crate::transform::Place;
use crate::transform::fixture::{at, lines, table, told};

const ROWS: &str = "
    id int | ssn text | miles float
    1      | 123-45   | 1.5
    2      | -        | 2.5
    3      | 12       | -
";

fn config(by: &str, cut: Option<CutConfig>) -> BatchPartitionConfig {
    BatchPartitionConfig {
        cut,
        ..BatchPartitionConfig::of("rows", by)
    }
}

fn by_prefix(characters: usize) -> CutConfig {
    CutConfig {
        prefix: Some(characters),
        hash: None,
    }
}

fn by_hash(batches: u32) -> CutConfig {
    CutConfig {
        prefix: None,
        hash: Some(batches),
    }
}

/// The batch of a key.
fn cut(cut: Option<CutConfig>, key: &Key) -> String {
    let (schema, _) = table(ROWS);
    let all = (0..3).collect();
    let checked = BatchPartition::check(&config("ssn", cut), &schema, &all);
    checked.unwrap().0.cut(key).into_owned()
}

#[test]
fn the_key_and_the_needed_columns_pass() {
    let (schema, chunk) = table(ROWS);
    let needed = BTreeSet::from([2]);
    let (partition, out) = BatchPartition::check(&config("ssn", None), &schema, &needed).unwrap();
    assert_eq!(out.names().collect::<Vec<_>>(), ["ssn", "miles"]);
    assert_eq!((out.key(), partition.by()), (Some(0), Some(0)));
    let rows = partition
        .evaluate(&[chunk], &mut at(Place::BeforeGate))
        .unwrap();
    assert_eq!(lines(&rows), ["123-45 | 1.5", "- | 2.5", "12 | -"]);
    let (keys, of_rows) = partition.keys(rows.rows());
    assert_eq!(keys, [Key::of("123-45"), Key::of("12")]);
    assert_eq!(of_rows, [Some(0), None, Some(1)]);
    assert_eq!(
        partition.reads(&BTreeSet::from([1])),
        [BTreeSet::from([1, 2])]
    );
}

#[test]
fn keys_are_cut_by_characters_and_the_short_ones_are_a_batch() {
    let cut = |key: &Key| cut(Some(by_prefix(3)), key);
    assert_eq!(cut(&Key::of("123-45")), "123");
    assert_eq!(cut(&Key::of("äöü-45")), "äöü");
    assert_eq!(cut(&Key::of("12")), "(short)");
    assert_eq!(cut(&Key::of("")), "(short)");
    assert_eq!(cut(&Key::reserved("visits")), "(no key)");
}

#[test]
fn keys_fall_into_batches_of_much_the_same_size_by_their_hash() {
    // The names stand in reports of former runs: the hash must not change.
    let cut = |key: &Key| cut(Some(by_hash(16)), key);
    assert_eq!(cut(&Key::of("078-05-1120")), "hash 7 of 16");
    assert_eq!(cut(&Key::of("")), "hash 1 of 16");
    assert_eq!(cut(&Key::reserved("visits")), "(no key)");
    let mut sizes = BTreeMap::new();
    for key in 0..4_000 {
        *sizes.entry(cut(&Key::of(&key.to_string()))).or_insert(0) += 1;
    }
    assert_eq!(sizes.len(), 16);
    assert!(sizes.values().all(|size| (200..300).contains(size)));
}

#[test]
fn without_a_cut_there_is_one_batch() {
    assert_eq!(cut(None, &Key::of("123-45")), "all");
    assert_eq!(cut(None, &Key::reserved("visits")), "all");
    assert_eq!(cut(Some(by_hash(1)), &Key::of("123-45")), "hash 1 of 1");
}

#[test]
fn keys_are_cut_in_one_way_into_one_batch_or_more() {
    let (schema, _) = table(ROWS);
    let wrong = |prefix, hash| {
        let config = config("ssn", Some(CutConfig { prefix, hash }));
        told(BatchPartition::check(&config, &schema, &BTreeSet::new()))
    };
    assert_eq!(wrong(Some(3), Some(16)), ["cut: keys are cut in two ways"]);
    assert_eq!(wrong(None, None), ["cut: it is not said how keys are cut"]);
    let nothing = "cut.hash: keys cannot fall into 0 batches";
    assert_eq!(wrong(None, Some(0)), [nothing]);
}

#[test]
fn a_float_is_no_key_and_a_prefix_has_characters() {
    let (schema, _) = table(ROWS);
    let wrong = |config| told(BatchPartition::check(&config, &schema, &BTreeSet::new()));
    assert_eq!(
        wrong(config("miles", Some(by_prefix(0)))),
        [
            "cut.prefix: a prefix of 0 characters cuts nothing",
            "by: `miles` is a float, which cannot be a key"
        ]
    );
    assert_eq!(wrong(config("snn", None)), ["by: there is no column `snn`"]);
}

fn whole() -> BatchPartitionConfig {
    BatchPartitionConfig {
        by: None,
        whole: true,
        ..config("", None)
    }
}

#[test]
fn all_rows_can_be_one_key_whatever_is_null() {
    let (schema, chunk) = table(ROWS);
    let needed = BTreeSet::from([1]);
    let (partition, out) = BatchPartition::check(&whole(), &schema, &needed).unwrap();
    assert!(partition.is_whole() && out.key().is_none());
    let rows = partition
        .evaluate(&[chunk], &mut at(Place::BeforeGate))
        .unwrap();
    assert_eq!(lines(&rows), ["123-45", "-", "12"]);
    let all = (vec![Key::whole()], vec![Some(0); 3]);
    assert_eq!(partition.keys(rows.rows()), all);
    assert_eq!(partition.reads(&BTreeSet::from([0])), [BTreeSet::from([1])]);
    assert_eq!(partition.cut(&Key::whole()), "all");
}

#[test]
fn the_key_is_said_in_one_way() {
    let (schema, _) = table(ROWS);
    let wrong = |config| told(BatchPartition::check(&config, &schema, &BTreeSet::new()));
    let neither = BatchPartitionConfig {
        whole: false,
        ..whole()
    };
    assert_eq!(wrong(neither), [": it is not said what the key is"]);
    let both = BatchPartitionConfig {
        whole: true,
        ..config("ssn", Some(by_prefix(2)))
    };
    assert_eq!(
        wrong(both),
        [
            "cut: one key cannot be cut",
            "whole: `whole` and `by` exclude each other"
        ]
    );
}

fn two_sides(by: By) -> BatchPartitionConfig {
    let inputs = [("visits", "flat"), ("events", "in_service")];
    let inputs = inputs.map(|(side, stage)| (side.to_owned(), stage.to_owned()));
    BatchPartitionConfig {
        input: None,
        inputs: inputs.into_iter().collect(),
        by: Some(by),
        ..config("", None)
    }
}

fn of_each(columns: &[(&str, &str)]) -> By {
    let columns = columns.iter();
    let columns = columns.map(|(side, column)| ((*side).to_owned(), (*column).to_owned()));
    By::OfSides(columns.collect())
}

#[test]
fn each_side_is_a_stage_with_an_input_and_a_key_of_its_own() {
    let sides = |by| -> Vec<String> {
        let sides = two_sides(by).sides().unwrap();
        let told = |side: &BatchPartitionConfig| {
            let (name, (_, input)) = (side.side.as_deref().unwrap(), side.input().unwrap());
            format!("{name} of {input} by {}", side.by().unwrap().1)
        };
        sides.iter().map(told).collect()
    };
    let one = By::Column("ssn".to_owned());
    assert_eq!(
        sides(one),
        ["visits of flat by ssn", "events of in_service by ssn"]
    );
    assert_eq!(
        sides(of_each(&[("events", "SSN"), ("visits", "ssn")])),
        ["visits of flat by ssn", "events of in_service by SSN"]
    );
    let (schema, _) = table(ROWS);
    let sides = two_sides(of_each(&[("events", "snn"), ("visits", "ssn")])).sides();
    let checked = sides
        .unwrap()
        .iter()
        .flat_map(|side| told(BatchPartition::check(side, &schema, &BTreeSet::new())))
        .collect::<Vec<_>>();
    assert_eq!(checked, ["by.events: there is no column `snn`"]);
}

#[test]
fn sides_that_contradict_themselves_are_told() {
    let wrong = |config: BatchPartitionConfig| told(config.sides());
    let by = || By::Column("ssn".to_owned());
    assert_eq!(
        wrong(BatchPartitionConfig {
            input: Some("rows".to_owned()),
            ..two_sides(by())
        }),
        ["inputs: `input` and `inputs` exclude each other"]
    );
    assert_eq!(
        wrong(BatchPartitionConfig {
            inputs: Ordered::default(),
            ..two_sides(by())
        }),
        [": it is not said whose rows are grouped"]
    );
    assert_eq!(
        wrong(two_sides(of_each(&[("visits", "ssn"), ("event", "ssn")]))),
        [
            "by: the key of `events` is not named",
            "by.event: there is no side `event`"
        ]
    );
    assert_eq!(
        wrong(BatchPartitionConfig {
            by: Some(of_each(&[("visits", "ssn")])),
            ..config("", None)
        }),
        ["by: there is one input, which is no side"]
    );
    let named = |side: &str| BatchPartitionConfig {
        inputs: [(side.to_owned(), "rows".to_owned())].into_iter().collect(),
        ..two_sides(by())
    };
    assert_eq!(
        wrong(named("errors")),
        ["inputs.errors: a side cannot be called `errors`"]
    );
    assert_eq!(
        wrong(named("a.b")),
        ["inputs.a.b: a side cannot be called `a.b`"]
    );
}
