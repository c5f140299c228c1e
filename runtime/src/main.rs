//! `tidemill`: runs pipelines.

use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::command::main()
}
