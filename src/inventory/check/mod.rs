//! What must hold beyond types: within a value, between values, and between hosts.
//!
//! Checks read a [`Cluster`] whose broken parts are defaults or placeholders; a mistake about such a part, which has
//! been told already, is dropped. They touch nothing but memory: files are in `files`.

pub mod addons;
mod etcd;
mod hosts;
pub mod kubelet;
mod network;
mod packages;
mod patches;
mod settings;
mod sysctls;
mod vip;

use super::format::Flaw;
use super::mistake::Mistake;
use super::path::Path;
use super::types::{Cluster, Cni};
use super::yaml::Node;

/// Where checks find and tell.
pub(super) struct Findings<'a> {
    document: &'a Node,
    text: &'a str,
    broken: &'a [Path],
    pub mistakes: Vec<Mistake>,
}

impl<'a> Findings<'a> {
    pub fn new(document: &'a Node, text: &'a str, broken: &'a [Path]) -> Self {
        Self { document, text, broken, mistakes: Vec::new() }
    }

    /// Whether a path stands for what the user wrote, or for a default: not for a placeholder.
    pub fn is_intact(&self, path: &Path) -> bool {
        !self.broken.iter().any(|broken| path.is_within(broken))
    }

    /// Whether a path and all inside it are so.
    pub fn is_whole(&self, path: &Path) -> bool {
        self.is_intact(path) && !self.broken.iter().any(|broken| broken.is_within(path))
    }

    pub fn add(&mut self, mistake: Mistake) {
        if self.is_intact(&mistake.path) {
            let span = self.document.locate(&mistake.path, mistake.about_key);
            self.mistakes.push(mistake.at(span));
        }
    }

    pub fn take(&mut self, path: &Path, result: Result<(), Flaw>) {
        if let Err(flaw) = result {
            self.add(Mistake::new(path.clone(), flaw.message).maybe_hint(flaw.hint));
        }
    }

    /// The line that a path is on.
    pub fn line(&self, path: &Path) -> usize {
        super::mistake::position(self.text, self.document.locate(path, false).start).0
    }
}

pub(super) fn all(cluster: &Cluster, findings: &mut Findings) {
    settings::check(cluster, findings);
    etcd::check(cluster, findings);
    kubelet::check(cluster, findings);
    addons::check(cluster, findings);
    patches::check(cluster, findings);
    network::check(cluster, findings);
    vip::check(cluster, findings);
    sysctls::check(cluster, findings);
    packages::check(cluster, findings);
    hosts::check(cluster, findings);
}

/// What is allowed, but should be known.
pub(super) fn warnings(cluster: &Cluster) -> Vec<Mistake> {
    let weave = || {
        Mistake::new(Path::of("network.cni"), "Weave Net is archived by its makers")
            .hint("a community fork goes on; for a new cluster, flannel is kept up")
    };
    (cluster.network.cni == Cni::Weave).then(weave).into_iter().chain(etcd::even(cluster)).collect()
}
