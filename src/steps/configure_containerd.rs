//! containerd as the kubelet needs it: CRI on, the host's cgroup driver, Kubernetes' sandbox image, the inventory's mirrors.

use std::collections::BTreeSet;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};

use crate::engine::{Change, Planned, Probe, Result};
use crate::equivalence;
use crate::manifest::{self, paths};
use crate::resource::{AnyResource, Converge, File, Unit};

use super::{Context, unrendered};

pub fn step(context: &Context) -> Result<Converge> {
    let must_restrict = !context.facts.has_sys_resource;
    let config = manifest::containerd_config(&context.cluster, context.cgroup_driver(), must_restrict);
    let is_kept = context.cluster.containerd.keep_config && context.facts.node.is_member();
    let config = File::text(paths::CONTAINERD_CONFIG, config.map_err(unrendered)?);
    let mut step = Converge::new("configure-containerd", "Configure containerd").with_all((!is_kept).then_some(config));
    for (registry, mirror) in &context.cluster.images.mirrors {
        let hosts = manifest::mirror_hosts(registry, mirror).map_err(unrendered)?;
        step = step.with(File::text(paths::mirror_hosts(registry), hosts).or_equivalent(equivalence::settings));
    }
    let mirrors = context.cluster.images.mirrors.keys().cloned().collect();
    step = step.with(FormerMirrors { mirrors });
    let unit = Unit::running("containerd.service");
    // Who keeps the file sees to it that containerd takes it up.
    Ok(step.with(if is_kept { unit } else { unit.reads(paths::CONTAINERD_CONFIG) }))
}

/// No mirror settings of kboot's for registries that have no mirror any more. containerd reads them anew for each pull.
struct FormerMirrors {
    mirrors: BTreeSet<String>,
}

#[async_trait]
impl AnyResource for FormerMirrors {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let mut changes = Vec::new();
        let registries = probe.list(Utf8Path::new(paths::CERTS_D)).await?.unwrap_or_default();
        for registry in registries.iter().filter(|registry| !self.mirrors.contains(*registry)) {
            let file = Utf8PathBuf::from(paths::mirror_hosts(registry));
            let text = probe.read_text(&file).await?.unwrap_or_default();
            if !text.starts_with(manifest::MIRROR_MARK) {
                continue;
            }
            let folder = file.parent().unwrap_or(Utf8Path::new(paths::CERTS_D)).to_path_buf();
            // Somebody's certificates may be beside it.
            let is_alone = probe.list(&folder).await?.is_some_and(|names| names.len() == 1);
            changes.push(Change::Remove { path: file });
            if is_alone {
                changes.push(Change::Remove { path: folder });
            }
        }
        Ok(Planned::of(changes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;

    #[tokio::test]
    async fn only_kboot_s_own_files_of_former_mirrors_go() {
        let own = |registry: &str| manifest::mirror_hosts(registry, "http://10.0.0.1:5000").unwrap();
        let host = FakeHost::default()
            .file("/etc/containerd/certs.d/docker.io/hosts.toml", own("docker.io"))
            .file("/etc/containerd/certs.d/ghcr.io/hosts.toml", own("ghcr.io"))
            .file("/etc/containerd/certs.d/quay.io/hosts.toml", own("quay.io"))
            .file("/etc/containerd/certs.d/quay.io/client.cert", "a person's")
            .file("/etc/containerd/certs.d/example.com/hosts.toml", "# a person's\n");
        let former = FormerMirrors { mirrors: BTreeSet::from(["ghcr.io".into()]) };
        let Planned::Changes(changes) = former.plan(&host).await.unwrap() else { panic!("no change") };
        let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(
            changes,
            [
                "remove /etc/containerd/certs.d/docker.io/hosts.toml",
                "remove /etc/containerd/certs.d/docker.io",
                "remove /etc/containerd/certs.d/quay.io/hosts.toml",
            ]
        );
    }

    #[tokio::test]
    async fn no_folder_no_change() {
        let former = FormerMirrors { mirrors: BTreeSet::new() };
        assert_eq!(former.plan(&FakeHost::default()).await.unwrap(), Planned::Satisfied);
    }
}
