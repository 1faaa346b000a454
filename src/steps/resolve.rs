//! What this host would get: the question that a lock file is made of, and held against. Nothing on the host is changed by it; apt works in
//! a folder of its own, and registries are only asked.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use crate::engine::hint::PackageWords;
use crate::engine::{Failure, Hint, PackagePin, Probe, Progress, Result};
use crate::fetch::Retry;
use crate::lock::{ImageDigests, Package as Locked, Packages, Question, Resolved};
use crate::manifest::paths;
use crate::resource::{self, DpkgStatus, Package, Scratch};

use super::{Context, configure_repositories, install_packages, install_prerequisites, pull_images, rendered};

/// Debian's certificate authorities, once their package is installed.
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Answers for the host of this context.
pub async fn resolve(
    context: &Context,
    question: &Question,
    probe: &dyn Probe,
    progress: &Progress,
) -> Result<Resolved> {
    let retry = Retry::new(progress);
    let has_roots = probe.stat(ROOTS.into()).await?.is_some();
    let roots = if has_roots { None } else { Some(question.roots.as_deref().unwrap_or_default()) };
    let wanted = Wanted::of(context, question, &DpkgStatus::read(probe).await?);
    let (candidates, installs) = wanted.packages(context, question, roots, retry).await?;
    Ok(Resolved {
        platform: context.platform(),
        candidates,
        installs,
        unfit: wanted.unfit,
        images: images(context, question, probe, roots, retry).await?,
        objects: if context.host()?.is_control_plane() { rendered::objects(context)? } else { BTreeMap::new() },
        files: rendered::files(context).await?,
    })
}

/// Which packages are in question, and at which versions.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    /// Every package that kboot asks for.
    required: BTreeSet<String>,
    /// What would have to be installed.
    missing: BTreeSet<String>,
    /// Versions, or patterns, by package.
    pins: BTreeMap<String, String>,
    unfit: BTreeSet<String>,
}

impl Wanted {
    fn of(context: &Context, question: &Question, status: &DpkgStatus) -> Self {
        let mut wanted = Self { pins: question.pins.clone(), ..Self::default() };
        for package in install_packages::packages(context) {
            wanted.own(package, question, status);
        }
        for Package { name, .. } in install_prerequisites::packages(context) {
            if status.version(&name).is_none() {
                wanted.missing.insert(name.clone());
            }
            wanted.required.insert(name);
        }
        wanted
    }

    /// A package whose version kboot decides.
    fn own(&mut self, package: Package, question: &Question, status: &DpkgStatus) {
        let name = package.name.clone();
        let pin = question.pins.get(&name).filter(|version| package.is_met_by(version));
        if pin.is_none() && self.pins.remove(&name).is_some() {
            self.unfit.insert(name.clone());
        }
        let exact = pin.map(|version| Package::version(&name, version));
        let is_met = status.version(&name).is_some_and(|version| exact.as_ref().unwrap_or(&package).is_met_by(version));
        // Where nothing is pinned, what is newest is asked for, and what that brings along.
        if !is_met || (question.is_whole && pin.is_none()) {
            self.missing.insert(name.clone());
        }
        if let (None, Some(pattern)) = (pin, package.version) {
            self.pins.insert(name.clone(), pattern);
        }
        self.required.insert(name);
    }

    async fn packages(
        &self,
        context: &Context,
        question: &Question,
        roots: Option<&str>,
        retry: Retry<'_>,
    ) -> Result<(Packages, Packages)> {
        if !question.is_whole && self.missing.is_empty() {
            return Ok((Packages::new(), Packages::new()));
        }
        let own = [
            paths::KUBERNETES_SOURCE,
            paths::KUBERNETES_PREFERENCES,
            paths::CONTAINERD_SOURCE,
            paths::CONTAINERD_PREFERENCES,
        ];
        let mut scratch = Scratch::new(&own, roots)?;
        configure_repositories::add_to(&mut scratch, context, retry).await?;
        scratch.pin(&self.pins)?;
        scratch.refresh(retry).await?;
        let asked = match question.is_whole {
            true => self.required.iter().chain(&question.names).cloned().collect(),
            false => self.missing.clone(),
        };
        let found = by_name(scratch.candidates(&asked).await?);
        let absent: Vec<&str> =
            self.required.intersection(&asked).filter(|name| !found.contains_key(*name)).map(String::as_str).collect();
        if !absent.is_empty() {
            return Err(Failure::new(format!("no repository of this host has {}", absent.join(", ")))
                .hint(Hint::ShowPolicyAndInventory { packages: PackageWords::of(absent) }));
        }
        let missing: Vec<String> = self.missing.iter().filter(|name| found.contains_key(*name)).cloned().collect();
        let installs = by_name(scratch.installs(&missing).await?);
        Ok(if question.is_whole { (found, installs) } else { (Packages::new(), installs) })
    }
}

fn by_name(pins: Vec<PackagePin>) -> Packages {
    pins.into_iter().map(|PackagePin { name, version, sha256 }| (name, Locked { version, sha256 })).collect()
}

async fn images(
    context: &Context,
    question: &Question,
    probe: &dyn Probe,
    roots: Option<&str>,
    retry: Retry<'_>,
) -> Result<BTreeMap<String, ImageDigests>> {
    let on_host = resource::image_digests(probe).await?;
    let mirrors = &context.cluster.images.mirrors;
    let asked = pull_images::all(context)?.into_iter().map(|image| {
        let host = on_host.get(&image).cloned();
        async move {
            let registry = match question.is_fresh || host.is_none() {
                true => Some(resource::registry_digest(&image, mirrors, roots, retry).await?),
                false => None,
            };
            Ok((image, ImageDigests { host, registry }))
        }
    });
    join_all(asked).await.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::samples::sample;
    use crate::steps::Inputs;

    fn wanted(pins: &[(&str, &str)], is_whole: bool, installed: &str) -> Wanted {
        let sample = sample();
        let facts = sample.facts["n1"].clone();
        let mut context = Context {
            cluster: sample.cluster,
            host: "n1".into(),
            facts,
            inputs: Inputs::default(),
            secrets: Default::default(),
        };
        context.cluster.kubernetes.version = "v1.37.2".into();
        let pins = pins.iter().map(|(name, version)| (name.to_string(), version.to_string())).collect();
        Wanted::of(&context, &Question { pins, is_whole, ..Question::default() }, &DpkgStatus::parse(installed))
    }

    fn installed(packages: &[(&str, &str)]) -> String {
        let one = |(name, version): &(&str, &str)| {
            format!("Package: {name}\nStatus: install ok installed\nVersion: {version}\n\n")
        };
        packages.iter().map(one).collect()
    }

    #[test]
    fn a_bare_host_lacks_everything_and_what_is_not_pinned_has_its_pattern() {
        let wanted = wanted(&[("cri-tools", "1.36.0-1.1"), ("socat", "1.7")], true, "");
        for name in ["kubelet", "cri-tools", "containerd.io", "kubernetes-cni", "socat", "conntrack"] {
            assert!(wanted.missing.contains(name) && wanted.required.contains(name), "{name}");
        }
        let pins = [("containerd.io", "2.*"), ("cri-tools", "1.36.0-1.1"), ("kubeadm", "1.37.2-*")];
        for (name, version) in pins {
            assert_eq!(wanted.pins[name], version);
        }
        assert!(wanted.unfit.is_empty());
    }

    #[test]
    fn what_is_there_as_it_is_pinned_is_not_missing() {
        let host = installed(&[("kubelet", "1.37.2-1.1"), ("cri-tools", "1.36.0-1.1"), ("socat", "1.6")]);
        let wanted = wanted(&[("kubelet", "1.37.2-1.1"), ("cri-tools", "1.36.1-1.1"), ("socat", "1.7")], false, &host);
        assert!(!wanted.missing.contains("kubelet"));
        assert!(wanted.missing.contains("cri-tools"), "another version is pinned");
        assert!(!wanted.missing.contains("socat"), "the distribution's packages are the host's own");
    }

    #[test]
    fn a_pin_that_does_not_fit_the_inventory_gives_way() {
        let wanted = wanted(&[("kubelet", "1.36.1-1.1")], true, "");
        assert_eq!((wanted.pins["kubelet"].as_str(), wanted.unfit.contains("kubelet")), ("1.37.2-*", true));
    }

    #[test]
    fn without_pins_what_is_newest_is_looked_for_even_if_something_is_there() {
        let host = installed(&[("kubelet", "1.37.2-1.1")]);
        assert!(wanted(&[], true, &host).missing.contains("kubelet"));
        assert!(!wanted(&[], false, &host).missing.contains("kubelet"));
    }
}
