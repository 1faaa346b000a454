//! The authorities in the cluster itself, encrypted, for control planes that are joined by hand. They stay for two hours.

use std::collections::BTreeMap;

use async_trait::async_trait;
use camino::Utf8PathBuf;
use time::OffsetDateTime;

use crate::bootstrap::Token;
use crate::bootstrap::certificates::{self, CertificateKey, LIFETIME, NAME};
use crate::bootstrap::token::SECRET_PREFIX;
use crate::bootstrap::token_secret::{self, NAMESPACE};
use crate::engine::{Change, Failure, Planned, Probe, Result};
use crate::kube::Connector;
use crate::resource::{AnyResource, Converge, Objects};

use super::Make;
use super::issue_certificates::path;
use super::share_authorities::{EXTERNAL_ETCD, shared};

pub fn step(make: &Make<'_>) -> Converge {
    let step = Converge::new("upload-certificates", "Upload the authorities, encrypted")
        .deadline(make.context.ready_deadline());
    let secrets = &make.context.secrets;
    if secrets.withholds_certificate_key {
        return step.with(Withheld);
    }
    let Some((key, token)) = &secrets.certificate_key else { return step };
    let (key, token) = (key.copy(), token.copy());
    let kube = make.services.kube.clone();
    let cluster = &make.context.cluster;
    let own = shared(cluster).into_iter().map(|name| (name, path(name)));
    let external = EXTERNAL_ETCD.into_iter().filter(|_| cluster.external_etcd().is_some());
    let files = own.chain(external.map(|(name, path)| (name, path.into()))).collect();
    step.with(Objects { kube: kube.clone(), objects: certificates::roles().into() }).with(Uploaded {
        kube,
        files,
        key,
        token,
    })
}

/// A dry run has no key to compare by.
struct Withheld;

#[async_trait]
impl AnyResource for Withheld {
    async fn plan(&self, _: &dyn Probe) -> Result<Planned> {
        Ok(Planned::after("the certificate key"))
    }
}

struct Uploaded {
    kube: Connector,
    /// By the names that they have in the Secret.
    files: Vec<(&'static str, Utf8PathBuf)>,
    key: CertificateKey,
    /// What ends the Secret's life.
    token: Token,
}

#[async_trait]
impl AnyResource for Uploaded {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let mut files = BTreeMap::new();
        for (name, path) in &self.files {
            let text = match probe.read_text(path).await {
                Err(failure) if failure.is_unforeseen() => None,
                text => text?,
            };
            let Some(text) = text else { return Ok(Planned::after(path.as_str())) };
            files.insert(name.to_string(), text);
        }
        let Some(view) = self.kube.view(probe).await? else { return Ok(Planned::after("the API server")) };
        let found = match view.get("v1", "Secret", Some(NAMESPACE), NAME).await {
            Err(failure) if failure.retryable => return Ok(Planned::after("an answer of the API server")),
            found => found?,
        };
        let names: Vec<&str> = self.files.iter().map(|(name, _)| *name).collect();
        if found.is_some_and(|secret| certificates::read(&secret, &self.key, &names).is_ok_and(|held| held == files)) {
            return Ok(Planned::Satisfied);
        }
        let owner = format!("{SECRET_PREFIX}{}", self.token.id());
        let object = match view.get("v1", "Secret", Some(NAMESPACE), &owner).await? {
            None => {
                let grant = certificates::owner_grant(OffsetDateTime::now_utc() + LIFETIME);
                token_secret::secret_object(&self.token, &grant)
            }
            Some(owned) => {
                let uid = owned["metadata"]["uid"].as_str().unwrap_or_default();
                certificates::secret(&files, &self.key, (&owner, uid))
                    .map_err(|error| Failure::new(format!("failed to {error}")))?
            }
        };
        Ok(Planned::Changes(vec![Change::ApplyObject { object, before: None }]))
    }
}
