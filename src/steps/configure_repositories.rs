//! Where packages come from: a signed apt source each for Kubernetes and containerd, and what is taken from which.

use async_trait::async_trait;
use camino::Utf8PathBuf;

use crate::engine::{Failure, Hint, Planned, Probe, Remark, Result};
use crate::fetch::Retry;
use crate::inventory::Repository;
use crate::manifest::{self, paths};
use crate::resource::{Absent, AnyResource, AptKey, Converge, File, KeySource, Resource, Scratch, SoleSource};

use super::{Context, unrendered};

/// The repositories' names in the inventory.
pub const KUBERNETES: &str = "kubernetes";
pub const CONTAINERD: &str = "containerd";

pub fn step(context: &Context) -> Result<Converge> {
    let step = Converge::new("configure-repositories", "Configure package repositories");
    let step = sources(context).into_iter().try_fold(step, |step, source| source.add_to(step, context))?;
    Ok(if context.cluster.packages.containerd.distribution { step.with(FormerContainerd) } else { step })
}

/// Puts the repositories into a folder of apt's own.
pub(super) async fn add_to(scratch: &mut Scratch, context: &Context, retry: Retry<'_>) -> Result<()> {
    for source in sources(context) {
        let repository = source.expanded(context);
        let keyring = scratch.add_key(&source.key(context)?, retry).await?;
        let text = manifest::apt_source(&repository, keyring.as_str()).map_err(unrendered)?;
        scratch.add_source(source.source.into(), &text)?;
        let pin = manifest::apt_pin(source.pinned, &repository.url).map_err(unrendered)?;
        scratch.add_preferences(source.preferences.into(), &pin)?;
    }
    Ok(())
}

fn sources(context: &Context) -> Vec<Source<'_>> {
    let packages = &context.cluster.packages;
    let kubernetes = Source {
        name: KUBERNETES,
        repository: &packages.kubernetes,
        source: paths::KUBERNETES_SOURCE,
        preferences: paths::KUBERNETES_PREFERENCES,
        pinned: &["kubelet", "kubeadm", "kubectl", "kubernetes-cni", "cri-tools"],
    };
    if packages.containerd.distribution {
        return vec![kubernetes];
    }
    let containerd = Source {
        name: CONTAINERD,
        repository: &packages.containerd,
        source: paths::CONTAINERD_SOURCE,
        preferences: paths::CONTAINERD_PREFERENCES,
        pinned: &["containerd.io"],
    };
    vec![kubernetes, containerd]
}

/// No source of containerd's that kboot wrote when the inventory still had one. It is known by the key that it names.
struct FormerContainerd;

#[async_trait]
impl AnyResource for FormerContainerd {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let keyring = format!("{}/{CONTAINERD}.gpg", paths::KEYRINGS);
        let source = probe.read_text(paths::CONTAINERD_SOURCE.into()).await?.unwrap_or_default();
        if !source.lines().any(|line| line.strip_prefix("Signed-By:").is_some_and(|path| path.trim() == keyring)) {
            return Ok(Planned::Satisfied);
        }
        let mut changes = Vec::new();
        // The source last: as long as it is there, the others are known for kboot's.
        for path in [paths::CONTAINERD_PREFERENCES, &keyring, paths::CONTAINERD_SOURCE] {
            changes.extend(AnyResource::plan(&Absent::new(path), probe).await?.into_changes());
        }
        Ok(Planned::of(changes))
    }
}

struct Source<'a> {
    name: &'static str,
    repository: &'a Repository,
    source: &'static str,
    preferences: &'static str,
    /// What is taken from here and nowhere else.
    pinned: &'static [&'static str],
}

impl Source<'_> {
    /// The repository for this host.
    fn expanded(&self, context: &Context) -> Repository {
        let os = &context.facts.os;
        self.repository.expand(&context.cluster.minor(), &os.id, &os.codename)
    }

    fn key(&self, context: &Context) -> Result<AptKey> {
        let repository = self.expanded(context);
        let path = Utf8PathBuf::from(format!("{}/{}.gpg", paths::KEYRINGS, self.name));
        let source = match (context.inputs.keys.get(self.name), &repository.key_url) {
            (Some(key), _) => KeySource::Given(key.clone()),
            (None, Some(url)) => KeySource::Url(url.clone()),
            (None, None) => {
                return Err(
                    Failure::new(format!("packages.{} has neither keyFile nor keyUrl", self.name)).hint(Hint::GiveKey)
                );
            }
        };
        Ok(AptKey { path, fingerprints: repository.fingerprint.into_vec(), source })
    }

    fn add_to(&self, step: Converge, context: &Context) -> Result<Converge> {
        let repository = self.expanded(context);
        let key = self.key(context)?;
        let source = manifest::apt_source(&repository, key.path.as_str()).map_err(unrendered)?;
        let pin = manifest::apt_pin(self.pinned, &repository.url).map_err(unrendered)?;
        let sole = || SoleSource { url: repository.url.clone(), own: self.source.into() };
        let is_node = context.facts.node.is_member();
        Ok(step
            .with(Unless { is_node, sole: sole(), inner: sole() })
            .with(Unless { is_node, sole: sole(), inner: key })
            .with(Unless { is_node, sole: sole(), inner: File::text(self.source, source) })
            .with(Unless { is_node, sole: sole(), inner: File::text(self.preferences, pin) }))
    }
}

/// What is set up unless the host is a node, made by somebody else, that gets its packages from this repository already.
struct Unless<R> {
    is_node: bool,
    sole: SoleSource,
    inner: R,
}

#[async_trait]
impl<R: AnyResource> AnyResource for Unless<R> {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        if self.is_set_up(probe).await? { Ok(Planned::Satisfied) } else { self.inner.plan(probe).await }
    }

    async fn remarks(&self, probe: &dyn Probe) -> Result<Vec<Remark>> {
        if self.is_set_up(probe).await? { Ok(Vec::new()) } else { self.inner.remarks(probe).await }
    }
}

impl<R> Unless<R> {
    async fn is_set_up(&self, probe: &dyn Probe) -> Result<bool> {
        let is_own = !self.is_node || probe.stat(&self.sole.own).await?.is_some();
        Ok(!is_own && !self.sole.observe(probe).await?.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;

    #[tokio::test]
    async fn a_node_s_own_source_is_left_alone_and_another_host_s_is_refused() {
        const URL: &str = "https://pkgs.k8s.io/core:/stable:/v1.37/deb/";
        let host = || FakeHost::default().file("/etc/apt/sources.list.d/kubernetes.list", format!("deb {URL} /"));
        let source = |is_node| {
            let sole = || SoleSource { url: URL.into(), own: paths::KUBERNETES_SOURCE.into() };
            Unless { is_node, sole: sole(), inner: sole() }
        };
        assert_eq!(source(true).plan(&host()).await.unwrap(), Planned::Satisfied);
        source(false).plan(&host()).await.unwrap_err();
        // Beside kboot's own it is one too many for a node as well.
        source(true).plan(&host().file(paths::KUBERNETES_SOURCE, "")).await.unwrap_err();
    }
}
