//! The pod network's links and the packet filter rules of Kubernetes and the pod network are gone.

use crate::resource::{Converge, FilterRules, LinksAbsent};

pub fn step() -> Converge {
    Converge::new("remove-pod-network", "Remove the pod network")
        .with(LinksAbsent {
            names: &["cni0", "flannel.1", "flannel-v6.1", "kube-ipvs0", "weave", "datapath", "vxlan-6784"],
            prefixes: &["vethwe"],
        })
        .with(FilterRules { program: "iptables" })
        .with(FilterRules { program: "ip6tables" })
}
