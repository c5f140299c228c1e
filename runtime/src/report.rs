//! What is said to the person or the program that runs us.

pub mod batches;
pub mod change;
pub mod diagnostics;
pub mod difference;
pub mod keys;
pub(crate) mod opened;
pub mod phases;
mod reads;
pub mod row;
pub mod run;
pub mod text;
