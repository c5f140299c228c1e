//! `tidemill`: runs pipelines.

use mimalloc::MiMalloc;

/// Chunks are large, short-lived, and freed on other threads than they were made on: see the decision
/// in ARCHITECTURE.md.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ! {
    runtime::command::main()
}
