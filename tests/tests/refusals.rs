//! Goal: what a sink refuses is, after every run, what the sinks hold that keep its errors: no more and
//! no less, whoever dies on the way.
//!
//! Method: visits to a table that takes no more than 99 hours; a table and a log keep what it refuses.

use std::collections::BTreeSet;
use std::fmt::Write;

use operators::value::Value;
use proptest::prelude::*;
use tests::harness::{Cluster, Outcome, Scratch};

use crate::rooms;

const PIPELINE: &str = r#"
[pipeline]
name = "refusals"
state_dir = "output/.tidemill"

[sources.visits]
type = "csv"
path = "visits.csv"
types = { person = "text", visit = "int", hours = "int" }

[transforms.by_person]
type = "batch-partition"
input = "visits"
by = "person"
cut = { prefix = 2 }

[sinks.table]
type = "sqlite"
input = "by_person"
path = "output/rooms.db"
table = "visits"
key = ["visit"]

[sinks.a_log]
type = "ndjson"
input = "table.errors"
path = "output/log.ndjson"
key = ["error_id"]
write = "append"

[sinks.refused]
type = "sqlite"
input = "table.errors"
path = "output/rooms.db"
table = "refused"
key = ["error_id"]
"#;

const TABLE: &str = "CREATE TABLE visits
    (person TEXT, visit INTEGER PRIMARY KEY, hours INTEGER CHECK (hours < 100))";

/// A visit of a person, with its hours.
type Visit = (u32, u32, u32);

fn folder() -> Scratch {
    let scratch = rooms::example();
    scratch.write("pipeline.toml", PIPELINE);
    // The table is there before the first run, and so is its folder.
    scratch.write("output/empty", "");
    scratch.sql(TABLE);
    scratch
}

fn are(scratch: &Scratch, visits: &[Visit]) {
    let mut csv = String::from("person,visit,hours\n");
    for (person, visit, hours) in visits {
        writeln!(csv, "p{person:02},{visit},{hours}").unwrap();
    }
    scratch.write("visits.csv", csv);
}

/// The rows that a sink of errors holds: whose they are, and which.
fn refused(scratch: &Scratch) -> BTreeSet<(String, String)> {
    let tables = scratch.tables();
    let rows = tables.get("refused").map(|table| table.live(&[]));
    let text = |value: &Value| value.to_string();
    let named = |row: &tests::harness::Row| (text(&row["key"]), text(&row["row"]));
    rows.unwrap_or_default().values().map(named).collect()
}

/// The same as the log tells it: of each error all diffs sum up to one or to nothing.
fn logged(scratch: &Scratch) -> usize {
    let log = String::from_utf8(scratch.bytes("output/log.ndjson")).unwrap();
    let diff = |line: &str| {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        entry["_diff"].as_i64().unwrap()
    };
    usize::try_from(log.lines().map(diff).sum::<i64>()).unwrap()
}

/// What the sinks are to hold.
fn holds(scratch: &Scratch, visits: &[Visit]) {
    let is_refused = |visit: &&Visit| visit.2 >= 100;
    let bad = visits.iter().filter(is_refused);
    let expected: BTreeSet<(String, String)> = bad
        .map(|(person, visit, _)| (format!("p{person:02}"), format!("visit={visit}")))
        .collect();
    assert_eq!(refused(scratch), expected);
    assert_eq!(logged(scratch), expected.len());
    // A row that was taken before stays as it was when its change is refused.
    let tables = scratch.tables();
    let kept = tables.get("visits").map(|table| table.live(&[]));
    let kept = kept.unwrap_or_default();
    let hours = |visit: u32| {
        kept.get(&vec![Value::Int(visit.into())])
            .map(|row| &row["hours"])
    };
    for (_, visit, taken) in visits.iter().filter(|visit| !is_refused(visit)) {
        assert_eq!(hours(*visit), Some(&Value::Int((*taken).into())));
    }
    let verified = scratch.verify().exits(0);
    let keys: BTreeSet<&String> = expected.iter().map(|(key, _)| key).collect();
    assert_eq!(verified.number("/not_yet_run"), keys.len() as u64);
}

/// How a run ends that leaves these.
fn exit(visits: &[Visit]) -> i32 {
    let has_bad = visits.iter().any(|visit| visit.2 >= 100);
    if has_bad { 65 } else { 0 }
}

fn written(ran: &Outcome) -> [u64; 4] {
    let sinks = ["a_log", "refused"];
    let count = |what: &str| sinks.map(|sink| ran.number(&format!("/sinks/{sink}/{what}")));
    let ([log_in, table_in], [log_out, table_out]) = (count("inserted"), count("retracted"));
    [log_in, table_in, log_out, table_out]
}

#[test]
fn what_a_sink_refuses_is_kept_until_it_is_taken() {
    let scratch = folder();
    let mut visits = vec![(1, 1, 5), (1, 2, 200), (2, 3, 300), (3, 4, 6)];
    are(&scratch, &visits);
    assert_eq!(written(&scratch.run().exits(65)), [2, 2, 0, 0]);
    holds(&scratch, &visits);
    // It is refused again, and that is no news.
    let again = scratch.run().exits(65);
    assert_eq!(again.number("/sinks/table/refused"), 2);
    assert_eq!(written(&again), [0; 4]);
    assert_eq!(again.number("/sinks/refused/commits"), 0);
    assert_eq!(again.number("/sinks/a_log/commits"), 0);
    // A row that is another is refused anew, and one that is mended is not.
    visits[1].2 = 7;
    visits.push((2, 9, 100));
    are(&scratch, &visits);
    assert_eq!(written(&scratch.run().exits(65)), [1, 1, 1, 1]);
    holds(&scratch, &visits);
    // A person who goes takes along what was refused.
    visits.retain(|visit| visit.0 != 2);
    are(&scratch, &visits);
    assert_eq!(written(&scratch.run().exits(0)), [0, 0, 2, 2]);
    holds(&scratch, &visits);
}

/// Errors that are known before a sink is written stand beside those that are not.
#[test]
fn rows_without_an_id_and_rows_of_two_keys_are_errors_of_the_sink_too() {
    let scratch = folder();
    let csv = "person,visit,hours\np1,1,5\np2,1,6\np2,,7\np2,3,500\n";
    scratch.write("visits.csv", csv);
    for runs in 0..2 {
        let ran = scratch.run().exits(65);
        assert_eq!(ran.number("/errors/table"), 3);
        assert_eq!(written(&ran)[1], if runs == 0 { 3 } else { 0 });
        let tables = scratch.tables();
        let rows = tables["refused"].live(&[]);
        let mut messages: Vec<String> = rows
            .values()
            .map(|row| row["message"].to_string())
            .collect();
        messages.sort();
        assert!(messages[0].starts_with("`visit` is null"), "{messages:?}");
        assert!(messages[1].contains("yields the same row"), "{messages:?}");
        assert!(
            messages[2].starts_with("the sink refused a row"),
            "{messages:?}"
        );
    }
    scratch.write("visits.csv", "person,visit,hours\np1,1,5\np2,3,50\n");
    assert_eq!(written(&scratch.run().exits(0)), [0, 0, 3, 3]);
}

#[test]
fn a_full_refresh_puts_right_what_others_did_to_what_was_refused() {
    let scratch = folder();
    let visits = [(1, 1, 5), (1, 2, 200), (2, 3, 300)];
    are(&scratch, &visits);
    scratch.run().exits(65);
    scratch.sql(
        "UPDATE refused SET message = 'x' WHERE key = 'p01'; DELETE FROM refused WHERE key = 'p02';
         INSERT INTO refused (error_id, key) VALUES ('other', 'p03')",
    );
    scratch.refresh().exits(65);
    holds(&scratch, &visits);
    let tables = scratch.tables();
    let mut rows = tables["refused"].live(&[]).into_values();
    assert!(rows.all(|row| row["message"] != Value::Text("x".into())));
}

/// The sinks that refuse are committed, then those that keep what was refused.
#[test]
fn a_run_that_dies_between_the_two_is_made_good_by_the_next() {
    let start = folder();
    let mut visits = vec![(1, 1, 5), (1, 2, 200), (2, 3, 300), (3, 4, 6)];
    are(&start, &visits);
    start.run().exits(65);
    visits[1].2 = 7;
    visits[3].2 = 400;
    are(&start, &visits);
    for point in ["staged", "committed", "published", "settled"] {
        for time in 1.. {
            let mut scratch = start.copy();
            scratch.fault = Some(format!("die:{point}@{time}"));
            if scratch.run().exit.is_some() {
                assert!(time > 1, "there is a commit");
                break;
            }
            scratch.fault = None;
            scratch.run().exits(65);
            holds(&scratch, &visits);
            assert_eq!(written(&scratch.run().exits(65)), [0; 4], "{point}@{time}");
        }
    }
}

#[test]
fn processes_of_a_cluster_tell_their_lead_what_was_refused_before() {
    let scratch = folder();
    let mut visits: Vec<Visit> = (0..60)
        .map(|visit| (visit % 20, visit, visit * 3))
        .collect();
    let run = || Cluster::start(&scratch, 3).end().swap_remove(0).exits(65);
    are(&scratch, &visits);
    let bad = visits.iter().filter(|visit| visit.2 >= 100).count() as u64;
    assert_eq!(written(&run()), [bad, bad, 0, 0]);
    assert_eq!(refused(&scratch).len() as u64, bad);
    assert_eq!(written(&run()), [0; 4]);
    visits[59].2 = 1;
    are(&scratch, &visits);
    assert_eq!(written(&run()), [0, 0, 1, 1]);
    assert_eq!(refused(&scratch).len() as u64, bad - 1);
    assert_eq!(logged(&scratch) as u64, bad - 1);
}

fn visits() -> impl Strategy<Value = Vec<Visit>> {
    let hours = prop_oneof![0..100_u32, 90..110_u32, 100..200_u32];
    prop::collection::btree_map(0..32_u32, hours, 0..14).prop_map(|found| {
        let visit = |(at, hours): (u32, u32)| (at / 4, at, hours);
        found.into_iter().map(visit).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn after_every_run_what_was_refused_is_that_of_the_visits_as_they_are(
        days in prop::collection::vec((visits(), 1..=4_usize), 1..5),
    ) {
        let mut scratch = folder();
        for (visits, workers) in days {
            scratch.workers = workers;
            are(&scratch, &visits);
            scratch.run().exits(exit(&visits));
            holds(&scratch, &visits);
        }
    }
}
