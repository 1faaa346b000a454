//! What etcd hosts give away, through the controller: to those that join them the authority with its key, to control planes what API
//! servers ask with.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::engine::{Failure, Hint, Planned, Probe, Result, Step};
use crate::inventory::Host;

use super::issue_certificates::path;
use super::{EtcdFiles, EtcdKey, Make, Outbox};

const AUTHORITY: &str = "etcd/ca.crt";
const CERTIFICATE: &str = "apiserver-etcd-client.crt";
const KEY: &str = "apiserver-etcd-client.key";

/// What all etcd hosts have alike: also the client certificate, so that control planes keep theirs whoever of them leads a run.
pub(super) const SHARED: [&str; 4] = [AUTHORITY, "etcd/ca.key", CERTIFICATE, KEY];

pub struct ShareEtcd {
    has_joining: bool,
    is_needed: bool,
    outputs: Outbox,
}

pub fn step(make: &Make<'_>) -> ShareEtcd {
    let inputs = &make.context.inputs;
    let is_new = |host: &Host| inputs.joining.contains(&host.name);
    ShareEtcd {
        has_joining: make.context.cluster.etcd_hosts().any(is_new),
        // A dry run takes no key anywhere.
        is_needed: !inputs.is_dry_run,
        outputs: make.outputs.clone(),
    }
}

#[async_trait]
impl Step for ShareEtcd {
    type Observed = ();

    fn id(&self) -> &str {
        "share-etcd"
    }

    fn title(&self) -> String {
        "Share what etcd is known by and asked with".into()
    }

    async fn observe(&self, probe: &dyn Probe) -> Result<()> {
        if !self.is_needed {
            return Ok(());
        }
        let mut shared = BTreeMap::new();
        for name in SHARED.iter().filter(|name| self.has_joining || **name != "etcd/ca.key") {
            let file = path(name);
            let text = probe.read_text(&file).await?.ok_or_else(|| {
                Failure::new(format!("{file} is not on this etcd host, and others need it"))
                    .hint(Hint::CopyFromEtcdHost)
            })?;
            shared.insert(name.to_string(), text);
        }
        let mut outputs = self.outputs.lock().expect("no panic while held");
        outputs.etcd = Some(EtcdFiles {
            authority: shared[AUTHORITY].clone(),
            certificate: shared[CERTIFICATE].clone(),
            key: EtcdKey::Whole(shared[KEY].clone().into()),
        });
        outputs.etcd_authority = self.has_joining.then(|| shared.into());
        Ok(())
    }

    fn diff(&self, (): ()) -> Planned {
        Planned::Satisfied
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::engine::fake::FakeHost;
    use crate::steps::Outputs;

    /// The client's key, and the names of the files with the authority's.
    async fn shared(has_joining: bool, is_needed: bool) -> (Option<String>, Option<Vec<String>>) {
        let outputs = Arc::new(Mutex::new(Outputs::default()));
        let step = ShareEtcd { has_joining, is_needed, outputs: outputs.clone() };
        let host = SHARED.iter().fold(FakeHost::default(), |host, name| host.file(path(name).as_str(), *name));
        step.observe(&host).await.unwrap();
        let outputs = outputs.lock().unwrap();
        let key = outputs.etcd.as_ref().and_then(|files| files.key.whole()).map(String::from);
        let names = outputs.etcd_authority.as_ref().map(|all| all.files().map(|(name, _)| name.to_owned()).collect());
        (key, names)
    }

    #[tokio::test]
    async fn the_authority_s_key_goes_to_joining_hosts_only() {
        assert_eq!(shared(false, true).await, (Some(KEY.into()), None));
        let (_, names) = shared(true, true).await;
        assert!(names.unwrap().iter().any(|name| name == "etcd/ca.key"));
        assert!(shared(true, false).await.0.is_none(), "a dry run takes nothing anywhere");
    }
}
