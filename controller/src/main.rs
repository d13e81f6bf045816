//! The controller's program.

use std::process::ExitCode;

/// Most of what is allocated is small, of few sizes, and freed by another task: a tenth of the time goes to
/// it with the C library's allocator, and much more with musl's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sysop_controller::cli::main()
}
