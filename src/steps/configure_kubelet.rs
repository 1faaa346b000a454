//! The kubelet's configuration and flags, in kubeadm's files.

use async_trait::async_trait;
use camino::Utf8Path;

use crate::engine::{Planned, Probe, Result};
use crate::equivalence;
use crate::inventory::{Cluster, Host};
use crate::manifest::{self, paths};
use crate::resource::{AnyResource, Converge, File};

use super::kubeconfig_server::Server;
use super::{Context, unrendered};

pub fn step(context: &Context) -> Result<Converge> {
    let host = context.host()?;
    let config = match host.is_etcd() {
        true => manifest::standalone_kubelet_config(&context.cluster, &context.kubelet_values()),
        false => manifest::kubelet_config(&context.cluster, &context.kubelet_values()),
    };
    let config = config.map_err(unrendered)?;
    let instance = manifest::kubelet_instance_config().map_err(unrendered)?;
    let flags = Flags {
        cluster: context.cluster.clone(),
        host: host.clone(),
        hostname: context.facts.hostname.clone(),
        has_registered: context.facts.node.has_kubelet_conf,
    };
    // A control plane's is `ask-own-api-server`'s.
    let server = host.is_worker().then(|| Server::of_kubelet(context.cluster.kubelet_server(host)));
    Ok(Converge::new("configure-kubelet", "Configure the kubelet")
        .with_all(server)
        .with(File::text(paths::KUBELET_CONFIG, config).or_equivalent(equivalence::kubelet_configurations))
        .with(File::text(paths::KUBELET_INSTANCE_CONFIG, instance))
        .with(flags))
}

/// The file of flags. One of them counts only until the node has registered.
struct Flags {
    cluster: Cluster,
    host: Host,
    hostname: String,
    has_registered: bool,
}

#[async_trait]
impl AnyResource for Flags {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let text = probe.read_text(Utf8Path::new(paths::KUBELET_FLAGS)).await?;
        let registered = text.as_deref().filter(|_| self.has_registered);
        let flags =
            manifest::kubelet_flags(&self.cluster, &self.host, &self.hostname, registered).map_err(unrendered)?;
        AnyResource::plan(&File::text(paths::KUBELET_FLAGS, flags), probe).await
    }
}
