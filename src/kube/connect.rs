//! Connections, one a kubeconfig file, made anew when the file changes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::{View, Writer};
use crate::engine::{Failure, Hint, Probe, Result};

/// The files by which a control plane's own host reaches the API, the first that is there: super-admin needs no RBAC objects.
pub const ADMIN_FILES: [&str; 2] = ["/etc/kubernetes/super-admin.conf", "/etc/kubernetes/admin.conf"];

/// By kubeconfig file, with what the file held when the client was made.
type Clients = BTreeMap<Utf8PathBuf, (Vec<u8>, Client)>;

/// Makes clients and keeps them. Cheap to clone; clones share.
#[derive(Clone, Default)]
pub struct Connector {
    clients: Arc<Mutex<Clients>>,
}

impl Connector {
    /// What reads by a kubeconfig file; None where there is no such file.
    pub async fn view_by(&self, probe: &dyn Probe, path: &Utf8Path) -> Result<Option<View>> {
        let Some(text) = read(probe, path).await? else { return Ok(None) };
        Ok(Some(View::new(self.client(path, text).await?)))
    }

    /// What reads as the cluster's administrator; None where this host is no control plane (yet).
    pub async fn view(&self, probe: &dyn Probe) -> Result<Option<View>> {
        for path in ADMIN_FILES {
            if let Some(view) = self.view_by(probe, Utf8Path::new(path)).await? {
                return Ok(Some(view));
            }
        }
        Ok(None)
    }

    /// The same, by a server that must prove to be of this name or address.
    pub async fn view_as(&self, probe: &dyn Probe, name: &str) -> Result<Option<View>> {
        for path in ADMIN_FILES {
            let path = Utf8Path::new(path);
            if let Some(text) = read(probe, path).await? {
                return Ok(Some(View::new(connect_by(path, &text, Some(name)).await?)));
            }
        }
        Ok(None)
    }

    /// What writes as the cluster's administrator.
    pub async fn writer(&self) -> Result<Writer> {
        for path in ADMIN_FILES {
            if let Ok(text) = std::fs::read(path) {
                return Ok(Writer::new(self.client(Utf8Path::new(path), text).await?));
            }
        }
        Err(Failure::new(format!("this host has no {}", ADMIN_FILES[1])).hint(Hint::UseControlPlane))
    }

    /// What reads and what writes by a kubeconfig file.
    pub async fn open(path: &Utf8Path) -> Result<(View, Writer)> {
        let text = std::fs::read(path).map_err(|error| Failure::new(format!("failed to read {path}: {error}")))?;
        let client = connect_by(path, &text, None).await?;
        Ok((View::new(client.clone()), Writer::new(client)))
    }

    /// What reads by a kubeconfig that is in no file.
    pub async fn view_of(kubeconfig: &str) -> Result<View> {
        let client = connect(kubeconfig.as_bytes(), None).await;
        Ok(View::new(client.map_err(|cause| Failure::new(format!("failed to connect to the cluster: {cause}")))?))
    }

    async fn client(&self, path: &Utf8Path, text: Vec<u8>) -> Result<Client> {
        {
            let clients = self.clients.lock().expect("no panic while held");
            if let Some((known, client)) = clients.get(path)
                && *known == text
            {
                return Ok(client.clone());
            }
        }
        let client = connect_by(path, &text, None).await?;
        self.clients.lock().expect("no panic while held").insert(path.into(), (text, client.clone()));
        Ok(client)
    }
}

/// A kubeconfig file's text. One that is to lead to another server leads to the cluster as it is until then.
async fn read(probe: &dyn Probe, path: &Utf8Path) -> Result<Option<Vec<u8>>> {
    match probe.read_present(path).await {
        // It is planned, and so is the API server that it leads to.
        Err(failure) if failure.is_unforeseen() => Ok(None),
        read => read,
    }
}

async fn connect_by(path: &Utf8Path, text: &[u8], name: Option<&str>) -> Result<Client> {
    connect(text, name).await.map_err(|cause| Failure::new(format!("failed to use {path}: {cause}")))
}

/// `name` is what the server must prove to be, if it is not what the kubeconfig says.
async fn connect(text: &[u8], name: Option<&str>) -> Result<Client, String> {
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
    // The further lines of the error show the file's own, and keys and tokens are what it holds.
    let first = |text: String| text.lines().next().unwrap_or_default().to_string();
    let kubeconfig = Kubeconfig::from_yaml(text).map_err(|error| first(error.to_string()))?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| error.to_string())?;
    by_address(&mut config).await?;
    if let Some(name) = name {
        config.tls_server_name = Some(name.into());
    }
    config.connect_timeout = Some(Duration::from_secs(5));
    config.read_timeout = Some(Duration::from_secs(30));
    config.proxy_url = None;
    // What waits looks again by itself, and what gives up must do so in its own time: a disruption budget says 429 as well.
    config.default_retry = false;
    Client::try_from(config).map_err(|error| error.to_string())
}

/// Puts an address in the place of the server's name, which the certificate is still checked for.
async fn by_address(config: &mut Config) -> Result<(), String> {
    let host = config.cluster_url.host().unwrap_or_default().trim_matches(['[', ']']).to_string();
    if host.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let addresses = crate::names::lookup(&host).await.map_err(|error| error.to_string())?;
    let address = SocketAddr::new(addresses[0], config.cluster_url.port_u16().unwrap_or(443));
    config.cluster_url =
        format!("https://{address}").parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
    config.tls_server_name.get_or_insert(host);
    Ok(())
}
