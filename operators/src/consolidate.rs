//! The difference of two collections, as differential dataflow has it.

use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::trace::implementations::{
    ContainerChunker, KeyBatcher, KeyBuilder, KeySpine,
};
use differential_dataflow::{Data, VecCollection};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::vec::Map;

/// The time of every update: see the words in ARCHITECTURE.md.
pub type Epoch = u64;

/// How often a row comes (+1) or goes (-1).
pub type Diff = i64;

/// Rows that change over epochs.
pub type Collection<'scope, D> = VecCollection<'scope, Epoch, D, Diff>;

/// What `after` has more than `before` (+) and less (-), for each epoch, once the epoch is complete.
///
/// Rows are not exchanged: equal rows of the two sides must be on one worker. They are, because a
/// key's rows are at its home, and what is stored or told of it is brought there.
pub fn difference<'scope, D: Data>(
    before: Collection<'scope, D>,
    after: Collection<'scope, D>,
    name: &str,
) -> Collection<'scope, D> {
    let updates = after.concat(before.negate()).inner;
    let keyed = updates.map(|(row, epoch, diff)| ((row, ()), epoch, diff));
    arrange_core::<
        _,
        _,
        ContainerChunker<Vec<((D, ()), Epoch, Diff)>>,
        KeyBatcher<D, Epoch, Diff>,
        KeyBuilder<D, Epoch, Diff>,
        KeySpine<D, Epoch, Diff>,
    >(keyed, Pipeline, name)
    .as_collection(|row, ()| row.clone())
}
