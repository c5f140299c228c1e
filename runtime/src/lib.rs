//! How a plan runs.

mod batches;
pub mod command;
mod commit;
mod dimensions;
mod epoch;
pub mod error;
mod evaluate;
mod fetch;
mod held;
pub mod inspect;
mod job;
pub mod load;
mod part;
pub mod progress;
mod reader;
mod recorder;
mod recover;
mod render;
pub mod report;
pub mod run;
mod scan;
mod sink_rows;
pub mod state;
pub mod stop;
mod survey;
mod trace;
mod worker;
