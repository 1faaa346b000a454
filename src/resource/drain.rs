//! Taking a node's pods away from it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::engine::{Failure, Hint, Result};
use crate::kube::{Connector, Evicted, Writer};

const PAUSE: Duration = Duration::from_millis(250);

/// Cordons the node and evicts the pods, again and again where a disruption budget says no, until they are gone or the time is up.
pub(super) async fn drain(kube: &Connector, node: &str, pods: &[String], seconds: u64) -> Result<()> {
    let writer = kube.writer().await?;
    if !writer.exists("v1", "Node", None, node).await? {
        return Ok(());
    }
    writer.update("v1", "Node", None, node, |object| object["spec"]["unschedulable"] = json!(true)).await?;
    let deadline = Instant::now() + Duration::from_secs(seconds);
    // Why each is still there.
    let mut left: BTreeMap<&str, String> = pods.iter().map(|pod| (pod.as_str(), "it is not gone yet".into())).collect();
    loop {
        let names: Vec<&str> = left.keys().copied().collect();
        for pod in names {
            match ask(&writer, node, pod).await? {
                Some(why) => drop(left.insert(pod, why)),
                None => drop(left.remove(pod)),
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let told: Vec<String> =
                left.iter().map(|(pod, why)| format!("{pod} ({})", why.trim_end_matches('.'))).collect();
            return Err(Failure::new(format!("after {seconds} s these are still there: {}", told.join(", ")))
                .hint(Hint::ExtendDrain));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Why a pod is still there; None once it is gone.
async fn ask(writer: &Writer, node: &str, pod: &str) -> Result<Option<String>> {
    let (namespace, name) = pod.split_once('/').ok_or_else(|| Failure::new(format!("{pod} is no namespace/name")))?;
    Ok(match writer.evict(namespace, name, node).await? {
        Evicted::Gone => None,
        Evicted::Ending => Some("it takes its time to end".into()),
        Evicted::Refused { why } => Some(why),
    })
}
