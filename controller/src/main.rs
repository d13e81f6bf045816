//! The controller's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    sysop_controller::cli::main()
}
