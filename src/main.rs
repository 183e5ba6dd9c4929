//! The `provisioner` program. Everything is in the library; see its front page for the boot story.

use std::process::ExitCode;

fn main() -> ExitCode {
    provisioner::cli::run()
}
