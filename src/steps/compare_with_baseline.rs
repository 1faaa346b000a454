//! The host is what it was before the first run; what is not is told, with its reason.

use async_trait::async_trait;

use crate::baseline::{Baseline, Difference, Kind, explain};
use crate::engine::{AnyStep, Planned, Probe, Remark, Result};

use super::Context;

pub struct CompareWithBaseline {
    /// Before anything was put back there is nothing to compare.
    is_due: bool,
    keeps_packages: bool,
    was_member: bool,
    /// There never was a node, and nothing that kboot did is left.
    is_foreign: bool,
    /// The node that nobody deleted.
    node: Option<String>,
}

pub fn step(context: &Context) -> CompareWithBaseline {
    let inputs = &context.inputs;
    CompareWithBaseline {
        is_due: !inputs.is_dry_run,
        keeps_packages: inputs.keeps_packages(),
        was_member: context.facts.node.has_traces() && context.facts.node.is_member(),
        is_foreign: !context.facts.node.has_traces(),
        node: (inputs.node_stays && context.facts.node.has_traces() && context.facts.node.is_member())
            .then(|| context.host.clone()),
    }
}

#[async_trait]
impl AnyStep for CompareWithBaseline {
    fn id(&self) -> &str {
        "compare-with-baseline"
    }

    fn title(&self) -> String {
        "Compare the host with what it was".into()
    }

    async fn plan(&self, _probe: &dyn Probe) -> Result<Planned> {
        Ok(Planned::Satisfied)
    }

    async fn remarks(&self, probe: &dyn Probe) -> Result<Vec<Remark>> {
        if self.is_foreign {
            let text = "this host is no node, and nothing that kboot changed is left on it: all on it stays as it is";
            return Ok(vec![Remark::Note(text.into())]);
        }
        if !self.is_due {
            return Ok(Vec::new());
        }
        let mut remarks = Vec::new();
        let leftover =
            |thing: &str, name: &str, why: String| Remark::Leftover { thing: thing.into(), name: name.into(), why };
        if let Some(node) = &self.node {
            let why = format!("this host may not delete it; on a control plane: `kubectl delete node {node}`");
            remarks.push(leftover("node in the cluster", node, why));
        }
        let Some(mut left) = Baseline::differences(probe).await? else {
            if self.was_member {
                let text = "what this host was before it became a node was never written down, so nothing was compared";
                remarks.push(Remark::Warning(text.into()));
            }
            return Ok(remarks);
        };
        let kept = self.keeps_packages.then(|| take_packages(&mut left)).filter(|count| *count > 0);
        if let Some(count) = kept {
            let why = "they stay with their files and repositories, as --keep-packages asks".into();
            remarks.push(leftover("packages", &count.to_string(), why));
        }
        let told = explain(probe, &left).await?;
        if told.is_empty() && kept.is_none() {
            remarks.push(Remark::Note("the host is as it was before the first run".into()));
        }
        remarks.extend(told.into_iter().map(|found| leftover(found.kind.word(), &found.name, found.why)));
        Ok(remarks)
    }
}

/// Takes packages and what comes with them out of the differences; how many packages there were.
fn take_packages(left: &mut Vec<Difference>) -> usize {
    let count = left.iter().filter(|difference| difference.kind == Kind::Package).count();
    left.retain(|difference| match difference.kind {
        Kind::Package | Kind::User | Kind::Group => false,
        Kind::Entry => difference.before.is_some(),
        Kind::File => false,
        _ => true,
    });
    count
}
