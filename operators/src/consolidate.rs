//! The difference of two collections of differential dataflow.

use std::collections::BTreeMap;

use differential_dataflow::consolidation::consolidate_updates;
use differential_dataflow::{AsCollection, Data, VecCollection};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::{Capability, Operator};

/// The time of every update: see the words in ARCHITECTURE.md.
pub type Epoch = u64;

/// How often a row comes (+1) or goes (-1).
pub type Diff = i64;

/// Rows that change over epochs.
pub type Collection<'scope, D> = VecCollection<'scope, Epoch, D, Diff>;

/// Updates of an epoch that is not complete.
type Held<D> = (Capability<Epoch>, Vec<(D, Epoch, Diff)>);

/// What `after` has more than `before` (+) and less (-), for each epoch, in the order of rows, once the
/// epoch is complete.
///
/// Rows are not exchanged: equal rows of the two sides must be on one worker. They are, because a
/// key's rows are at its home, and what is stored or told of it is brought there.
///
/// Differential's own operator arranges rows, so that others can share them. Here nobody does, an epoch
/// is complete at once, and its rows come in long runs that are in order: they are sorted as they are.
pub fn difference<'scope, D: Data>(
    before: Collection<'scope, D>,
    after: Collection<'scope, D>,
    name: &str,
) -> Collection<'scope, D> {
    let updates = after.concat(before.negate()).inner;
    let differences = updates.unary_frontier::<CapacityContainerBuilder<Vec<_>>, _, _, _>(
        Pipeline,
        name,
        |_, _| {
            let mut held: BTreeMap<Epoch, Held<D>> = BTreeMap::new();
            move |(input, frontier), output| {
                input.for_each(|capability, updates| {
                    let mut updates = updates.drain(..).peekable();
                    while let Some((_, epoch, _)) = updates.peek() {
                        let epoch = *epoch;
                        let (_, rows) = held
                            .entry(epoch)
                            .or_insert_with(|| (capability.delayed(&epoch, 0), Vec::new()));
                        while let Some(same) = updates.next_if(|(_, other, _)| *other == epoch) {
                            rows.push(same);
                        }
                    }
                });
                while let Some(first) = held.first_entry()
                    && !frontier.less_equal(first.key())
                {
                    let (capability, mut rows) = first.remove();
                    consolidate_updates(&mut rows);
                    output.session(&capability).give_container(&mut rows);
                }
            }
        },
    );
    differences.as_collection()
}
