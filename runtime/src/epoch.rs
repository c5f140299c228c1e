//! The epochs of a run.
//!
//! ```text
//! survey(0)            + 1  + 2 ..          survey(1)   + 1 ..          RETRIES + ..
//! the keys that are    a batch each,        the keys                    batches that failed,
//! complete first       in order             complete next               once more
//! ```
//!
//! Sources are read in **stretches**: after each, some keys are complete, because what is left to
//! read cannot hold them. They go on to the commit while the next stretch is read.

use operators::consolidate::Epoch;
use timely::dataflow::Stream;

/// The epoch in which the keys of a stretch are looked at. Its batches are the epochs behind it.
pub(crate) fn survey(stretch: usize) -> Epoch {
    (stretch as Epoch) << STRETCH_BITS
}

/// The stretch that an epoch before the retries belongs to.
pub(crate) fn stretch_at(epoch: Epoch) -> usize {
    usize::try_from(epoch >> STRETCH_BITS).expect("there are few stretches")
}

/// The retry of epoch i is epoch `RETRIES + i`: behind every first try.
pub(crate) const RETRIES: Epoch = 1 << 62;

/// Rows of a stream at an epoch.
pub(crate) type Rows<'scope, D> = Stream<'scope, Epoch, Vec<D>>;

/// A stretch has fewer batches than 2^32: there are not more keys than that in memory.
const STRETCH_BITS: u32 = 32;
