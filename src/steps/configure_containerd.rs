//! containerd as the kubelet needs it: CRI on, the host's cgroup driver, Kubernetes' sandbox image, the inventory's mirrors.

use crate::engine::Result;
use crate::manifest::{self, paths};
use crate::resource::{Converge, File, Unit};

use super::{Context, unrendered};

pub fn step(context: &Context) -> Result<Converge> {
    let must_restrict = !context.facts.has_sys_resource;
    let config = manifest::containerd_config(&context.cluster, context.cgroup_driver(), must_restrict);
    let mut step = Converge::new("configure-containerd", "Configure containerd")
        .with(File::text(paths::CONTAINERD_CONFIG, config.map_err(unrendered)?));
    for (registry, mirror) in &context.cluster.images.mirrors {
        let hosts = manifest::mirror_hosts(registry, mirror).map_err(unrendered)?;
        step = step.with(File::text(paths::mirror_hosts(registry), hosts));
    }
    Ok(step.with(Unit::running("containerd.service").reads(paths::CONTAINERD_CONFIG)))
}
