//! crictl speaks with containerd without being told each time.

use crate::engine::Result;
use crate::manifest::{self, paths};
use crate::resource::{Converge, File};

use super::unrendered;

pub fn step() -> Result<Converge> {
    Ok(Converge::new("configure-crictl", "Configure crictl")
        .with(File::text(paths::CRICTL_CONFIG, manifest::crictl_config().map_err(unrendered)?)))
}
