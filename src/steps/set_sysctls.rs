//! The kernel settings that pod networks need, now and at boot.

use crate::engine::Result;
use crate::manifest::{self, paths};
use crate::resource::{Converge, File, Sysctl};

use super::unrendered;

pub fn step() -> Result<Converge> {
    let sysctls = manifest::SYSCTLS.map(|(key, value)| Sysctl { key: key.into(), value: value.into() });
    Ok(Converge::new("set-sysctls", "Set kernel parameters")
        .with(File::text(paths::SYSCTL, manifest::sysctl_conf().map_err(unrendered)?))
        .with_all(sysctls))
}
