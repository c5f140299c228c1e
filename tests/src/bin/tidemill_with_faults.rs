//! `tidemill` as it is, but for the wrong turns that `TIDEMILL_FAULT` asks of it.

fn main() -> ! {
    runtime::command::main()
}
