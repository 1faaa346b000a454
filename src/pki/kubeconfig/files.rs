//! The kubeconfigs under /etc/kubernetes: kubeadm's list (`phases/kubeconfig/kubeconfig.go` in 1.37), as data.

use secrecy::SecretString;

use super::{Authority, Credentials, Kubeconfig};
use crate::pki::{CertificateRequest, LayoutParams, PkiError};

/// The user in a joining node's `bootstrap-kubelet.conf`.
pub const BOOTSTRAP_USER: &str = "tls-bootstrap-token-user";
/// The certificate and key that the kubelet obtains and renews.
pub const ROTATED_CLIENT_PEM: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

const ADMINS: &str = "kubeadm:cluster-admins";
const PRIVILEGED: &str = "system:masters";
const NODES: &str = "system:nodes";

/// A kubeconfig file as it shall be, before its client certificate exists.
#[derive(Debug, Clone, PartialEq)]
pub struct WantedKubeconfig {
    /// The file under /etc/kubernetes, as `admin.conf`.
    pub file: &'static str,
    /// The cluster's name.
    pub cluster: String,
    /// As `https://10.0.0.1:6443`.
    pub server: String,
    /// The client certificate, signed by the cluster's `ca`. Its common name is the user.
    pub request: CertificateRequest,
}

impl WantedKubeconfig {
    /// The file's content, from the cluster's authority and the client certificate that was issued to `request`.
    pub fn build(&self, ca_pem: &str, cert_pem: &str, key_pem: SecretString) -> Kubeconfig {
        Kubeconfig {
            cluster: self.cluster.clone(),
            server: self.server.clone(),
            authority: Authority::Pem(ca_pem.into()),
            user: self.request.common_name.clone(),
            credentials: Credentials::Certificate { cert_pem: cert_pem.into(), key_pem },
        }
    }
}

impl Kubeconfig {
    /// A joining node's `bootstrap-kubelet.conf`.
    pub fn bootstrap(cluster: &str, server: &str, ca_pem: &str, token: SecretString) -> Self {
        Self {
            cluster: cluster.into(),
            server: server.into(),
            authority: Authority::Pem(ca_pem.into()),
            user: BOOTSTRAP_USER.into(),
            credentials: Credentials::Token(token),
        }
    }
}

/// The five kubeconfigs of a control plane.
///
/// People reach the API server by the endpoint; what runs on the node reaches its own, so that a kubelet is never
/// newer than the API server that it talks to during an upgrade.
pub fn cluster_kubeconfigs(params: &LayoutParams) -> Result<Vec<WantedKubeconfig>, PkiError> {
    let (endpoint, local) = (params.server()?, params.local_server());
    let wanted = |file, server: &str, user: &str, group| WantedKubeconfig {
        file,
        cluster: params.cluster_name.clone(),
        server: server.into(),
        request: CertificateRequest::client(
            user,
            group,
            params.certificates.validity.hours(),
            params.certificates.encryption_algorithm,
        ),
    };
    let node = format!("system:node:{}", params.node_name);
    Ok(vec![
        wanted("admin.conf", &endpoint, "kubernetes-admin", Some(ADMINS)),
        wanted("super-admin.conf", &endpoint, "kubernetes-super-admin", Some(PRIVILEGED)),
        wanted("kubelet.conf", &local, &node, Some(NODES)),
        wanted("controller-manager.conf", &local, "system:kube-controller-manager", None),
        wanted("scheduler.conf", &local, "system:kube-scheduler", None),
    ])
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::pki::layout::tests::params;

    #[test]
    fn the_five_files_are_kubeadms() {
        let (endpoint, local) = ("https://cp.example.test:6443", "https://10.77.0.11:6443");
        let files: Vec<_> = cluster_kubeconfigs(&params())
            .unwrap()
            .into_iter()
            .map(|it| (it.file, it.server, it.request.common_name, it.request.organization))
            .collect();
        let row = |file, server: &str, user: &str, group: Option<&str>| {
            (file, server.to_owned(), user.to_owned(), group.map(String::from))
        };
        assert_eq!(
            files,
            [
                row("admin.conf", endpoint, "kubernetes-admin", Some("kubeadm:cluster-admins")),
                row("super-admin.conf", endpoint, "kubernetes-super-admin", Some("system:masters")),
                row("kubelet.conf", local, "system:node:n1", Some("system:nodes")),
                row("controller-manager.conf", local, "system:kube-controller-manager", None),
                row("scheduler.conf", local, "system:kube-scheduler", None),
            ]
        );
    }

    #[test]
    fn contexts_are_named_as_kubeadm_names_them() {
        let wanted = cluster_kubeconfigs(&params()).unwrap().remove(0);
        assert_eq!(wanted.build("ca", "cert", "key".into()).context(), "kubernetes-admin@kubernetes");
    }

    #[test]
    fn a_joining_node_has_its_token() {
        let config =
            Kubeconfig::bootstrap("kubernetes", "https://10.0.0.1:6443", "ca", "abcdef.0123456789abcdef".into());
        let yaml = config.to_yaml();
        assert!(yaml.expose_secret().contains("current-context: tls-bootstrap-token-user@kubernetes\n"));
        assert!(yaml.expose_secret().contains("    token: abcdef.0123456789abcdef\n"));
    }
}
