//! The pod network goes by the addresses that the nodes have. flannel takes its own when it starts, so on a node that has moved it is
//! started anew.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::engine::{AnyStep, Change, Evidence, Planned, Probe, Remark, Result};
use crate::inventory::{Cni, Host};
use crate::kube::{Connector, View};

use super::{Context, Make, node_address, wait_for_addons};

const NAMESPACE: &str = "kube-flannel";
const DAEMON_SET: &str = "kube-flannel-ds";
/// What flannel notes on its node: where the others send the node's packets.
const ADDRESS: &str = "flannel.alpha.coreos.com/public-ip";
/// By which it is told of the node's address.
const VARIABLE: &str = "FLANNELD_IFACE";

pub struct MovePodNetwork {
    kube: Connector,
    /// Node and address; none where the network finds its way by itself.
    nodes: Vec<(String, IpAddr)>,
    /// Of each node the pod, by its UID, that was told to go.
    ended: Mutex<BTreeMap<String, String>>,
    remarks: Mutex<Vec<String>>,
    deadline: Duration,
}

pub fn step(make: &Make<'_>) -> MovePodNetwork {
    MovePodNetwork {
        kube: make.services.kube.clone(),
        nodes: nodes(make.context),
        ended: Mutex::default(),
        remarks: Mutex::default(),
        deadline: make.context.ready_deadline(),
    }
}

fn nodes(context: &Context) -> Vec<(String, IpAddr)> {
    let (cluster, inputs) = (&context.cluster, &context.inputs);
    if cluster.network.cni != Cni::Flannel {
        return Vec::new();
    }
    let addressed = |host: &Host| {
        // What a plan sees of one that joins anew is its former self, which will be gone with its pods.
        let is_former = inputs.is_dry_run && inputs.bare.contains(&host.name);
        node_address::wanted(cluster, host).filter(|_| !is_former)?;
        Some((host.name.clone(), host.address))
    };
    cluster.nodes().filter_map(addressed).collect()
}

#[async_trait]
impl AnyStep for MovePodNetwork {
    fn id(&self) -> &str {
        "move-pod-network"
    }

    fn title(&self) -> String {
        "Have the pod network go by the nodes' addresses".into()
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        if self.nodes.is_empty() {
            return Ok(Planned::Satisfied);
        }
        let Some(view) = self.kube.view(probe).await? else { return Ok(Planned::Satisfied) };
        match self.planned(&view).await {
            Err(failure) if failure.retryable => Ok(Planned::after("an answer of the API server")),
            planned => planned,
        }
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        wait_for_addons::evidence(&self.kube, probe).await
    }

    async fn remarks(&self, _probe: &dyn Probe) -> Result<Vec<Remark>> {
        Ok(self.remarks.lock().expect("no panic while held").iter().cloned().map(Remark::Warning).collect())
    }
}

impl MovePodNetwork {
    async fn planned(&self, view: &View) -> Result<Planned> {
        let strays = self.strays(&view.list("v1", "Node", None, "").await?);
        if strays.is_empty() {
            return Ok(Planned::Satisfied);
        }
        let set = view.get("apps/v1", "DaemonSet", Some(NAMESPACE), DAEMON_SET).await?;
        if !set.as_ref().is_some_and(is_told) {
            *self.remarks.lock().expect("no panic while held") = strays.iter().map(Stray::untold).collect();
            return Ok(Planned::Satisfied);
        }
        let pods = view.list("v1", "Pod", Some(NAMESPACE), "app=flannel").await?;
        Ok(self.next(&strays, &pods))
    }

    fn strays(&self, nodes: &[Value]) -> Vec<Stray> {
        let stray = |(name, address): &(String, IpAddr)| {
            let node = nodes.iter().find(|node| node["metadata"]["name"] == name.as_str())?;
            let annotation = if address.is_ipv4() { ADDRESS.to_string() } else { format!("{ADDRESS}v6") };
            // None where flannel is yet to start.
            let known = node["metadata"]["annotations"][annotation].as_str()?;
            let is_same = known.parse() == Ok(*address);
            (!is_same).then(|| Stray { node: name.clone(), known: known.into(), address: *address })
        };
        self.nodes.iter().filter_map(stray).collect()
    }

    /// Each pod is ended once; the one that comes after it is waited for.
    fn next(&self, strays: &[Stray], pods: &[Value]) -> Planned {
        let mut ended = self.ended.lock().expect("no panic while held");
        let mut changes = Vec::new();
        for stray in strays {
            let of_node = |pod: &&Value| pod["spec"]["nodeName"] == stray.node.as_str();
            let Some(pod) = pods.iter().find(of_node) else { continue };
            let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
            let is_ending = pod["metadata"]["deletionTimestamp"].is_string();
            if is_ending || ended.get(&stray.node).is_some_and(|ended| ended != uid) {
                continue;
            }
            ended.insert(stray.node.clone(), uid.into());
            changes.push(Change::DeleteObject {
                api_version: "v1".into(),
                kind: "Pod".into(),
                namespace: Some(NAMESPACE.into()),
                name: pod["metadata"]["name"].as_str().unwrap_or_default().into(),
            });
        }
        let waits = || strays.iter().map(|stray| format!("flannel on {} to go by {}", stray.node, stray.address));
        match changes.is_empty() {
            true => Planned::after(waits().collect::<Vec<_>>().join(", ")),
            false => Planned::Changes(changes),
        }
    }
}

/// A node whose packets are sent elsewhere.
struct Stray {
    node: String,
    known: String,
    address: IpAddr,
}

impl Stray {
    fn untold(&self) -> String {
        let Self { node, known, address } = self;
        format!(
            "flannel on {node} goes by {known}, and not by the node's address {address}: its DaemonSet is not kboot's and takes the \
             address of the default route's interface; start its pod anew before the node loses that address"
        )
    }
}

/// Whether its pods are told by which address their node is known.
fn is_told(set: &Value) -> bool {
    let variables = set.pointer("/spec/template/spec/containers/0/env").and_then(Value::as_array);
    variables.into_iter().flatten().any(|variable| variable["name"] == VARIABLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::samples::sample;
    use crate::steps::Inputs;
    use serde_json::json;

    fn context() -> Context {
        let sample = sample();
        let facts = sample.facts["n1"].clone();
        Context {
            cluster: sample.cluster,
            host: "n1".into(),
            facts,
            inputs: Inputs::default(),
            secrets: Default::default(),
        }
    }

    fn step() -> MovePodNetwork {
        MovePodNetwork {
            kube: Connector::default(),
            nodes: nodes(&context()),
            ended: Mutex::default(),
            remarks: Mutex::default(),
            deadline: Duration::from_secs(1),
        }
    }

    fn node(name: &str, address: Option<&str>) -> Value {
        json!({"metadata": {"name": name, "annotations": address.map(|address| json!({ADDRESS: address}))}})
    }

    fn pod(uid: &str, node: &str) -> Value {
        json!({"metadata": {"name": format!("kube-flannel-ds-{uid}"), "uid": uid}, "spec": {"nodeName": node}})
    }

    fn shown(planned: Planned) -> Vec<String> {
        match planned {
            Planned::Changes(changes) => changes.iter().map(ToString::to_string).collect(),
            Planned::After { what } => vec![format!("after {what}")],
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nodes_whose_packets_go_elsewhere_are_found() {
        let nodes = [node("n1", Some("10.77.0.11")), node("n2", Some("10.77.0.99")), node("n3", None)];
        let strays = step().strays(&nodes);
        assert_eq!(strays.len(), 1);
        assert_eq!((strays[0].node.as_str(), strays[0].known.as_str()), ("n2", "10.77.0.99"));
        assert!(
            strays[0]
                .untold()
                .starts_with("flannel on n2 goes by 10.77.0.99, and not by the node's address 10.77.0.12:")
        );
    }

    #[test]
    fn each_pod_is_ended_once_and_the_next_one_waited_for() {
        let step = step();
        let strays = step.strays(&[node("n2", Some("10.77.0.99"))]);
        let waits = ["after flannel on n2 to go by 10.77.0.12"];
        let ends = ["delete Pod kube-flannel/kube-flannel-ds-a"];
        assert_eq!(shown(step.next(&strays, &[pod("a", "n2"), pod("b", "n1")])), ends);
        // It is still there, and asked again.
        assert_eq!(shown(step.next(&strays, &[pod("a", "n2")])), ends);
        let mut ending = pod("a", "n2");
        ending["metadata"]["deletionTimestamp"] = json!("2026-11-23T08:00:00Z");
        assert_eq!(shown(step.next(&strays, &[ending])), waits);
        assert_eq!(shown(step.next(&strays, &[])), waits);
        assert_eq!(shown(step.next(&strays, &[pod("c", "n2")])), waits);
    }

    #[test]
    fn only_a_network_that_is_told_can_be_moved() {
        let set = |name: &str| json!({"spec": {"template": {"spec": {"containers": [{"env": [{"name": name}]}]}}}});
        assert!(is_told(&set(VARIABLE)) && !is_told(&set("POD_NAME")) && !is_told(&json!({})));
        let mut context = context();
        context.cluster.network.cni = Cni::Weave;
        assert_eq!(nodes(&context), []);
    }

    #[test]
    fn a_plan_moves_no_former_self() {
        let mut context = context();
        context.inputs.bare = ["n2".to_string()].into();
        assert_eq!(nodes(&context).len(), 3);
        context.inputs.is_dry_run = true;
        let names: Vec<String> = nodes(&context).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["n1", "n3"]);
    }
}
