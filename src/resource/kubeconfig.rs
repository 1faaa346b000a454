//! Kubeconfigs with a client certificate of their own.

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use secrecy::ExposeSecret as _;
use time::OffsetDateTime;

use super::{Resource, certificate, file};
use crate::engine::hint::PathWord;
use crate::engine::{Change, Failure, FileMode, Hint, Planned, Probe, Result};
use crate::pki::kubeconfig::{self, Authority, Credentials, Kubeconfig, KubeconfigProblem, WantedKubeconfig};
use crate::pki::{CertificateRequest, Key, Severity};

/// A kubeconfig file whose client certificate the cluster's authority signs.
pub struct ClientKubeconfig {
    pub path: Utf8PathBuf,
    pub wanted: WantedKubeconfig,
    /// The authority's certificate and key.
    pub authority: (Utf8PathBuf, Utf8PathBuf),
    /// Whether one that is there may lead to another server.
    pub keeps_server: bool,
}

pub enum Observed {
    Missing {
        is_external: bool,
    },
    Found {
        file: String,
        authority: String,
        now: OffsetDateTime,
        /// What takes away rights that nobody but root should have.
        guards: Vec<Change>,
    },
}

#[async_trait]
impl Resource for ClientKubeconfig {
    type Observed = Observed;

    async fn observe(&self, probe: &dyn Probe) -> Result<Observed> {
        let (authority, key) = &self.authority;
        let Some(file) = probe.read_text(&self.path).await? else {
            let is_external = probe.stat(authority).await?.is_some() && probe.stat(key).await?.is_none();
            return Ok(Observed::Missing { is_external });
        };
        let authority = probe.read_text(authority).await?.unwrap_or_default();
        let guards = file::guard(&self.path, probe.stat(&self.path).await?.as_ref(), FileMode::PRIVATE);
        Ok(Observed::Found { file, authority, now: OffsetDateTime::now_utc(), guards })
    }

    fn diff(&self, observed: Observed) -> Result<Planned> {
        let (file, authority, now, guards) = match observed {
            Observed::Missing { is_external: true } => {
                return Err(Failure::new(format!(
                    "{} is missing and can't be made without {}",
                    self.path, self.authority.1
                ))
                .hint(Hint::PutKubeconfigs));
            }
            Observed::Missing { is_external: false } => {
                return Ok(Planned::Changes(vec![Change::WriteKubeconfig {
                    path: self.path.clone(),
                    cluster: self.wanted.cluster.clone(),
                    server: self.wanted.server.clone(),
                    authority: self.authority.clone(),
                    request: self.wanted.request.clone(),
                }]));
            }
            Observed::Found { file, authority, now, guards } => (file, authority, now, guards),
        };
        let problems: Vec<String> = kubeconfig::check(&file, &self.wanted, &authority, now)
            .iter()
            .filter(|problem| problem.severity() == Severity::Error)
            .filter(|problem| !self.keeps_server || !matches!(problem, KubeconfigProblem::WrongServer { .. }))
            .map(|problem| format!("the kubeconfig {problem}"))
            .collect();
        if problems.is_empty() {
            return Ok(Planned::of(guards));
        }
        Err(Failure::new(format!("{} is there already and is not what the cluster needs", self.path))
            .evidence(problems)
            .hint(Hint::RemoveKubeconfig { path: PathWord::of(&self.path) }))
    }
}

pub(super) fn write(
    path: &Utf8Path,
    cluster: &str,
    server: &str,
    authority: &(Utf8PathBuf, Utf8PathBuf),
    request: &CertificateRequest,
) -> Result<()> {
    let key = Key::generate(request.algorithm).map_err(|error| Failure::new(format!("failed to {error}")))?;
    let cert_pem = certificate::sign(request, &key, Some(authority))?;
    let kubeconfig = Kubeconfig {
        cluster: cluster.into(),
        server: server.into(),
        authority: Authority::Pem(fs::read_to_string(&authority.0)?),
        user: request.common_name.clone(),
        credentials: Credentials::Certificate { cert_pem, key_pem: key.to_pem() },
    };
    file::write(path, kubeconfig.to_yaml().expose_secret().as_bytes(), FileMode::PRIVATE)
}
