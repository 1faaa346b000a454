//! The API server that a kubeconfig leads to. Credentials and all else in it stay.

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};

use crate::engine::{Change, Content, FileMode, Planned, Probe, Result, UnitChange};
use crate::resource::AnyResource;

use super::start_kubelet::UNIT;
use super::wait_for_certificate::KUBELET_CONF;

/// The server of a kubeconfig that is there.
pub struct Server {
    path: Utf8PathBuf,
    url: String,
    /// Who reads the file only when it starts. What asks another server is stopped first, so that none runs that has read the old file;
    /// the step that starts it comes next.
    unit: Option<&'static str>,
    /// Whether the file is made with another server by a step before.
    is_made_otherwise: bool,
    /// The servers that it may be moved from; any, if there are none.
    from: Vec<String>,
}

impl Server {
    pub fn new(path: impl Into<Utf8PathBuf>, url: String) -> Self {
        Self { path: path.into(), url, unit: None, is_made_otherwise: false, from: Vec::new() }
    }

    pub fn of_kubelet(url: String) -> Self {
        Self { unit: Some(UNIT), ..Self::new(KUBELET_CONF, url) }
    }

    /// Only if it leads to one of these.
    pub fn from(self, from: Vec<String>) -> Self {
        Self { from, ..self }
    }

    pub fn made_otherwise(self, is_made_otherwise: bool) -> Self {
        Self { is_made_otherwise, ..self }
    }
}

#[async_trait]
impl AnyResource for Server {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let text = match probe.read_text(Utf8Path::new(&self.path)).await {
            Err(failure) if failure.is_unforeseen() => {
                return Ok(if self.is_made_otherwise {
                    Planned::after(self.path.as_str())
                } else {
                    Planned::Satisfied
                });
            }
            text => text?,
        };
        let Some(before) = text else { return Ok(Planned::Satisfied) };
        if !self.from.is_empty() && !self.from.iter().any(|url| moved(&before, url).is_none()) {
            return Ok(Planned::Satisfied);
        }
        let Some(after) = moved(&before, &self.url) else { return Ok(Planned::Satisfied) };
        let stop = |unit: &str| UnitChange { unit: unit.into(), start: Some(false), ..UnitChange::default() };
        let mut changes: Vec<Change> = self.unit.map(stop).map(Change::SetUnit).into_iter().collect();
        changes.push(Change::WriteFile {
            path: self.path.clone(),
            mode: FileMode::PRIVATE,
            before: Some(Content::Secret(before)),
            after: Content::Secret(after),
        });
        Ok(Planned::Changes(changes))
    }
}

/// A kubeconfig with another server; None where it is the same, or where the file has not just one.
fn moved(text: &str, url: &str) -> Option<String> {
    let old = written(text)?;
    (bare(old) != url).then(|| text.replacen(&format!("server: {old}"), &format!("server: {url}"), 1))
}

/// The server of a kubeconfig that has just one.
pub(super) fn server(text: &str) -> Option<&str> {
    written(text).map(bare)
}

fn written(text: &str) -> Option<&str> {
    let mut servers = text.lines().filter_map(|line| line.trim_start().strip_prefix("server: "));
    let (Some(server), None) = (servers.next(), servers.next()) else { return None };
    Some(server)
}

fn bare(url: &str) -> &str {
    url.trim().trim_matches(['"', '\'']).trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;

    const URL: &str = "https://127.0.0.1:6443";
    const OLD: &str =
        "clusters:\n- cluster:\n    certificate-authority-data: QQ==\n    server: https://10.0.0.1:6443\n  name: x\n";

    #[tokio::test]
    async fn a_kubelet_that_asks_another_server_is_stopped_before_its_file_changes() {
        let host = FakeHost::default().file(KUBELET_CONF, OLD);
        let Planned::Changes(changes) = Server::of_kubelet(URL.into()).plan(&host).await.unwrap() else {
            panic!("no change")
        };
        let [Change::SetUnit(stop), Change::WriteFile { after: Content::Secret(after), mode, .. }] = &changes[..]
        else {
            panic!("{changes:?}")
        };
        assert_eq!((stop.unit.as_str(), stop.start, *mode), (UNIT, Some(false), FileMode::PRIVATE));
        assert_eq!(*after, OLD.replace("10.0.0.1", "127.0.0.1"));
    }

    #[tokio::test]
    async fn the_same_server_or_no_file_is_no_change() {
        let server = Server::of_kubelet("https://10.0.0.1:6443".into());
        for host in [FakeHost::default(), FakeHost::default().file(KUBELET_CONF, OLD)] {
            assert_eq!(server.plan(&host).await.unwrap(), Planned::Satisfied);
        }
        let elsewhere = FakeHost::default().file(KUBELET_CONF, OLD);
        let moved_from = |from: &str| Server::new(KUBELET_CONF, URL.into()).from(vec![from.into()]);
        assert_eq!(moved_from("https://10.0.0.9:6443").plan(&elsewhere).await.unwrap(), Planned::Satisfied);
        assert!(matches!(moved_from("https://10.0.0.1:6443").plan(&elsewhere).await.unwrap(), Planned::Changes(_)));
        assert_eq!(moved("server: \"https://10.0.0.1:6443/\"\n", "https://10.0.0.1:6443"), None);
        assert_eq!(moved("server: a\nserver: b\n", URL), None, "which one is meant can't be told");
    }
}
