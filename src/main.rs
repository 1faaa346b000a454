//! The command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    kboot::cli::main()
}
