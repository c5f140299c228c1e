//! The example visit-conflicts after its first day, and what must hold of it after every run.

use std::path::Path;
use std::sync::OnceLock;

use tests::harness::{Counts, Outcome, Scratch, Tables};

/// The program, with faults.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_tidemill-with-faults");

/// Sinks and their tables.
pub(crate) const SINKS: [(&str, &str); 5] = [
    ("conflict_table", "conflictvisitmaps"),
    ("error_table", "errors"),
    ("in_service_table", "inserviceconflicts"),
    ("parent_table", "conflicts"),
    ("visits_flat_table", "visits_flat"),
];

/// The columns that policies fill.
const POLICIES: [&str; 4] = ["StatusFlag", "CreatedDate", "UpdatedDate", "ResolveDate"];

/// The example, which never ran.
pub(crate) fn example() -> Scratch {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/visit-conflicts");
    Scratch::of(&folder, PROGRAM)
}

/// The example after its first run, each time in a folder of its own.
pub(crate) fn day_1() -> Scratch {
    static DAY_1: OnceLock<Scratch> = OnceLock::new();
    let made = || {
        let scratch = example();
        scratch.run().exits(0);
        scratch
    };
    DAY_1.get_or_init(made).copy()
}

/// The same with its tables on a server.
pub(crate) fn day_1_on_postgres() -> Scratch {
    static DAY_1: OnceLock<Scratch> = OnceLock::new();
    let made = || {
        let scratch = example().on_postgres();
        scratch.run().exits(0);
        scratch
    };
    DAY_1.get_or_init(made).copy()
}

/// The pipeline's columns of the live rows.
pub(crate) fn live(tables: &Tables) -> Vec<(&str, tests::harness::Rows)> {
    let rows = |(name, table): (&'static str, Option<&tests::harness::Table>)| {
        (
            name,
            table.map(|table| table.live(&POLICIES)).unwrap_or_default(),
        )
    };
    SINKS
        .iter()
        .map(|(_, name)| rows((name, tables.get(*name))))
        .collect()
}

/// Runs, and insists that `plan` said the same before and wrote nothing, that the report counts
/// what changed in the tables, that `verify` finds nothing, and that every source was read once.
pub(crate) fn run(scratch: &Scratch, exit: i32) -> Outcome {
    let (before, written) = (scratch.tables(), scratch.written());
    let planned = scratch.plan().exits(0);
    assert!(scratch.written() == written, "a plan writes nothing");
    let ran = scratch.run().exits(exit);
    let after = scratch.tables();
    for (sink, table) in SINKS {
        let changed = Counts::between(before.get(table), after.get(table));
        assert_eq!(
            Counts::reported(&ran.report, sink),
            changed,
            "the report counts what changed in {table}"
        );
        assert_eq!(
            Counts::reported(&planned.report, sink),
            changed,
            "plan knew what would change in {table}"
        );
        if exit == 0 && !scratch.is_on_postgres() {
            let written = changed.updated + changed.reopened + changed.retracted;
            let [inserts, updates, deletes] =
                ["INSERT", "UPDATE", "DELETE"].map(|verb| scratch.executed(verb, table));
            assert_eq!(
                inserts, changed.inserted,
                "SQLite inserted as many rows into {table}"
            );
            assert_eq!(
                updates + deletes,
                written,
                "SQLite wrote as many rows of {table}"
            );
        }
    }
    let sources = ran.report["sources"]
        .as_object()
        .expect("a report has sources");
    for (source, reading) in sources {
        assert_eq!(reading["reads"], 1, "{source} is read once");
    }
    ran
}

/// Insists that nothing waits for another run and the sinks hold what a run from nothing yields.
pub(crate) fn is_current(scratch: &Scratch) -> Result<(), String> {
    is_verified(scratch)?;
    is_as_from_nothing(&[scratch])
}

/// Insists that `verify` finds nothing, and no key that has yet to run.
pub(crate) fn is_verified(scratch: &Scratch) -> Result<(), String> {
    let verified = scratch.verify();
    if verified.exit != Some(0) || verified.number("/not_yet_run") > 0 {
        return Err(format!("verify: {verified:#?}"));
    }
    Ok(())
}

/// Insists that these, whose inputs are equal, hold what a run from nothing yields.
pub(crate) fn is_as_from_nothing(scratches: &[&Scratch]) -> Result<(), String> {
    let fresh = scratches[0].never_ran();
    let ran = fresh.run();
    assert!(
        matches!(ran.exit, Some(0 | 65)),
        "a run from nothing runs: {ran:?}"
    );
    let expected = fresh.tables();
    for scratch in scratches {
        let tables = scratch.tables();
        for ((table, held), (_, expected)) in live(&tables).into_iter().zip(live(&expected)) {
            if held == expected {
                continue;
            }
            let ids = held.keys().chain(expected.keys());
            let differs = ids.filter(|id| held.get(*id) != expected.get(*id)).take(4);
            let differs: Vec<_> = differs
                .map(|id| (id, held.get(id), expected.get(id)))
                .collect();
            return Err(format!("{table} (held, expected): {differs:#?}"));
        }
    }
    Ok(())
}
