//! `run --full-refresh`: the table is put right, whatever it holds and whatever is known of it, and
//! nobody who reads it sees it half done.

use std::sync::atomic::{AtomicBool, Ordering};

use tests::harness::Outcome;

use super::*;

/// How many visits.
const VISITS: u32 = 60;

/// The visits after their first run, in a table with much around it.
fn ran(sink: &'static str) -> Visits<'static> {
    let visits = Visits::of(Database::create(), sink);
    visits.are(&version(VISITS, 0));
    visits.scratch.run().exits(0);
    visits
}

/// Others have written the table, in a way that no run would see.
fn tamper(visits: &Visits) {
    visits.query(
        "DELETE FROM visits WHERE visit % 5 = 0;
         UPDATE visits SET hours = hours + 100;
         INSERT INTO visits (person, visit, hours, note) VALUES ('p1', 5000, 5100, 'theirs')",
    );
}

#[test]
fn what_others_wrote_is_put_right_in_every_way_to_write() {
    for sink in [SETS, POLICIES, REPLACED] {
        let visits = ran(sink);
        tamper(&visits);
        let rows = version(VISITS, 1);
        visits.are(&rows);
        visits.scratch.refresh().exits(0);
        visits.hold(&rows, sink);
    }
}

#[test]
fn what_is_not_known_of_a_table_or_wrongly_is_no_matter() {
    let visits = ran(LOG);
    let rows = version(VISITS, 0);
    visits.query("DELETE FROM visits WHERE visit % 5 = 0; DROP TABLE _tidemill_fence");
    visits.scratch.run().exits(78);
    visits.scratch.refresh().exits(0);
    visits.hold(&rows, "a fence that was dropped");
    let mut drop = visits.scratch.command(&["state", "drop"]);
    Outcome::of(drop.arg("--yes")).exits(0);
    visits.scratch.run().exits(78);
    visits.scratch.refresh().exits(0);
    visits.hold(&rows, "a state that was dropped");
}

/// All that stands around the rows of a table.
const AROUND: &str = "
    SELECT 'index', indexdef FROM pg_indexes WHERE tablename = 'visits'
    UNION ALL SELECT 'constraint', conname || pg_get_constraintdef(oid)
              FROM pg_constraint WHERE 'visits'::regclass IN (conrelid, confrelid)
    UNION ALL SELECT 'trigger', pg_get_triggerdef(oid) FROM pg_trigger
              WHERE tgrelid = 'visits'::regclass AND NOT tgisinternal
    UNION ALL SELECT 'column', attname || coalesce(pg_get_expr(adbin, adrelid), '') || attstorage::text
              FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
              WHERE attrelid = 'visits'::regclass
    UNION ALL SELECT 'table', concat_ws(' ', oid, relacl, relowner, reloptions, relreplident,
                                        obj_description(oid))
              FROM pg_class WHERE oid = 'visits'::regclass
    UNION ALL SELECT 'view', pg_get_viewdef('told'::regclass)
    UNION ALL SELECT 'publication', pubname FROM pg_publication_tables WHERE tablename = 'visits'
    ORDER BY 1, 2";

#[test]
fn what_stands_around_a_table_stays_and_who_reads_it_sees_it_before_or_after() {
    let visits = ran(SETS);
    visits.query(
        "CREATE ROLE reader_of_visits;
         GRANT SELECT ON visits TO reader_of_visits;
         COMMENT ON TABLE visits IS 'of people';
         ALTER TABLE visits SET (fillfactor = 70), ALTER note SET STORAGE EXTERNAL,
             ALTER hours SET DEFAULT 3, ADD CHECK (hours < 10000);
         CREATE INDEX by_hours ON visits (hours) WHERE hours > 3;
         CREATE VIEW told AS SELECT * FROM visits;
         CREATE TABLE bills (person text, visit bigint,
                             FOREIGN KEY (person, visit) REFERENCES visits);
         INSERT INTO bills VALUES ('p1', 1);
         CREATE PUBLICATION of_visits FOR TABLE visits",
    );
    let around = visits.query(AROUND);
    assert!(around.len() > 12, "{around:#?}");
    tamper(&visits);
    // Each key is a commit of its own, if it is not waited for the last.
    let pipeline = String::from_utf8(visits.scratch.bytes("pipeline.toml")).unwrap();
    let one_by_one = "[pipeline]\nepochs_in_flight = 1\n";
    visits.scratch.write(
        "pipeline.toml",
        pipeline.replacen("[pipeline]\n", one_by_one, 1),
    );
    let rows = version(VISITS, 0);
    let (done, seen) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let server = Server::of(&visits.database.url()).unwrap();
            let mut session = server.session().unwrap();
            while !done.load(Ordering::Relaxed) {
                let sql = "SELECT count(*), min(hours - visit), max(hours - visit) FROM visits";
                let read = &session.query(sql, &[]).unwrap()[0];
                let read: (i64, i64, i64) = (read.get(0), read.get(1), read.get(2));
                let after = (i64::try_from(rows.len()).unwrap(), 0, 0);
                assert!(read == after || (read.1, read.2) == (100, 100), "{read:?}");
                seen.store(true, Ordering::Relaxed);
            }
        });
        while !seen.load(Ordering::Relaxed) && !reader.is_finished() {
            thread::yield_now();
        }
        let ran = visits.scratch.refresh();
        done.store(true, Ordering::Relaxed);
        ran.exits(0);
    });
    assert_eq!(visits.query(AROUND), around);
    visits.query("DROP OWNED BY reader_of_visits; DROP ROLE reader_of_visits");
    visits.hold(&rows, "refreshed");
}

#[test]
fn a_refresh_that_dies_leaves_the_table_as_it_was_and_the_next_run_ends_it() {
    for point in ["staged", "committed", "published"] {
        let mut visits = ran(SETS);
        tamper(&visits);
        let table = "SELECT xmin, * FROM visits ORDER BY visit";
        let before = visits.query(table);
        visits.scratch.fault = Some(format!("die:{point}"));
        assert_eq!(visits.scratch.refresh().exit, None, "{point}");
        visits.scratch.fault = None;
        assert_eq!(visits.query(table) == before, point == "staged");
        let tables = visits.query("SELECT relname FROM pg_class WHERE relname ~ 'visits|tidemill'");
        assert_eq!(tables.len(), 4, "two tables and their keys: {tables:?}");
        visits.scratch.run().exits(0);
        visits.hold(&version(VISITS, 0), point);
    }
}

#[test]
fn a_sink_that_is_not_there_cannot_be_refreshed() {
    let visits = ran(SETS);
    let refresh = |sink: &str| {
        let mut command = visits.scratch.command(&["run"]);
        Outcome::of(command.arg(format!("--full-refresh={sink}")))
    };
    let refused = refresh("tabel").exits(78);
    assert!(refused.error().contains("`table`"), "{}", refused.error());
    refresh("table").exits(0);
}
