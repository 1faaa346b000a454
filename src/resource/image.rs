//! Container images that are on the host before they are needed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;

use super::{Resource, command};
use crate::engine::{Change, Failure, Planned, Probe, Result};

/// Pulls at the same time: more only makes them share the same line and disk.
const AT_ONCE: usize = 3;

/// Images, by their full references. One with a digest behind its tag (`registry.k8s.io/pause:3.10.2@sha256:…`) must be that very image.
pub struct Images(pub Vec<String>);

#[async_trait]
impl Resource for Images {
    /// What the runtime has; None where there is no runtime yet.
    type Observed = Option<List>;

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed> {
        list(probe).await
    }

    fn diff(&self, present: Self::Observed) -> Result<Planned> {
        let present = present.unwrap_or_default();
        let missing: Vec<String> = self.0.iter().filter(|image| !present.has(image)).cloned().collect();
        Ok(Planned::of(if missing.is_empty() { Vec::new() } else { vec![Change::PullImages { images: missing }] }))
    }
}

/// The tags that the runtime has; None where none answers.
pub(super) async fn present(probe: &dyn Probe) -> Result<Option<Vec<String>>> {
    Ok(list(probe).await?.map(|list| list.images.into_iter().flat_map(|image| image.repo_tags).collect()))
}

/// The digests of all tags that the runtime has; none where none answers.
pub async fn digests(probe: &dyn Probe) -> Result<BTreeMap<String, String>> {
    Ok(list(probe).await?.unwrap_or_default().digests())
}

async fn list(probe: &dyn Probe) -> Result<Option<List>> {
    let output = probe.query(&["crictl", "images", "-o", "json"]).await?;
    if output.is_success() { parse(&output.stdout).map(Some) } else { Ok(None) }
}

fn parse(text: &str) -> Result<List> {
    serde_json::from_str(text).map_err(|error| Failure::new(format!("failed to read crictl's list of images: {error}")))
}

/// What `crictl images -o json` prints.
#[derive(Default, Deserialize)]
pub struct List {
    images: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(default)]
    repo_tags: Vec<String>,
    /// As `registry.k8s.io/pause@sha256:…`.
    #[serde(default)]
    repo_digests: Vec<String>,
}

impl List {
    fn has(&self, image: &str) -> bool {
        let (tag, digest) = split(image);
        let of_tag = self.images.iter().find(|listed| listed.repo_tags.iter().any(|known| known == tag));
        of_tag.is_some_and(|listed| digest.is_none_or(|digest| listed.digests(tag).any(|known| known == digest)))
    }

    fn digests(&self) -> BTreeMap<String, String> {
        let tags = self.images.iter().flat_map(|listed| listed.repo_tags.iter().map(move |tag| (listed, tag)));
        tags.filter_map(|(listed, tag)| Some((tag.clone(), listed.digests(tag).next()?.to_string()))).collect()
    }
}

impl Listed {
    /// The digests by which the image was pulled from the repository of this tag.
    fn digests<'a>(&'a self, tag: &'a str) -> impl Iterator<Item = &'a str> {
        let repository = repository(tag);
        self.repo_digests.iter().filter_map(move |known| known.strip_prefix(repository)?.strip_prefix('@'))
    }
}

/// The tag, and the digest that must be behind it.
fn split(image: &str) -> (&str, Option<&str>) {
    image.split_once('@').map_or((image, None), |(tag, digest)| (tag, Some(digest)))
}

/// A reference without its tag.
fn repository(tag: &str) -> &str {
    match tag.rsplit_once(':') {
        Some((repository, last)) if !last.contains('/') => repository,
        _ => tag,
    }
}

/// How long a runtime that was started a moment ago, or that systemd starts again after its death, has until it answers.
const START: Duration = Duration::from_secs(30);

pub(super) async fn pull(images: &[String]) -> Result<()> {
    let started = Instant::now();
    while let Err(failure) = command::run(&["crictl", "version"]).await {
        if started.elapsed() > START {
            return Err(
                failure.hint("the container runtime does not answer; see why: `journalctl -u containerd -n 50`")
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let pulls: Vec<_> = images.iter().map(|image| pull_one(image)).collect();
    stream::iter(pulls).buffer_unordered(AT_ONCE).try_collect().await
}

pub(super) async fn remove(images: &[String]) -> Result<()> {
    let words = ["crictl", "rmi"].into_iter().chain(images.iter().map(String::as_str));
    command::run(&words.collect::<Vec<_>>()).await
}

async fn pull_one(image: &str) -> Result<()> {
    let mut last = None;
    let (tag, digest) = split(image);
    let exact = digest.map(|digest| format!("{}@{digest}", repository(tag)));
    for _ in 0..3 {
        match command::run(&["crictl", "pull", exact.as_deref().unwrap_or(tag)]).await {
            Ok(()) => return name(tag, exact.as_deref()).await,
            Err(failure) => last = Some(failure),
        }
    }
    let failure = last.expect("three attempts were made");
    let registry = image.split('/').next().unwrap_or_default();
    Err(failure.hint(format!(
        "see that this host reaches {registry}, or name a mirror of it under images.mirrors in the inventory"
    )))
}

/// How soon the runtime notices a new name of an image.
const NOTICE: Duration = Duration::from_secs(10);

/// An image that was pulled by its digest gets the tag by which pods ask for it, so that no kubelet asks a registry what that is today.
async fn name(tag: &str, exact: Option<&str>) -> Result<()> {
    let Some(exact) = exact else { return Ok(()) };
    command::run(&["ctr", "--namespace", "k8s.io", "images", "tag", "--force", exact, tag]).await?;
    let wanted = format!("{tag}@{}", split(exact).1.unwrap_or_default());
    let started = Instant::now();
    loop {
        let argv = ["crictl", "images", "-o", "json"];
        if parse(&command::run_with(&argv, &[]).await?.stdout)?.has(&wanted) {
            return Ok(());
        }
        if started.elapsed() > NOTICE {
            return Err(Failure::new(format!("the runtime does not take {exact} for {tag}"))
                .hint(format!("see what it has: `crictl inspecti {tag}`")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = r#"{"images": [
        {"id": "1", "repoTags": ["registry.k8s.io/pause:3.10.2"], "repoDigests": ["registry.k8s.io/pause@sha256:aa"]},
        {"id": "2", "repoTags": ["m:5000/x:1", "n/x:1"], "repoDigests": ["n/x@sha256:bb", "m:5000/x@sha256:cc"]},
        {"id": "3", "repoTags": []}
    ]}"#;

    #[test]
    fn a_digest_behind_a_tag_must_be_the_image_s() {
        let list = parse(LISTED).unwrap();
        assert!(list.has("registry.k8s.io/pause:3.10.2") && list.has("registry.k8s.io/pause:3.10.2@sha256:aa"));
        assert!(!list.has("registry.k8s.io/pause:3.10.2@sha256:bb") && !list.has("registry.k8s.io/pause:3.9"));
        assert!(list.has("m:5000/x:1@sha256:cc") && !list.has("m:5000/x:1@sha256:bb"));
    }

    #[test]
    fn digests_go_by_the_tag_s_own_repository() {
        let expected =
            [("m:5000/x:1", "sha256:cc"), ("n/x:1", "sha256:bb"), ("registry.k8s.io/pause:3.10.2", "sha256:aa")];
        let expected = expected.map(|(tag, digest)| (tag.to_string(), digest.to_string()));
        assert_eq!(parse(LISTED).unwrap().digests(), expected.into());
    }

    #[test]
    fn a_port_is_no_tag() {
        assert_eq!((repository("m:5000/x"), repository("m:5000/x:1")), ("m:5000/x", "m:5000/x"));
    }
}
