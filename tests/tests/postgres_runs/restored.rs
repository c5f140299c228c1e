//! The server is another one than was written to, or holds something else: a run that would go on from
//! what is not there stops and says so, and `adopt` mends it.

use super::*;

/// How many visits.
const VISITS: u32 = 60;

/// The visits after their first run.
fn ran(database: Database<'_>) -> Visits<'_> {
    let visits = Visits::of(database, SETS);
    visits.are(&version(VISITS, 0));
    visits.scratch.run().exits(0);
    visits
}

/// Insists that a run stops, says `why` and writes nothing; that `adopt` mends it; and that the table
/// has the rows of a version afterwards.
fn stops(visits: &Visits, why: &str, at: u32) {
    let rows = "SELECT xmin, * FROM visits ORDER BY visit";
    let before = visits.query(rows);
    let stopped = visits.scratch.run().exits(78);
    let said = stopped.error();
    assert!(said.contains(why), "{said}");
    assert!(said.contains("tidemill adopt PIPELINE table"), "{said}");
    assert_eq!(visits.query(rows), before, "{why}");
    visits.scratch.adopt("table").exits(0);
    assert_eq!(visits.query(rows), before, "{why}");
    visits.scratch.run().exits(0);
    visits.hold(&version(VISITS, at), why);
}

#[test]
fn a_restored_backup_stops_a_run_and_is_adopted() {
    let mut visits = ran(Database::create());
    let backup = visits.database.copy();
    visits.are(&version(VISITS, 1));
    visits.scratch.run().exits(0);
    visits.database = backup;
    visits.url = visits.database.url_through(visits.proxy.port());
    visits.configure("");
    stops(&visits, "it holds epoch", 1);
}

#[test]
fn a_fence_table_that_was_dropped_stops_a_run_and_is_adopted() {
    let visits = ran(Database::create());
    visits.query("DROP TABLE _tidemill_fence");
    stops(&visits, "it holds no fence", 0);
}

#[test]
fn a_table_that_was_dropped_stops_a_run_and_is_made_anew_when_it_is_adopted() {
    let visits = ran(Database::create());
    visits.query("DROP TABLE visits");
    let stopped = visits.scratch.run().exits(78);
    let said = stopped.error();
    assert!(said.contains("it holds no fence"), "{said}");
    visits.scratch.adopt("table").exits(0);
    visits.scratch.run().exits(0);
    visits.hold(&version(VISITS, 0), "the table was dropped");
}

#[test]
fn rows_of_another_origin_are_left_alone_until_they_are_adopted() {
    let visits = Visits::of(Database::create(), SETS);
    visits.query(
        "CREATE TABLE visits (person text, visit bigint, hours bigint, note text,
                              PRIMARY KEY (person, visit));
         INSERT INTO visits VALUES ('p1', 1, 1, 'theirs'), ('p1', 1000, 1, 'theirs')",
    );
    visits.are(&version(VISITS, 0));
    stops(&visits, "holds rows that this state did not tell it", 0);
}

/// The visits after their first run, which a replica has as the primary does.
fn replicated<'a>(primary: &'a Postgres, replica: &Postgres) -> Visits<'a> {
    let mut visits = ran(Database::of(primary));
    visits.until("SELECT 1 FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn()");
    visits.url = format!(
        "postgresql://postgres@127.0.0.1:{},127.0.0.1:{}/{}?target_session_attrs=read-write",
        primary.port(),
        replica.port(),
        visits.database.name()
    );
    visits.configure("");
    visits
}

#[test]
fn a_run_whose_primary_is_lost_goes_on_with_the_replica_that_is_promoted() {
    let primary = Postgres::start("");
    let replica = primary.standby();
    let mut visits = replicated(&primary, &replica);
    // What is committed is in both.
    visits.query("ALTER SYSTEM SET synchronous_standby_names = '*'");
    visits.query("SELECT pg_reload_conf()");
    visits.until("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'");
    let rows = version(VISITS, 1);
    visits.are(&rows);
    let locked = visits.lock("visits");
    let run = visits.spawn();
    visits.until(&format!("SELECT pid {WRITER} = 'relation'"));
    primary.stop();
    drop(locked);
    replica.promote();
    let ran = ended(run).exits(0);
    visits.server = &replica;
    visits.hold(&rows, &format!("{ran:?}"));
}

#[test]
fn a_promoted_replica_that_lost_the_last_commits_stops_a_run_and_is_adopted() {
    let primary = Postgres::start("");
    let replica = primary.standby();
    let mut visits = replicated(&primary, &replica);
    let name = visits.database.name().to_owned();
    replica.execute(&name, "ALTER SYSTEM SET primary_conninfo = ''");
    replica.execute(&name, "SELECT pg_reload_conf()");
    visits.until("SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_stat_replication)");
    visits.are(&version(VISITS, 1));
    visits.scratch.run().exits(0);
    primary.stop();
    replica.promote();
    visits.server = &replica;
    stops(&visits, "it holds epoch", 1);
}
