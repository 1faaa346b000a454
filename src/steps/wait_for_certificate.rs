//! The kubelet has exchanged its bootstrap token for a certificate of its own.

use std::time::Duration;

use async_trait::async_trait;
use camino::Utf8Path;

use crate::engine::{Evidence, Hint, Planned, Probe, Result, Step};
use crate::pki::kubeconfig::ROTATED_CLIENT_PEM;

use super::{Context, evidence};

pub const KUBELET_CONF: &str = "/etc/kubernetes/kubelet.conf";

pub struct WaitForCertificate {
    deadline: Duration,
}

pub fn step(context: &Context) -> WaitForCertificate {
    WaitForCertificate { deadline: context.ready_deadline() }
}

#[async_trait]
impl Step for WaitForCertificate {
    type Observed = bool;

    fn id(&self) -> &str {
        "wait-for-certificate"
    }

    fn title(&self) -> String {
        "Wait for the kubelet's certificate".into()
    }

    async fn observe(&self, probe: &dyn Probe) -> Result<bool> {
        has_certificate(probe).await
    }

    fn diff(&self, is_there: bool) -> Planned {
        if is_there { Planned::Satisfied } else { Planned::after("the kubelet's client certificate") }
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        Evidence { lines: evidence::kubelet(probe).await, hint: Some(Hint::WatchRequests) }
    }
}

/// Whether the kubelet has a certificate of its own. It writes kubelet.conf first, which names the certificate that is still to come.
pub async fn has_certificate(probe: &dyn Probe) -> Result<bool> {
    let has_kubeconfig = probe.stat(Utf8Path::new(KUBELET_CONF)).await?.is_some();
    Ok(has_kubeconfig && probe.stat(Utf8Path::new(ROTATED_CLIENT_PEM)).await?.is_some())
}
