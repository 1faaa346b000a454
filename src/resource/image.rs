//! Container images that are on the host before they are needed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use serde::Deserialize;

use super::{Resource, command};
use crate::engine::hint::ImageWord;
use crate::engine::{Change, Failure, Hint, Output, Planned, Probe, Result};
use crate::fetch::{self, Attempt, Retry, Sort};

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

pub(super) fn parse(text: &str) -> Result<List> {
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
    pub(super) fn has(&self, image: &str) -> bool {
        let (tag, digest) = split(image);
        let of_tag = self.images.iter().find(|listed| listed.repo_tags.iter().any(|known| known == tag));
        of_tag.is_some_and(|listed| digest.is_none_or(|digest| listed.digests(tag).any(|known| known == digest)))
    }

    pub(super) fn digests(&self) -> BTreeMap<String, String> {
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

pub(super) async fn pull(images: &[String], retry: Retry<'_>) -> Result<()> {
    let started = Instant::now();
    let version = ["crictl", "version"];
    loop {
        let output = command::output(&version, &[], None).await?;
        if output.is_success() {
            break;
        }
        let failure = command::failed(&version, &output);
        if command::is_missing(&output) {
            return Err(failure.hint(Hint::InstallRuntime));
        }
        if started.elapsed() > START {
            return Err(failure.hint(Hint::RuntimeIsSilent));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let pulls: Vec<_> = images.iter().map(|image| pull_one(image, retry)).collect();
    // To their end, also where one fails: a pull that is dropped goes on unseen.
    let ended: Vec<(&str, Result<()>)> = stream::iter(pulls).buffered(AT_ONCE).collect().await;
    together(ended.into_iter().filter_map(|(image, result)| Some((image, result.err()?))).collect())
}

/// The failure of all images that failed as the first one did; the others' are its evidence.
fn together(failed: Vec<(&str, Failure)>) -> Result<()> {
    let Some((_, first)) = failed.first().cloned() else { return Ok(()) };
    let (alike, other): (Vec<_>, Vec<_>) = failed.into_iter().partition(|(_, failure)| failure.cause == first.cause);
    let names: Vec<&str> = alike.iter().map(|(image, _)| split(image).0).collect();
    let part = match names[..] {
        [name] => format!("pull the image {name}"),
        _ => format!("pull the images {}", names.join(", ")),
    };
    let told = other.iter().map(|(image, failure)| format!("{}: {}", split(image).0, failure.cause));
    let evidence: Vec<String> = first.evidence.iter().cloned().chain(told).collect();
    Err(first.evidence(evidence).part(part))
}

pub(super) async fn remove(images: &[String]) -> Result<()> {
    let words = ["crictl", "rmi"].into_iter().chain(images.iter().map(String::as_str));
    command::run(&words.collect::<Vec<_>>()).await
}

async fn pull_one<'a>(image: &'a str, retry: Retry<'_>) -> (&'a str, Result<()>) {
    let (tag, digest) = split(image);
    let exact = digest.map(|digest| format!("{}@{digest}", repository(tag)));
    let pull = async {
        let argv = ["crictl", "pull", exact.as_deref().unwrap_or(tag)];
        let argv = &argv[..];
        let attempt = move || {
            async move {
                match judge(argv, &command::output(argv, &[], None).await?, tag)? {
                    Ok(()) => Ok(Ok(())),
                    Err(fault) => Ok(Err(fetch::by_the_clock(fault).await)),
                }
            }
            .boxed()
        };
        retry.run(&format!("pull the image {tag}"), Sort::Image, attempt).await?;
        name(tag, exact.as_deref()).await
    };
    (image, pull.await)
}

/// What came of a pull: done, a fault of the way to the registry, or something of this host's, which no attempt mends.
fn judge(argv: &[&str], output: &Output, tag: &str) -> Attempt<()> {
    let said = &output.stderr;
    if output.is_success() {
        return Ok(Ok(()));
    }
    let failed = || command::failed(argv, output);
    if command::is_missing(output) {
        return Err(failed());
    }
    if said.contains("no space left on device") {
        return Err(failed().hint(Hint::DiskFull));
    }
    let fault = fetch::of_crictl(said, tag.split('/').next().unwrap_or_default());
    Ok(Err(fault.evidence(command::last_lines(output))))
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
                .hint(Hint::InspectImage { image: ImageWord::of(tag) }));
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
    fn a_failure_names_the_images_that_failed_and_no_others() {
        let failed = |image, cause: &str| (image, Failure::new(cause));
        assert_eq!(together(Vec::new()), Ok(()));
        let one = together(vec![failed("r/a:1@sha256:aa", "x")]).unwrap_err();
        assert_eq!(one.during("pull the images r/a:1, r/b:1").cause, "failed to pull the image r/a:1: x");
        let several = together(vec![failed("a:1", "x"), failed("b:1", "y"), failed("c:1", "x")]).unwrap_err();
        assert_eq!(several.evidence, ["b:1: y"]);
        assert_eq!(several.during("all").cause, "failed to pull the images a:1, c:1: x");
    }

    #[test]
    fn a_full_disk_is_no_fault_of_the_registry() {
        let output = |stderr: &str| Output { code: Some(1), stdout: String::new(), stderr: stderr.into() };
        let full = judge(&["crictl"], &output("write /x: no space left on device"), "r/a:1").unwrap_err();
        assert!(full.hint == Some(Hint::DiskFull));
        let busy = output("unexpected status from GET request to https://r.io/v2/: 503 Service Unavailable");
        assert!(!judge(&["crictl"], &busy, "r.io/a:1").unwrap().unwrap_err().is_final());
    }

    #[test]
    fn a_port_is_no_tag() {
        assert_eq!((repository("m:5000/x"), repository("m:5000/x:1")), ("m:5000/x", "m:5000/x"));
    }
}
