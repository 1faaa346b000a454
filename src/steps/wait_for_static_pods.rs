//! The control plane runs as its manifests say now, and says that it is well.
//!
//! The kubelet notices a changed manifest by itself and starts the pod anew. Until then the old one goes on, and answers that it is well;
//! so what runs is compared with the manifest.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use camino::Utf8Path;

use crate::engine::hint::Component;
use crate::engine::{AnyStep, Evidence, Failure, Hint, Planned, Probe, Result};
use crate::inventory::Host;
use crate::kube::Connector;
use crate::kube::health::{self, Health};
use crate::manifest::{StaticPod, paths};

use super::held_back::{HeldBack, newest};
use super::static_pod_state::{Earlier, Verdict, Wanted};
use super::{Make, evidence};

pub struct WaitForStaticPods {
    kube: Connector,
    /// Whether a control plane was here before this run. Of one that is new, later steps wait for what they need of it.
    is_old: bool,
    is_of_etcd: bool,
    /// Names by which the API server must be reached.
    names: Vec<String>,
    earlier: Mutex<Earlier>,
    held: HeldBack,
    deadline: Duration,
}

pub fn step(make: &Make<'_>) -> WaitForStaticPods {
    let context = make.context;
    WaitForStaticPods {
        kube: make.services.kube.clone(),
        is_old: context.facts.node.is_control_plane(),
        is_of_etcd: context.cluster.host(&context.host).is_some_and(Host::is_etcd),
        names: context.cluster.api_names(),
        earlier: Mutex::default(),
        held: HeldBack::default(),
        deadline: context.ready_deadline(),
    }
}

#[async_trait]
impl AnyStep for WaitForStaticPods {
    fn id(&self) -> &str {
        "wait-for-static-pods"
    }

    fn title(&self) -> String {
        match self.is_of_etcd {
            true => "Wait until etcd runs as its manifest says".into(),
            false => "Wait until the control plane runs as its manifests say".into(),
        }
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        if !self.is_old {
            return Ok(Planned::Satisfied);
        }
        let Some(missing) = self.missing(probe).await? else { return Ok(Planned::Satisfied) };
        Ok(match self.held.release(probe, &StaticPod::ALL).await? {
            Some(restart) => Planned::Changes(vec![restart]),
            None => Planned::after(missing),
        })
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        let names = StaticPod::ALL.map(StaticPod::name);
        let mut lines = evidence::containers(probe, &names).await;
        lines.extend(evidence::kubelet(probe).await);
        Evidence { lines, hint: Some(Hint::StaticPods) }
    }
}

impl WaitForStaticPods {
    /// What is missing first, in words.
    async fn missing(&self, probe: &dyn Probe) -> Result<Option<String>> {
        for pod in StaticPod::ALL {
            let path = paths::static_pod(pod);
            let Some(text) = probe.read_text(Utf8Path::new(&path)).await? else { continue };
            let wanted = Wanted::parse(pod.name(), &text)
                .map_err(|problem| Failure::new(format!("failed to read {path}: {problem}")))?;
            let container = newest(probe, pod).await?;
            let verdict = {
                let mut earlier = self.earlier.lock().expect("no panic while held");
                wanted.judge(container.as_ref(), &mut earlier)
            };
            match verdict {
                Verdict::Runs => {}
                Verdict::Waits(what) => return Ok(Some(what)),
                Verdict::Fails(cause) => return Err(crashed(probe, pod, &cause).await),
            }
            if !self.is_well(probe, pod, &wanted).await? {
                return Ok(Some(format!("{} to be ready", pod.name())));
            }
        }
        self.unserved_name(probe).await
    }

    async fn is_well(&self, probe: &dyn Probe, pod: StaticPod, wanted: &Wanted) -> Result<bool> {
        if pod == StaticPod::ApiServer {
            // It may have been told to answer nobody without credentials.
            let Some(view) = self.kube.view(probe).await? else { return Ok(false) };
            return Ok(view.raw("/readyz").await.is_ok());
        }
        match &wanted.health {
            Some(url) => Ok(health::ask(url).await == Health::Well),
            None => Ok(true),
        }
    }

    /// The API server takes up a new certificate by itself, a moment after it is written.
    async fn unserved_name(&self, probe: &dyn Probe) -> Result<Option<String>> {
        for name in &self.names {
            let host = name.replace('*', "any");
            let Some(view) = self.kube.view_as(probe, &host).await? else { continue };
            if view.raw("/livez").await.is_err() {
                return Ok(Some(format!("the API server to show a certificate for {name}")));
            }
        }
        Ok(None)
    }
}

async fn crashed(probe: &dyn Probe, pod: StaticPod, cause: &str) -> Failure {
    let name = pod.name();
    let component = match pod {
        StaticPod::Etcd => Component::Etcd,
        StaticPod::ApiServer => Component::ApiServer,
        StaticPod::ControllerManager => Component::ControllerManager,
        StaticPod::Scheduler => Component::Scheduler,
    };
    Failure::new(format!("{name} does not stay up: {cause}"))
        .evidence(evidence::containers(probe, &[name]).await)
        .hint(Hint::ComponentSettings { component })
}
