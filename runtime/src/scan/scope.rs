//! Which rows of a source are read at all, where not all are: those of the keys that drive it, and those
//! of a sample of the keys.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use operators::key::Key;
use operators::source::{Ask, Only};
use operators::value::Value;
use pipelines::plan::{InputPlan, SourcePlan};

use crate::error::RunError;
use crate::sample::Sample;

/// The scope of an input of which a sample of the keys is looked at: those of `driving`, if another stage
/// drives its source. A source whose server finds rows by their keys has its keys read before, and then
/// no more than the rows of those in the sample.
pub(super) fn of_sample(
    sample: Sample,
    (input, source): (&InputPlan, &SourcePlan),
    driving: Option<Only>,
) -> Result<Option<Only>, RunError> {
    let is_found = source.source.server().is_some() && source.source.selects();
    let Some(key) = input.key.as_ref().filter(|_| is_found) else {
        return Ok(driving);
    };
    // Rows without a key are of the source's own, which no query finds.
    if sample.holds(&Key::reserved(&source.name)) {
        return Ok(driving);
    }
    let keys = match &driving {
        Some(driving) if driving.column() == key => driving.keys().iter().cloned().collect(),
        Some(_) => return Ok(driving),
        None => keys_of(key, (input, source))?,
    };
    let sampled = keys.into_iter().filter(|key| sample.holds(&Key::of(key)));
    Ok(Some(Only::of(key, sampled.collect())))
}

/// All keys of an input.
fn keys_of(
    key: &str,
    (input, source): (&InputPlan, &SourcePlan),
) -> Result<BTreeSet<String>, RunError> {
    let mut keys = BTreeSet::new();
    let ask = Ask {
        passing: input.passing.clone(),
        ..Ask::all_of(&[key.to_owned()])
    };
    source.source.read_all(&ask, &mut |read| {
        let column = read.chunk.rows().column(0);
        let rows = 0..read.chunk.len();
        let found = rows.filter_map(|row| Key::of_value(&Value::at(column, row)));
        keys.extend(found.map(|key| key.text().to_owned()));
        ControlFlow::Continue(())
    })?;
    Ok(keys)
}
