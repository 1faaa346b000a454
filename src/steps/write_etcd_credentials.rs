//! What the API server asks an etcd with that is elsewhere, where kubeadm's certificates have it. With members on the control planes there
//! is nothing to write: their certificates are issued.

use async_trait::async_trait;
use camino::Utf8Path;
use secrecy::ExposeSecret as _;

use crate::engine::{Change, Content, FileMode, Planned, Probe, Result};
use crate::manifest::paths;
use crate::resource::{AnyResource, Converge, Directory, File};

use super::issue_certificates::PKI;
use super::secrets::digest_of;
use super::{Context, EtcdKey};

pub fn step(context: &Context) -> Converge {
    let step = Converge::new("write-etcd-credentials", "Write what etcd is asked with");
    if context.cluster.etcd_endpoints().is_none() {
        return step;
    }
    let step = step
        .with(Directory::new(PKI, FileMode::DIRECTORY))
        .with(Directory::new(format!("{PKI}/etcd"), FileMode::DIRECTORY));
    let Some(files) = &context.secrets.etcd else { return step.with(There) };
    let step = step
        .with(File::text(paths::ETCD_CA, &files.authority))
        .with(File::text(paths::ETCD_CLIENT_CERTIFICATE, &files.certificate));
    match &files.key {
        EtcdKey::Whole(key) => step.with(File::secret(paths::ETCD_CLIENT_KEY, key.expose_secret())),
        EtcdKey::Digest(digest) => step.with(Foreseen { digest: digest.clone() }),
    }
}

/// In a dry run: the key file that the run would write, of which only the digest is here.
struct Foreseen {
    digest: String,
}

#[async_trait]
impl AnyResource for Foreseen {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let path = Utf8Path::new(paths::ETCD_CLIENT_KEY);
        let there = probe.read_text(path).await?;
        if there.as_deref().is_some_and(|text| digest_of(text) == self.digest) {
            return Ok(Planned::Satisfied);
        }
        let after = Content::Digest(self.digest.clone());
        let before = there.map(Content::Secret);
        Ok(Planned::Changes(vec![Change::WriteFile { path: path.into(), mode: FileMode::PRIVATE, before, after }]))
    }
}

/// They were brought by somebody else, or by an earlier run.
struct There;

#[async_trait]
impl AnyResource for There {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        for path in [paths::ETCD_CA, paths::ETCD_CLIENT_CERTIFICATE, paths::ETCD_CLIENT_KEY] {
            if probe.stat(Utf8Path::new(path)).await?.is_none() {
                return Ok(Planned::after(path));
            }
        }
        Ok(Planned::Satisfied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;

    #[tokio::test]
    async fn a_dry_run_knows_the_key_by_its_digest() {
        let foreseen = Foreseen { digest: digest_of("KEY") };
        let host = |key: &str| FakeHost::default().file(paths::ETCD_CLIENT_KEY, key);
        assert_eq!(foreseen.plan(&host("KEY")).await.unwrap(), Planned::Satisfied);
        let run = File::secret(paths::ETCD_CLIENT_KEY, "KEY");
        for host in [host("old"), FakeHost::default()] {
            let planned = foreseen.plan(&host).await.unwrap().into_changes();
            let made = AnyResource::plan(&run, &host).await.unwrap().into_changes();
            assert_eq!((planned.len(), made.len()), (1, 1));
            assert!(made[0].keeps_to(&planned[0]) && made[0].starts_as(&planned[0]));
        }
    }

    #[tokio::test]
    async fn what_nobody_brings_must_be_there() {
        let mut host = FakeHost::default();
        assert_eq!(There.plan(&host).await.unwrap(), Planned::after(paths::ETCD_CA));
        for path in [paths::ETCD_CA, paths::ETCD_CLIENT_CERTIFICATE, paths::ETCD_CLIENT_KEY] {
            host = host.file(path, "x");
        }
        assert_eq!(There.plan(&host).await.unwrap(), Planned::Satisfied);
        // The same paths as those by which members are asked.
        assert!(crate::resource::etcd_credentials(&host).await.unwrap().is_some());
    }
}
