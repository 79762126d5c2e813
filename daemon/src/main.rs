//! The holdfast binary.

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    holdfast::cli::main()
}
