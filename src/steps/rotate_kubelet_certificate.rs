//! The control plane's kubelet uses the certificate that it renews by itself, as a joined node's does.

use async_trait::async_trait;
use camino::Utf8Path;
use secrecy::ExposeSecret as _;

use crate::engine::{Change, Content, FileMode, Planned, Probe, Result, Step};
use crate::pki::kubeconfig::{Credentials, Kubeconfig, ROTATED_CLIENT_PEM};

use super::wait_for_certificate::KUBELET_CONF;

pub struct RotateKubeletCertificate;

#[async_trait]
impl Step for RotateKubeletCertificate {
    /// kubelet.conf, and whether the certificate that the kubelet renews is there.
    type Observed = (Option<String>, bool);

    fn id(&self) -> &str {
        "rotate-kubelet-certificate"
    }

    fn title(&self) -> String {
        "Let the kubelet renew its own certificate".into()
    }

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed> {
        let kubeconfig = probe.read_text(Utf8Path::new(KUBELET_CONF)).await?;
        let is_rotated = probe.stat(Utf8Path::new(ROTATED_CLIENT_PEM)).await?.is_some();
        Ok((kubeconfig, is_rotated))
    }

    fn diff(&self, (text, is_rotated): Self::Observed) -> Planned {
        let Some(text) = text else { return Planned::after(KUBELET_CONF) };
        let Ok(kubeconfig) = Kubeconfig::parse(&text) else {
            return Planned::after(format!("a readable {KUBELET_CONF}"));
        };
        if matches!(kubeconfig.credentials, Credentials::Files { .. }) {
            return Planned::Satisfied;
        }
        if !is_rotated {
            return Planned::after(ROTATED_CLIENT_PEM);
        }
        Planned::Changes(vec![Change::WriteFile {
            path: KUBELET_CONF.into(),
            mode: FileMode::PRIVATE,
            before: Some(Content::Secret(text)),
            after: Content::Secret(kubeconfig.rotated().to_yaml().expose_secret().to_string()),
        }])
    }
}
