//! Goal: who runs a pipeline sees how changes are found and what each way costs; and digests of the server
//! go together with cells that cannot be held here.
//!
//! Method: the plan of tables with and without statistics; a table with a cell that is out of range.

use std::process::Command;

use tests::harness::{Database, Scratch};

use super::pipeline::{folder, hashed, held, opened};
use crate::visits::PROGRAM;

fn plan(scratch: &Scratch) -> String {
    let mut command = Command::new(PROGRAM);
    command
        .args(["plan", "pipeline.toml"])
        .current_dir(scratch.path(""));
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

fn told(scratch: &Scratch, expected: &str) {
    let said = plan(scratch);
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("a later run"))
        .collect();
    assert_eq!(lines, [format!("  {expected}")], "{said}");
}

#[test]
fn the_plan_says_how_changes_are_found_and_what_it_costs() {
    let database = Database::create();
    let scratch = hashed(&database);
    told(
        &scratch,
        "a later run reads digests in place of the columns, as `digest` says",
    );
    database.sql("analyze work.visits");
    let digests = "digests (about 3.04 kB of 40 keys)";
    let columns = "(about 42.80 kB of 400 rows)";
    told(
        &scratch,
        &format!("a later run reads {digests} in place of the columns {columns}, as `digest` says"),
    );
    scratch.edit("pipeline.toml", "digest     = \"server\"\n", "");
    let all =
        format!("a later run reads all columns that are used {columns}: no `version` is declared");
    let or = "over a slow link digests by `digest = \"server\"` (about 3.04 kB of 40 keys) may cost less, \
              and a run in which no row is another would read none";
    told(&scratch, &format!("{all}; {or}"));
    scratch.edit(
        "pipeline.toml",
        "where      = ",
        "version    = [\"hours\"]\nwhere      = ",
    );
    told(
        &scratch,
        "a later run reads the key, `id` and `version` (about 15.20 kB of 400 rows)",
    );
    // What stages make of rows no server hashes.
    let other = Database::create();
    let scratch = folder(&other);
    other.sql("analyze work.visits");
    told(&scratch, &all);
}

#[test]
fn keys_with_cells_that_are_none_come_again_until_they_are_mended() {
    let database = Database::create();
    let scratch = hashed(&database);
    scratch.run().exits(0);
    let before = held(&scratch);
    database.sql("update work.visits set starts = '294270-01-01 00:00+00' where visit = 7");
    let broken = scratch.run().exits(65);
    assert_eq!(opened(&broken), 1);
    assert_eq!(broken.number("/errors/visits"), 1);
    // As no row is another, no key is looked at.
    assert_eq!(opened(&scratch.run().exits(65)), 0);
    scratch.verify().exits(0);
    // The server knows of no error: its digest is not the one that was processed.
    database.sql("update work.visits set hours = hours + 1 where visit = 9");
    assert_eq!(opened(&scratch.run().exits(65)), 2);
    database.sql(
        "update work.visits set starts = '2026-01-15 12:07+00' where visit = 7;
         update work.visits set hours = hours - 1 where visit = 9",
    );
    let mended = scratch.run().exits(0);
    assert_eq!(opened(&mended), 2);
    assert_eq!(opened(&scratch.run().exits(0)), 0);
    scratch.verify().exits(0);
    assert_eq!(held(&scratch), before);
}
