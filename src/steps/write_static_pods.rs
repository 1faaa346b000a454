//! The manifests from which the kubelet runs the control plane.

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};

use crate::engine::{Change, FileMode, Planned, Probe, Result};
use crate::equivalence;
use crate::inventory::Cluster;
use crate::manifest::{self, CA_FOLDERS, EtcdMember, NodeValues, StaticPod, etcd_peer_url, paths};
use crate::resource::{AnyResource, Converge, Directory, File};

use super::issue_certificates::path;
use super::{Context, unrendered};

pub fn step(context: &Context) -> Result<Converge> {
    let host = context.host()?;
    let pods = StaticPods {
        cluster: context.cluster.clone(),
        name: host.name.clone(),
        address: host.address,
        is_joining: context.inputs.joining.contains(&host.name),
        pods: StaticPod::ALL.into_iter().filter(|pod| pod.is_on(&context.cluster, host)).collect(),
    };
    let title = if host.is_etcd() { "Write etcd's static pod" } else { "Write the control plane's static pods" };
    let step = Converge::new("write-static-pods", title);
    let step = match pods.pods.contains(&StaticPod::Etcd) {
        true => step.with(Directory::new("/var/lib/etcd", FileMode::PRIVATE_DIRECTORY)),
        false => step,
    };
    Ok(step.with(Directory::new(paths::MANIFESTS, FileMode(0o700))).with(pods))
}

/// The manifests. Two things of the host go into them.
struct StaticPods {
    cluster: Cluster,
    name: String,
    address: std::net::IpAddr,
    /// Then etcd's manifest is written when the member is added, and here only looked after.
    is_joining: bool,
    /// Those that this host runs.
    pods: Vec<StaticPod>,
}

impl StaticPods {
    async fn joined_members(&self, probe: &dyn Probe) -> Result<Vec<EtcdMember>> {
        let path = paths::static_pod(StaticPod::Etcd);
        match probe.read_text(Utf8Path::new(&path)).await {
            Err(failure) if failure.is_unforeseen() => Ok(Vec::new()),
            text => {
                let mut members = text?.map(|text| manifest::joined_members(&text)).unwrap_or_default();
                // Its own address may have become another one since then.
                for own in members.iter_mut().filter(|member| member.name == self.name) {
                    own.peer_url = etcd_peer_url(self.address);
                }
                Ok(members)
            }
        }
    }
}

#[async_trait]
impl AnyResource for StaticPods {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let mut ca_folders = Vec::new();
        for folder in CA_FOLDERS {
            if probe.stat(Utf8Path::new(folder)).await?.is_some() {
                ca_folders.push(folder.to_string());
            }
        }
        let has_ca = probe.stat(&path("ca.crt")).await?.is_some();
        let has_ca_key = !has_ca || probe.stat(&path("ca.key")).await?.is_some();
        let values = NodeValues {
            name: self.name.clone(),
            address: self.address,
            ca_folders,
            has_ca_key,
            etcd_members: self.joined_members(probe).await?,
        };
        let mut changes: Vec<Change> = Vec::new();
        for pod in self.pods.iter().copied() {
            let path = Utf8PathBuf::from(paths::static_pod(pod));
            if pod == StaticPod::Etcd && self.is_joining && probe.stat(&path).await?.is_none() {
                continue;
            }
            let render = |values| manifest::static_pod(pod, &self.cluster, values).map_err(unrendered);
            let mut text = render(&values)?;
            if let Some(there) = probe.read_text(&path).await? {
                // Folders of authorities that came later are no reason to start a pod anew that has done without them.
                let ca_folders = manifest::mounted_ca_folders(&there);
                let as_then = render(&NodeValues { ca_folders, ..values.clone() })?;
                if equivalence::pods(&as_then, &there) {
                    text = as_then;
                }
            }
            let file = File::text(path, text).mode(FileMode::PRIVATE).or_equivalent(equivalence::pods);
            changes.extend(AnyResource::plan(&file, probe).await?.into_changes());
        }
        Ok(Planned::of(changes))
    }
}
