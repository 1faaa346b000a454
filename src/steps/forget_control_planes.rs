//! Control planes that are gone for good, and from the inventory: etcd and the cluster know nothing more of them. One that still
//! answers is somebody's, and only told.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::engine::{AnyStep, Change, Evidence, MemberAction, Planned, Probe, Remark, Result};
use crate::etcd::{self, Client, Member};
use crate::inventory::{API_PORT, CONTROL_PLANE};
use crate::kube::{Connector, health, node};
use crate::manifest::etcd_client_url;
use crate::resource::etcd_credentials;

use super::{Make, etcd_member};

pub struct ForgetControlPlanes {
    kube: Connector,
    known: Vec<String>,
    /// All hosts of the inventory, where etcd is elsewhere and knows no control planes.
    hosts: Option<Vec<String>>,
    endpoint: String,
    deadline: Duration,
    remarks: Mutex<Vec<String>>,
}

pub fn step(make: &Make<'_>) -> Result<ForgetControlPlanes> {
    let context = make.context;
    Ok(ForgetControlPlanes {
        kube: make.services.kube.clone(),
        known: context.cluster.control_planes().map(|host| host.name.clone()).collect(),
        hosts: context
            .cluster
            .external_etcd()
            .map(|_| context.cluster.hosts.iter().map(|host| host.name.clone()).collect()),
        endpoint: etcd_client_url(context.host()?.address),
        deadline: context.ready_deadline(),
        remarks: Mutex::default(),
    })
}

#[async_trait]
impl AnyStep for ForgetControlPlanes {
    fn id(&self) -> &str {
        "forget-control-planes"
    }

    fn title(&self) -> String {
        "Forget control planes that are gone".into()
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        if let Some(hosts) = &self.hosts {
            return self.by_nodes(hosts, probe).await;
        }
        if !etcd_member::is_wanted(probe).await? {
            return Ok(Planned::Satisfied);
        }
        let Some(credentials) = etcd_credentials(probe).await? else { return Ok(Planned::Satisfied) };
        let endpoints = [self.endpoint.clone()];
        let members = match Client::find(&endpoints, &credentials).await {
            Ok((_, members)) => members,
            // A plan of a cluster that is yet to be made.
            Err(failure) if failure.retryable => return Ok(Planned::after("an answer of etcd")),
            Err(failure) => return Err(failure),
        };
        let others: Vec<Member> = members.into_iter().filter(|member| self.is_unknown(member)).collect();
        if others.is_empty() {
            return Ok(Planned::Satisfied);
        }
        let healthy = etcd::healthy(&others, &credentials).await;
        let (alive, gone): (Vec<&Member>, Vec<&Member>) =
            others.iter().partition(|member| healthy.contains(&member.id));
        self.tell(alive.iter().map(|member| format!("{} is a member of etcd", member.label())));
        let mut changes = Vec::new();
        for member in gone {
            changes.extend(self.forget(probe, member).await?);
        }
        Ok(Planned::of(changes))
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, _probe: &dyn Probe) -> Evidence {
        let hint = "see how etcd is: `crictl ps -a --name etcd` and `crictl logs ID`";
        Evidence { hint: Some(hint.into()), ..Evidence::default() }
    }

    async fn remarks(&self, _probe: &dyn Probe) -> Result<Vec<Remark>> {
        Ok(self.remarks.lock().expect("no panic while held").iter().cloned().map(Remark::Warning).collect())
    }
}

impl ForgetControlPlanes {
    fn tell(&self, alive: impl Iterator<Item = String>) {
        let told = alive.map(|what| {
            format!(
                "{what} and runs, but the inventory does not have it: put it back, or take it out of the cluster with `kboot reset` on \
                 that host"
            )
        });
        *self.remarks.lock().expect("no panic while held") = told.collect();
    }

    /// Those whose nodes are not Ready, and whose API servers don't answer, are gone.
    async fn by_nodes(&self, hosts: &[String], probe: &dyn Probe) -> Result<Planned> {
        let Some(view) = self.kube.view(probe).await? else { return Ok(Planned::Satisfied) };
        let nodes = match view.list("v1", "Node", None, CONTROL_PLANE).await {
            Err(failure) if failure.retryable => return Ok(Planned::after("an answer of the API server")),
            nodes => nodes?,
        };
        let (mut alive, mut changes) = (Vec::new(), Vec::new());
        for node in &nodes {
            let name = node["metadata"]["name"].as_str().unwrap_or_default();
            if hosts.iter().any(|host| host == name) {
                continue;
            }
            match node::is_ready(node) || answers(node).await {
                true => alive.push(format!("{name} is a control plane")),
                false => changes.push(Change::delete_node(name)),
            }
        }
        self.tell(alive.into_iter());
        Ok(Planned::of(changes))
    }

    /// One without a name has not started yet: its host is about to join.
    fn is_unknown(&self, member: &Member) -> bool {
        member.has_started() && !self.known.contains(&member.name)
    }

    /// The node first: its member is how this is found again after an interruption.
    async fn forget(&self, probe: &dyn Probe, member: &Member) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        let Some(view) = self.kube.view(probe).await? else { return Ok(changes) };
        if view.get("v1", "Node", None, &member.name).await?.is_some() {
            changes.push(Change::delete_node(&member.name));
        }
        changes.push(member.change(MemberAction::Remove, vec![self.endpoint.clone()]));
        Ok(changes)
    }
}

async fn answers(node: &Value) -> bool {
    let Some(address) = node::internal_address(node) else { return false };
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_string() };
    health::ask(&format!("https://{host}:{API_PORT}/livez")).await.is_ok()
}
