//! The promise, for any pipeline: after every run each sink holds what a run from nothing yields.
//!
//! Random pipelines meet random changes of their tables, parameter and time, on any number of
//! workers; the other side of the comparison is the reference, which shares no stage with the
//! product. `PROPTEST_CASES` and `PROPTEST_RNG_SEED` try more and other cases.

use std::collections::BTreeMap;
use std::path::Path;

use operators::value::Value;
use pipelines::plan::{Plan, SinkPlan, SinkRows};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use runtime::load::Request;
use runtime::report::run::Report;
use runtime::run;
use tests::generator::{Case, World, cases};
use tests::harness::{self, Row};
use tests::{reference, tables};

/// Runs behind the first.
const RUNS: usize = 3;

/// How a run is done.
#[derive(Clone, Debug)]
struct How {
    workers: usize,
    /// Whether each batch is committed before the next is computed.
    one_by_one: bool,
}

fn how() -> impl Strategy<Value = How> {
    let one_by_one = proptest::bool::ANY;
    (1..=4_usize, one_by_one).prop_map(|(workers, one_by_one)| How {
        workers,
        one_by_one,
    })
}

fn config() -> ProptestConfig {
    let mut config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 120;
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(15);
    }
    config
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn sinks_hold_what_a_run_from_nothing_yields(case in cases(RUNS), hows in vec(how(), RUNS + 1)) {
        let folder = harness::scratch_folder();
        let mut world = case.world.clone();
        check(folder.path(), &case, &world, &hows[0])?;
        for (updates, how) in case.updates.iter().zip(&hows[1..]) {
            for update in updates {
                world.apply(update);
            }
            check(folder.path(), &case, &world, how)?;
        }
        is_at_rest(folder.path(), &world)?;
    }
}

/// Runs in a world, and compares all sinks with what the reference yields of it.
fn check(folder: &Path, case: &Case, world: &World, how: &How) -> Result<(), TestCaseError> {
    let toml = toml(case, world, how);
    tables::write(folder, &world.tables);
    std::fs::write(folder.join("pipeline.toml"), &toml).expect("the folder is ours");
    let request = request(folder, world, how.workers);
    let report = run::run(&request).map_err(fail)?.report;
    let plan = tables::plan(folder, &toml, world.now);
    let plan = plan.map_err(|wrong| TestCaseError::fail(format!("{wrong:#?}")))?;
    let expected = reference::run(&plan, &tables::rows(&world.tables));
    let held = harness::tables(&folder.join("out.db"));
    for sink in &plan.sinks {
        let table = held
            .get(&sink.name)
            .map(|table| table.live(&[]))
            .unwrap_or_default();
        let held = rows(table.values().map(|row| cells(sink, row)));
        let expected = &expected.sinks[&sink.name];
        let expected = expected
            .keys()
            .filter(|row| has_id(sink, row))
            .map(|row| stored(row));
        prop_assert_eq!(
            held,
            rows(expected),
            "sink {} holds, and should hold",
            sink.name
        );
    }
    let standing = standing(&plan, &report.errors);
    let mut expected_errors: BTreeMap<String, usize> = BTreeMap::new();
    for fault in &expected.errors {
        *expected_errors.entry(fault.stage.clone()).or_default() += 1;
    }
    if expected.dimension_errors.is_empty() {
        prop_assert_eq!(standing, self::standing(&plan, &expected_errors));
    }
    let verified = run::verify(&request).map_err(fail)?.report;
    let differences = verified.differences.unwrap_or_default();
    let differences: Vec<&str> = differences
        .iter()
        .map(|difference| difference.what)
        .collect();
    prop_assert!(differences.is_empty(), "verify finds {:?}", differences);
    Ok(())
}

/// Another run has nothing to do but for keys of which a row was refused.
fn is_at_rest(folder: &Path, world: &World) -> Result<(), TestCaseError> {
    let database = std::fs::read(folder.join("out.db"));
    let report: Report = run::run(&request(folder, world, 1)).map_err(fail)?.report;
    let refused: usize = report.sinks().map(|(_, counts)| counts[4].1).sum();
    let stood = report.errors.keys().any(|stage| stage.starts_with("out"));
    if refused == 0 && !stood {
        prop_assert_eq!(report.keys.recomputed, 0);
        prop_assert!(database.ok() == std::fs::read(folder.join("out.db")).ok());
    }
    Ok(())
}

fn toml(case: &Case, world: &World, how: &How) -> String {
    let toml = case.toml(world);
    if how.one_by_one {
        return toml.replacen("[pipeline]\n", "[pipeline]\nepochs_in_flight = 1\n", 1);
    }
    toml
}

fn request(folder: &Path, world: &World, workers: usize) -> Request {
    Request {
        workers,
        ..Request::of(folder.join("pipeline.toml"), world.now)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn fail(error: runtime::error::RunError) -> TestCaseError {
    TestCaseError::fail(format!("{error:?}"))
}

/// How many errors stand by stage; not those of sinks, which refuse rows that the reference has.
fn standing(plan: &Plan, errors: &BTreeMap<String, usize>) -> BTreeMap<String, usize> {
    let is_sink = |stage: &str| plan.sinks.iter().any(|sink| sink.name == stage);
    errors
        .iter()
        .filter(|(stage, _)| !is_sink(stage))
        .map(|(stage, count)| (stage.clone(), *count))
        .collect()
}

/// Rows and how often each is there, as debug text.
fn rows(rows: impl Iterator<Item = Vec<Value>>) -> BTreeMap<Vec<Value>, usize> {
    let mut counted = BTreeMap::new();
    for row in rows {
        *counted.entry(row).or_default() += 1;
    }
    counted
}

/// The cells of a row in the order of the sink's columns; of an error without its id.
fn cells(sink: &SinkPlan, row: &Row) -> Vec<Value> {
    let skipped = usize::from(matches!(sink.rows, SinkRows::Errors(_)));
    sink.schema
        .names()
        .skip(skipped)
        .map(|name| row[name].clone())
        .collect()
}

/// Whether the database can find the row again: none of its key is null.
fn has_id(sink: &SinkPlan, row: &[Value]) -> bool {
    let (key, _) = sink.sink.identity();
    match sink.rows {
        SinkRows::Stage(_) => key.iter().all(|column| row[*column] != Value::Null),
        SinkRows::Errors(_) => true,
    }
}

/// A row as a database has it, which knows fewer types.
fn stored(row: &[Value]) -> Vec<Value> {
    let stored = |cell: &Value| match cell {
        Value::Bool(bool) => Value::Int(i64::from(*bool)),
        Value::Date(_) | Value::Timestamp(_) => Value::Text(cell.to_string()),
        cell => cell.clone(),
    };
    row.iter().map(stored).collect()
}
