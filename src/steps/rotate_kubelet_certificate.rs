//! The control plane's kubelet uses a certificate that it renews by itself, as a joined node's does.
//!
//! It is put where the kubelet keeps its own before the kubelet starts. Started with the one in kubelet.conf it would ask for
//! another at once, and on getting it cut its connections: just when the first pods' states are to be told.

use async_trait::async_trait;
use camino::Utf8Path;
use secrecy::ExposeSecret as _;

use crate::engine::{Change, Content, FileMode, Planned, Probe, Result, Step};
use crate::pki::kubeconfig::{Credentials, Kubeconfig, ROTATED_CLIENT_PEM};

use super::wait_for_certificate::KUBELET_CONF;

/// What the link that the kubelet reads leads to; when it renews the certificate it makes a file of its own beside it.
const FIRST_CLIENT_PEM: &str = "/var/lib/kubelet/pki/kubelet-client-first.pem";

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
        let mut changes = match &kubeconfig.credentials {
            Credentials::Files { .. } => return Planned::Satisfied,
            _ if is_rotated => Vec::new(),
            Credentials::Certificate { cert_pem, key_pem } => store(cert_pem, key_pem.expose_secret()),
            Credentials::Token(_) | Credentials::Other => return Planned::after(ROTATED_CLIENT_PEM),
        };
        changes.push(Change::WriteFile {
            path: KUBELET_CONF.into(),
            mode: FileMode::PRIVATE,
            before: Some(Content::Secret(text)),
            after: Content::Secret(kubeconfig.rotated().to_yaml().expose_secret().to_string()),
        });
        Planned::Changes(changes)
    }
}

/// The kubelet replaces a link by one to the renewed certificate; it refuses to replace a file.
fn store(cert_pem: &str, key_pem: &str) -> Vec<Change> {
    vec![
        Change::WriteFile {
            path: FIRST_CLIENT_PEM.into(),
            mode: FileMode::PRIVATE,
            before: None,
            after: Content::Secret(format!("{}\n{}\n", cert_pem.trim_end(), key_pem.trim_end())),
        },
        Change::MakeLink { path: ROTATED_CLIENT_PEM.into(), target: FIRST_CLIENT_PEM.into() },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::kubeconfig::Authority;

    fn kubelet_conf(credentials: Credentials) -> String {
        let kubeconfig = Kubeconfig {
            cluster: "lab".into(),
            server: "https://10.0.0.1:6443".into(),
            authority: Authority::Pem("CA\n".into()),
            user: "system:node:n1".into(),
            credentials,
        };
        kubeconfig.to_yaml().expose_secret().to_string()
    }

    fn inline() -> String {
        kubelet_conf(Credentials::Certificate { cert_pem: "CERT\n".into(), key_pem: "KEY\n".into() })
    }

    fn changes(observed: (Option<String>, bool)) -> Vec<Change> {
        match RotateKubeletCertificate.diff(observed) {
            Planned::Changes(changes) => changes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_certificate_and_its_link_come_before_the_file_that_names_them() {
        let all = changes((Some(inline()), false));
        let [
            Change::WriteFile { path: first, mode, after, .. },
            Change::MakeLink { path: link, target },
            Change::WriteFile { path, .. },
        ] = all.as_slice()
        else {
            panic!("{all:?}");
        };
        assert_eq!((first.as_str(), *mode), (FIRST_CLIENT_PEM, FileMode::PRIVATE));
        assert_eq!(*after, Content::Secret("CERT\nKEY\n".into()));
        assert_eq!((link.as_str(), target.as_str()), (ROTATED_CLIENT_PEM, FIRST_CLIENT_PEM));
        assert_eq!(path, KUBELET_CONF);
    }

    #[test]
    fn a_certificate_that_the_kubelet_has_stored_is_kept() {
        let all = changes((Some(inline()), true));
        assert!(matches!(all.as_slice(), [Change::WriteFile { path, .. }] if path == KUBELET_CONF), "{all:?}");
    }

    #[test]
    fn files_are_what_is_wanted() {
        let files = Credentials::Files { cert: ROTATED_CLIENT_PEM.into(), key: ROTATED_CLIENT_PEM.into() };
        assert_eq!(RotateKubeletCertificate.diff((Some(kubelet_conf(files)), true)), Planned::Satisfied);
    }
}
