//! The epochs of a run.
//!
//! ```text
//! SURVEY   1  2  3 ..              RETRIES + 1 ..
//! all keys a batch each, in order  batches that failed, once more
//! ```

use operators::consolidate::Epoch;
use timely::dataflow::Stream;

/// The epoch in which all keys are looked at.
pub(crate) const SURVEY: Epoch = 0;

/// The retry of epoch i is epoch `RETRIES + i`: behind every first try.
pub(crate) const RETRIES: Epoch = 1 << 32;

/// Rows of a stream at an epoch.
pub(crate) type Rows<'scope, D> = Stream<'scope, Epoch, Vec<D>>;
