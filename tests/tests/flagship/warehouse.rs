//! The example between tables of a server: it finds what it finds in files.

use std::fs;
use std::path::Path;

use operators::postgres::Server;
use tests::harness::{Database, Scratch};

use super::{PAIR, golden, holds};
use crate::visits::{SINKS, day_1, example, is_verified, live, run};

/// A visit that is in conflict, in the warehouse.
const VISIT: &str = "\"Application Visit Id\" = 101091";

/// `postgres.toml`, which never ran, over a warehouse of its own.
fn warehouse() -> Scratch {
    let (scratch, database) = (example(), Database::create());
    fill(&database, &scratch.path("warehouse.sql"));
    scratch.write("pipeline.toml", scratch.bytes("postgres.toml"));
    scratch.in_database(database, "[connections.warehouse]\ntype = \"postgres\"\n")
}

/// Does what psql does with the script: statements, and files that are copied.
fn fill(database: &Database, script: &Path) {
    let server = Server::of(&database.url()).expect("it is a URL");
    let mut session = server.session().expect("the server takes connections");
    let text = fs::read_to_string(script).expect("it is there");
    let mut statements = String::new();
    for line in text.lines() {
        let Some(copied) = line.strip_prefix("\\copy ") else {
            statements.push_str(line);
            statements.push('\n');
            continue;
        };
        session.execute(&statements).expect("the tables are new");
        statements.clear();
        let mut words = copied.split('\'');
        let (table, file, form) = (words.next(), words.next(), words.next());
        let file = script.with_file_name(file.expect("a file is named"));
        let sql = format!(
            "COPY {} STDIN {}",
            table.expect("a table is named"),
            form.expect("it says what the file is")
        );
        let mut copy = session.copy_in(&sql).expect("the table is there");
        let bytes = fs::read(file).expect("it is there");
        copy.send(bytes.into()).expect("the server takes rows");
        copy.finish().expect("the rows fit the table");
    }
}

/// Insists that the sinks hold what a run from nothing over the same warehouse yields.
fn is_current(scratch: &Scratch) {
    is_verified(scratch).unwrap();
    let fresh = scratch.copy();
    fs::remove_dir_all(fresh.path("output")).expect("the folder is ours");
    for (_, table) in SINKS {
        fresh.sql(&format!("DROP TABLE IF EXISTS {table}"));
    }
    fresh.sql("DROP TABLE _tidemill_fence");
    fresh.run().exits(0);
    assert!(live(&scratch.tables()) == live(&fresh.tables()));
}

#[test]
fn what_is_found_in_tables_is_what_is_found_in_files() {
    let scratch = warehouse();
    let ran = scratch.run().exits(0);
    assert_eq!(ran.number("/sinks/conflict_table/inserted"), 706);
    let tables = scratch.tables();
    assert!(live(&tables) == live(&day_1().tables()));
    let pairs = golden("merge_pairs_run1_f64.csv");
    holds(&tables["conflictvisitmaps"], &pairs, &[], &PAIR);
    let names = [("component_min_visit_id", Some("GroupID"))];
    let groups = golden("groups_run1.csv");
    holds(&tables["conflictvisitmaps"], &groups, &names, &PAIR);
    let events = golden("inservice_pairs_run1.csv");
    holds(&tables["inserviceconflicts"], &events, &[], &PAIR);
    is_current(&scratch);

    let before = scratch.written();
    let quiet = scratch.run().exits(0);
    assert_eq!(quiet.number("/keys/open"), 0);
    assert!(scratch.written() == before, "a quiet run writes nothing");
}

#[test]
fn what_changes_in_the_warehouse_changes_in_the_tables() {
    let scratch = warehouse();
    scratch.run().exits(0);
    let visits = "factvisitcallperformance_cr";
    judge(&scratch, 101_091, "W");
    judge(&scratch, 100_011, "I");
    scratch.sql(&format!(
        "UPDATE {visits} SET \"Visit End Time\" = \"Visit End Time\" + interval '1 hour' WHERE {VISIT}"
    ));
    let ran = run(&scratch, 0);
    assert_eq!(ran.number("/keys/open"), 1);
    for judgement in ["W", "I"] {
        let tables = scratch.tables();
        let rows = tables["conflictvisitmaps"].rows.values();
        let kept = rows.filter(|row| row["StatusFlag"].to_string() == judgement);
        assert!(kept.count() > 0, "what people say of a pair stays");
    }
    is_current(&scratch);

    scratch.sql(&format!(
        "CREATE TEMPORARY TABLE more AS SELECT * FROM {visits} WHERE {VISIT};
         UPDATE more SET \"Visit Id\" = 'another', \"Application Visit Id\" = 901091;
         INSERT INTO {visits} SELECT * FROM more"
    ));
    run(&scratch, 0);
    is_current(&scratch);

    scratch.sql(&format!("DELETE FROM {visits} WHERE {VISIT}"));
    scratch.sql("UPDATE dimcaregiver SET \"SSN\" = NULL WHERE \"SSN\" IN (SELECT min(\"SSN\") FROM dimcaregiver)");
    run(&scratch, 0);
    is_current(&scratch);
}

fn judge(scratch: &Scratch, visit: u32, status: &str) {
    scratch.sql(&format!(
        "UPDATE conflictvisitmaps SET \"StatusFlag\" = '{status}' WHERE \"AppVisitID\" = {visit}"
    ));
}
