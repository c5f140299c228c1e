//! Random pipelines: the product's stages, run from nothing, yield what the reference yields.

use std::collections::BTreeMap;

use pipelines::plan::Plan;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tests::generator::{Case, World, cases};
use tests::reference::Given;
use tests::{columnar, reference, tables};

fn given(plan: &Plan, case: &Case, world: &World) -> Given {
    Given {
        tables: tables::rows(plan, &world.tables),
        meanings: case.meanings(),
        ..Given::default()
    }
}

fn check(case: &Case, world: &World) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    tables::write(folder.path(), &world.tables);
    let plan = tables::plan(folder.path(), &case.toml(world), world.now);
    let plan =
        plan.map_err(|wrong| TestCaseError::fail(format!("no valid pipeline: {wrong:#?}")))?;
    let expected = reference::run(&plan, &given(&plan, case, world));
    prop_assert_eq!(
        columnar::run(&plan),
        expected,
        "the product's stages are on the left"
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn stages_yield_what_the_reference_yields(case in cases(2)) {
        let mut world = case.world.clone();
        check(&case, &world)?;
        for updates in &case.updates {
            for update in updates {
                world.apply(update);
            }
            check(&case, &world)?;
        }
    }
}

/// What random cases would not show if they were dull.
#[test]
fn random_pipelines_use_every_stage_and_yield_rows_and_errors() {
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..200 {
        let case = cases(1).new_tree(&mut runner).unwrap().current();
        let folder = tempfile::tempdir().unwrap();
        tables::write(folder.path(), &case.world.tables);
        let toml = case.toml(&case.world);
        let plan = tables::plan(folder.path(), &toml, case.world.now).unwrap();
        let outcome = reference::run(&plan, &given(&plan, &case, &case.world));
        let words = [
            "batch-partition",
            "conflict-join",
            "derive",
            "distinct",
            "filter",
            "latest",
        ];
        let more = [
            "aggregate",
            "components",
            "inputs = {",
            "right_start",
            "union",
            "unnest",
            "group by",
            "row_number",
            "join input",
            "severity = \"warn\"",
            "severity = \"block\"",
            "lookup",
            "rules",
            "select",
            "overlap",
            "between",
            "newest_by",
            ".errors",
        ];
        for word in words
            .into_iter()
            .chain(more)
            .filter(|word| toml.contains(word))
        {
            let rows = outcome.sinks.values().map(BTreeMap::len).sum::<usize>();
            *seen.entry(word.to_owned()).or_default() += usize::from(rows > 0);
        }
        let errors = [
            ("errors", &outcome.errors),
            ("dimension errors", &outcome.dimension_errors),
        ];
        for (word, faults) in errors {
            *seen.entry(word.to_owned()).or_default() += usize::from(!faults.is_empty());
        }
    }
    let rare: Vec<_> = seen.iter().filter(|(_, count)| **count == 0).collect();
    assert!(seen.len() == 26 && rare.is_empty(), "{seen:#?}");
}
