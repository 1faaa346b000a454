//! What the API server asks an etcd with that is elsewhere, where kubeadm's certificates have it. With members on the control planes there
//! is nothing to write: their certificates are issued.

use async_trait::async_trait;
use camino::Utf8Path;

use crate::engine::{FileMode, Planned, Probe, Result};
use crate::manifest::paths;
use crate::resource::{AnyResource, Converge, Directory, File};

use super::Context;
use super::issue_certificates::PKI;

pub fn step(context: &Context) -> Converge {
    let step = Converge::new("write-etcd-credentials", "Write what etcd is asked with");
    if context.cluster.etcd_endpoints().is_none() {
        return step;
    }
    let step = step
        .with(Directory::new(PKI, FileMode::DIRECTORY))
        .with(Directory::new(format!("{PKI}/etcd"), FileMode::DIRECTORY));
    match &context.inputs.etcd {
        Some(files) => step
            .with(File::text(paths::ETCD_CA, &files.authority))
            .with(File::text(paths::ETCD_CLIENT_CERTIFICATE, &files.certificate))
            .with(File::secret(paths::ETCD_CLIENT_KEY, &files.key)),
        None => step.with(There),
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
