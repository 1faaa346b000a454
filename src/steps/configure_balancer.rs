//! What leads to the API servers: on workers a balancer of their own, on control planes a virtual address; nothing where something
//! else is in front.
//!
//! Each run writes the control planes anew. haproxy and keepalived take that up by a reload, which no connection notices.

use std::time::Duration;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};

use crate::engine::hint::UnitWord;
use crate::engine::{AnyStep, Change, Evidence, Failure, FileMode, Hint, Planned, Probe, Result};
use crate::facts::ConfigOrigin;
use crate::inventory::{API_PORT, Balance, Host, Vip};
use crate::manifest::{self, paths};
use crate::proc;
use crate::resource::{AnyResource, Converge, File, Package, Unit};

use super::{Context, evidence, unrendered};

const HAPROXY: &str = "haproxy.service";
const KEEPALIVED: &str = "keepalived.service";

/// What of the distribution's packages this host needs for it.
pub(super) fn packages(context: &Context) -> Vec<Package> {
    let Some(host) = context.cluster.host(&context.host) else { return Vec::new() };
    let names: &[&str] = match (context.cluster.balance(), host.is_control_plane()) {
        _ if host.is_etcd() => &[],
        // keepalived asks the API server by curl whether it is well.
        (Balance::Keepalived, true) => &["haproxy", "keepalived", "curl"],
        (Balance::Local, false) => &["haproxy"],
        _ => &[],
    };
    names.iter().map(|name| Package::any(*name)).collect()
}

/// Files and services; and haproxy listens. systemd takes a reload for done when haproxy has been told of it.
pub struct ConfigureBalancer {
    files: Converge,
    port: Option<u16>,
}

pub fn step(context: &Context) -> Result<ConfigureBalancer> {
    let cluster = &context.cluster;
    let host = context.host()?;
    let port = match (cluster.balance(), &cluster.vip, host.is_control_plane()) {
        _ if host.is_etcd() => None,
        (Balance::Keepalived, Some(vip), true) => Some(vip.port()),
        (Balance::Local, _, false) => Some(API_PORT),
        _ => None,
    };
    Ok(ConfigureBalancer { files: files(context)?, port })
}

#[async_trait]
impl AnyStep for ConfigureBalancer {
    fn id(&self) -> &str {
        self.files.id()
    }

    fn title(&self) -> String {
        self.files.title()
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let planned = self.files.plan(probe).await?;
        let (Planned::Satisfied, Some(port)) = (&planned, self.port) else { return Ok(planned) };
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            let sockets = probe.read_text(Utf8Path::new(table)).await?.unwrap_or_default();
            if proc::ports(&sockets, proc::LISTEN).any(|open| open == port) {
                return Ok(planned);
            }
        }
        Ok(Planned::after(format!("haproxy to listen on port {port}")))
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(30)
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        Evidence {
            lines: evidence::journal(probe, "haproxy").await,
            hint: Some(Hint::UnitJournal { unit: UnitWord::of("haproxy") }),
        }
    }
}

fn files(context: &Context) -> Result<Converge> {
    let (cluster, host) = (&context.cluster, context.host()?);
    let step = named();
    if host.is_etcd() {
        return Ok(step);
    }
    let step = if host.is_control_plane() && !context.inputs.moves_endpoint {
        retired(cluster.balance()).fold(step, Converge::with)
    } else {
        step
    };
    Ok(match (cluster.balance(), &cluster.vip, host.is_control_plane()) {
        (Balance::Keepalived, Some(vip), true) => {
            let config = manifest::keepalived_config(cluster, vip, host, &interface(context, vip, host)?);
            haproxy(step, context)?
                .with(Own(paths::KEEPALIVED_CONFIG))
                .with(File::text(paths::KEEPALIVED_CONFIG, config.map_err(unrendered)?))
                .with(Unit::running(KEEPALIVED).reads(paths::KEEPALIVED_CONFIG).reloads())
        }
        (Balance::KubeVip, Some(vip), true) => {
            let pod = manifest::kube_vip(vip, &interface(context, vip, host)?, context.begins_cluster());
            step.with(File::text(paths::kube_vip(), pod.map_err(unrendered)?).mode(FileMode::PRIVATE))
        }
        (Balance::Local, _, false) => haproxy(step, context)?,
        // Pods of the time before may still use it: it goes with a reset, and follows the control planes until then.
        (_, _, false) if cluster.control_planes().next().is_some() => {
            step.with(Former { balancer: haproxy(named(), context)? })
        }
        _ => step,
    })
}

fn named() -> Converge {
    Converge::new("configure-balancer", "Configure what leads to the API servers")
}

fn haproxy(step: Converge, context: &Context) -> Result<Converge> {
    let config = manifest::haproxy_config(&context.cluster).map_err(unrendered)?;
    Ok(step
        .with(Own(paths::HAPROXY_CONFIG))
        .with(File::text(paths::HAPROXY_CONFIG, config))
        .with(Unit::running(HAPROXY).reads(paths::HAPROXY_CONFIG).reads(paths::AUTHORITY).reloads()))
}

/// The interface that gets the virtual address.
fn interface(context: &Context, vip: &Vip, host: &Host) -> Result<String> {
    let has_address =
        |interface: &&crate::facts::Interface| interface.addresses.iter().any(|network| network.addr() == host.address);
    let own = context.facts.interfaces.iter().find(has_address).map(|interface| interface.name.clone());
    vip.interface.clone().or(own).ok_or_else(|| {
        Failure::new(format!("none of the host's network interfaces has the address {}", host.address))
            .hint(Hint::NameInterface)
    })
}

/// A configuration file that nobody else uses.
struct Own(&'static str);

#[async_trait]
impl AnyResource for Own {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let text = probe.read_text(Utf8Path::new(self.0)).await?.unwrap_or_default();
        match ConfigOrigin::of(self.0, &text) {
            ConfigOrigin::Foreign => {
                Err(Failure::new(format!("{} is somebody's own, and is not overwritten", self.0))
                    .hint(Hint::MoveBalancer))
            }
            ConfigOrigin::Kboot | ConfigOrigin::Idle => Ok(Planned::Satisfied),
        }
    }
}

/// A balancer that was set up when the cluster had others before it, if there is one.
struct Former {
    balancer: Converge,
}

#[async_trait]
impl AnyResource for Former {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let text = probe.read_text(Utf8Path::new(paths::HAPROXY_CONFIG)).await?.unwrap_or_default();
        match ConfigOrigin::of(paths::HAPROXY_CONFIG, &text) {
            ConfigOrigin::Kboot => self.balancer.plan(probe).await,
            ConfigOrigin::Idle | ConfigOrigin::Foreign => Ok(Planned::Satisfied),
        }
    }
}

/// What a control plane had for another endpoint than the one that it has now.
fn retired(balance: Balance) -> impl Iterator<Item = Retired> {
    let (keepalived, kube_vip) = (balance == Balance::Keepalived, balance == Balance::KubeVip);
    let all = [
        (keepalived, Retired { config: paths::KEEPALIVED_CONFIG.into(), unit: Some(KEEPALIVED) }),
        (keepalived, Retired { config: paths::HAPROXY_CONFIG.into(), unit: Some(HAPROXY) }),
        (kube_vip, Retired { config: paths::kube_vip().into(), unit: None }),
    ];
    all.into_iter().filter(|(is_needed, _)| !is_needed).map(|(_, retired)| retired)
}

/// A file of kboot's own that is needed no more, and the service that reads it.
struct Retired {
    config: Utf8PathBuf,
    unit: Option<&'static str>,
}

#[async_trait]
impl AnyResource for Retired {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let Some(text) = probe.read_text(&self.config).await? else { return Ok(Planned::Satisfied) };
        let mut changes = Vec::new();
        if let Some(unit) = self.unit {
            if ConfigOrigin::of(self.config.as_str(), &text) != ConfigOrigin::Kboot {
                return Ok(Planned::Satisfied);
            }
            changes = AnyResource::plan(&Unit::new(unit, Some(false), Some(false)), probe).await?.into_changes();
        }
        changes.push(Change::Remove { path: self.config.clone() });
        Ok(Planned::of(changes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;
    use crate::inventory::{Role, VipProvider};
    use crate::preflight::samples::sample;
    use crate::steps::Inputs;

    const STOPPED: &str = "LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n";
    const RUNNING: &str = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n";

    /// n1 and n3 are control planes, n2 is a worker.
    fn context(host: &str, provider: Option<VipProvider>) -> Context {
        let mut sample = sample();
        sample.cluster.hosts[2].roles = vec![Role::ControlPlane];
        let address = "10.77.0.100".parse().unwrap();
        sample.cluster.vip =
            provider.map(|provider| Vip { address, port: None, interface: None, provider, router_id: None });
        let facts = sample.facts[host].clone();
        Context {
            cluster: sample.cluster,
            host: host.into(),
            facts,
            inputs: Inputs::default(),
            secrets: Default::default(),
        }
    }

    fn host(show: &str) -> FakeHost {
        let question = |unit: &str| format!("systemctl show {unit} --property=LoadState,ActiveState,UnitFileState");
        FakeHost::default().answer(&question(HAPROXY), 0, show).answer(&question(KEEPALIVED), 0, show)
    }

    async fn plan(context: &Context, host: &FakeHost) -> Vec<String> {
        match step(context).unwrap().plan(host).await.unwrap() {
            Planned::Satisfied => Vec::new(),
            Planned::Changes(changes) => changes.iter().map(ToString::to_string).collect(),
            Planned::After { what } | Planned::Until { what, .. } => panic!("after {what}"),
        }
    }

    fn names(context: &Context) -> Vec<String> {
        packages(context).into_iter().map(|package| package.name).collect()
    }

    #[tokio::test]
    async fn a_worker_balances_by_itself_where_nothing_is_in_front() {
        let context = context("n2", None);
        assert_eq!(names(&context), ["haproxy"]);
        assert_eq!(
            plan(&context, &host(STOPPED)).await,
            [
                "create /etc/haproxy/haproxy.cfg (0644)",
                "create /etc/systemd/system/haproxy.service.d/50-kboot.conf (0644)",
                "haproxy.service: enable and start",
            ]
        );
    }

    #[tokio::test]
    async fn a_control_plane_has_its_part_of_the_virtual_address() {
        let keepalived = context("n3", Some(VipProvider::Keepalived));
        assert_eq!(names(&keepalived), ["haproxy", "keepalived", "curl"]);
        let planned = plan(&keepalived, &host(STOPPED)).await;
        assert_eq!(planned.len(), 6, "{planned:?}");
        assert_eq!(planned[3], "create /etc/keepalived/keepalived.conf (0644)");
        let kube_vip = context("n3", Some(VipProvider::KubeVip));
        assert_eq!(names(&kube_vip), [""; 0]);
        assert_eq!(plan(&kube_vip, &host(STOPPED)).await, ["create /etc/kubernetes/manifests/kube-vip.yaml (0600)"]);
    }

    #[tokio::test]
    async fn kube_vip_uses_the_kubeconfig_that_its_host_has() {
        let pod = async |context: &Context| {
            let planned = step(context).unwrap().plan(&host(STOPPED)).await.unwrap();
            let Planned::Changes(changes) = planned else { panic!("{planned:?}") };
            let [crate::engine::Change::WriteFile { after, .. }] = &changes[..] else { panic!("{changes:?}") };
            String::from_utf8(after.bytes().unwrap()).unwrap()
        };
        let mut first = context("n1", Some(VipProvider::KubeVip));
        assert!(pod(&first).await.contains(r#"path: "/etc/kubernetes/super-admin.conf""#));
        // It came back after it was replaced: the cluster began elsewhere, as far as anybody knows.
        first.inputs.joining.insert("n1".into());
        assert!(pod(&first).await.contains(r#"path: "/etc/kubernetes/admin.conf""#));
    }

    #[tokio::test]
    async fn others_have_nothing() {
        let mut single = context("n2", None);
        single.cluster.hosts.pop();
        for context in [context("n1", None), context("n2", Some(VipProvider::Keepalived)), single] {
            assert_eq!(names(&context), [""; 0]);
            assert_eq!(plan(&context, &host(STOPPED)).await, [""; 0]);
        }
    }

    #[tokio::test]
    async fn other_control_planes_are_taken_up_by_a_reload() {
        let config = |context: &Context| manifest::haproxy_config(&context.cluster).unwrap();
        let two = context("n2", None);
        let drop_in = "/etc/systemd/system/haproxy.service.d/50-kboot.conf";
        let host = host(RUNNING).file(paths::HAPROXY_CONFIG, config(&two)).file(drop_in, "other");
        let mut three = context("n2", None);
        let fourth = three.cluster.hosts[2].clone();
        three.cluster.hosts.push(Host { name: "n4".into(), address: "10.77.0.14".parse().unwrap(), ..fourth });
        let planned = plan(&three, &host).await;
        assert_eq!(planned[0], "change /etc/haproxy/haproxy.cfg");
        assert!(planned[2].starts_with("haproxy.service: reload ("), "{planned:?}");
        // The same where it is needed no more.
        let mut one = context("n2", None);
        one.cluster.hosts.pop();
        assert_eq!(plan(&one, &host).await[0], "change /etc/haproxy/haproxy.cfg");
    }

    #[tokio::test]
    async fn it_waits_until_haproxy_listens() {
        let context = context("n2", None);
        let config = manifest::haproxy_config(&context.cluster).unwrap();
        let Planned::Changes(changes) = step(&context).unwrap().plan(&host(RUNNING)).await.unwrap() else { panic!() };
        let [_, crate::engine::Change::WriteFile { path: drop_in, after, .. }, _] = &changes[..] else {
            panic!("{changes:?}")
        };
        use sha2::Digest as _;
        let digest: String = sha2::Sha256::digest(&config).iter().map(|byte| format!("{byte:02x}")).collect();
        let ready = host(RUNNING)
            .file(drop_in.as_str(), after.bytes().unwrap())
            .file("/run/kboot/started/haproxy.service", format!("{digest}  {}\n", paths::HAPROXY_CONFIG))
            .file(paths::HAPROXY_CONFIG, config);
        let planned = step(&context).unwrap().plan(&ready).await.unwrap();
        assert_eq!(planned, Planned::after("haproxy to listen on port 6443"));
        let line = "  0: 0100007F:192B 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1 0 100 0 0 10 0";
        let listens = ready.file("/proc/net/tcp", format!("sl\n{line}\n"));
        assert_eq!(step(&context).unwrap().plan(&listens).await.unwrap(), Planned::Satisfied);
    }

    #[tokio::test]
    async fn somebodys_own_is_never_overwritten() {
        let host = host(RUNNING).file(paths::HAPROXY_CONFIG, "frontend web\n  bind *:80\n");
        let failure = step(&context("n2", None)).unwrap().plan(&host).await.unwrap_err();
        assert_eq!(failure.cause, "/etc/haproxy/haproxy.cfg is somebody's own, and is not overwritten");
        let mut single = context("n2", None);
        single.cluster.hosts.pop();
        assert_eq!(plan(&single, &host).await, [""; 0]);
    }
}
