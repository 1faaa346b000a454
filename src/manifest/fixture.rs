//! The cluster that this module's tests render: a control plane and two workers.

use super::emit::emit;
use crate::inventory::{Cluster, Host, HostSsh, Role};

pub fn cluster() -> Cluster {
    let mut cluster = Cluster::single(host("n1", "10.77.0.11", Role::ControlPlane));
    cluster.name = "lab".into();
    let mut n2 = host("n2", "10.77.0.12", Role::Worker);
    n2.labels.insert("disk".into(), "ssd".into());
    let mut n3 = host("n3", "10.77.0.13", Role::Worker);
    n3.taints = Some(vec!["dedicated=db:NoSchedule".into(), "gpu:NoExecute".into()]);
    cluster.hosts.extend([n2, n3]);
    cluster
}

fn host(name: &str, address: &str, role: Role) -> Host {
    Host {
        name: name.into(),
        address: address.parse().unwrap(),
        roles: vec![role],
        labels: Default::default(),
        taints: None,
        sysctls: Default::default(),
        vars: Default::default(),
        ssh: HostSsh::default(),
    }
}

/// Objects as a person reads them, for snapshots.
pub fn yaml(objects: &[serde_json::Value]) -> String {
    objects.iter().map(emit).collect::<Vec<_>>().join("---\n")
}
