//! The kubelet's configuration and flags, in kubeadm's files.

use crate::engine::Result;
use crate::manifest::{self, paths};
use crate::resource::{Converge, File};

use super::{Context, unrendered};

pub fn step(context: &Context) -> Result<Converge> {
    let config = manifest::kubelet_config(&context.cluster, &context.kubelet_values()).map_err(unrendered)?;
    let flags =
        manifest::kubelet_flags(&context.cluster, context.host()?, &context.facts.hostname).map_err(unrendered)?;
    let instance = manifest::kubelet_instance_config().map_err(unrendered)?;
    Ok(Converge::new("configure-kubelet", "Configure the kubelet")
        .with(File::text(paths::KUBELET_CONFIG, config))
        .with(File::text(paths::KUBELET_INSTANCE_CONFIG, instance))
        .with(File::text(paths::KUBELET_FLAGS, flags)))
}
