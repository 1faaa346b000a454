//! Where packages come from: a signed apt source each for Kubernetes and containerd, and what is taken from which.

use async_trait::async_trait;
use camino::Utf8PathBuf;

use crate::engine::{Failure, Planned, Probe, Result};
use crate::inventory::Repository;
use crate::manifest::{self, paths};
use crate::resource::{Absent, AnyResource, AptKey, Converge, File, KeySource, SoleSource};

use super::{Context, unrendered};

/// The repositories' names in the inventory.
pub const KUBERNETES: &str = "kubernetes";
pub const CONTAINERD: &str = "containerd";

pub fn step(context: &Context) -> Result<Converge> {
    let packages = &context.cluster.packages;
    let step = Converge::new("configure-repositories", "Configure package repositories");
    let kubernetes = Source {
        name: KUBERNETES,
        repository: &packages.kubernetes,
        source: paths::KUBERNETES_SOURCE,
        preferences: paths::KUBERNETES_PREFERENCES,
        pinned: &["kubelet", "kubeadm", "kubectl", "kubernetes-cni", "cri-tools"],
    };
    let step = kubernetes.add_to(step, context)?;
    if packages.containerd.distribution {
        return Ok(step.with(FormerContainerd));
    }
    let containerd = Source {
        name: CONTAINERD,
        repository: &packages.containerd,
        source: paths::CONTAINERD_SOURCE,
        preferences: paths::CONTAINERD_PREFERENCES,
        pinned: &["containerd.io"],
    };
    containerd.add_to(step, context)
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
            if let Planned::Changes(more) = AnyResource::plan(&Absent::new(path), probe).await? {
                changes.extend(more);
            }
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
    fn add_to(&self, step: Converge, context: &Context) -> Result<Converge> {
        let os = &context.facts.os;
        let repository = self.repository.expand(&context.cluster.minor(), &os.id, &os.codename);
        let keyring = Utf8PathBuf::from(format!("{}/{}.gpg", paths::KEYRINGS, self.name));
        let source = match (context.inputs.keys.get(self.name), &repository.key_url) {
            (Some(key), _) => KeySource::Given(key.clone()),
            (None, Some(url)) => KeySource::Url(url.clone()),
            (None, None) => {
                return Err(Failure::new(format!("packages.{} has neither keyFile nor keyUrl", self.name))
                    .hint("give the repository's public key: unsigned packages are not installed"));
            }
        };
        Ok(step
            .with(SoleSource { url: repository.url.clone(), own: self.source.into() })
            .with(AptKey { path: keyring.clone(), fingerprint: repository.fingerprint.clone(), source })
            .with(File::text(self.source, manifest::apt_source(&repository, keyring.as_str()).map_err(unrendered)?))
            .with(File::text(self.preferences, manifest::apt_pin(self.pinned, &repository.url).map_err(unrendered)?)))
    }
}
