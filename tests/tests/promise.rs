//! The promise, for any pipeline: after every run each sink holds what a run from nothing yields.
//!
//! Random pipelines meet random changes of their tables, parameter and time, in files of any format
//! and layout or in tables of a server, on any number of workers, with much memory or so little that rows go to disk; the
//! other side of the comparison is the reference, which shares no stage with the
//! product. `PROPTEST_CASES` and `PROPTEST_RNG_SEED` try more and other cases.

use std::collections::BTreeMap;
use std::path::Path;

use operators::value::Value;
use pipelines::plan::{SinkPlan, SinkRows};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use runtime::load::Request;
use runtime::report::run::Report;
use runtime::run;
use tests::generator::{Case, World, cases};
use tests::harness;
use tests::layout::{Layout, Sinks, Sources, database_of, layout, on_server, sinks, sources};
use tests::meaning::Columns;
use tests::reference::{Given, Owned};
use tests::{reference, tables};

/// Runs behind the first.
const RUNS: usize = 3;

/// How a run is done.
#[derive(Clone, Debug)]
pub(crate) struct How {
    pub(crate) workers: usize,
    /// Whether each batch is committed before the next is computed.
    pub(crate) one_by_one: bool,
    /// How many bytes of rows there may be.
    memory: u64,
    /// Where rows lie in files.
    pub(crate) layout: Layout,
}

/// Rows of a few cells: some go to disk, then almost all, then none.
const MEMORY: [u64; 3] = [2 << 10, 64, 1 << 30];

pub(crate) fn how() -> impl Strategy<Value = How> {
    let one_by_one = proptest::bool::ANY;
    let how = (1..=4_usize, one_by_one, 0..MEMORY.len(), layout());
    how.prop_map(|(workers, one_by_one, memory, layout)| How {
        workers,
        one_by_one,
        memory: MEMORY[memory],
        layout,
    })
}

/// In which formats a case lies on disk.
pub(crate) type Disk = (Sources, Sinks);

/// So many cases, always the same, unless others are asked for.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    let mut config = ProptestConfig {
        failure_persistence: None,
        // A case is several runs: to find the very smallest one can take longer than anybody waits.
        max_shrink_time: 60_000,
        ..ProptestConfig::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(15);
    }
    config
}

proptest! {
    #![proptest_config(config(120))]

    #[test]
    fn sinks_hold_what_a_run_from_nothing_yields(
        case in cases(RUNS),
        disk in (sources(), sinks()),
        hows in vec(how(), RUNS + 1),
    ) {
        keeps(harness::scratch_folder().path(), (&case, disk), &hows)?;
    }
}

proptest! {
    // A database for each case takes its time.
    #![proptest_config(config(24))]

    #[test]
    fn so_do_tables_of_a_server_and_what_is_read_of_one(
        case in cases(RUNS),
        disk in on_server(),
        hows in vec(how(), RUNS + 1),
    ) {
        let folder = harness::scratch_folder();
        let _database = database_of(folder.path());
        keeps(folder.path(), (&case, disk), &hows)?;
    }
}

/// The promise holds after each run of a case.
fn keeps(folder: &Path, of: (&Case, Disk), hows: &[How]) -> Result<(), TestCaseError> {
    let mut world = of.0.world.clone();
    let mut owned = check(folder, of, (&world, Owned::new()), &hows[0])?;
    for (updates, how) in of.0.updates.iter().zip(&hows[1..]) {
        for update in updates {
            world.apply(update);
        }
        owned = check(folder, of, (&world, owned), how)?;
    }
    is_at_rest(folder, &world)
}

/// Runs in a world, and compares all sinks with what the reference yields of it. Given and gives
/// what the sinks hold: of a key which a check blocks they keep it.
pub(crate) fn check(
    folder: &Path,
    (case, disk): (&Case, Disk),
    (world, held): (&World, Owned),
    how: &How,
) -> Result<Owned, TestCaseError> {
    write(folder, (case, disk), world, how);
    let request = request(folder, world, how.workers);
    let report = run::run(&request).map_err(fail)?.report;
    holds(folder, (case, disk), (world, held), &report.errors)
}

/// Compares what all sinks hold behind a run with what the reference yields of a world, and has the
/// run verified; `errors` are how many stand by stage.
pub(crate) fn holds(
    folder: &Path,
    (case, disk): (&Case, Disk),
    (world, held): (&World, Owned),
    errors: &BTreeMap<String, usize>,
) -> Result<Owned, TestCaseError> {
    let owned = compare(folder, (case, disk), (world, held), errors)?;
    let verified = run::verify(&request(folder, world, 1))
        .map_err(fail)?
        .report;
    let differences = verified.differences.unwrap_or_default();
    let differences: Vec<&str> = differences
        .iter()
        .map(|difference| difference.what)
        .collect();
    prop_assert!(differences.is_empty(), "verify finds {:?}", differences);
    Ok(owned)
}

/// Compares what all sinks hold with what the reference yields of a world; `errors` are how many stand
/// by stage.
pub(crate) fn compare(
    folder: &Path,
    (case, disk): (&Case, Disk),
    (world, held): (&World, Owned),
    errors: &BTreeMap<String, usize>,
) -> Result<Owned, TestCaseError> {
    let toml = std::fs::read_to_string(folder.join("pipeline.toml")).expect("it was written");
    let plan = tables::plan(folder, &toml, world.now);
    let plan = plan.map_err(|wrong| TestCaseError::fail(format!("{wrong:#?}")))?;
    let given = Given {
        tables: tables::rows(&plan, &world.tables),
        meanings: case.meanings(),
        held,
    };
    let expected = reference::run(&plan, &given);
    for sink in &plan.sinks {
        let held = disk.1.rows(folder, &sink.name, &columns(sink));
        let expected = &expected.sinks[&sink.name];
        let expected = expected.keys().map(|row| stored(row, disk.1));
        prop_assert_eq!(
            rows(held.into_iter()),
            rows(expected),
            "sink {} holds, and should hold",
            sink.name
        );
    }
    let mut expected_errors: BTreeMap<String, usize> = BTreeMap::new();
    for fault in &expected.errors {
        *expected_errors.entry(fault.stage.clone()).or_default() += 1;
    }
    if expected.dimension_errors.is_empty() {
        prop_assert_eq!(errors, &expected_errors);
    }
    Ok(expected.owned)
}

/// Writes the tables of a world and the pipeline file.
pub(crate) fn write(folder: &Path, (case, disk): (&Case, Disk), world: &World, how: &How) {
    let toml = toml(folder, (case, disk), world, how);
    disk.0.write(folder, &world.tables, how.layout);
    std::fs::write(folder.join("pipeline.toml"), toml).expect("the folder is ours");
}

/// Another run has nothing to do but for keys of which a row was refused, or that are blocked.
pub(crate) fn is_at_rest(folder: &Path, world: &World) -> Result<(), TestCaseError> {
    let database = std::fs::read(folder.join("out.db"));
    let report: Report = run::run(&request(folder, world, 1)).map_err(fail)?.report;
    let refused: usize = report.sinks().map(|(_, counts)| counts[4].1).sum();
    let stood = report.errors.keys().any(|stage| stage.starts_with("out"));
    let blocked = report.checks.iter().any(|check| check.blocks);
    if refused == 0 && !stood && !blocked {
        prop_assert_eq!(report.keys.recomputed, 0);
        prop_assert!(database.ok() == std::fs::read(folder.join("out.db")).ok());
    }
    Ok(())
}

fn toml(
    folder: &Path,
    (case, (sources, sinks)): (&Case, Disk),
    world: &World,
    how: &How,
) -> String {
    let toml = sources.brought(folder, &case.toml(world));
    let toml = sinks.brought(folder, &toml);
    let mut settings = format!("[pipeline]\nmemory = \"{}B\"\n", how.memory);
    if how.one_by_one {
        settings.push_str("epochs_in_flight = 1\n");
    }
    toml.replacen("[pipeline]\n", &settings, 1)
}

pub(crate) fn request(folder: &Path, world: &World, workers: usize) -> Request {
    Request {
        workers,
        ..Request::of(folder.join("pipeline.toml"), world.now)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(crate) fn fail(error: runtime::error::RunError) -> TestCaseError {
    TestCaseError::fail(format!("{error:?}"))
}

/// Rows and how often each is there.
fn rows(rows: impl Iterator<Item = Vec<Value>>) -> BTreeMap<Vec<Value>, usize> {
    let mut counted = BTreeMap::new();
    for row in rows {
        *counted.entry(row).or_default() += 1;
    }
    counted
}

/// The sink's columns in order; of errors without their id.
fn columns(sink: &SinkPlan) -> Columns {
    let skipped = usize::from(matches!(sink.rows, SinkRows::Errors(_)));
    sink.schema.columns()[skipped..].to_vec()
}

/// A row as a sink has it: a database knows fewer types.
fn stored(row: &[Value], sinks: Sinks) -> Vec<Value> {
    let stored = |cell: &Value| match cell {
        Value::Bool(bool) => Value::Int(i64::from(*bool)),
        Value::Date(_) | Value::Timestamp(_) => Value::Text(cell.to_string()),
        cell => cell.clone(),
    };
    match sinks {
        Sinks::Tables | Sinks::Server => row.iter().map(stored).collect(),
        _ => row.to_vec(),
    }
}
