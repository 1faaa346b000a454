//! The cluster's authorities with their keys, for the control planes that join: they go to them through the controller, and nowhere
//! else.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::engine::{Failure, Planned, Probe, Result, Step};

use super::issue_certificates::path;
use super::{Make, Outbox};

/// What all control planes have alike, in kubeadm's certificates folder.
pub const SHARED: [&str; 8] =
    ["ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "etcd/ca.crt", "etcd/ca.key", "sa.key", "sa.pub"];

pub struct ShareAuthorities {
    is_needed: bool,
    outputs: Outbox,
}

pub fn step(make: &Make<'_>) -> ShareAuthorities {
    let inputs = &make.context.inputs;
    ShareAuthorities {
        // A dry run takes no key anywhere.
        is_needed: !inputs.newcomers.is_empty() && !inputs.is_rehearsal,
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
        for name in SHARED {
            let file = path(name);
            let text = probe.read_text(&file).await?.ok_or_else(|| {
                Failure::new(format!("{file} is not on this control plane, and those that join need it"))
                    .hint("put it there, or give the new control planes certificates made elsewhere")
            })?;
            shared.insert(name.to_string(), text);
        }
        self.outputs.lock().expect("no panic while held").authorities = Some(shared);
        Ok(())
    }

    fn diff(&self, (): ()) -> Planned {
        Planned::Satisfied
    }
}
