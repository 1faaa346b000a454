//! The authorities of the cluster that this control plane joins. It makes none of its own.

use crate::engine::{FileMode, Planned, Probe, Result};
use crate::resource::{AnyResource, Converge, Directory, File};

use async_trait::async_trait;

use super::Context;
use super::issue_certificates::{PKI, path};
use super::share_authorities::SHARED;

pub fn step(context: &Context) -> Converge {
    let step = Converge::new("write-authorities", "Write the cluster's authorities")
        .with(Directory::new(PKI, FileMode::DIRECTORY));
    match &context.inputs.authorities {
        Some(shared) => {
            step.with_all(shared.iter().filter(|(name, _)| SHARED.contains(&name.as_str())).map(|(name, text)| {
                match name.ends_with(".key") {
                    true => File::secret(path(name), text),
                    false => File::text(path(name), text),
                }
            }))
        }
        None => step.with(Unknown),
    }
}

/// They come once the cluster is there; a dry run does not see them at all.
struct Unknown;

#[async_trait]
impl AnyResource for Unknown {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        for name in SHARED {
            if probe.stat(&path(name)).await?.is_none() {
                return Ok(Planned::after("the authorities of the cluster's other control planes"));
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
        assert!(matches!(AnyResource::plan(&Unknown, &host).await.unwrap(), Planned::After { .. }));
        for name in SHARED {
            host = host.file(path(name).as_str(), "x");
        }
        assert_eq!(AnyResource::plan(&Unknown, &host).await.unwrap(), Planned::Satisfied);
    }
}
