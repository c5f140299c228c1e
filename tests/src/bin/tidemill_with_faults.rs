//! `tidemill` as it is, but for the wrong turns that `TIDEMILL_FAULT` asks of it.

use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::command::main()
}
