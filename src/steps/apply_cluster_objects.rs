//! What nodes that join, and kubeadm, read from the cluster: its configuration, its roles and how it is discovered.

use async_trait::async_trait;
use serde_json::Value;

use crate::engine::{Planned, Probe, Result};
use crate::inventory::Cluster;
use crate::kube::Connector;
use crate::manifest;
use crate::resource::{AnyResource, Converge, Objects};

use super::issue_certificates::path;
use super::{Make, unrendered};

pub fn step(make: &Make<'_>) -> Result<Converge> {
    let context = make.context;
    let mut objects = manifest::bootstrap_rbac().map_err(unrendered)?;
    objects.extend(manifest::kubeadm_config(&context.cluster).map_err(unrendered)?);
    objects.extend(manifest::kubelet_config_map(&context.cluster, &context.kubelet_values()).map_err(unrendered)?);
    let kube = make.services.kube.clone();
    Ok(Converge::new("apply-cluster-objects", "Apply the cluster's configuration and roles")
        .deadline(context.ready_deadline())
        .with(Objects { kube: kube.clone(), objects })
        .with(ClusterInfo { kube, cluster: context.cluster.clone() }))
}

/// By which a host that has a token finds the cluster's certificate authority.
struct ClusterInfo {
    kube: Connector,
    cluster: Cluster,
}

#[async_trait]
impl AnyResource for ClusterInfo {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let Some(ca) = probe.read_text(&path("ca.crt")).await? else {
            return Ok(Planned::after("the cluster's certificate authority"));
        };
        let server = format!("https://{}", self.cluster.endpoint());
        let content = crate::bootstrap::cluster_info::kubeconfig(&server, &ca);
        let objects: Vec<Value> = manifest::cluster_info(&content).map_err(unrendered)?;
        AnyResource::plan(&Objects { kube: self.kube.clone(), objects }, probe).await
    }
}
