//! The cluster's certificate authority and the token by which a worker's kubelet asks for its certificate.

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use secrecy::ExposeSecret as _;

use crate::engine::{Change, Content, FileMode, Planned, Probe, Result, Step};
use crate::pki::kubeconfig::Kubeconfig;

use super::issue_certificates::path;
use super::wait_for_certificate::has_certificate;
use super::{Context, Join};

pub const BOOTSTRAP_CONF: &str = "/etc/kubernetes/bootstrap-kubelet.conf";

pub struct WriteBootstrapKubeconfig {
    cluster: String,
    /// Which API server the kubelet asks.
    server: Option<String>,
    join: Option<Join>,
}

pub fn step(context: &Context) -> WriteBootstrapKubeconfig {
    let cluster = &context.cluster;
    WriteBootstrapKubeconfig {
        cluster: cluster.name.clone(),
        server: cluster.host(&context.host).map(|host| cluster.kubelet_server(host)),
        join: context.secrets.join.as_ref().map(Join::copy),
    }
}

/// What is on the host.
pub struct Observed {
    has_joined: bool,
    ca: Option<String>,
    bootstrap: Option<String>,
}

#[async_trait]
impl Step for WriteBootstrapKubeconfig {
    type Observed = Observed;

    fn id(&self) -> &str {
        "write-bootstrap-kubeconfig"
    }

    fn title(&self) -> String {
        "Write what the kubelet joins the cluster with".into()
    }

    async fn observe(&self, probe: &dyn Probe) -> Result<Observed> {
        Ok(Observed {
            has_joined: has_certificate(probe).await?,
            ca: probe.read_text(&path("ca.crt")).await?,
            bootstrap: probe.read_text(Utf8Path::new(BOOTSTRAP_CONF)).await?,
        })
    }

    fn diff(&self, Observed { has_joined, ca, bootstrap }: Observed) -> Planned {
        if has_joined {
            return Planned::Satisfied;
        }
        let Some(join) = &self.join else { return Planned::after("a join token of the control plane") };
        let token = join.token.expose();
        let server = self.server.as_ref().unwrap_or(&join.server);
        let kubeconfig = Kubeconfig::bootstrap(&self.cluster, server, &join.ca_pem, token).to_yaml();
        let mut changes = Vec::new();
        if ca.as_ref() != Some(&join.ca_pem) {
            changes.push(write(
                path("ca.crt"),
                FileMode::PUBLIC,
                ca.map(Content::Text),
                Content::Text(join.ca_pem.clone()),
            ));
        }
        let wanted = kubeconfig.expose_secret();
        if bootstrap.as_deref() != Some(wanted) {
            let before = bootstrap.map(Content::Secret);
            changes.push(write(BOOTSTRAP_CONF.into(), FileMode::PRIVATE, before, Content::Secret(wanted.to_string())));
        }
        Planned::of(changes)
    }
}

fn write(path: Utf8PathBuf, mode: FileMode, before: Option<Content>, after: Content) -> Change {
    Change::WriteFile { path, mode, before, after }
}
