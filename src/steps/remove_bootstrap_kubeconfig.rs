//! The token has done its work once the kubelet has its certificate; the file that holds it must not stay.

use async_trait::async_trait;

use crate::engine::{Planned, Probe, Result};
use crate::resource::{Absent, AnyResource, Converge};

use super::wait_for_certificate::has_certificate;
use super::write_bootstrap_kubeconfig::BOOTSTRAP_CONF;

pub fn step() -> Converge {
    Converge::new("remove-bootstrap-kubeconfig", "Remove the join token from the host").with(Spent)
}

/// No bootstrap kubeconfig where the kubelet needs none any more.
struct Spent;

#[async_trait]
impl AnyResource for Spent {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        if !has_certificate(probe).await? {
            return Ok(Planned::after("the kubelet's client certificate"));
        }
        AnyResource::plan(&Absent::new(BOOTSTRAP_CONF), probe).await
    }
}
