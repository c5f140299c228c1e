//! A scratch folder with a pipeline, and the program run in it as people run it.
//!
//! ```text
//! template --copy--> scratch: pipeline.toml  inputs/*.csv  output/*.db  output/.tidemill
//!                       |        edited         sheets        tables
//!                       +--> run, plan, verify, adopt: processes whose folder it is
//! ```
//!
//! All paths are relative to the scratch folder, so that a copy of it, state and sinks included, is
//! the same pipeline at another place.

#![expect(
    clippy::missing_panics_doc,
    reason = "a test that cannot do its work fails"
)]

mod browser;
mod cluster;
mod database;
mod namespace;
mod parquet_file;
mod postgres;
mod process;
mod proxy;
mod scratch;
mod sheet;
mod web;

pub use browser::Browser;
pub use cluster::{Cluster, Meeting, signal};
pub use database::{Counts, Row, Rows, Table, Tables, tables};
pub use namespace::Machines;
pub use parquet_file::{read_parquet, write_parquet};
pub use postgres::{Database, Postgres, tables_at};
pub use process::Outcome;
pub use proxy::{Harm, Place, Proxy, Way};
pub use scratch::{Backup, FAULT, Scratch, scratch_folder};
pub use sheet::Sheet;
pub use web::{Answer, ask, get};
