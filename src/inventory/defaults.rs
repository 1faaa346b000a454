//! What the inventory says when its writer does not. Sources: kubeadm's v1beta4 defaults, the repositories' own install pages.

use super::one_or_many::OneOrMany;
use super::types::*;

/// pkgs.k8s.io's key, as the Kubernetes project publishes it.
pub const KUBERNETES_KEY: &str = "DE15B14486CD377B9E876E1A234654DA9A296436";
/// Docker's release key for Debian and Ubuntu.
pub const DOCKER_KEY: &str = "9DC858229FC7DD38854AE2D88D81803C0EBFCD88";

impl Default for Kubernetes {
    fn default() -> Self {
        Self { version: "v1.37.2".into() }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            pod_subnet: "10.244.0.0/16".parse().expect("a constant"),
            service_subnet: "10.96.0.0/12".parse().expect("a constant"),
            dns_domain: "cluster.local".into(),
            cni: Cni::Flannel,
        }
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self {
            encryption_algorithm: EncryptionAlgorithm::EcdsaP256,
            ca_validity: Period { hours: 10 * 365 * 24 },
            validity: Period { hours: 365 * 24 },
            extra_sans: Vec::new(),
        }
    }
}

impl Default for ControlPlane {
    fn default() -> Self {
        let [api_server, controller_manager, scheduler, etcd] = std::array::from_fn(|_| Component::default());
        Self { own_flags: true, api_server, controller_manager, scheduler, etcd }
    }
}

impl Default for KubeProxy {
    fn default() -> Self {
        Self { enabled: true, config: Default::default() }
    }
}

impl Default for Dns {
    fn default() -> Self {
        Self { enabled: true, image_repository: None, image_tag: None }
    }
}

impl Default for Packages {
    fn default() -> Self {
        Self {
            kubernetes: Repository {
                url: "https://pkgs.k8s.io/core:/stable:/{minor}/deb/".into(),
                suite: "/".into(),
                key_url: Some("https://pkgs.k8s.io/core:/stable:/{minor}/deb/Release.key".into()),
                fingerprint: OneOrMany::one(KUBERNETES_KEY),
                ..Repository::default()
            },
            containerd: Repository {
                url: "https://download.docker.com/linux/{distribution}".into(),
                suite: "{codename}".into(),
                components: vec!["stable".into()],
                key_url: Some("https://download.docker.com/linux/{distribution}/gpg".into()),
                fingerprint: OneOrMany::one(DOCKER_KEY),
                ..Repository::default()
            },
        }
    }
}

impl Default for Images {
    fn default() -> Self {
        Self { repository: "registry.k8s.io".into(), mirrors: Default::default() }
    }
}

impl Default for Ssh {
    fn default() -> Self {
        Self { user: "root".into(), port: 22, identity_file: None, known_hosts: "~/.ssh/known_hosts".into() }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: 10, install: 600, ready: 300 }
    }
}
