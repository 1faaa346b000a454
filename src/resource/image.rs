//! Container images that are on the host before they are needed.

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;

use super::{Resource, command};
use crate::engine::{Change, Failure, Planned, Probe, Result};

/// Pulls at the same time: more only makes them share the same line and disk.
const AT_ONCE: usize = 3;

/// Images, by their full references.
pub struct Images(pub Vec<String>);

#[async_trait]
impl Resource for Images {
    /// The tags that the runtime has; None where there is no runtime yet.
    type Observed = Option<Vec<String>>;

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed> {
        present(probe).await
    }

    fn diff(&self, present: Self::Observed) -> Result<Planned> {
        let present = present.unwrap_or_default();
        let missing: Vec<String> = self.0.iter().filter(|image| !present.contains(image)).cloned().collect();
        Ok(Planned::of(if missing.is_empty() { Vec::new() } else { vec![Change::PullImages { images: missing }] }))
    }
}

/// The tags that the runtime has; None where none answers.
pub(super) async fn present(probe: &dyn Probe) -> Result<Option<Vec<String>>> {
    let output = probe.query(&["crictl", "images", "-o", "json"]).await?;
    if !output.is_success() {
        return Ok(None);
    }
    let list: List = serde_json::from_str(&output.stdout)
        .map_err(|error| Failure::new(format!("failed to read crictl's list of images: {error}")))?;
    Ok(Some(list.images.into_iter().flat_map(|image| image.repo_tags).collect()))
}

#[derive(Deserialize)]
struct List {
    images: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(default)]
    repo_tags: Vec<String>,
}

pub(super) async fn pull(images: &[String]) -> Result<()> {
    let pulls: Vec<_> = images.iter().map(|image| pull_one(image)).collect();
    stream::iter(pulls).buffer_unordered(AT_ONCE).try_collect().await
}

pub(super) async fn remove(images: &[String]) -> Result<()> {
    let words = ["crictl", "rmi"].into_iter().chain(images.iter().map(String::as_str));
    command::run(&words.collect::<Vec<_>>()).await
}

async fn pull_one(image: &str) -> Result<()> {
    let mut last = None;
    for _ in 0..3 {
        match command::run(&["crictl", "pull", image]).await {
            Ok(()) => return Ok(()),
            Err(failure) => last = Some(failure),
        }
    }
    let failure = last.expect("three attempts were made");
    let registry = image.split('/').next().unwrap_or_default();
    Err(failure.hint(format!(
        "see that this host reaches {registry}, or name a mirror of it under images.mirrors in the inventory"
    )))
}
