//! The authorities of the cluster that this control plane, or etcd host, joins. It makes none of its own.

use crate::engine::{FileMode, Planned, Probe, Result};
use crate::resource::{AnyResource, Converge, Directory, File};

use async_trait::async_trait;

use super::issue_certificates::{PKI, path};
use super::{Authorities, Context};
use super::{share_authorities, share_etcd};

pub fn step(context: &Context) -> Converge {
    let step = Converge::new("write-authorities", "Write the cluster's authorities");
    written(step, context.secrets.authorities.as_ref(), share_authorities::shared(&context.cluster))
}

/// The same on etcd hosts, which have one of their own.
pub fn of_etcd(context: &Context) -> Converge {
    let step = Converge::new("write-etcd-authority", "Write etcd's authority");
    written(step, context.secrets.etcd_authority.as_ref(), share_etcd::SHARED.into())
}

fn written(step: Converge, shared: Option<&Authorities>, names: Vec<&'static str>) -> Converge {
    let step = step.with(Directory::new(PKI, FileMode::DIRECTORY));
    match shared {
        Some(shared) => {
            step.with_all(shared.files().filter(|(name, _)| names.contains(name)).map(|(name, text)| {
                match name.rsplit_once('.') {
                    Some((_, "key")) => File::secret(path(name), text),
                    // As it is where the pair was made, by kboot and by kubeadm.
                    Some((_, "pub")) => File::text(path(name), text).mode(FileMode::PRIVATE),
                    _ => File::text(path(name), text),
                }
            }))
        }
        None => step.with(Unknown(names)),
    }
}

/// They come once the cluster is there; a dry run does not see them at all.
struct Unknown(Vec<&'static str>);

#[async_trait]
impl AnyResource for Unknown {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        for name in &self.0 {
            if probe.stat(&path(name)).await?.is_none() {
                return Ok(Planned::after("the authorities of the cluster's other hosts"));
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
    async fn nothing_is_made_up_where_they_are_not_known() {
        let mut host = FakeHost::default();
        let unknown = Unknown(vec!["ca.crt", "etcd/ca.key"]);
        assert!(matches!(unknown.plan(&host).await.unwrap(), Planned::After { .. }));
        host = host.file(path("ca.crt").as_str(), "x");
        assert!(matches!(unknown.plan(&host).await.unwrap(), Planned::After { .. }));
        host = host.file(path("etcd/ca.key").as_str(), "x");
        assert_eq!(unknown.plan(&host).await.unwrap(), Planned::Satisfied);
    }
}
