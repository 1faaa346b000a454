//! kube-proxy, the pod network, and all of CoreDNS but its pods.

use crate::engine::Result;
use crate::manifest::{self, KubeProxyValues};
use crate::resource::{Converge, Objects};

use super::{Make, unrendered};

pub fn step(make: &Make<'_>) -> Result<Converge> {
    let cluster = &make.context.cluster;
    let values = KubeProxyValues { can_set_conntrack: !make.context.inputs.has_containers };
    let mut objects = manifest::pod_network(cluster).map_err(unrendered)?;
    objects.extend(manifest::kube_proxy(cluster, values).map_err(unrendered)?);
    let dns = manifest::coredns(cluster).map_err(unrendered)?;
    // Its pods come once the network carries them: `apply-dns`.
    objects.extend(dns.into_iter().filter(|object| object["kind"] != "Deployment"));
    Ok(Converge::new("apply-addons", "Apply kube-proxy, the pod network and CoreDNS' configuration")
        .deadline(make.context.ready_deadline())
        .with(Objects { kube: make.services.kube.clone(), objects }))
}
