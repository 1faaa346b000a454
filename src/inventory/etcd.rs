//! Where a cluster's etcd is: a member on each control plane, members on hosts of their own, or somebody else's.

use super::endpoint::authority;
use super::types::{Cluster, ExternalEtcd, Host, Role};

/// Where etcd's clients ask.
const CLIENTS: u16 = 2379;

impl Cluster {
    /// The etcd that is somebody else's; none where kboot runs its members.
    pub fn external_etcd(&self) -> Option<&ExternalEtcd> {
        self.etcd.as_ref().map(|etcd| &etcd.external)
    }

    /// Hosts that run a member of etcd and nothing else.
    pub fn etcd_hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| host.is_etcd())
    }

    pub fn has_etcd_hosts(&self) -> bool {
        self.etcd_hosts().next().is_some()
    }

    /// Whether this host runs a member that is kboot's.
    pub fn is_member(&self, host: &Host) -> bool {
        match (self.external_etcd().is_some(), self.has_etcd_hosts()) {
            (true, _) => false,
            (false, true) => host.is_etcd(),
            (false, false) => host.is_control_plane(),
        }
    }

    /// The hosts that run a member that is kboot's.
    pub fn members(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| self.is_member(host))
    }

    /// The client URLs of an etcd that is not on the control planes; none where each of them runs a member.
    pub fn etcd_endpoints(&self) -> Option<Vec<String>> {
        match self.external_etcd() {
            Some(external) => Some(external.endpoints.clone()),
            None if self.has_etcd_hosts() => Some(self.etcd_hosts().map(Host::etcd_client_url).collect()),
            None => None,
        }
    }
}

impl Host {
    pub fn is_etcd(&self) -> bool {
        self.roles.contains(&Role::Etcd)
    }

    /// Where a member on this host is asked.
    pub fn etcd_client_url(&self) -> String {
        format!("https://{}", authority(&self.address.to_string(), CLIENTS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Etcd;

    fn cluster(roles: &[Role]) -> Cluster {
        let host = |(index, role): (usize, &Role)| {
            Host::new(format!("n{}", index + 1), format!("10.0.0.{}", index + 1).parse().unwrap(), vec![*role])
        };
        let mut hosts: Vec<Host> = roles.iter().enumerate().map(host).collect();
        let mut cluster = Cluster::single(hosts.remove(0));
        cluster.hosts.extend(hosts);
        cluster
    }

    fn members(cluster: &Cluster) -> Vec<&str> {
        cluster.members().map(|host| host.name.as_str()).collect()
    }

    #[test]
    fn members_are_where_the_inventory_has_them() {
        let mut stacked = cluster(&[Role::ControlPlane, Role::Worker]);
        assert_eq!((members(&stacked), stacked.etcd_endpoints()), (vec!["n1"], None));
        let apart = cluster(&[Role::ControlPlane, Role::Worker, Role::Etcd]);
        assert_eq!(members(&apart), ["n3"]);
        assert_eq!(apart.etcd_endpoints().unwrap(), ["https://10.0.0.3:2379"]);
        assert_eq!(apart.workers().map(|host| host.name.as_str()).collect::<Vec<_>>(), ["n2"]);
        let external = ExternalEtcd {
            endpoints: vec!["https://e:2379".into()],
            ca_file: String::new(),
            cert_file: String::new(),
            key_file: String::new(),
        };
        stacked.etcd = Some(Etcd { external });
        assert_eq!((members(&stacked), stacked.etcd_endpoints()), (vec![], Some(vec!["https://e:2379".into()])));
    }
}
