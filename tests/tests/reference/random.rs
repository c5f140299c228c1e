//! Random pipelines: the product's stages, run from nothing, yield what the reference yields.

use proptest::prelude::*;
use tests::generator::{Case, World, cases};
use tests::{columnar, reference, tables};

fn check(case: &Case, world: &World) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    tables::write(folder.path(), &world.tables);
    let plan = tables::plan(folder.path(), &case.toml(world), world.now);
    let plan = plan.map_err(|wrong| TestCaseError::fail(format!("no valid pipeline: {wrong:#?}")))?;
    let expected = reference::run(&plan, &tables::rows(&world.tables));
    prop_assert_eq!(columnar::run(&plan), expected, "the product's stages are on the left");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn stages_yield_what_the_reference_yields(case in cases(2)) {
        let mut world = case.world.clone();
        check(&case, &world)?;
        for updates in &case.updates {
            updates.iter().for_each(|update| world.apply(update));
            check(&case, &world)?;
        }
    }
}
