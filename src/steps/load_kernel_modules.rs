//! The modules that containers and pod networks need, now and at boot.

use crate::engine::Result;
use crate::manifest::{self, paths};
use crate::resource::{Converge, File, Module};

use super::unrendered;

pub fn step() -> Result<Converge> {
    Ok(Converge::new("load-kernel-modules", "Load kernel modules")
        .with(Module::overlay())
        .with(Module::br_netfilter())
        .with(File::text(paths::MODULES_LOAD, manifest::modules_load().map_err(unrendered)?)))
}
