//! Rows of a dimension, as the source that they come from has them.

use operators::source::{Among, Passing};
use operators::way::Feed;

use crate::plan::{DimensionPlan, SourcePlan};

/// The rows of a dimension by these columns, as its source has them, if that is one whose server finds
/// rows among others: no fewer, since stages on the way of a dimension make no values of a column that
/// they bring.
pub(crate) fn among(
    dimension: &DimensionPlan,
    sources: &[SourcePlan],
    columns: &[usize],
) -> Option<Among> {
    let [source] = dimension.sources[..] else {
        return None;
    };
    let (source, way) = (&sources[source], &dimension.way);
    let mut steps = way.steps.iter().enumerate();
    let is_chain = steps.all(|(at, step)| {
        let before = at.checked_sub(1).map_or(Feed::Start(0), Feed::Step);
        step.inputs == [before]
    });
    if !is_chain {
        return None;
    }
    let name = |&column: &usize| Some(source.columns[way.source_of(column)?].clone());
    let columns: Option<Vec<String>> = columns.iter().map(name).collect();
    let passing = Passing::of(way, &source.columns, &|_, _| None);
    source.source.among(&columns?, &passing)
}
