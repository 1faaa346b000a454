//! The address that a node is to have. Pure.

use crate::inventory::{Cluster, Host};

use super::Context;

/// The address that the host's kubelet is told to have. None where flags of the inventory's own say something else.
pub(super) fn wanted(cluster: &Cluster, host: &Host) -> Option<String> {
    (!cluster.kubelet.extra_args.contains_key("node-ip")).then(|| host.address.to_string())
}

/// The same while nodes move: the cluster must have heard of it then.
pub(super) fn moved(context: &Context, host: &Host) -> Option<String> {
    wanted(&context.cluster, host).filter(|_| context.inputs.moves_endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::samples::sample;
    use crate::steps::Inputs;

    #[test]
    fn a_flag_of_the_inventory_s_own_decides() {
        let sample = sample();
        let facts = sample.facts["n2"].clone();
        let inputs = Inputs { moves_endpoint: true, ..Inputs::default() };
        let mut context =
            Context { cluster: sample.cluster, host: "n2".into(), facts, inputs, secrets: Default::default() };
        let moved = |context: &Context| moved(context, context.host().unwrap());
        assert_eq!(moved(&context).as_deref(), Some("10.77.0.12"));
        context.cluster.kubelet.extra_args.insert("node-ip".into(), "::".into());
        assert_eq!(moved(&context), None);
        context.cluster.kubelet.extra_args.clear();
        context.inputs.moves_endpoint = false;
        assert_eq!(moved(&context), None);
    }
}
