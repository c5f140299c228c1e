//! Rows of a dimension, as the source that they come from has them.

use operators::source::{Among, Sought};
use operators::way::Feed;

use crate::plan::{DimensionPlan, SourcePlan};

/// The rows of a dimension that a lookup seeks, as its source has them, if that is one whose server finds
/// rows among others.
pub(crate) fn among(
    dimension: &DimensionPlan,
    sources: &[SourcePlan],
    sought: &Sought,
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
    let among = || source.source.among((way, &source.columns), sought);
    is_chain.then(among).flatten()
}
