//! kube-proxy, CoreDNS and the pod network.

use crate::engine::Result;
use crate::manifest::{self, KubeProxyValues};
use crate::resource::{Converge, Objects};

use super::{Make, unrendered};

pub fn step(make: &Make<'_>) -> Result<Converge> {
    let cluster = &make.context.cluster;
    let values = KubeProxyValues { can_set_conntrack: !make.context.inputs.has_containers };
    let mut objects = manifest::pod_network(cluster).map_err(unrendered)?;
    objects.extend(manifest::kube_proxy(cluster, values).map_err(unrendered)?);
    objects.extend(manifest::coredns(cluster).map_err(unrendered)?);
    Ok(Converge::new("apply-addons", "Apply kube-proxy, CoreDNS and the pod network")
        .deadline(make.context.ready_deadline())
        .with(Objects { kube: make.services.kube.clone(), objects }))
}
