//! The server does not take some rows: the others load, it is told why, and these come again.

use tests::harness::signal;

use super::*;

/// A table with an opinion: hours are small and sane, and visits have a partition.
const TABLE: &str = "
    CREATE TABLE visits (
        person text, visit bigint, hours smallint CONSTRAINT sane CHECK (hours < 1000), note text,
        PRIMARY KEY (person, visit)
    ) PARTITION BY RANGE (visit);
    CREATE TABLE visits_0 PARTITION OF visits FOR VALUES FROM (0) TO (100000)";

/// Rows are written by sets, and another table keeps those that are refused.
const KEPT: &str = "
    [sinks.refused]
    type = \"postgres\"
    input = \"table.errors\"
    connection = \"main\"
    table = \"refused\"
    key = [\"error_id\"]";

/// What is told of standing errors of the table.
fn messages(visits: &Visits) -> Vec<String> {
    let inspected = visits.scratch.inspect().exits(0);
    let errors = inspected.report["errors"].as_array().unwrap();
    let said = errors.iter().filter(|error| error["stage"] == "table");
    let mut said: Vec<String> = said.map(|error| error["message"].to_string()).collect();
    said.sort();
    said
}

fn row(person: &str, visit: u32, hours: u32) -> Row {
    (person.to_owned(), visit, hours)
}

#[test]
fn refused_rows_are_told_the_others_load_and_they_come_again_when_they_are_mended() {
    for sink in [KEPT, POLICIES] {
        let visits = Visits::of(Database::create(), sink);
        visits.query(TABLE);
        let good = [row("a", 1, 5), row("b", 2, 6), row("b", 3, 7)];
        let bad = [row("b", 4, 40_000), row("c", 5, 2000), row("d", 100_001, 1)];
        visits.are(&[&good[..], &bad].concat());
        // A row whose note no text of the server holds.
        let mut csv = visits.scratch.bytes("visits.csv");
        csv.extend(b"e,6,1,x\0y\n");
        visits.scratch.write("visits.csv", csv);
        let mut unchanged = None;
        for _ in 0..2 {
            let ran = visits.scratch.run().exits(65);
            assert_eq!(ran.number("/sinks/table/refused"), 4, "{sink}");
            assert_eq!(ran.number("/errors/table"), 4, "{sink}");
            let held = visits.query("SELECT person, visit, hours FROM visits ORDER BY visit");
            assert_eq!(held, ["a|1|5", "b|2|6", "b|3|7"]);
            assert_eq!(
                messages(&visits),
                [
                    "\"the sink refused a row: column `hours` is smallint, which does not hold the value\"",
                    "\"the sink refused a row: column `note` holds a NUL character, which no text of PostgreSQL does\"",
                    "\"the sink refused a row: it fails the check `sane`\"",
                    "\"the sink refused a row: the table has no partition for it\"",
                ]
            );
            if sink == KEPT {
                let kept = visits.query("SELECT key, row FROM refused ORDER BY key");
                let named = ["b|person=b visit=4", "c|person=c visit=5"];
                let others = ["d|person=d visit=100001", "e|person=e visit=6"];
                assert_eq!(kept, [named, others].concat());
                let written = visits.query("SELECT xmin, error_id FROM refused ORDER BY 2");
                assert_eq!(*unchanged.get_or_insert_with(|| written.clone()), written);
            }
        }
        // The server takes more, and the file less.
        visits.query(
            "CREATE TABLE visits_1 PARTITION OF visits FOR VALUES FROM (100000) TO (200000)",
        );
        visits.query("ALTER TABLE visits DROP CONSTRAINT sane");
        let mended = [row("b", 4, 4), row("c", 5, 2000), row("d", 100_001, 1)];
        let rows = [&good[..], &mended].concat();
        visits.are(&rows);
        let ran = visits.scratch.run().exits(0);
        assert_eq!(ran.number("/sinks/table/inserted"), 3, "{sink}");
        assert_eq!(messages(&visits), [""; 0]);
        if sink == KEPT {
            assert_eq!(visits.query("SELECT * FROM refused"), [""; 0]);
        }
        visits.hold(&rows, sink);
    }
}

/// The keys of what was refused are clean when it is taken back, and not before.
#[test]
fn what_was_refused_is_taken_back_by_the_next_run_where_the_table_that_keeps_it_is_locked() {
    let visits = Visits::of(Database::create(), KEPT);
    visits.query(TABLE);
    visits.are(&[row("a", 1, 5), row("b", 4, 2000)]);
    visits.scratch.run().exits(65);
    let mended = [row("a", 1, 5), row("b", 4, 4)];
    visits.are(&mended);
    let locked = visits.lock("refused");
    let run = visits.spawn();
    visits.until(&format!("SELECT 1 {WRITER} = 'relation'"));
    signal(&run, "TERM");
    ended(run).exits(130);
    drop(locked);
    assert_eq!(visits.query("SELECT count(*) FROM refused"), ["1"]);
    visits.scratch.run().exits(0);
    assert_eq!(visits.query("SELECT count(*) FROM refused"), ["0"]);
    visits.hold(&mended, "the errors were locked");
}

/// Each is found by halving, in a number of attempts that is bounded.
#[test]
fn ten_thousand_refused_rows_of_one_commit_are_told_and_come_again() {
    let mut visits = Visits::of(Database::create(), SETS);
    visits.note = 4;
    visits.query(TABLE);
    let rows = |bad: u32| -> Vec<Row> {
        let hours = |visit: u32| if visit.is_multiple_of(3) { bad } else { 1 };
        let all = 0..30_000;
        all.map(|visit| row(&format!("p{visit:05}"), visit, hours(visit)))
            .collect()
    };
    visits.are(&rows(2000));
    let ran = visits.scratch.run().exits(65);
    let counts = ["inserted", "refused"].map(|what| ran.number(&format!("/sinks/table/{what}")));
    assert_eq!(counts, [20_000, 10_000]);
    assert_eq!(ran.number("/errors/table"), 10_000);
    visits.are(&rows(2));
    let ran = visits.scratch.run().exits(0);
    assert_eq!(ran.number("/keys/open"), 10_000);
    assert_eq!(ran.number("/sinks/table/inserted"), 10_000);
    visits.hold(&rows(2), "mended");
}
