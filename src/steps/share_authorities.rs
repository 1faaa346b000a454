//! The cluster's authorities with their keys, for the control planes that join: they go to them through the controller, and nowhere
//! else.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::engine::{Failure, Hint, Planned, Probe, Result, Step};
use crate::inventory::{Cluster, Host};
use crate::manifest::paths;

use super::issue_certificates::path;
use super::{Make, Outbox};

const SHARED: [&str; 6] = ["ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.key", "sa.pub"];
pub(super) const OF_MEMBERS: [&str; 2] = ["etcd/ca.crt", "etcd/ca.key"];

/// What etcd is asked with that is not kboot's: the names by which kubeadm keeps it in the cluster, and where it is on hosts.
pub const EXTERNAL_ETCD: [(&str, &str); 3] = [
    ("external-etcd-ca.crt", paths::ETCD_CA),
    ("external-etcd.crt", paths::ETCD_CLIENT_CERTIFICATE),
    ("external-etcd.key", paths::ETCD_CLIENT_KEY),
];

/// What all control planes of a cluster have alike, in kubeadm's certificates folder.
pub fn shared(cluster: &Cluster) -> Vec<&'static str> {
    let of_members = OF_MEMBERS.into_iter().filter(|_| cluster.etcd_endpoints().is_none());
    SHARED.into_iter().chain(of_members).collect()
}

pub struct ShareAuthorities {
    names: Vec<&'static str>,
    is_needed: bool,
    outputs: Outbox,
}

pub fn step(make: &Make<'_>) -> ShareAuthorities {
    let inputs = &make.context.inputs;
    let is_new = |host: &Host| inputs.joining.contains(&host.name);
    ShareAuthorities {
        names: shared(&make.context.cluster),
        // A dry run takes no key anywhere.
        is_needed: make.context.cluster.control_planes().any(is_new) && !inputs.is_dry_run,
        outputs: make.outputs.clone(),
    }
}

#[async_trait]
impl Step for ShareAuthorities {
    type Observed = ();

    fn id(&self) -> &str {
        "share-authorities"
    }

    fn title(&self) -> String {
        "Share the authorities with the control planes that join".into()
    }

    async fn observe(&self, probe: &dyn Probe) -> Result<()> {
        if !self.is_needed {
            return Ok(());
        }
        let mut shared = BTreeMap::new();
        for name in &self.names {
            let file = path(name);
            let text = probe.read_text(&file).await?.ok_or_else(|| {
                Failure::new(format!("{file} is not on this control plane, and those that join need it"))
                    .hint(Hint::ShareCertificates)
            })?;
            shared.insert(name.to_string(), text);
        }
        self.outputs.lock().expect("no panic while held").authorities = Some(shared.into());
        Ok(())
    }

    fn diff(&self, (): ()) -> Planned {
        Planned::Satisfied
    }
}
