//! `tidemill`, with the wrong turns that tests take on purpose.

use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::command::main()
}
