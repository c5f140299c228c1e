//! What stages do is told by the program.

use operators::value::Value;
use tests::harness::{Row, Scratch, Tables};

use crate::rooms;

#[test]
fn several_rows_where_a_lookup_means_one_are_told_before_any_row_meets_them() {
    let scratch = rooms::example();
    scratch.run().exits(0);
    scratch.sheet("rooms", |rooms| rooms.push(&["Cellar", "1.0"]));
    let one = scratch.run().exits(0);
    assert_eq!(one.report["warnings"], serde_json::json!({}));
    scratch.sheet("rooms", |rooms| rooms.push(&["Cellar", "2.0"]));
    for outcome in [scratch.plan().exits(0), scratch.run().exits(0)] {
        let told = "of 1 value of `on` there are several rows on the right";
        assert_eq!(outcome.report["warnings"]["priced"], told);
    }
    rooms::is_current(&scratch).unwrap();
}

/// The rooms, with checks of the bookings on the way to all sinks but that of errors.
fn checked(checks: &str) -> Scratch {
    let scratch = rooms::example();
    let stage = format!(
        "[transforms.checked]\ntype = \"checks\"\ninput = \"by_person\"\nchecks = [{checks}]\n\n\
         [sinks.check_table]\ntype = \"sqlite\"\ninput = \"checked.errors\"\npath = \"output/rooms.db\"\n\
         table = \"check_errors\"\nkey = [\"error_id\"]\n\n[sinks.booking_table]"
    );
    scratch.edit("pipeline.toml", "[sinks.booking_table]", &stage);
    scratch.edit(
        "pipeline.toml",
        "left    = \"by_person\"",
        "left    = \"checked\"",
    );
    scratch
}

const SEATS: &str = "{ name = \"seats\", range = \"seats\", max = 1000 }, \
                     { name = \"ends\", not_null = \"ends_at\", severity = \"warn\" }";

#[test]
fn a_key_that_a_check_blocks_keeps_its_rows_in_the_sinks_until_it_is_mended() {
    let mut scratch = checked(SEATS);
    scratch.run().exits(0);
    let before = scratch.tables();
    let of_ada = |tables: &Tables| {
        let rows = tables["bookings"].rows.values().cloned();
        let is_adas = |row: &Row| row["person"] == Value::Text("Ada".to_owned());
        rows.filter(is_adas).collect::<Vec<_>>()
    };
    scratch.sheet("bookings", |bookings| {
        bookings.push(&[
            "100",
            "Ada",
            "Atrium",
            "2026-03-02 07:00",
            "2026-03-02 20:00",
            "1001",
        ]);
        bookings.push(&[
            "101",
            "Ada",
            "Studio",
            "2026-03-02 07:00",
            "2026-03-02 20:00",
            "2",
        ]);
        bookings.push(&["102", "Ben", "Studio", "2026-03-02 07:00", "", "2"]);
    });
    for workers in [1, 3] {
        scratch.workers = workers;
        let blocked = scratch.run().exits(65);
        let found = &blocked.report["checks"];
        let told = "check `seats`: `seats` is out of range";
        assert_eq!(found[1]["what"], told, "{found:#}");
        assert_eq!(found[1]["rows"], 1);
        assert_eq!(found[1]["blocks"], true);
        let held = scratch.tables();
        assert_eq!(of_ada(&held), of_ada(&before));
        assert!(held["bookings"].rows.contains_key(&vec![Value::Int(102)]));
        let errors: Vec<&Row> = held["check_errors"].rows.values().collect();
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0]["message"], Value::Text(format!("{told} (1 row)")));
        // The key comes again, and nothing else.
        let again = scratch.run().exits(65);
        assert_eq!(again.number("/keys/recomputed"), 1);
        assert_eq!(again.report["keys"]["why"]["unclean"], 1);
        scratch.verify().exits(0);
        scratch.sheet("bookings", |bookings| {
            bookings.set(("booking", "102"), "seats", "3");
        });
    }
    scratch.sheet("bookings", |bookings| {
        bookings.set(("booking", "100"), "seats", "1000");
    });
    scratch.run().exits(0);
    assert_eq!(of_ada(&scratch.tables()).len(), of_ada(&before).len() + 2);
    assert!(scratch.tables()["check_errors"].rows.is_empty());
    rooms::is_current(&scratch).unwrap();
}

/// The row of a key that is blocked does not go to another key that yields it, too.
#[test]
fn a_row_that_moves_away_from_a_blocked_key_waits() {
    let scratch = checked(SEATS);
    scratch.run().exits(0);
    let before = scratch.tables();
    scratch.sheet("bookings", |bookings| {
        let room = bookings.cell(("booking", "3"), "room").to_owned();
        bookings.set(("booking", "3"), "person", "Zoe");
        bookings.push(&[
            "100",
            "Ada",
            &room,
            "2026-03-02 07:00",
            "2026-03-02 20:00",
            "1001",
        ]);
    });
    scratch.run().exits(65);
    let row = |tables: &Tables| tables["bookings"].rows[&vec![Value::Int(3)]].clone();
    assert_eq!(row(&scratch.tables()), row(&before), "booking 3 was Ada's");
    scratch.sheet("bookings", |bookings| {
        drop(bookings.delete(("booking", "100")));
    });
    scratch.run().exits(0);
    assert_eq!(
        row(&scratch.tables())["person"],
        Value::Text("Zoe".to_owned())
    );
    rooms::is_current(&scratch).unwrap();
}

/// What is kept is kept of the sinks behind the check: of others a row goes to whom it is due.
#[test]
fn a_key_that_is_blocked_keeps_no_rows_of_sinks_that_the_check_is_not_before() {
    let scratch = checked(SEATS);
    let all = "[sinks.all]\ntype = \"sqlite\"\ninput = \"by_person\"\npath = \"output/rooms.db\"\n\
               table = \"everything\"\nkey = [\"booking\"]\n\n[sinks.booking_table]";
    scratch.edit("pipeline.toml", "[sinks.booking_table]", all);
    let (start, end) = ("2026-03-02 07:00", "2026-03-02 20:00");
    let push = |person: &str, seats: &str| {
        let row = ["100", person, "Atrium", start, end, seats];
        scratch.sheet("bookings", |bookings| bookings.push(&row));
    };
    push("Zoe", "1001");
    scratch.run().exits(65);
    push("Ada", "1");
    scratch.run().exits(65);
    let owner = |table: &str| {
        let row = scratch.tables()[table]
            .rows
            .get(&vec![Value::Int(100)])
            .cloned();
        row.map(|row| row["person"].clone())
    };
    let ada = Some(Value::Text("Ada".to_owned()));
    assert_eq!(owner("everything"), ada, "the least of both keys");
    assert_eq!(owner("bookings"), ada, "Zoe had nothing to keep");
    scratch.verify().exits(0);
}

/// All rows are one key, so that a check which blocks it keeps the sinks as they are.
#[test]
fn a_check_of_the_whole_keeps_all_rows_from_the_sinks() {
    let mut scratch = checked(
        "{ unique = [\"booking\"] }, { rows = { min = 2 } }, { fresh = \"ends_at\", within = \"30d\" }",
    );
    let by = "by    = \"person\"\ncut   = { prefix = 1 }";
    scratch.edit("pipeline.toml", by, "whole = true");
    "2026-03-10T00:00:00Z".clone_into(&mut scratch.now);
    scratch.run().exits(0);
    let before = scratch.tables();
    let all = scratch.read_sheet("bookings");
    let first = all.rows()[0].iter().map(String::as_str).collect::<Vec<_>>();
    // Nothing changes but the time, and so the answer.
    "2027-03-10T00:00:00Z".clone_into(&mut scratch.now);
    let stale = scratch.run().exits(65);
    assert_eq!(stale.report["checks"].as_array().map(Vec::len), Some(1));
    "2026-03-10T00:00:00Z".clone_into(&mut scratch.now);
    scratch.run().exits(0);
    scratch.sheet("bookings", |bookings| bookings.push(&first));
    scratch.run().exits(65);
    assert_eq!(scratch.tables()["bookings"], before["bookings"]);
    scratch.write(
        "inputs/bookings.csv",
        format!("{}\n", all.header().join(",")),
    );
    let empty = scratch.run().exits(65);
    assert_eq!(empty.report["checks"].as_array().map(Vec::len), Some(2));
    assert_eq!(scratch.tables()["bookings"], before["bookings"]);
    all.write();
    scratch.run().exits(0);
    rooms::is_current(&scratch).unwrap();
}

#[test]
fn a_check_of_a_dimension_stops_the_run_before_it_writes() {
    let scratch = rooms::example();
    scratch.edit(
        "pipeline.toml",
        "right   = \"rooms\"",
        "right   = \"known\"",
    );
    let stage = "[transforms.known]\ntype = \"checks\"\ninput = \"rooms\"\n\
                 checks = [{ unique = [\"room\"] }, { not_null = \"price\", severity = \"warn\" }]\n\n\
                 [transforms.priced]";
    scratch.edit("pipeline.toml", "[transforms.priced]", stage);
    scratch.run().exits(0);
    let before = scratch.bytes(&scratch.database);
    scratch.sheet("rooms", |rooms| rooms.push(&["Cellar", ""]));
    let warned = scratch.run().exits(0);
    assert_eq!(warned.report["checks"][0]["rows"], 1);
    scratch.sheet("rooms", |rooms| rooms.push(&["Cellar", "2.0"]));
    scratch.sheet("bookings", |bookings| {
        drop(bookings.delete(("booking", "9")));
    });
    let stopped = scratch.run().exits(65);
    assert!(
        stopped
            .error()
            .contains("`room` is there more than once (1 row)")
    );
    assert!(scratch.bytes(&scratch.database) == before);
}

/// The bookings as JSON, with the rooms nested in them, yield what they yield as CSV.
#[test]
fn lines_of_json_yield_what_the_same_rows_of_csv_yield() {
    let as_csv = rooms::example();
    as_csv.run().exits(0);
    let scratch = rooms::example();
    let bookings = scratch.read_sheet("bookings");
    let line = |row: &Vec<String>| {
        let cells = bookings.header().iter().zip(row);
        let cell = |(name, cell): (&String, &String)| match name.as_str() {
            "booking" => format!("\"{name}\": {cell}"),
            "person" => format!("\"who\": {{\"name\": \"{cell}\", \"of\": [1]}}"),
            _ => format!("\"{name}\": \"{cell}\""),
        };
        format!("{{{}}}\n", cells.map(cell).collect::<Vec<_>>().join(", "))
    };
    let lines: String = bookings.rows().iter().map(line).collect();
    scratch.write("inputs/bookings.ndjson", &lines);
    scratch.edit(
        "pipeline.toml",
        "type  = \"csv\"\npath  = \"inputs/bookings.csv\"",
        "type  = \"ndjson\"\npath  = \"inputs/*.ndjson\"",
    );
    scratch.edit(
        "pipeline.toml",
        "types = { booking = \"int\", person = \"text\", room",
        "types = { booking = \"int\", who = \"json\", room",
    );
    scratch.edit(
        "pipeline.toml",
        "input    = \"bookings\"\nset      =",
        "input    = \"known\"\nset      =",
    );
    let unnest = "[transforms.known]\ntype = \"unnest\"\ninput = \"bookings\"\ncolumn = \"who\"\n\
                  fields = { person = \"text\" }\nnames = { person = \"name\" }\n\n[transforms.seated]";
    scratch.edit("pipeline.toml", "[transforms.seated]", unnest);
    scratch.run().exits(0);
    assert_eq!(scratch.tables()["bookings"], as_csv.tables()["bookings"]);
    assert_eq!(scratch.run().exits(0).number("/keys/recomputed"), 0);
    scratch.write(
        "inputs/bookings.ndjson",
        format!("{lines}[]\n{{\"booking\": \"x\"}}\n"),
    );
    let wrong = scratch.run().exits(65);
    assert_eq!(wrong.report["errors"]["bookings"], 2, "{:#}", wrong.report);
    scratch.write("inputs/bookings.ndjson", &lines);
    scratch.run().exits(0);
    assert_eq!(scratch.tables()["bookings"], as_csv.tables()["bookings"]);
}

/// A `latest` before the gate runs behind it, where its `by` holds the key.
#[test]
fn the_newest_of_each_is_found_before_the_gate_as_behind_it() {
    let newest = |input: &str| {
        format!(
            "[transforms.newest]\ntype = \"latest\"\ninput = \"{input}\"\nby = [\"person\", \"room\"]\n\
             order_by = [\"starts_at\"]\n\n"
        )
    };
    let before = rooms::example();
    let stage = format!("{}[transforms.by_person]", newest("seated"));
    before.edit("pipeline.toml", "[transforms.by_person]", &stage);
    let partition = |input: &str| format!("type  = \"batch-partition\"\ninput = \"{input}\"");
    before.edit("pipeline.toml", &partition("seated"), &partition("newest"));
    let behind = rooms::example();
    let stage = format!("{}[transforms.priced]", newest("by_person"));
    behind.edit("pipeline.toml", "[transforms.priced]", &stage);
    behind.edit(
        "pipeline.toml",
        "left    = \"by_person\"",
        "left    = \"newest\"",
    );
    for scratch in [&before, &behind] {
        scratch.run().exits(0);
        rooms::change_much(scratch);
        scratch.run().exits(0);
        rooms::is_current(scratch).unwrap();
    }
    assert_eq!(before.tables(), behind.tables());
}
