//! Batches fail and sinks refuse rows: the rest goes on, and what is left comes again.

use tests::harness::{Scratch, scratch_folder};

use crate::rooms::{change_much, day_1, is_current};
use crate::visits::PROGRAM;

/// The others must not wait for parts of a batch that only the failing worker gives again.
#[test]
fn a_batch_that_fails_on_one_of_two_workers_ends_and_comes_again() {
    for worker in ["0", "1"] {
        let mut scratch = day_1();
        change_much(&scratch);
        scratch.workers = 2;
        scratch.fault = Some(format!("fail-batch:B@{worker}"));
        let failed = scratch.run().exits(75);
        assert!(failed.report["batches"]["failed"]["B"].is_string());
        scratch.fault = None;
        scratch.run().exits(0);
        is_current(&scratch).unwrap();
    }
}

/// What a sink did not take is told again, until it takes it.
#[test]
fn rows_that_are_refused_come_again() {
    let mut scratch = day_1();
    scratch.sheet("bookings", |bookings| {
        bookings.set(("booking", "9"), "seats", "1");
    });
    scratch.fault = Some("refuse-row:Ben".to_owned());
    for _ in 0..2 {
        let refused = scratch.run().exits(65);
        assert_eq!(refused.number("/sinks/booking_table/refused"), 1);
    }
    scratch.fault = None;
    scratch.run().exits(0);
    is_current(&scratch).unwrap();
}

const VISITS: &str = r#"
[pipeline]
name = "visits"

[sources.visits]
type  = "csv"
path  = "visits.csv"
types = { person = "text", visit = "int", hours = "int" }

[transforms.by_person]
type  = "batch-partition"
input = "visits"
by    = "person"
"#;

const SINKS: [(&str, &str); 5] = [
    (
        "table",
        "type = \"sqlite\"\npath = \"visits.db\"\ntable = \"visits\"",
    ),
    ("folder", "type = \"parquet\"\npath = \"folder\""),
    ("file", "type = \"csv\"\npath = \"file.csv\""),
    ("array", "type = \"json\"\npath = \"array.json\""),
    (
        "log",
        "type = \"ndjson\"\npath = \"log.ndjson\"\nwrite = \"append\"",
    ),
];

/// By what a sink cannot find again, no sink is told: one rule for all of them.
#[test]
fn a_row_with_a_null_in_its_key_is_an_error_for_every_kind_of_sink() {
    let folder = scratch_folder();
    let scratch = Scratch::of(folder.path(), PROGRAM);
    let sink = |(name, sink): &(&str, &str)| {
        format!("\n[sinks.{name}]\ninput = \"by_person\"\nkey = [\"visit\"]\n{sink}\n")
    };
    let sinks: String = SINKS.iter().map(sink).collect();
    scratch.write("pipeline.toml", format!("{VISITS}{sinks}"));
    let visits = |second: &str| {
        let rows = format!("person,visit,hours\nAda,1,5\nAda,{second},6\nBen,3,7\n");
        scratch.write("visits.csv", rows);
    };
    visits("");
    let ran = scratch.run().exits(65);
    for (sink, _) in SINKS {
        assert_eq!(ran.number(&format!("/sinks/{sink}/inserted")), 2, "{sink}");
        assert_eq!(ran.number(&format!("/sinks/{sink}/refused")), 0, "{sink}");
        assert_eq!(ran.number(&format!("/errors/{sink}")), 1, "{sink}");
    }
    scratch.verify().exits(0);
    // It stands while nothing changes, and goes with the null.
    let again = scratch.run().exits(65);
    assert_eq!(again.number("/keys/open"), 0);
    visits("2");
    let mended = scratch.run().exits(0);
    for (sink, _) in SINKS {
        assert_eq!(
            mended.number(&format!("/sinks/{sink}/inserted")),
            1,
            "{sink}"
        );
    }
    visits("");
    let gone = scratch.run().exits(65);
    for (sink, _) in SINKS {
        assert_eq!(
            gone.number(&format!("/sinks/{sink}/retracted")),
            1,
            "{sink}"
        );
    }
    scratch.verify().exits(0);
}
