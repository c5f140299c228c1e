//! Processes that would not run the same: none of them writes.
