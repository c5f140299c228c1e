//! What a conflict-join makes of rows: a join by `on`, and each of its conditions as it is written.

use std::sync::Arc;

use operators::catalog::Transform;
use operators::transform::conflict_join::{Bounds, ConflictJoin, Order, Overlap};
use operators::value::Value;

use super::Made;
use super::row::{Cells, Row};

/// Every left row with every right one that is equal in `on`; of one input, with every other row.
///
/// # Panics
/// When there is no input.
pub(super) fn paired<'scope>(
    transform: &Arc<Transform>,
    inputs: Vec<Made<'scope>>,
) -> Made<'scope> {
    let stage = Arc::clone(transform);
    let on = as_conflict_join(&stage).on().iter().copied();
    let (left_on, right_on): (Vec<usize>, Vec<usize>) = on.unzip();
    let mut inputs = inputs.into_iter();
    let left = inputs.next().expect("it has an input");
    let right = inputs.next().unwrap_or_else(|| left.clone());
    // The key of both is in `on` as it is, but where all rows are of one.
    let by =
        |on: Vec<usize>| move |row: Row| Some(((row.group.clone(), row.cells.known(&on)?), row));
    let right = right.flat_map(by(right_on)).arrange_by_key();
    left.flat_map(by(left_on))
        .join_core(right, move |_, left, right| {
            is_pair(as_conflict_join(&stage), left, right).then(|| {
                let mut pair = left.clone();
                pair.place.extend(&right.place);
                pair.cells.0.extend(right.cells.0.iter().cloned());
                pair
            })
        })
}

fn as_conflict_join(stage: &Transform) -> &ConflictJoin {
    match stage {
        Transform::ConflictJoin(stage) => stage,
        _ => unreachable!("it was asked what it is"),
    }
}

fn is_pair(stage: &ConflictJoin, left: &Row, right: &Row) -> bool {
    let differ = |&(of_left, of_right): &(usize, usize)| {
        let (left, right) = (&left.cells.0[of_left], &right.cells.0[of_right]);
        ![left, right].contains(&&Value::Null) && left != right
    };
    let in_order = match stage.order() {
        _ if stage.has_sides() => true,
        Order::Ordered => left.place != right.place,
        Order::Unordered => left.place < right.place,
    };
    in_order
        && stage.unequal().iter().all(differ)
        && stage
            .overlap()
            .is_none_or(|overlap| overlaps(overlap, &left.cells, &right.cells))
}

fn overlaps(overlap: Overlap, left: &Cells, right: &Cells) -> bool {
    let interval = |cells: &Cells, (start, end): (usize, usize)| {
        let (start, end) = (cells.0[start].clone(), cells.0[end].clone());
        (![&start, &end].contains(&&Value::Null) && start <= end).then_some((start, end))
    };
    let (Some((start, end)), Some((other_start, other_end))) =
        (interval(left, overlap.left), interval(right, overlap.right))
    else {
        return false;
    };
    match overlap.bounds {
        Bounds::Closed => start <= other_end && other_start <= end,
        Bounds::Open => start < other_end && other_start < end,
        Bounds::HalfOpen => {
            let empty = start == end || other_start == other_end;
            !empty && start < other_end && other_start < end
        }
    }
}
