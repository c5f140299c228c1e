//! What must hold of Tidemill.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod changes;
mod cluster;
mod command;
mod cuts;
mod diagnostics;
mod failures;
mod faults;
mod flagship;
mod follow;
mod graph;
mod honey_duck;
mod http;
mod kills;
mod ledger;
mod memory;
mod meters;
mod parquet_readers;
mod postgres;
mod promise;
mod reference;
mod regrouped;
mod report;
mod rooms;
mod scans;
mod sink_files;
mod split;
mod stages;
mod state;
mod stop;
mod stretches;
mod trace;
mod versions;
mod visits;
mod watch;
mod watchdog;
