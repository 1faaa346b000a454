//! The kubelet's configuration and flags, in kubeadm's files.

use async_trait::async_trait;
use camino::Utf8Path;

use crate::engine::{Change, Content, FileMode, Planned, Probe, Result, UnitChange};
use crate::inventory::{Cluster, Host};
use crate::manifest::{self, paths};
use crate::resource::{AnyResource, Converge, File};

use super::start_kubelet::UNIT;
use super::wait_for_certificate::KUBELET_CONF;
use super::{Context, unrendered};

pub fn step(context: &Context) -> Result<Converge> {
    let config = manifest::kubelet_config(&context.cluster, &context.kubelet_values()).map_err(unrendered)?;
    let instance = manifest::kubelet_instance_config().map_err(unrendered)?;
    let flags = Flags {
        cluster: context.cluster.clone(),
        host: context.host()?.clone(),
        hostname: context.facts.hostname.clone(),
        has_registered: context.facts.node.has_kubelet_conf,
    };
    let host = context.host()?;
    // A control plane's is made by `write-kubeconfigs`.
    let server = (!host.is_control_plane()).then(|| KubeletServer { url: context.cluster.kubelet_server(host) });
    Ok(Converge::new("configure-kubelet", "Configure the kubelet")
        .with_all(server)
        .with(File::text(paths::KUBELET_CONFIG, config))
        .with(File::text(paths::KUBELET_INSTANCE_CONFIG, instance))
        .with(flags))
}

/// The API server that a kubelet with a certificate asks. What asks another is stopped first, so that none runs that has read the old
/// file; `start-kubelet` comes next.
struct KubeletServer {
    url: String,
}

#[async_trait]
impl AnyResource for KubeletServer {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let text = match probe.read_text(Utf8Path::new(KUBELET_CONF)).await {
            Err(failure) if failure.is_unforeseen() => return Ok(Planned::Satisfied),
            text => text?,
        };
        let Some(before) = text else { return Ok(Planned::Satisfied) };
        let Some(after) = moved(&before, &self.url) else { return Ok(Planned::Satisfied) };
        let stop = UnitChange { unit: UNIT.into(), start: Some(false), ..UnitChange::default() };
        let write = Change::WriteFile {
            path: KUBELET_CONF.into(),
            mode: FileMode::PRIVATE,
            before: Some(Content::Secret(before)),
            after: Content::Secret(after),
        };
        Ok(Planned::Changes(vec![Change::SetUnit(stop), write]))
    }
}

/// A kubeconfig with another server; None where it is the same, or where the file has not just one.
fn moved(text: &str, url: &str) -> Option<String> {
    let mut servers = text.lines().filter_map(|line| line.trim_start().strip_prefix("server: "));
    let (Some(old), None) = (servers.next(), servers.next()) else { return None };
    let is_same = old.trim().trim_matches(['"', '\'']).trim_end_matches('/') == url;
    (!is_same).then(|| text.replacen(&format!("server: {old}"), &format!("server: {url}"), 1))
}

/// The file of flags. One of them counts only until the node has registered.
struct Flags {
    cluster: Cluster,
    host: Host,
    hostname: String,
    has_registered: bool,
}

#[async_trait]
impl AnyResource for Flags {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let text = probe.read_text(Utf8Path::new(paths::KUBELET_FLAGS)).await?;
        let registered = text.as_deref().filter(|_| self.has_registered);
        let flags =
            manifest::kubelet_flags(&self.cluster, &self.host, &self.hostname, registered).map_err(unrendered)?;
        AnyResource::plan(&File::text(paths::KUBELET_FLAGS, flags), probe).await
    }
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
        let Planned::Changes(changes) = KubeletServer { url: URL.into() }.plan(&host).await.unwrap() else {
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
    async fn the_same_server_or_no_certificate_yet_is_no_change() {
        let server = KubeletServer { url: "https://10.0.0.1:6443".into() };
        for host in [FakeHost::default(), FakeHost::default().file(KUBELET_CONF, OLD)] {
            assert_eq!(server.plan(&host).await.unwrap(), Planned::Satisfied);
        }
        assert_eq!(moved("server: \"https://10.0.0.1:6443/\"\n", "https://10.0.0.1:6443"), None);
        assert_eq!(moved("server: a\nserver: b\n", URL), None, "which one is meant can't be told");
    }
}
