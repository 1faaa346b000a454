//! The machine on which kboot runs.

use crate::engine::Failure;

use super::exit::Problem;

/// An error without root. For commands on this machine that need root before the preflight checks run.
pub fn require_root() -> Result<(), Problem> {
    match rustix::process::geteuid().is_root() {
        true => Ok(()),
        false => Err(Problem::Failed(
            Failure::new("kboot does not run as root here").hint_text("run the same command with sudo"),
        )),
    }
}

/// This machine's name.
pub fn hostname() -> Result<String, Problem> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_lowercase())
}
